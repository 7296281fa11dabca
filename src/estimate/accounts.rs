//! Peak memory of a collection and of an evaluation: what is held at once at each of their moments, item by
//! item. The train phase is in [`super::fitting`], other checkpoints in [`super::helpers`].
//!
//! The constants are of two kinds: sizes that follow from types, and shares for what no type tells (allocator,
//! growth of buffers), which were measured on the bundled recipes and variations of them.

use super::methods::Method;
use super::plan::Plan;
use super::shape::FLOAT;
use crate::engine::{Params as EngineParams, Weights};
use crate::model::Config;
use crate::trace::NodeRecord;
use serde::Serialize;
use std::borrow::Cow;

/// Threads, the pools of polars and the code that a phase is the first to use: 72 MB were resident
/// after one question with a model of 2 MB, 45 MB before.
const RUNTIME: f64 = 27e6;

/// What of a fit's memory the allocator does not give back after a train phase, and after the few steps
/// that are timed before a run: 50 to 90 and 15 to 45 MB.
const FITTED: f64 = 60e6;
const TRIED: f64 = 25e6;

/// What buffers that grow by halves hold above what is used, in the mean.
pub(super) const GROWTH: f64 = 1.25;

/// How much more that is in an evaluation that goes on with new questions for long: outgrown buffers
/// linger. 1.1 to 1.3 in all without, 1.6 to 1.8 with twice as many questions as workers.
const TURNOVER: f64 = 0.5;

/// Questions with several rows each that are in work at once, in shares of those that fill a step: a
/// question keeps its slots until its last text ends, and its texts start and end one by one.
const FED: f64 = 3.0;

/// What lists that double hold above what is used, in the mean, and the allocator's size classes.
pub(super) const LISTS: f64 = 1.3;

/// Bytes of a node of a search tree, and of each of its continuations: the tree's arena and the engine's
/// output that it was made from.
const NODE: (f64, f64) = (96.0, 24.0);

/// Bytes of a row of a shard as a data frame, of each number in its three lists, and the same once more
/// for the file's pages.
const ROW: (f64, f64) = (120.0, 12.0);

/// What a phase holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    pub what: Cow<'static, str>,
    pub bytes: f64,
    /// What in the recipe makes it smaller; empty where nothing does.
    pub knobs: &'static str,
}

pub(super) fn part(what: impl Into<Cow<'static, str>>, bytes: f64, knobs: &'static str) -> Part {
    Part {
        what: what.into(),
        bytes,
        knobs,
    }
}

/// The parts of the moment that takes most.
pub(super) fn fullest(moments: Vec<Vec<Part>>) -> Vec<Part> {
    moments
        .into_iter()
        .max_by(|a, b| sum(a).total_cmp(&sum(b)))
        .unwrap_or_default()
}

/// Bytes of all parts.
pub(super) fn sum(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.bytes).sum()
}

/// What a step of an engine computes with: `rows` rows, each with the logits of up to `judged` tokens.
pub(super) fn step_bytes(
    c: &Config,
    engine: &EngineParams,
    rows: f64,
    judged: usize,
    prompt: f64,
) -> f64 {
    let rows = rows.min(engine.max_rows as f64);
    let tokens = (rows * prompt).min(engine.max_step_tokens as f64);
    let width = 4 * c.hidden_size + 2 * c.qkv_size() + 5 * c.intermediate_size;
    let judged = (rows * judged as f64).min(engine.max_step_tokens as f64);
    let logits = 2.0 * judged * c.vocab_size as f64;
    (tokens * width as f64 + logits) * FLOAT
}

