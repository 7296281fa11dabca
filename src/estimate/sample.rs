//! What a question takes: measured on a few of them, or assumed from the recipe's limits.

use super::shape::{Fit, Shape};
use super::trial::Pace;
use crate::recipe::{Mode, Recipe};
use crate::search::GuidedForm;
use crate::train::crowds;
use crate::train::fit_value::Kind;
use serde::Serialize;
use std::collections::BTreeMap;

/// Length of a text in shares of the limit, where none was measured. The bundled recipes' texts
/// have 0.4 to 0.7 of theirs.
const TEXT: f64 = 0.55;

/// Share of a text that a simulation of a training search forwards anew, where none was measured: the
/// rest of its path is in the tree already. 0.35 in the quickstart's first collection.
const NEW: f64 = 0.35;

/// Tokens that a simulation under the value net forwards: its leaf, and single children on the way.
const GUIDED: f64 = 2.0;

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

/// What a fit learns from.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Texts {
    /// Texts of a searched question.
    pub per_question: f64,
    /// Tokens of one, prompt included.
    pub tokens: Spread,
    /// Tokens of a question's texts, each beginning that texts share once, by the number of texts, or of
    /// groups of texts that are drawn together, that go through them: pairs of this number and a count.
    pub crowds: Vec<(f64, f64)>,
}

impl Texts {
    /// Texts as they were found, with the number of searched questions: the question of each and its
    /// tokens, those of a question after each other. `siblings` of them are drawn together, all for 0.
    pub fn of(texts: &[(u64, &[u32])], questions: f64, siblings: usize) -> Texts {
        let most = if siblings == 0 { usize::MAX } else { siblings };
        let mut counts = BTreeMap::new();
        for tree in texts.chunk_by(|a, b| a.0 == b.0) {
            let groups: Vec<Vec<&[u32]>> = tree
                .chunks(most)
                .map(|group| group.iter().map(|(_, tokens)| *tokens).collect())
                .collect();
            for through in crowds(&groups) {
                *counts.entry(through).or_insert(0.0) += 1.0 / questions;
            }
        }
        Texts {
            per_question: texts.len() as f64 / questions,
            tokens: Spread::of(texts.iter().map(|(_, tokens)| tokens.len() as f64)),
            crowds: counts.into_iter().map(|(n, c)| (n as f64, c)).collect(),
        }
    }

    /// Texts of which `per_question` are expected, each of `tokens` after a prompt of `prompt`.
    fn assumed(per_question: f64, tokens: Spread, prompt: f64, siblings: usize) -> Texts {
        let together = match siblings {
            0 => per_question,
            some => (some as f64).min(per_question),
        };
        let groups = per_question / together.max(1.0);
        let text = (tokens.mean - prompt).max(0.0);
        // Of each text after the first a part is new, as it is of each simulation.
        let own = text * (1.0 + NEW * (per_question - 1.0).max(0.0));
        let group = text * (1.0 + NEW * (together - 1.0).max(0.0));
        let through = (groups * group / own.max(1.0)).max(1.0);
        let few = per_question.min(1.0);
        Texts {
            per_question,
            tokens,
            crowds: vec![(groups.max(1.0), few * prompt), (through, few * own)],
        }
    }

    /// Tokens that a pass over this share of all texts forwards for a question, in the mean, where what
    /// texts of a pass begin with together is forwarded once.
    pub fn forwarded(&self, share: f64) -> f64 {
        let missed = (1.0 - share).max(0.0);
        let met = |(through, tokens): &(f64, f64)| tokens * (1.0 - missed.powf(*through));
        self.crowds.iter().map(met).sum()
    }
}

/// How many texts of a question the fits draw together: trajectories, and solutions.
pub(super) fn siblings(recipe: &Recipe) -> (usize, usize) {
    match (recipe.learn.mode, recipe.value.kind) {
        (Mode::Joint, _) => (recipe.joint.siblings, 1),
        (Mode::Separate, Kind::Trunk) => (recipe.value.siblings, recipe.policy.siblings),
        // All states are computed once, before the fit.
        (Mode::Separate, Kind::Head) => (0, recipe.policy.siblings),
    }
}

/// What a method of the evaluation takes, per question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Method {
    /// Tokens forwarded by the policy; each takes a slot, of those set aside, until the question is
    /// answered.
    pub tokens: f64,
    /// Slots that are set aside.
    pub reserved: f64,
    /// Rows that want to advance at once.
    pub rows: f64,
}

