//! Peak memory of a phase: what is held at once at each of its moments, item by item.
//!
//! The constants are of two kinds: sizes that follow from types and from what a pass keeps for its
//! way back, and three shares for what no type tells (allocator, growth of buffers), which were
//! measured on the bundled recipes and variations of them.

use super::plan::{FitPlan, Lessons, Plan};
use super::sample::Spread;
use super::shape::{FLOAT, Fit};
use crate::engine::Weights;
use crate::trace::NodeRecord;
use crate::train::LOGITS_AT_ONCE;
use serde::Serialize;

/// Threads, the pools of polars and the code that a phase is the first to use: 72 MB were resident
/// after one question with a model of 2 MB, 45 MB before.
const RUNTIME: f64 = 27e6;

/// What a fit of the smallest model holds besides its passes: the threads of burn-train and rayon with
/// pages of the allocator each, and their code. The part of a fit's peak that did not change with the
/// rows of its passes, in six variations of the bundled recipes: 90 to 115 MB.
const FITTING: f64 = 100e6;

/// What of that the allocator does not give back after a train phase, and after the few steps that are
/// timed before a run: 50 to 90 and 15 to 45 MB.
const FITTED: f64 = 60e6;
const TRIED: f64 = 25e6;

/// What buffers that grow by halves hold above what is used, in the mean.
const GROWTH: f64 = 1.25;

/// How much more that is in an evaluation that goes on with new questions for long: outgrown buffers
/// linger. 1.1 to 1.3 in all without, 1.6 to 1.8 with twice as many questions as workers.
const TURNOVER: f64 = 0.5;

/// Questions with several rows each that are in work at once, in shares of those that fill a step: a
/// question keeps its slots until its last text ends, and its texts start and end one by one.
const FED: f64 = 3.0;

/// What lists that double hold above what is used, in the mean, and the allocator's size classes.
const LISTS: f64 = 1.3;

/// Bytes of a node of a search tree, and of each of its continuations: the tree's arena and the engine's
/// output that it was made from.
const NODE: (f64, f64) = (96.0, 24.0);

/// Bytes of a row of a shard as a data frame, of each number in its three lists, and the same once more
/// for the file's pages.
const ROW: (f64, f64) = (120.0, 12.0);

/// Where between the mean and the longest text the rows of a long pass lie: the bundled recipes and
/// variations of their batches were met within 20% with a quarter.
const LONG: f64 = 0.25;

/// Rows in a pass that computes the hidden states for a head, and in one that judges a value.
const ROWS_WITHOUT_GRADIENT: f64 = 64.0;

/// What a phase holds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Part {
    pub what: &'static str,
    pub bytes: f64,
    /// What in the recipe makes it smaller; empty where nothing does.
    pub knobs: &'static str,
}

fn part(what: &'static str, bytes: f64, knobs: &'static str) -> Part {
    Part { what, bytes, knobs }
}

/// The parts of the moment that takes most.
fn fullest(moments: Vec<Vec<Part>>) -> Vec<Part> {
    moments
        .into_iter()
        .max_by(|a, b| sum(a).total_cmp(&sum(b)))
        .unwrap_or_default()
}

/// Bytes of all parts.
pub(super) fn sum(parts: &[Part]) -> f64 {
    parts.iter().map(|part| part.bytes).sum()
}

