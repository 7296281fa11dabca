//! The numbers that all accounts of a run start from.

use super::helpers::Helpers;
use super::sample::Sample;
use super::shape::{FLOAT, Fit, Shape, fits};
use super::texts::Texts;
use crate::engine::Slot;
use crate::model::Config;
use crate::recipe::{Mode, Recipe};
use crate::train::fit_policy::Method;
use crate::train::fit_value::Kind;
use crate::train::{piece_count, step_count};

/// The process with a small model, before it works: the program's code, the questions, the
/// tokenizer. Used where it cannot be looked at. 45 MB with the bundled models.
const BASE: f64 = 45e6;

/// A run, its questions and the machine, as the accounts see them.
pub(super) struct Plan<'a> {
    pub recipe: &'a Recipe,
    pub shape: Shape,
    pub sample: &'a Sample,
    /// Other checkpoints that searches ask.
    pub helpers: Helpers,
    /// Questions of an evaluation.
    pub held_out: f64,
    /// Bytes of this process with the first model in it.
    pub base: f64,
    /// Bytes of the tokenizer's files.
    pub tokenizer_files: f64,
    /// Bytes that can still be had.
    pub available: f64,
    /// Whether tensors lie in main memory.
    pub host: bool,
    /// Threads that work on the pieces of a pass.
    pub threads: usize,
}

/// What the fits of an iteration learn from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lessons {
    /// Searched questions.
    pub trees: f64,
    /// Trajectories with values.
    pub values: f64,
    /// Right solutions.
    pub solutions: f64,
}

/// One fit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct FitPlan {
    pub fit: Fit,
    pub steps: f64,
    /// Rows of a pass.
    pub rows: f64,
    /// Trajectories that go through the network without gradients: all for a head on a frozen trunk,
    /// else those of the questions that are held out.
    pub judged: f64,
    /// Pieces that a pass is cut into.
    pub pieces: usize,
    /// Tokens that it forwards, padding not counted.
    pub tokens: f64,
    /// Steps between checkpoints; 0 for none.
    pub checkpoint_every: usize,
    /// Only the head moves: the trunk's states are computed once.
    pub frozen: bool,
}

