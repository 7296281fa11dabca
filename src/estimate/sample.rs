//! What a question takes: measured on a few of them, or assumed from the recipe's limits.

use super::helpers::Helpers;
use super::methods::{Method, methods};
use super::searched::{Forwarded, TEXT, finished};
use super::shape::{Fit, Shape};
use super::texts::{Texts, siblings};
use super::trial::Pace;
use crate::recipe::Recipe;
use serde::Serialize;

/// Bytes of a node on disk, plus those of each of its continuations: 15 to 40 in all at 5
/// continuations, measured on the bundled recipes.
const NODE_BYTES: (f64, f64) = (6.0, 3.0);

/// A number of each question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    pub mean: f64,
    /// The mean weighted by the number itself. Work in hand at some moment is of this size: long work
    /// is in hand for longer.
    pub heavy: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(numbers: impl Iterator<Item = f64>) -> Spread {
        let (mut count, mut sum, mut squares, mut max) = (0.0, 0.0, 0.0, 0.0f64);
        for number in numbers {
            count += 1.0;
            sum += number;
            squares += number * number;
            max = max.max(number);
        }
        Spread {
            mean: sum / f64::max(count, 1.0),
            heavy: if sum > 0.0 { squares / sum } else { 0.0 },
            max,
        }
    }

    /// The same number everywhere.
    pub fn even(number: f64) -> Spread {
        Spread {
            mean: number,
            heavy: number,
            max: number,
        }
    }
}

/// Wall times, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// Of a token of a prompt, alone in its step.
    pub prefill: f64,
    /// Of a token that is decoded, beside others.
    pub decoded: f64,
    /// Of a searched train question, beside others.
    pub tree: f64,
    /// Of an evaluated question by all methods, beside others.
    pub question: f64,
    /// Of a forwarded token of each fit, its way back included.
    pub fits: Vec<(Fit, f64)>,
}

/// What a question takes, in the mean.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Sample {
    /// Questions whose search was measured; 0 where everything is assumed.
    pub searched: usize,
    /// Tokens of a prompt.
    pub prompt: Spread,
    /// Tokens that the search of a train question forwards through the policy and that keep their slots.
    pub tree: Spread,
    /// Those whose slots are given back at once: of texts that are drawn anew, for one.
    pub passing: f64,
    /// Those that other checkpoints forward, in tokens of the policy of the same cost.
    pub helped: f64,
    /// Nodes of its tree.
    pub nodes: f64,
    /// Bytes of its tree on disk.
    pub tree_bytes: f64,
    /// What values are learned from.
    pub values: Texts,
    /// What the policy is learned from.
    pub solutions: Texts,
    /// The methods of the evaluation.
    pub methods: Vec<Method>,
    /// What was timed.
    pub seconds: Option<Seconds>,
}

impl Sample {
    /// Typical shares of the recipe's limits, for prompts as they are.
    pub(super) fn assumed(recipe: &Recipe, prompt: Spread, helpers: &Helpers) -> Sample {
        let search = &recipe.collect.search;
        let limited = |limit: usize, found: f64| match limit {
            0 => found,
            limit => found.min(limit as f64),
        };
        let (limit, forwarded, found) = match recipe.collect.draws {
            0 => (
                search.max_new_tokens as f64,
                Forwarded::training(search, prompt.mean, helpers),
                limited(search.stop.terminals, finished(search)),
            ),
            draws => {
                let limit = recipe.collect.sampling.max_new_tokens as f64;
                let forwarded = Forwarded {
                    held: prompt.mean + TEXT * draws as f64 * limit,
                    ..Forwarded::default()
                };
                (limit, forwarded, draws as f64)
            }
        };
        let text = TEXT * limit;
        let tree = forwarded.held;
        let longest = prompt.max + limit;
        let tokens = Spread {
            mean: prompt.mean + text,
            heavy: prompt.heavy + text,
            max: longest,
        };
        let k = search.top_k as f64;
        let (values, solutions) = siblings(recipe);
        Sample {
            searched: 0,
            prompt,
            tree: Spread::even(tree),
            passing: forwarded.passing,
            helped: forwarded.helped,
            nodes: tree,
            tree_bytes: tree * (NODE_BYTES.0 + NODE_BYTES.1 * k),
            values: Texts::assumed(
                limited(recipe.traces.trajectories, found),
                tokens,
                prompt.mean,
                values,
            ),
            solutions: Texts::assumed(
                0.6 * limited(recipe.traces.solutions, found / 2.0),
                tokens,
                prompt.mean,
                solutions,
            ),
            methods: methods(recipe, prompt, helpers, None),
            seconds: None,
        }
    }

