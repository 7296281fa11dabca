//! The files of a collection, filled in the order of the problems while trees end in any order.

use super::gallery::Gallery;
use super::{Error, Params, Setting, Summary};
use crate::engine::Meter;
use crate::monitor::step_in;
use crate::trace::{self, Journal, Manifest, ShardEntry, TreeRecord};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

pub(super) struct Shards<'a> {
    setting: &'a Setting<'a>,
    dir: &'a Path,
    params: &'a Params,
    /// Records of a question.
    each: usize,
    /// Records in a file, those of a question together.
    size: usize,
    /// Records in all files.
    total: usize,
    start: Instant,
    written: Vec<ShardEntry>,
    /// Finished records whose file is not complete, by their place: the number of their problem times
    /// `each`, and their own.
    waiting: BTreeMap<usize, TreeRecord>,
    /// Where these are kept until it is.
    journal: Journal,
    summary: Summary,
    gallery: Gallery,
    meter: Meter,
}

impl<'a> Shards<'a> {
    /// Takes over what earlier processes left in `dir`. A damaged file is kept aside, and its trees
    /// are missing.
    pub fn open(
        setting: &'a Setting<'a>,
        dir: &'a Path,
        params: &'a Params,
        problems: usize,
    ) -> Result<Self, Error> {
        let each = params.records();
        let (size, total) = (params.shard.max(1) * each, problems * each);
        let (journal, finished) = Journal::open(dir)?;
        let mut shards = Shards {
            setting,
            dir,
            params,
            each,
            size,
            total,
            start: Instant::now(),
            written: Vec::new(),
            waiting: BTreeMap::new(),
            journal,
            summary: Summary::default(),
            gallery: Gallery::default(),
            meter: Meter::new(&setting.policy.engine),
        };
        for (index, (entry, trees)) in trace::written_shards(dir)?.into_iter().enumerate() {
            let from = index * size;
            match trees {
                Some(trees) if shards.written.len() == index => shards.close(entry, &trees),
                // Behind a damaged file: its trees are good, its place is not reached yet.
                Some(trees) => shards.waiting.extend((from..).zip(trees)),
                None => {}
            }
        }
        let unwritten = shards.written.len() * size..total;
        let finished = finished.into_iter().filter(|(i, _)| unwritten.contains(i));
        shards.waiting.extend(finished);
        shards.write_complete()?;
        Ok(shards)
    }

    /// Whether all records of problem `index` are there.
    pub fn has(&self, index: usize) -> bool {
        let first = index * self.each;
        let mut places = first..first + self.each;
        first < self.written.len() * self.size
            || places.all(|place| self.waiting.contains_key(&place))
    }

    /// Takes a record of problem `index`.
    pub fn add(&mut self, index: usize, tree: TreeRecord) -> Result<(), Error> {
        let place = index * self.each + usize::from(tree.is_samples());
        self.journal.append(place, &tree)?;
        let failure = tree.failure.clone().filter(|_| !tree.is_samples());
        let failure = failure.map(|reason| (tree.problem, reason));
        self.waiting.insert(place, tree);
        if let Some((question, reason)) = failure {
            tracing::warn!("question {question} could not be searched: {reason}");
            let waiting = self
                .waiting
                .values()
                .filter(|t| t.failure.is_some() && !t.is_samples())
                .count();
            let failed = self.summary.failed as usize + waiting;
            let total = self.total / self.each;
            if failed as f64 > self.params.max_failures * total as f64 {
                return Err(Error::Failures {
                    failed,
                    total,
                    limit: self.params.max_failures,
                    question,
                    reason,
                });
            }
        }
        self.write_complete()
    }

    /// Writes the files whose trees are all there.
    fn write_complete(&mut self) -> Result<(), Error> {
        let mut wrote = false;
        loop {
            let from = self.written.len() * self.size;
            let to = (from + self.size).min(self.total);
            if from >= to || self.waiting.range(from..to).count() < to - from {
                break;
            }
            let rest = self.waiting.split_off(&to);
            let trees: Vec<TreeRecord> = std::mem::replace(&mut self.waiting, rest)
                .into_values()
                .collect();
            let entry = trace::write_shard(self.dir, self.written.len() as u32, &trees)?;
            self.close(entry, &trees);
            Manifest::unfinished(self.written.clone()).write(self.dir)?;
            wrote = true;
        }
        if wrote {
            self.journal
                .reset(self.waiting.iter().map(|(index, tree)| (*index, tree)))?;
        }
        Ok(())
    }

    fn close(&mut self, entry: ShardEntry, trees: &[TreeRecord]) {
        for tree in trees {
            self.summary.count(tree);
            if !tree.is_samples() {
                self.gallery.add(tree, self.setting.tokenizer);
            }
        }
        self.written.push(entry);
        self.summary.seconds = self.start.elapsed().as_secs_f64();
        let (monitor, iteration) = (self.setting.monitor, self.setting.iteration);
        let step = step_in(iteration, self.written.len());
        self.summary.report(monitor, step);
        self.meter.report(monitor, step);
    }

    /// Declares the folder complete.
    pub fn finish(mut self) -> Result<Summary, Error> {
        Manifest::new(self.written).write(self.dir)?;
        self.journal.remove()?;
        self.summary.seconds = self.start.elapsed().as_secs_f64();
        let (monitor, iteration) = (self.setting.monitor, self.setting.iteration);
        self.gallery.report(monitor, iteration);
        Ok(self.summary)
    }
}
