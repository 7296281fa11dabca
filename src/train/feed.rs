//! Data loaders: burn-train's epochs cut out of a plan of optimiser steps.

use super::checkpointer::History;
use super::learner::Batch;
use super::passes::Passes;
use super::report::lock;
use crate::stop::Stop;
use burn::data::dataloader::{DataLoader, DataLoaderIterator, Progress};
use burn::data::dataset::DatasetError;
use burn::tensor::Device;
use burn_train::Interrupter;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

/// One optimiser step at a time. burn-train saves at the end of its epochs, so an epoch here is as
/// many steps as lie between two checkpoints, or fewer when the fit is asked to stop.
#[derive(Clone)]
pub(crate) struct StepLoader {
    pub passes: Arc<dyn Passes>,
    pub steps: usize,
    /// Passes in a step.
    pub parts: usize,
    /// Steps between checkpoints.
    pub every: usize,
    /// Optimiser steps handed out, by this process and earlier ones.
    pub done: Arc<AtomicUsize>,
    /// Epochs begun, by this process and earlier ones.
    pub epoch: Arc<AtomicUsize>,
    pub history: Arc<Mutex<History>>,
    pub stop: Stop,
    pub interrupter: Interrupter,
}

/// The validation passes, which follow the last step.
#[derive(Clone)]
pub(crate) struct ValidLoader {
    pub passes: Arc<Vec<Batch>>,
    pub steps: usize,
    /// As in [`StepLoader`].
    pub done: Arc<AtomicUsize>,
}

struct Iter<'a> {
    passes: Box<dyn Iterator<Item = Vec<Batch>> + 'a>,
    given: usize,
    total: usize,
}

impl Iterator for Iter<'_> {
    type Item = Result<Vec<Batch>, DatasetError>;

    fn next(&mut self) -> Option<Self::Item> {
        let pass = self.passes.next()?;
        self.given += 1;
        Some(Ok(pass))
    }
}

impl DataLoaderIterator<Vec<Batch>> for Iter<'_> {
    fn progress(&self) -> Progress {
        Progress::new(self.given, self.total, None)
    }
}

impl StepLoader {
    /// Steps up to the next checkpoint.
    fn coming(&self) -> usize {
        let done = self.done.load(Ordering::Relaxed);
        (self.every - done % self.every).min(self.steps - done)
    }
}

impl DataLoader<Vec<Batch>> for StepLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<Batch>> + 'a> {
        if self.stop.asked() {
            // The checkpoint of the epoch before has been saved.
            self.interrupter.stop(Some("asked to stop"));
        }
        let epoch = self.epoch.fetch_add(1, Ordering::Relaxed) + 1;
        let first = self.done.load(Ordering::Relaxed);
        let steps = first..first + self.coming();
        let total = steps.len() * self.parts;
        let passes = steps
            .flat_map(|step| (0..self.parts).map(move |part| (step, part)))
            .take_while(|(_, part)| *part > 0 || !self.stop.asked())
            .map(move |(step, part)| {
                self.done.store(step + 1, Ordering::Relaxed);
                lock(&self.history).ends.insert(epoch, step + 1);
                self.passes.pass(step, part)
            });
        lock(&self.history).ends.insert(epoch, first);
        Box::new(Iter {
            passes: Box::new(passes),
            given: 0,
            total,
        })
    }

    fn num_items(&self) -> usize {
        self.coming() * self.parts
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Vec<Batch>>> {
        // Passes are made on the host; the learner moves them to its device.
        Arc::new(self.clone())
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<Vec<Batch>>> {
        unreachable!("only strategies for several devices cut loaders up")
    }
}

impl DataLoader<Vec<Batch>> for ValidLoader {
    fn iter<'a>(&'a self) -> Box<dyn DataLoaderIterator<Vec<Batch>> + 'a> {
        let total = self.num_items();
        Box::new(Iter {
            passes: Box::new(self.passes[..total].iter().map(|batch| vec![batch.clone()])),
            given: 0,
            total,
        })
    }

    fn num_items(&self) -> usize {
        match self.done.load(Ordering::Relaxed) == self.steps {
            true => self.passes.len(),
            false => 0,
        }
    }

    fn to_device(&self, _: &Device) -> Arc<dyn DataLoader<Vec<Batch>>> {
        Arc::new(self.clone())
    }

    fn slice(&self, _: usize, _: usize) -> Arc<dyn DataLoader<Vec<Batch>>> {
        unreachable!("only strategies for several devices cut loaders up")
    }
}