impl<'a> Plan<'a> {
    /// For a model of this shape on the CPU of this machine.
    pub fn new(recipe: &'a Recipe, config: &Config, sample: &'a Sample) -> Plan<'a> {
        let shape = Shape::of(config, recipe);
        Plan {
            recipe,
            held_out: recipe.evaluate.questions as f64,
            base: BASE + shape.policy * FLOAT,
            tokenizer_files: 0.0,
            available: f64::INFINITY,
            host: true,
            threads: rayon::current_num_threads(),
            shape,
            sample,
            helpers: Helpers::new(),
        }
    }

    /// Bytes of the networks that a checkpoint of the run brings.
    pub fn checkpoint(&self) -> f64 {
        (self.shape.policy + self.shape.trunk + self.shape.head) * FLOAT
    }

    /// Slots that the engine's pool holds.
    pub fn capacity(&self, nets: f64) -> f64 {
        let slots = match self.recipe.engine.kv_slots {
            0 if self.host => (self.available / 2.0 / (nets * self.shape.slot_bytes())).max(1024.0),
            0 => 8.0 * 1024f64.powi(3) / (nets * self.shape.slot_bytes()),
            slots => slots as f64,
        };
        slots.min(Slot::MAX as f64)
    }

    /// Whether the value net has a trunk of its own at the start of `iteration`.
    pub fn two_nets(&self, trained: bool) -> bool {
        trained && self.shape.trunk > 0.0
    }

    pub fn lessons(&self, iteration: u32) -> Lessons {
        let past = match self.recipe.traces.window as u32 {
            0 => iteration,
            window => iteration.min(window),
        };
        let trees = f64::from(past) * self.searched();
        Lessons {
            trees,
            values: trees * self.sample.values.per_question,
            solutions: trees * self.sample.solutions.per_question,
        }
    }

    /// The fits of `iteration`, in their order.
    pub fn fits(&self, iteration: u32) -> Vec<FitPlan> {
        let lessons = self.lessons(iteration);
        fits(self.recipe)
            .into_iter()
            .map(|fit| self.fit(fit, lessons))
            .collect()
    }

    fn fit(&self, fit: Fit, lessons: Lessons) -> FitPlan {
        let recipe = self.recipe;
        let frozen = fit == Fit::Value && recipe.value.kind == Kind::Head;
        // The parameters of the fits are types of their own with the same fields.
        macro_rules! shared {
            ($params:expr, $batch:ident) => {{
                let p = $params;
                let every = p.checkpoint_every;
                (
                    p.steps,
                    p.epochs,
                    p.$batch,
                    p.accumulation,
                    every,
                    p.validation,
                )
            }};
        }
        let (steps, epochs, batch, parts, every, validation) = match fit {
            Fit::Joint => shared!(&recipe.joint, value_batch),
            Fit::Value => shared!(&recipe.value, batch),
            Fit::Policy => shared!(&recipe.policy, batch),
        };
        let (all, held_out) = match fit {
            Fit::Joint | Fit::Value => (lessons.values, validation),
            Fit::Policy => (lessons.solutions, 0.0),
        };
        let examples = (all * (1.0 - validation)).max(1.0);
        let steps = step_count(steps, epochs, examples as usize, batch) as f64;
        let batch = (batch as f64).min(examples);
        // The solutions of a joint fit share the passes of its trajectories.
        let beside = match recipe.learn.mode {
            Mode::Joint => (recipe.joint.policy_batch as f64).min(lessons.solutions.max(1.0)),
            Mode::Separate => 0.0,
        };
        let (values, solutions) = (&self.sample.values, &self.sample.solutions);
        let step_tokens = match fit {
            Fit::Policy => self.forwarded(
                solutions,
                batch,
                lessons,
                recipe.policy.method != Method::Lora,
            ),
            Fit::Joint | Fit::Value => {
                self.forwarded(values, batch, lessons, true)
                    + self.forwarded(solutions, beside, lessons, true)
            }
        };
        let rows = ((batch + beside) / parts.max(1) as f64).max(1.0);
        let trained = if fit == Fit::Value {
            self.shape.trunk
        } else {
            self.shape.policy
        };
        FitPlan {
            fit,
            steps,
            rows,
            judged: lessons.values * if frozen { 1.0 } else { held_out },
            pieces: piece_count(self.host, trained as usize, rows as usize),
            tokens: match frozen {
                true => self.forwarded(values, lessons.values, lessons, true),
                false => steps * step_tokens,
            },
            checkpoint_every: every,
            frozen,
        }
    }

    /// Tokens of a pass over `count` of all `texts`. Where gradients are not those of the CPU's own, each is
    /// a sequence of its own.
    fn forwarded(&self, texts: &Texts, count: f64, lessons: Lessons, own: bool) -> f64 {
        let all = lessons.trees * texts.per_question;
        match self.host && own && all > 0.0 {
            true => lessons.trees * texts.forwarded((count / all).min(1.0)),
            false => count * texts.tokens.mean,
        }
    }
}

impl FitPlan {
    /// What makes a pass smaller.
    pub fn batch_knobs(&self) -> &'static str {
        match self.fit {
            Fit::Joint => "joint.accumulation (up), joint.policy_batch or joint.value_batch",
            Fit::Value => "value.accumulation (up) or value.batch",
            Fit::Policy => "policy.accumulation (up) or policy.batch",
        }
    }

    /// What makes the moved weights fewer.
    pub fn moved_knobs(&self) -> &'static str {
        match self.fit {
            Fit::Joint => "joint.last_layers",
            Fit::Value => "value.last_layers, or value.kind = \"head\"",
            Fit::Policy => "policy.last_layers, or policy.method = \"lora\"",
        }
    }

    /// What leaves the checkpoints inside the fit out.
    pub fn checkpoint_knob(&self) -> &'static str {
        match self.fit {
            Fit::Joint => "joint.checkpoint_every = 0",
            Fit::Value => "value.checkpoint_every = 0",
            Fit::Policy => "policy.checkpoint_every = 0",
        }
    }
}
