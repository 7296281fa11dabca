//! A value blended with what the policy's own probabilities say of the text so far.

use super::calibration::logit_of;
use crate::tree::entropy;
use serde::{Deserialize, Serialize};

/// Log-probabilities below this count as this.
const FLOOR: f32 = -20.0;

/// Numbers that a [`Blend`] weighs.
pub const FEATURES: usize = 6;

/// What the log-probabilities of a solution's tokens so far come to. Pushed in the order of the text, they
/// give the same whoever pushes them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Trail {
    tokens: u32,
    sum: f64,
    least: f32,
    last: f32,
}

impl Trail {
    /// Goes on by a token with this log-probability over the full vocabulary, at temperature 1.
    pub fn push(&mut self, log_prob: f32) {
        let log_prob = log_prob.max(FLOOR);
        self.least = match self.tokens {
            0 => log_prob,
            _ => self.least.min(log_prob),
        };
        self.tokens += 1;
        self.sum += f64::from(log_prob);
        self.last = log_prob;
    }

    /// The features of a text with these tokens: the logit of the net's `value` of it; the mean of the
    /// log-probabilities, the least and the last of them, 0 before the first token; the entropy in nats of
    /// the next token, as two outcomes, the most probable one with log-probability `next` and all others,
    /// which is what every way of decoding knows; `ln(1 + tokens)`.
    pub fn features(&self, value: f32, next: f32) -> [f64; FEATURES] {
        let tokens = f64::from(self.tokens);
        [
            logit_of(value.into()),
            self.sum / tokens.max(1.0),
            self.least.into(),
            self.last.into(),
            entropy(&[next]),
            tokens.ln_1p(),
        ]
    }
}

/// A logistic regression on the features of a text ([`Trail::features`]), fitted on held-out questions:
/// `bias` and a weight for each.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Blend {
    pub bias: f64,
    pub logit: f64,
    pub mean_log_prob: f64,
    pub least_log_prob: f64,
    pub last_log_prob: f64,
    pub entropy: f64,
    pub log_tokens: f64,
}

impl Blend {
    /// The regression with these weights, in the order of the features.
    pub fn new(bias: f64, weights: [f64; FEATURES]) -> Blend {
        let [logit, mean, least, last, entropy, tokens] = weights;
        Blend {
            bias,
            logit,
            mean_log_prob: mean,
            least_log_prob: least,
            last_log_prob: last,
            entropy,
            log_tokens: tokens,
        }
    }

    /// The weights, in the order of the features.
    pub fn weights(&self) -> [f64; FEATURES] {
        [
            self.logit,
            self.mean_log_prob,
            self.least_log_prob,
            self.last_log_prob,
            self.entropy,
            self.log_tokens,
        ]
    }

    /// The value in (-1, 1) of a text with these features.
    pub fn value(&self, features: &[f64; FEATURES]) -> f32 {
        let weighed = self.weights().into_iter().zip(features);
        let logit = weighed.fold(self.bias, |sum, (weight, x)| sum + weight * x);
        (0.5 * logit).tanh() as f32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn features_of_hand_made_numbers() {
        let mut trail = Trail::default();
        let start = trail.features(0.0, 0.5f32.ln());
        assert_eq!(start[..4], [0.0; 4]);
        assert!((start[4] - 2f64.ln()).abs() < 1e-7);
        assert_eq!(start[5], 0.0);
        for log_prob in [-0.5, -3.0, -0.25, f32::NEG_INFINITY] {
            trail.push(log_prob);
        }
        let found = trail.features(0.5f32.tanh(), 0.25f32.ln());
        let entropy = 0.25 * 4f64.ln() + 0.75 * (4.0 / 3.0f64).ln();
        let expected = [1.0, -23.75 / 4.0, -20.0, -20.0, entropy, 5f64.ln()];
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        }
    }

    #[test]
    fn a_value_is_that_of_the_weighed_logit() {
        let blend = Blend::new(0.5, [2.0, 1.0, 0.0, -1.0, 0.5, 0.25]);
        assert_eq!(blend.weights(), [2.0, 1.0, 0.0, -1.0, 0.5, 0.25]);
        // 0.5 + 2 - 3 + 1 + 0.1 + 0.5 = 1.1
        let found = blend.value(&[1.0, -3.0, -9.0, -1.0, 0.2, 2.0]);
        assert!((found - 0.55f32.tanh()).abs() < 1e-6, "{found}");
    }
}