/// Wall times, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Seconds {
    /// Of a token of a prompt, alone in its step.
    pub prefill: f64,
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
    /// Tokens that the search of a train question forwards through the policy.
    pub tree: Spread,
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
    pub fn assumed(recipe: &Recipe, prompt: Spread) -> Sample {
        let search = &recipe.collect.search;
        let text = TEXT * search.max_new_tokens as f64;
        let simulations = f64::from(search.simulations);
        let tree = prompt.mean + text * (1.0 + NEW * (simulations - 1.0).max(0.0));
        let limited = |limit: usize, found: f64| match limit {
            0 => found,
            limit => found.min(limit as f64),
        };
        let found = limited(search.stop.terminals, (simulations / 3.0).max(1.0));
        let longest = prompt.max + search.max_new_tokens as f64;
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
            methods: methods(recipe, prompt, None),
            seconds: None,
        }
    }

    /// Slots that a search of a train question sets aside.
    pub fn reserved(&self, recipe: &Recipe) -> f64 {
        let prompt = self.prompt.mean as usize;
        let drawn = match recipe.collect.samples {
            0 => 0,
            count => prompt + count * (recipe.collect.search.max_new_tokens + 1),
        };
        recipe.collect.search.reserved_slots(prompt).max(drawn) as f64
    }

    /// Tokens that the policy forwards for an evaluated question.
    pub fn question_tokens(&self) -> f64 {
        self.methods.iter().map(|method| method.tokens).sum()
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
        let tree = prompt * prefill + (self.tree.mean - prompt).max(0.0) * decoded;
        let per_method =
            |method: &Method| prompt * prefill + (method.tokens - prompt).max(0.0) * decoded;
        let fit_seconds = |fit: Fit| {
            // Two thirds of the work of a pass that moves every weight go backwards.
            let layers = shape.config.num_hidden_layers.max(1) as f64;
            let moved = shape.moved_layers(fit, recipe) / layers;
            prefill * (1.0 + 2.0 * moved)
        };
        self.seconds = Some(Seconds {
            prefill,
            tree,
            question: self.methods.iter().map(per_method).sum(),
            fits: super::shape::fits(recipe)
                .into_iter()
                .map(|fit| (fit, fit_seconds(fit)))
                .collect(),
        });
    }
}

/// The methods of an evaluation: greedy, draws, searches by name, draws that are ranked; with the tokens that each was seen
/// to take, or assumed ones.
pub(super) fn methods(recipe: &Recipe, prompt: Spread, seen: Option<&[f64]>) -> Vec<Method> {
    let params = &recipe.evaluate;
    let room = prompt.mean as usize;
    let draws = params.samples as f64;
    let limit = params.sampling.max_new_tokens as f64;
    let greedy = params.max_new_tokens as f64;
    let mut all = vec![
        Method {
            tokens: prompt.mean + TEXT * greedy,
            reserved: prompt.mean + greedy,
            rows: 1.0,
        },
        Method {
            tokens: prompt.mean + TEXT * draws * limit,
            reserved: prompt.mean + draws * (limit + 1.0),
            rows: draws,
        },
    ];
    all.extend(params.search.values().map(|search| {
        let text = TEXT * search.max_new_tokens as f64;
        let simulations = GUIDED * f64::from(search.simulations);
        Method {
            tokens: prompt.mean
                + match search.form {
                    GuidedForm::Whole => simulations + text,
                    GuidedForm::PerToken => simulations * text / 2.0,
                },
            reserved: search.reserved_slots(room) as f64,
            rows: search.leaves.max(1) as f64,
        }
    }));
    if params.rank > 0 {
        let draws = params.rank as f64;
        all.push(Method {
            tokens: prompt.mean + TEXT * draws * limit,
            reserved: prompt.mean + draws * (limit + 1.0),
            rows: draws,
        });
    }
    for (method, tokens) in all.iter_mut().zip(seen.into_iter().flatten()) {
        method.tokens = *tokens;
    }
    all
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
    fn a_pass_over_few_texts_shares_little_and_one_over_all_everything() {
        let texts: [(u64, &[u32]); 4] = [
            (1, &[1, 2, 3, 4]),
            (1, &[1, 2, 3, 5]),
            (2, &[1, 6]),
            (2, &[1, 6, 7]),
        ];
        let alone = Texts::of(&texts, 2.0, 1);
        assert_eq!((alone.per_question, alone.tokens.mean), (2.0, 3.25));
        // Five tokens of the first question and three of the second.
        assert!((alone.forwarded(1.0) - 4.0).abs() < 1e-9);
        // Of half the texts: 3 tokens of two texts and 2 of one, and 2 and 1.
        let half = (5.0 * 0.75 + 3.0 * 0.5) / 2.0;
        assert!((alone.forwarded(0.5) - half).abs() < 1e-9);
        // Hardly any text meets another: all tokens of 1% of the texts.
        assert!((alone.forwarded(0.01) / (0.01 * 6.5) - 1.0).abs() < 0.01);
        // Half of the pairs.
        let pairs = Texts::of(&texts, 2.0, 0);
        assert!((pairs.forwarded(0.5) - 2.0).abs() < 1e-9);
        assert_eq!(pairs, Texts::of(&texts, 2.0, 2));
    }

    #[test]
    fn assumed_texts_that_are_drawn_together_share_more() {
        let tokens = Spread::even(70.0);
        let forwarded = |siblings| Texts::assumed(8.0, tokens, 50.0, siblings).forwarded(0.01);
        assert!((forwarded(1) / (0.08 * 70.0) - 1.0).abs() < 0.05);
        assert!(forwarded(4) < 0.5 * forwarded(1));
        assert!(forwarded(0) < 0.7 * forwarded(4));
        assert_eq!(forwarded(0), forwarded(9));
    }

    #[test]
    fn limits_bound_what_is_assumed() {
        let mut recipe = Recipe::default();
        let few = Sample::assumed(&recipe, Spread::even(10.0));
        recipe.collect.search.simulations *= 2;
        recipe.evaluate.samples *= 2;
        let many = Sample::assumed(&recipe, Spread::even(10.0));
        assert!(many.tree.mean > 1.5 * few.tree.mean);
        assert!(many.methods[1].tokens > 1.9 * few.methods[1].tokens - 10.0);
        assert!(few.tree.mean <= few.reserved(&recipe));
        recipe.traces.trajectories = 3;
        assert_eq!(
            Sample::assumed(&recipe, Spread::even(10.0))
                .values
                .per_question,
            3.0
        );
    }
}