impl Plan<'_> {
    fn base(&self) -> Part {
        part(
            "program, first model and questions",
            self.base + RUNTIME,
            "",
        )
    }

    /// Bytes that are in main memory only where tensors are.
    fn on_host(&self, bytes: f64) -> f64 {
        if self.host { bytes } else { 0.0 }
    }

    /// A checkpoint of the run on its way in: its file is mapped while it is copied.
    fn loading(&self) -> Vec<Part> {
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
        let questions = recipe.collect.questions as f64;
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
        let search = vec![
            self.base(),
            self.cache(
                (busy * each.min(reserved)).min(capacity) * GROWTH,
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
        self.with_checkpoint(search, trained, valued)
    }

    /// The peak of evaluation.
    pub fn evaluating(&self, iteration: u32) -> Vec<Part> {
        let recipe = self.recipe;
        let trained = iteration > 0;
        let nets = if self.two_nets(trained) { 2.0 } else { 1.0 };
        let workers = (recipe.evaluate.workers as f64).min(self.held_out);
        let capacity = self.capacity(nets);
        let slots = self.sample.methods.iter().map(|method| {
            let busy = workers.min((capacity / method.reserved).floor().max(1.0));
            // A question with more rows than its share of a step holds its prompt and waits.
            let fed = busy.min(FED * recipe.engine.max_rows as f64 / method.rows);
            let prompts = (busy - fed) * self.sample.prompt.mean;
            (prompts + fed * method.tokens.min(method.reserved)).min(capacity)
        });
        let slots = slots.fold(0.0, f64::max);
        let growth = GROWTH + TURNOVER * (1.0 - workers / self.held_out.max(1.0));
        let rows = workers * recipe.evaluate.samples.max(recipe.evaluate.rank) as f64;
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
        let (engine, c) = (&self.recipe.engine, &self.shape.config);
        let rows = rows.min(engine.max_rows as f64);
        let tokens = (rows * prompt).min(engine.max_step_tokens as f64);
        let width = 4 * c.hidden_size + 2 * c.qkv_size() + 5 * c.intermediate_size;
        let judged = (rows * judged as f64).min(engine.max_step_tokens as f64);
        let logits = 2.0 * judged * c.vocab_size as f64;
        part(
            "a step of the engine",
            self.on_host((tokens * width as f64 + logits) * FLOAT),
            "engine.max_rows or engine.max_step_tokens",
        )
    }

    /// Bytes of a node of a trace in memory: three lists of `top_k` numbers beside it.
    fn record(&self) -> f64 {
        let list = (FLOAT * self.recipe.collect.search.top_k as f64 / 8.0).ceil() * 8.0;
        size_of::<NodeRecord>() as f64 * LISTS + 3.0 * list
    }

    /// The peak of training.
    pub fn training(&self, iteration: u32) -> Vec<Part> {
        let trained = iteration > 1;
        let lessons = self.lessons(iteration);
        let mut held = vec![
            self.base(),
            part("threads of the fits", FITTING, ""),
            part(
                "traces",
                lessons.trees * self.sample.nodes * self.record(),
                "collect.questions, collect.search.simulations or traces.window",
            ),
            part(
                "trajectories and solutions",
                self.examples(lessons),
                "traces.trajectories, traces.solutions or traces.window",
            ),
        ];
        let mut moments = Vec::new();
        if trained {
            moments.push(self.loading());
            held.push(part(
                "weights of the last checkpoint",
                self.on_host(self.checkpoint()),
                "",
            ));
        }
        for fit in self.fits(iteration) {
            let moved = self.on_host(self.shape.moved(fit.fit, self.recipe) * FLOAT);
            let with = |more: Vec<Part>| [held.clone(), more].concat();
            moments.push(with(vec![
                self.pass(&fit),
                part(
                    "moved weights, their gradients and moments",
                    4.0 * moved,
                    fit.moved_knobs(),
                ),
            ]));
            moments.push(with(vec![self.pass_without_gradient(&fit)]));
            if fit.checkpoint_every > 0 {
                let saved = if fit.frozen { 0.0 } else { self.net(&fit) } + 2.0 * moved;
                moments.push(with(vec![
                    part(
                        "moved weights and their moments",
                        3.0 * moved,
                        fit.moved_knobs(),
                    ),
                    part(
                        "a checkpoint of the fit",
                        2.0 * saved,
                        fit.checkpoint_knob(),
                    ),
                ]));
            }
            held.push(part("fitted weights", moved, fit.moved_knobs()));
        }
        moments.push(
            [
                held,
                vec![part(
                    "the checkpoint while it is written",
                    self.net_bytes(),
                    "",
                )],
            ]
            .concat(),
        );
        fullest(moments)
    }

    /// What writing a checkpoint takes: its networks go one after the other, each put together in the
    /// layout of the file, its largest matrix once more.
    fn net_bytes(&self) -> f64 {
        let c = &self.shape.config;
        let embedding = (c.vocab_size * c.hidden_size) as f64;
        (self.shape.policy.max(self.shape.trunk) + embedding) * FLOAT
    }

    /// Bytes of the network that `fit` trains, with its head.
    pub(super) fn net(&self, fit: &FitPlan) -> f64 {
        let trunk = match fit.fit {
            Fit::Value => self.shape.trunk,
            _ => self.shape.policy,
        };
        (trunk + self.shape.head) * FLOAT
    }

    /// What a fit learns from: the examples, and the fit's own copy of them.
    fn examples(&self, lessons: Lessons) -> f64 {
        let (values, solutions) = (&self.sample.values.tokens, &self.sample.solutions.tokens);
        let texts = (values.mean - self.sample.prompt.mean).max(0.0);
        let value = 128.0 + FLOAT * (values.mean + 2.0 * texts) * LISTS;
        let solution = 48.0 + FLOAT * solutions.mean * LISTS;
        2.0 * (lessons.values * value + lessons.solutions * solution)
    }

    /// What a pass keeps for its way back, for the pieces that are in work at once.
    fn pass(&self, fit: &FitPlan) -> Part {
        if fit.frozen {
            return self.pass_without_gradient(fit);
        }
        let c = &self.shape.config;
        let at_once = fit.pieces.min(self.threads) as f64 / fit.pieces.max(1) as f64;
        let time = self.longest(fit);
        let tokens = fit.rows * at_once * time;
        let (queries, keys) = (
            c.num_attention_heads * c.head_dim,
            c.num_key_value_heads * c.head_dim,
        );
        // Per token and layer: both norms keep their input, its scaled form and their output, the
        // rotations both factors, the gate its input, its activation and the product.
        let kept = 6 * c.hidden_size + 4 * queries + 4 * keys + 4 * c.intermediate_size;
        // Attention weights, which are kept, and three more of their size in the layer in work.
        let scores = c.num_attention_heads as f64 * time;
        let layers = self.shape.moved_layers(fit.fit, self.recipe);
        let work = self.layer_width() + 3.0 * scores;
        let tables = 2 * (queries + keys);
        let floats = tokens * (layers * (kept as f64 + scores) + work + tables as f64);
        let bytes = (floats + self.logits(fit, at_once)) * FLOAT;
        part("a pass of the fit", self.on_host(bytes), fit.batch_knobs())
    }

    /// Numbers of the layer in work that are not kept.
    fn layer_width(&self) -> f64 {
        let c = &self.shape.config;
        (4 * c.hidden_size + 2 * c.qkv_size() + 5 * c.intermediate_size) as f64
    }

    /// Logits of the positions that the policy learns: their log-softmax and both gradients with them.
    fn logits(&self, fit: &FitPlan, at_once: f64) -> f64 {
        if fit.fit == Fit::Value {
            return 0.0;
        }
        let texts = (self.sample.solutions.tokens.mean - self.sample.prompt.mean).max(1.0);
        let all = fit.rows * at_once * texts * self.shape.config.vocab_size as f64;
        4.0 * all.min(LOGITS_AT_ONCE as f64)
    }

    /// A pass of a fit that keeps nothing: over the trajectories for a head, or to judge a value.
    fn pass_without_gradient(&self, fit: &FitPlan) -> Part {
        let c = &self.shape.config;
        let time = self.longest(fit);
        let rows = ROWS_WITHOUT_GRADIENT.min(fit.judged);
        let tables = 2 * (c.num_attention_heads + c.num_key_value_heads) * c.head_dim;
        let scores = 3.0 * c.num_attention_heads as f64 * time;
        let pass = rows * time * (self.layer_width() + scores + tables as f64);
        let texts = (self.sample.values.tokens.mean - self.sample.prompt.mean).max(0.0);
        // The states of all positions, in pieces and once more put together.
        let states = match fit.frozen {
            true => 2.0 * fit.judged * texts * c.hidden_size as f64,
            false => 0.0,
        };
        part(
            "a pass over trajectories",
            self.on_host((pass + states) * FLOAT),
            "traces.trajectories, traces.window or collect.questions",
        )
    }

    /// Tokens of the rows of a long pass. Texts of like length share a pass, and the pieces of a pass
    /// are of different lengths: the longest text says too much, the mean too little.
    fn longest(&self, fit: &FitPlan) -> f64 {
        let long = |tokens: &Spread| tokens.heavy + LONG * (tokens.max - tokens.heavy);
        let values = long(&self.sample.values.tokens);
        let solutions = long(&self.sample.solutions.tokens);
        match fit.fit {
            Fit::Joint => values.max(solutions),
            Fit::Value => values,
            Fit::Policy => solutions,
        }
    }
}
