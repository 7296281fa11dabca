//! Endless streams of different stories, one class of questions each.

use super::story::{self, MAX_STEPS, Story};
use crate::task::class::{Class, Shares, probability};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::HashSet;

/// Shares in percent: pretraining, train, dev, test.
const SHARES: Shares = Shares([60, 25, 5, 10]);

/// Stories of one class, without repetition. The sequence depends on the arguments of
/// [`Source::new`] alone, not on how it is asked for.
#[derive(Debug)]
pub(super) struct Source {
    class: Class,
    step_weights: [f64; MAX_STEPS],
    rare: f64,
    rng: ChaCha8Rng,
    seen: HashSet<String>,
}

impl Source {
    /// `step_weights[i]` is the weight of stories with `i + 1` steps; `rare` is the probability
    /// that an event uses a rare word.
    pub fn new(class: Class, seed: u64, step_weights: [f64; MAX_STEPS], rare: f64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(class as u64);
        Self {
            class,
            step_weights,
            rare: probability(rare),
            rng,
            seen: HashSet::new(),
        }
    }

    /// The next story. The number of steps is drawn first and kept while stories are refused, so
    /// that the classes do not bend its distribution.
    pub fn next_story(&mut self) -> Story {
        let steps = story::weighted(&mut self.rng, &self.step_weights) + 1;
        loop {
            if let Some(story) = story::attempt(&mut self.rng, steps, self.rare)
                && SHARES.class(&story.question) == self.class
                && self.seen.insert(story.question.clone())
            {
                return story;
            }
        }
    }
}
