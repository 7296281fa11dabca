//! Worked examples for the base model.

use super::source::Source;
use super::story::MAX_STEPS;
use crate::task::Worked;
use crate::task::class::Class;
use serde::{Deserialize, Serialize};

/// Parameters of the pretraining examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pretraining {
    /// Weights of stories with 1 to 5 steps; they need not sum to one. Short stories first teach
    /// arithmetic sooner. Default 5, 5, 1, 0.2, 0.1 (the first stage; the second is uniform).
    pub step_weights: [f64; MAX_STEPS],
    /// Probability that an event uses a rare word. 0 to 1. Default 0 (the first stage; the second
    /// has 0.005).
    pub rare: f64,
}

impl Default for Pretraining {
    fn default() -> Self {
        Self {
            step_weights: [5.0, 5.0, 1.0, 0.2, 0.1],
            rare: 0.0,
        }
    }
}

/// `n` different worked examples of the pretraining class, all of them right.
pub fn pretraining(seed: u64, n: usize, params: &Pretraining) -> Vec<Worked> {
    let mut source = Source::new(Class::Pretraining, seed, params.step_weights, params.rare);
    (0..n)
        .map(|_| {
            let story = source.next_story();
            Worked {
                question: story.question,
                solution: story.solution,
            }
        })
        .collect()
}

/// The text that the tokenizer is trained on: `n` questions with solutions, all step counts alike,
/// no rare words. 5,000 give all merges.
pub fn tokenizer_text(seed: u64, n: usize) -> Vec<String> {
    let params = Pretraining {
        step_weights: [1.0; MAX_STEPS],
        rare: 0.0,
    };
    pretraining(seed, n, &params)
        .into_iter()
        .map(|worked| format!("{}\n{}", worked.question, worked.solution))
        .collect()
}
