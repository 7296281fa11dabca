//! Data loaders: burn-train's epochs cut out of a plan of optimiser steps.

use super::learner::Batch;
use super::passes::Passes;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// One optimiser step at a time. burn-train validates and saves at the end of its epochs, so an
/// epoch here is as many steps as lie between two checkpoints.
#[derive(Clone)]
pub(crate) struct StepLoader {
    pub passes: Arc<dyn Passes>,
    pub steps: usize,
    /// Passes in a step.
    pub parts: usize,
    /// Steps in an epoch.
    pub epoch: usize,
    /// Step that the next epoch starts with.
    pub next: Arc<AtomicUsize>,
}

/// A list of passes, for validation.
#[derive(Clone)]
pub(crate) struct ListLoader(pub Arc<Vec<Batch>>);

struct Iter<F> {
    make: F,
    range: Range<usize>,
    total: usize,
}

impl<F: FnMut(usize) -> Vec<Batch>> Iterator for Iter<F> {
    type Item = Result<Vec<Batch>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.range.next().map(|i| Ok((self.make)(i)))
    }
}

impl<F: FnMut(usize) -> Vec<Batch>> DataLoaderIterator<Vec<Batch>> for Iter<F> {
    fn progress(&self) -> Progress {
        Progress::new(self.total - self.range.len(), self.total, None)
    }
}

impl DataLoader<Vec<Batch>> for StepLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<Batch>> + 'a> {
        let first = self.next.fetch_add(self.epoch, Ordering::Relaxed);
        let total = self.epoch.min(self.steps.saturating_sub(first)) * self.parts;
        Box::new(Iter {
            make: move |i| self.passes.pass(first + i / self.parts, i % self.parts),
            range: 0..total,
            total,
        })
    }

    fn num_items(&self) -> usize {
        self.epoch.min(self.steps) * self.parts
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Vec<Batch>>> {
        // Passes are made on the host; the learner moves them to its device.
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Vec<Batch>>> {
        // Only multi-device strategies cut loaders up. An epoch is sliced in whole steps.
        Arc::new(StepLoader {
            epoch: (end - start) / self.parts,
            next: Arc::new(AtomicUsize::new(
                self.next.load(Ordering::Relaxed) + start / self.parts,
            )),
            ..self.clone()
        })
    }
}

impl DataLoader<Vec<Batch>> for ListLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<Batch>> + 'a> {
        Box::new(Iter {
            make: |i: usize| vec![self.0[i].clone()],
            range: 0..self.0.len(),
            total: self.0.len(),
        })
    }

    fn num_items(&self) -> usize {
        self.0.len()
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Vec<Batch>>> {
        Arc::new(self.clone())
    }

    fn slice(&self, start: usize, end: usize) -> Arc<dyn DataLoader<Vec<Batch>>> {
        Arc::new(ListLoader(Arc::new(self.0[start..end].to_vec())))
    }
}
