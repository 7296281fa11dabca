//! Peak memory of a train phase, from the types and from what a pass keeps for its way back.

use super::accounts::{LISTS, Part, fullest, part};
use super::plan::{FitPlan, Lessons, Plan};
use super::sample::Spread;
use super::shape::{FLOAT, Fit};
use crate::train::LOGITS_AT_ONCE;

/// What a fit of the smallest model holds besides its passes: the threads of burn-train and rayon with
/// pages of the allocator each, and their code. The part of a fit's peak that did not change with the
/// rows of its passes, in six variations of the bundled recipes: 90 to 115 MB.
const FITTING: f64 = 100e6;

/// Where between the mean and the longest text the rows of a long pass lie: the bundled recipes and
/// variations of their batches were met within 20% with a quarter.
const LONG: f64 = 0.25;

/// Rows in a pass that computes the hidden states for a head, and in one that judges a value.
const ROWS_WITHOUT_GRADIENT: f64 = 64.0;

impl Plan<'_> {
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
