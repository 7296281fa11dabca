//! What a fit learns from.

use super::sample::Spread;
use super::searched::NEW;
use crate::recipe::{Mode, Recipe};
use crate::train::crowds;
use crate::train::fit_value::Kind;
use serde::Serialize;
use std::collections::BTreeMap;

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
    pub(super) fn assumed(
        per_question: f64,
        tokens: Spread,
        prompt: f64,
        siblings: usize,
    ) -> Texts {
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