impl Plan<'_> {
    pub(super) fn base(&self) -> Part {
        part(
            "program, first model and questions",
            self.base + RUNTIME,
            "",
        )
    }

    /// Bytes that are in main memory only where tensors are.
    pub(super) fn on_host(&self, bytes: f64) -> f64 {
        if self.host { bytes } else { 0.0 }
    }

    /// A checkpoint of the run on its way in: its file is mapped while it is copied.
    pub(super) fn loading(&self) -> Vec<Part> {
        let weights = self.checkpoint();
        vec![
            self.base(),
            part("weights of the last checkpoint", self.on_host(weights), ""),
            part("its file while it is read", weights, ""),
        ]
    }

    /// The peak of collection.
    pub fn collecting(&self, iteration: u32) -> Vec<Part> {
        let (recipe, sample) = (self.recipe, self.sample);
        let trained = iteration > 1;
        let valued = recipe.collect.search.tree.lambda < 1.0;
        let nets = if valued && self.two_nets(trained) {
            2.0
        } else {
            1.0
        };
        let questions = self.searched();
        let workers = (recipe.collect.workers as f64).min(questions);
        let capacity = self.capacity(nets);
        let reserved = sample.reserved(recipe);
        let busy = workers.min((capacity / reserved).floor().max(1.0));
        // Where many more questions follow than are in work at once, those in work are the long ones.
        let turnover = 1.0 - busy / questions.max(1.0);
        let each = sample.tree.mean + (sample.tree.heavy - sample.tree.mean) * turnover;
        let shard = (recipe.collect.shard as f64).min(questions);
        let waiting = (shard + busy).min(questions) * sample.nodes;
        let shard = shard * sample.nodes;
        let k = recipe.collect.search.top_k as f64;
        let slots = (busy * each.min(reserved)).max(self.writing_slots());
        let help = match recipe.collect.draws {
            0 => self.help(
                &recipe.collect.search.aides(),
                busy,
                recipe.collect.search.leaves,
                "collect.search.judges",
            ),
            _ => Vec::new(),
        };
        let search = vec![
            self.base(),
            self.cache(
                slots.min(capacity) * GROWTH,
                nets,
                "engine.kv_slots, collect.search.slots or collect.workers",
            ),
            self.step(
                workers,
                1 + recipe.collect.search.draft_tokens,
                sample.prompt.mean,
            ),
            part(
                "trees in work",
                busy * sample.nodes * LISTS * (NODE.0 + NODE.1 * k),
                "collect.search.simulations or collect.workers",
            ),
            part(
                "finished trees that wait for their file",
                waiting * self.record() + shard * (ROW.0 + ROW.1 * k),
                "collect.search.simulations, collect.shard or collect.workers",
            ),
        ];
        self.with_checkpoint([search, help].concat(), trained, valued)
    }

    /// The peak of evaluation.
    pub fn evaluating(&self, iteration: u32) -> Vec<Part> {
        let recipe = self.recipe;
        let trained = iteration > 0;
        let nets = if self.two_nets(trained) { 2.0 } else { 1.0 };
        let workers = (recipe.evaluate.workers as f64).min(self.held_out);
        let capacity = self.capacity(nets);
        let busy = |method: &Method| workers.min((capacity / method.reserved).floor().max(1.0));
        let slots = self.sample.methods.iter().map(|method| {
            let busy = busy(method);
            // A question with more rows than its share of a step holds its prompt and waits.
            let fed = busy.min(FED * recipe.engine.max_rows as f64 / method.rows);
            let prompts = (busy - fed) * self.sample.prompt.mean;
            (prompts + fed * method.tokens.min(method.reserved)).min(capacity)
        });
        let slots = slots.fold(0.0, f64::max);
        let growth = GROWTH + TURNOVER * (1.0 - workers / self.held_out.max(1.0));
        let rows = workers * recipe.evaluate.samples.max(recipe.evaluate.rank) as f64;
        // The helpers of a search go when it is done; what the pool has come to stays.
        let searches = recipe.evaluate.search.values();
        let help = searches
            .zip(self.sample.methods.iter().skip(2))
            .map(|(search, method)| {
                let judges = "the judges of evaluate.search";
                self.help(&search.aides(), busy(method), search.leaves, judges)
            });
        let search = vec![
            self.base(),
            self.cache(slots * growth, nets, "engine.kv_slots or evaluate.workers"),
            self.step(rows, 1, self.sample.prompt.mean),
            part(
                "trees in work",
                slots * LISTS * (NODE.0 + NODE.1 * 5.0),
                "evaluate.workers or evaluate.search",
            ),
        ];
        let search = [search, fullest(help.collect())].concat();
        self.with_checkpoint(search, trained, true)
    }

    /// Adds the checkpoint that the phase works with, unless reading it takes more.
    fn with_checkpoint(&self, mut work: Vec<Part>, trained: bool, valued: bool) -> Vec<Part> {
        if !trained {
            // A trained checkpoint is packed as it is given away; the run's first model stays, and a
            // matrix is copied out of it to be packed.
            let number = match self.recipe.engine.weights {
                Weights::Bf16 => FLOAT / 2.0,
                _ => FLOAT,
            };
            let config = &self.shape.config;
            let largest = (config.vocab_size * config.hidden_size) as f64 * FLOAT;
            work.push(part(
                "first model as the engine packs it",
                self.on_host(self.shape.policy * number + largest),
                "engine.weights",
            ));
            if self.sample.searched > 0 {
                work.push(part("what the measured steps leave", TRIED, ""));
            }
            return work;
        }
        let net = if valued {
            self.checkpoint()
        } else {
            self.shape.policy * FLOAT
        };
        work.push(part(
            "weights of the last checkpoint",
            self.on_host(net),
            "",
        ));
        work.push(part("what a fit leaves", FITTED, ""));
        fullest(vec![self.loading(), work])
    }

    /// Keys and values of `slots` tokens.
    fn cache(&self, slots: f64, nets: f64, knobs: &'static str) -> Part {
        let bytes = slots * nets * self.shape.slot_bytes();
        part("keys and values", self.on_host(bytes), knobs)
    }

    /// What a step of the engine computes with: `rows` rows, each with the logits of up to `judged` tokens.
    fn step(&self, rows: f64, judged: usize, prompt: f64) -> Part {
        let bytes = step_bytes(
            &self.shape.config,
            &self.recipe.engine,
            rows,
            judged,
            prompt,
        );
        part(
            "a step of the engine",
            self.on_host(bytes),
            "engine.max_rows or engine.max_step_tokens",
        )
    }

    /// Bytes of a node of a trace in memory: three lists of `top_k` numbers beside it.
    pub(super) fn record(&self) -> f64 {
        let list = (FLOAT * self.recipe.collect.search.top_k as f64 / 8.0).ceil() * 8.0;
        size_of::<NodeRecord>() as f64 * LISTS + 3.0 * list
    }
}
