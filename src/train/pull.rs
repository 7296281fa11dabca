//! What a policy's loss does to one row of logits: imitation, preference between two continuations, and
//! the clipped policy gradient. Losses and gradients are written by hand, in one place for all devices.

use crate::kernels::lanes::{exp_sum, max};
use serde::{Deserialize, Serialize};

/// How a row's logits are pulled towards, or away from, a token.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum Pull {
    /// Cross-entropy: `-ln p(token)`.
    #[default]
    Imitate,
    /// Direct preference of the token over `rival` after the same prefix (Rafailov et al. 2023, for one
    /// token): `-ln sigmoid(beta (ln p(token) / p(rival) - reference))`, `reference` being the same
    /// log-ratio under the reference policy.
    Prefer {
        rival: u32,
        reference: f32,
        beta: f32,
    },
    /// The clipped surrogate of PPO with GRPO's penalty (Schulman et al. 2017; Shao et al. 2024):
    /// `-min(r A, clip(r, 1 - clip, 1 + clip) A) + kl (e^d - d - 1)` with `r = p(token) / e^old` and
    /// `d = old - ln p(token)`: the policy that drew the token is the reference too.
    Push {
        advantage: f32,
        old: f32,
        clip: f32,
        kl: f32,
    },
}

/// What is wanted of a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Want {
    pub token: u32,
    pub pull: Pull,
}

impl Want {
    /// Plain imitation of `token`.
    pub fn imitate(token: u32) -> Want {
        Want {
            token,
            pull: Pull::Imitate,
        }
    }

    /// `weight` times the loss of a row of logits; leaves its gradient in the row.
    pub fn apply(&self, logits: &mut [f32], weight: f64) -> f64 {
        let token = self.token as usize;
        match self.pull {
            Pull::Imitate => {
                let log_prob = soften(logits, token, weight);
                -weight * log_prob
            }
            Pull::Prefer {
                rival,
                reference,
                beta,
            } => {
                let rival = rival as usize;
                let beta = f64::from(beta);
                // The normaliser of the softmax is in both and falls out.
                let ratio = f64::from(logits[token]) - f64::from(logits[rival]);
                let margin = beta * (ratio - f64::from(reference));
                let slope = weight * beta * sigmoid(-margin);
                logits.fill(0.0);
                logits[token] = -slope as f32;
                logits[rival] += slope as f32;
                weight * softplus(-margin)
            }
            Pull::Push {
                advantage,
                old,
                clip,
                kl,
            } => {
                let (advantage, clip, kl) = (f64::from(advantage), f64::from(clip), f64::from(kl));
                let peak = max(logits);
                let total = exp_sum(logits, peak);
                let log_prob = f64::from(logits[token] - peak) - total.ln();
                let ratio = (log_prob - f64::from(old)).exp();
                let clipped = ratio.clamp(1.0 - clip, 1.0 + clip);
                let free = ratio * advantage <= clipped * advantage;
                let gain = if free {
                    ratio * advantage
                } else {
                    clipped * advantage
                };
                let drift = f64::from(old) - log_prob;
                let penalty = drift.exp() - drift - 1.0;
                let slope = if free { -ratio * advantage } else { 0.0 } + kl * (1.0 - drift.exp());
                soften(logits, token, -weight * slope);
                weight * (kl * penalty - gain)
            }
        }
    }
}

/// The log-probability of `token`; leaves `weight` times the gradient of its negative in the row.
fn soften(logits: &mut [f32], token: usize, weight: f64) -> f64 {
    let peak = max(logits);
    let total = exp_sum(logits, peak);
    let log_prob = f64::from(logits[token] - peak) - total.ln();
    scaled_exp(logits, peak, (weight / total) as f32);
    logits[token] -= weight as f32;
    log_prob
}

#[inline(always)]
fn scaled_exp_body<const FMA: bool>(x: &mut [f32], top: f32, factor: f32) {
    for x in x {
        *x = crate::kernels::lanes::exp::<FMA>(*x - top) * factor;
    }
}

crate::kernels::lanes::dispatch!(scaled_exp, scaled_exp_body, (x: &mut [f32], top: f32, factor: f32));

fn sigmoid(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [0.3, -1.2, 2.0, 0.7, -0.4];

    fn log_prob(logits: &[f32], token: usize) -> f64 {
        let total: f64 = logits.iter().map(|&x| f64::from(x).exp()).sum();
        f64::from(logits[token]) - total.ln()
    }

    fn wants() -> Vec<Want> {
        let push = |advantage, shift: f32| Want {
            token: 3,
            pull: Pull::Push {
                advantage,
                old: log_prob(&LOGITS, 3) as f32 + shift,
                clip: 0.2,
                kl: 0.04,
            },
        };
        vec![
            Want::imitate(2),
            Want {
                token: 1,
                pull: Pull::Prefer {
                    rival: 2,
                    reference: -2.5,
                    beta: 0.3,
                },
            },
            push(1.3, 0.05),
            push(-0.7, 0.05),
            // Beyond the clip, on the side where it holds and on the one where it does not.
            push(1.0, -0.5),
            push(-1.0, -0.5),
        ]
    }

    #[test]
    fn gradients_are_those_of_finite_differences() {
        for want in wants() {
            let mut gradient = LOGITS;
            want.apply(&mut gradient, 0.8);
            for i in 0..LOGITS.len() {
                let at = |step: f32| {
                    let mut moved = LOGITS;
                    moved[i] += step;
                    want.apply(&mut moved, 0.8)
                };
                let slope = (at(5e-3) - at(-5e-3)) / 1e-2;
                let found = f64::from(gradient[i]);
                assert!(
                    (found - slope).abs() < 2e-4,
                    "{want:?} {i}: {found} {slope}"
                );
            }
        }
    }

    #[test]
    fn losses_are_those_of_the_formulas() {
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-6, "{a} instead of {b}");
        let [imitate, prefer, push, down, clipped, free] = wants()[..] else {
            panic!("six wants");
        };
        let of = |want: Want| want.apply(&mut LOGITS.clone(), 1.0);
        near(of(imitate), -log_prob(&LOGITS, 2));
        // beta (-1.2 - 2.0 + 2.5) = -0.21
        near(of(prefer), (1.0 + 0.21f64.exp()).ln());
        // Ratio e^-.05 and drift .05 for the first two; e^.5 and -.5 for the others.
        let penalty = |d: f64| 0.04 * (d.exp() - d - 1.0);
        near(of(push), -1.3 * (-0.05f64).exp() + penalty(0.05));
        near(of(down), 0.7 * (-0.05f64).exp() + penalty(0.05));
        near(of(clipped), -1.2 + penalty(-0.5));
        near(of(free), 0.5f64.exp() + penalty(-0.5));
    }
}