    /// Slots that a search of a train question sets aside.
    pub fn reserved(&self, recipe: &Recipe) -> f64 {
        let prompt = self.prompt.mean as usize;
        let limit = recipe.collect.sampling.max_new_tokens;
        let slots = match (recipe.collect.draws, recipe.collect.samples) {
            (0, 0) => recipe.collect.search.reserved_slots(prompt),
            (0, samples) => {
                let drawn = prompt + samples * (recipe.collect.search.max_new_tokens + 1);
                recipe.collect.search.reserved_slots(prompt).max(drawn)
            }
            (draws, _) => prompt + draws * (limit + 1),
        };
        slots as f64
    }

    /// Tokens that a searched question takes, with those of other checkpoints.
    pub fn tree_tokens(&self) -> f64 {
        self.tree.mean + self.passing + self.helped
    }

    /// Tokens that the policy forwards for an evaluated question.
    pub fn question_tokens(&self) -> f64 {
        self.methods.iter().map(|method| method.tokens).sum()
    }

    /// Tokens that other checkpoints forward for an evaluated question, in those of the policy.
    pub fn question_helped(&self) -> f64 {
        self.methods.iter().map(|method| method.helped).sum()
    }

    /// Tokens in an optimiser step of `fit`, padding not counted and nothing shared; for a head on a
    /// frozen trunk those of one trajectory.
    pub fn step_tokens(&self, fit: Fit, recipe: &Recipe) -> f64 {
        let (value, policy) = (self.values.tokens.mean, self.solutions.tokens.mean);
        match fit {
            Fit::Joint => {
                recipe.joint.value_batch as f64 * value + recipe.joint.policy_batch as f64 * policy
            }
            Fit::Value => recipe.value.batch as f64 * value,
            Fit::Policy => recipe.policy.batch as f64 * policy,
        }
    }

    /// Times that a few steps of the engine let expect.
    pub(super) fn timed(&mut self, recipe: &Recipe, shape: &Shape, pace: Pace) {
        let prefill = pace.prefill;
        let prompt = self.prompt.mean;
        let decoded = pace.step / pace.rows.max(1) as f64;
        let seconds = |tokens: f64| prompt * prefill + (tokens - prompt).max(0.0) * decoded;
        let tree = seconds(self.tree_tokens());
        let per_method = |method: &Method| seconds(method.tokens + method.helped);
        let fit_seconds = |fit: Fit| {
            // Two thirds of the work of a pass that moves every weight go backwards.
            let layers = shape.config.num_hidden_layers.max(1) as f64;
            let moved = shape.moved_layers(fit, recipe) / layers;
            prefill * (1.0 + 2.0 * moved)
        };
        self.seconds = Some(Seconds {
            prefill,
            decoded,
            tree,
            question: self.methods.iter().map(per_method).sum(),
            fits: super::shape::fits(recipe)
                .into_iter()
                .map(|fit| (fit, fit_seconds(fit)))
                .collect(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_work_is_in_hand_for_longer() {
        let spread = Spread::of([1.0, 3.0].into_iter());
        assert_eq!((spread.mean, spread.heavy, spread.max), (2.0, 2.5, 3.0));
        assert_eq!(Spread::of(std::iter::empty()), Spread::default());
    }

    #[test]
    fn limits_bound_what_is_assumed() {
        let mut recipe = Recipe::default();
        let few = Sample::assumed(&recipe, Spread::even(10.0), &Helpers::new());
        recipe.collect.search.simulations *= 2;
        recipe.evaluate.samples *= 2;
        let many = Sample::assumed(&recipe, Spread::even(10.0), &Helpers::new());
        assert!(many.tree.mean > 1.5 * few.tree.mean);
        assert!(many.methods[1].tokens > 1.9 * few.methods[1].tokens - 10.0);
        assert!(few.tree.mean <= few.reserved(&recipe));
        recipe.traces.trajectories = 3;
        assert_eq!(
            Sample::assumed(&recipe, Spread::even(10.0), &Helpers::new())
                .values
                .per_question,
            3.0
        );
    }
}
