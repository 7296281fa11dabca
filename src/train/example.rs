//! What a fit learns from: token sequences with a target for each position that counts.

use super::error::Error;
use super::pull::Pull;
use crate::model::Config;

/// A trajectory with a target at every position of it, so that one pass trains every prefix.
///
/// The head reads the hidden state at position `p` and predicts the mean return of the prefix that
/// ends there (`tokens[..=p]`).
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct ValueExample {
    /// Prompt and solution.
    pub tokens: Vec<u32>,
    /// Position that `targets[0]` belongs to: the last prompt token.
    pub first: usize,
    /// Mean returns in [-1, 1]; `targets[i]` belongs to position `first + i`.
    pub targets: Vec<f32>,
    /// Visits behind each target; a position of weight 0 is left out.
    pub weights: Vec<f32>,
    /// Identity of the question, for splits and for ranking within a question.
    pub question: u64,
    /// Return of the trajectory itself, +1 or -1.
    pub outcome: f32,
    /// At the position of each target the log-probability of its own token, 0 at the first, and that of the
    /// most probable next token, by the policy that made the trace. Empty where nobody asks for them, and
    /// where the trace does not begin at the prompt.
    pub probabilities: Vec<[f32; 2]>,
}

/// A solution to imitate.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct PolicyExample {
    /// Prompt and solution, the stop token included.
    pub tokens: Vec<u32>,
    /// Number of prompt tokens: the loss is on predicting `tokens[first..]`.
    pub first: usize,
    /// Weight of each of its tokens in the loss.
    pub weight: f32,
    /// Identity of the question, for splits.
    pub question: u64,
    /// What is wanted after some positions instead of the tokens that follow; empty to imitate the
    /// solution.
    pub aims: Vec<Aim>,
}

/// A wanted continuation; those of a position that are imitated share a weight of 1.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Aim {
    /// Index of the token after which it is wanted.
    pub position: u32,
    pub token: u32,
    pub share: f32,
    pub pull: Pull,
}

impl ValueExample {
    /// Number of leading tokens that the targets need.
    pub fn needed(&self) -> usize {
        self.first + self.targets.len()
    }

    /// Checks that the example fits itself and the model.
    ///
    /// # Errors
    /// [`Error::Example`] naming `index` and what is wrong.
    pub fn check(&self, fit: &'static str, index: usize, config: &Config) -> Result<(), Error> {
        let problem = if self.targets.is_empty() {
            "it has no targets".to_string()
        } else if self.targets.len() != self.weights.len() {
            format!(
                "it has {} targets but {} weights",
                self.targets.len(),
                self.weights.len()
            )
        } else if self.needed() > self.tokens.len() {
            format!(
                "its targets reach position {} of {} tokens",
                self.needed() - 1,
                self.tokens.len()
            )
        } else if let Some(t) = self.targets.iter().find(|t| !(-1.0..=1.0).contains(*t)) {
            format!("target {t} is outside [-1, 1]")
        } else if let Some(w) = self.weights.iter().find(|w| !(w.is_finite() && **w >= 0.0)) {
            format!("weight {w} is not a count of visits")
        } else {
            match tokens_problem(&self.tokens, config) {
                None => return Ok(()),
                Some(problem) => problem,
            }
        };
        Err(Error::Example {
            fit,
            index,
            question: self.question,
            problem,
        })
    }
}

impl PolicyExample {
    /// Checks that the example fits itself and the model.
    ///
    /// # Errors
    /// [`Error::Example`] naming `index` and what is wrong.
    pub fn check(&self, fit: &'static str, index: usize, config: &Config) -> Result<(), Error> {
        let problem = if self.first == 0 || self.first >= self.tokens.len() {
            format!(
                "{} of its {} tokens are prompt; it needs at least one prompt and one solution token",
                self.first,
                self.tokens.len()
            )
        } else if !(self.weight.is_finite() && self.weight > 0.0) {
            format!("its weight {} is not positive", self.weight)
        } else if let Some(aim) = self.aims.iter().find(|aim| {
            aim.position as usize + 1 >= self.tokens.len()
                || aim.token as usize >= config.vocab_size
                || !(aim.share.is_finite() && aim.share > 0.0)
        }) {
            format!(
                "a share of {} for token {} after position {} cannot be wanted of its {} tokens",
                aim.share,
                aim.token,
                aim.position,
                self.tokens.len()
            )
        } else {
            match tokens_problem(&self.tokens, config) {
                None => return Ok(()),
                Some(problem) => problem,
            }
        };
        Err(Error::Example {
            fit,
            index,
            question: self.question,
            problem,
        })
    }
}

fn tokens_problem(tokens: &[u32], config: &Config) -> Option<String> {
    if tokens.len() > config.max_position_embeddings {
        return Some(format!(
            "it has {} tokens, the model's context is {}",
            tokens.len(),
            config.max_position_embeddings
        ));
    }
    let token = tokens.iter().find(|t| **t as usize >= config.vocab_size)?;
    Some(format!(
        "token {token} is not in the model's vocabulary of {}",
        config.vocab_size
    ))
}

/// Whether a question belongs to the held-out `fraction`.
///
/// The same question and seed fall on the same side in every iteration, and with them all
/// trajectories of the question.
pub fn is_held_out(question: u64, fraction: f64, seed: u64) -> bool {
    let unit = (mix(question ^ mix(seed)) >> 11) as f64 / (1u64 << 53) as f64;
    unit < fraction
}

/// SplitMix64's finaliser (Steele et al., 2014): a hash that is the same on every machine.
pub(super) fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fraction_is_met_and_the_seed_matters() {
        let held_out = |fraction, seed| -> Vec<u64> {
            (0..1000)
                .filter(|&q| is_held_out(q, fraction, seed))
                .collect()
        };
        let some = held_out(0.2, 7);
        assert!((150..250).contains(&some.len()), "{}", some.len());
        assert_ne!(some, held_out(0.2, 8));
        // A larger fraction holds out the same questions and more.
        let more = held_out(0.5, 7);
        assert!(some.iter().all(|q| more.contains(q)));
        assert!(held_out(0.0, 7).is_empty());
    }
}
