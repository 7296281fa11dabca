//! What the model says about a state, and the priors that follow from it.

use super::{Params, Slot};

/// One forward pass's answer about a state: `k >= 1` next tokens and the value.
#[derive(Debug, Clone, PartialEq)]
pub struct Expansion {
    /// Next tokens, `[k]`, the most probable first.
    pub tokens: Vec<u32>,
    /// Their natural log-probabilities over the full vocabulary, `[k]`, descending.
    pub log_probs: Vec<f32>,
    /// Log-sum-exp of the logits over the full vocabulary; kept for the trace.
    pub log_sum_exp: f32,
    /// Value of the state, -1 to 1; 0 where there is no value net.
    pub value: f32,
}

/// What a continuation leads to.
#[derive(Debug, Clone, PartialEq)]
pub enum Child {
    /// A state that goes on.
    Expanded {
        /// What the model says about it.
        expansion: Expansion,
        /// Where the key and value vectors of its token lie.
        slot: Slot,
    },
    /// The end of the text: a stop token, or the last token that fits. It needs no forward pass
    /// and takes over its parent's value.
    Terminal,
}

impl Child {
    pub(super) fn slot(&self) -> Option<Slot> {
        match self {
            Child::Expanded { slot, .. } => Some(*slot),
            Child::Terminal => None,
        }
    }
}

impl Expansion {
    /// Continuations kept, as `(token, prior, log-probability)`.
    ///
    /// # Panics
    /// Where there is no token, lengths differ, or a number is NaN: the engine broke its word.
    pub(super) fn priors(&self, params: &Params) -> Vec<(u32, f32, f32)> {
        assert!(
            !self.tokens.is_empty() && self.tokens.len() == self.log_probs.len(),
            "an expansion has {} tokens and {} log-probabilities; it needs as many of both, at least one",
            self.tokens.len(),
            self.log_probs.len()
        );
        assert!(
            self.value.is_finite() && !self.log_probs.iter().any(|p| p.is_nan()),
            "an expansion holds a NaN (value {}, log-probabilities {:?})",
            self.value,
            self.log_probs
        );
        let floor = f64::from(params.min_prior);
        let kept: Vec<(u32, f32, f64)> = self
            .tokens
            .iter()
            .zip(&self.log_probs)
            .enumerate()
            .map(|(rank, (&token, &log_prob))| (rank, token, log_prob, f64::from(log_prob).exp()))
            .filter(|&(rank, _, _, prob)| rank == 0 || prob >= floor)
            .map(|(_, token, log_prob, prob)| (token, log_prob, prob))
            .collect();
        let mass: f64 = if params.renormalise {
            kept.iter().map(|&(_, _, prob)| prob).sum()
        } else {
            1.0
        };
        kept.into_iter()
            .map(|(token, log_prob, prob)| (token, (prob / mass) as f32, log_prob))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expansion(probs: &[f32]) -> Expansion {
        Expansion {
            tokens: (0..probs.len() as u32).collect(),
            log_probs: probs.iter().map(|p| p.ln()).collect(),
            log_sum_exp: 0.0,
            value: 0.0,
        }
    }

    #[test]
    fn drops_the_improbable_and_renormalises() {
        let params = Params {
            min_prior: 0.1,
            ..Params::default()
        };
        let kept = expansion(&[0.6, 0.2, 0.05]).priors(&params);
        assert_eq!(kept.len(), 2);
        assert!((kept[0].1 - 0.75).abs() < 1e-6 && (kept[1].1 - 0.25).abs() < 1e-6);
        assert_eq!(kept[0].2, 0.6f32.ln());
        let raw = Params {
            renormalise: false,
            ..params
        };
        let kept = expansion(&[0.6, 0.2, 0.05]).priors(&raw);
        assert!((kept[0].1 - 0.6).abs() < 1e-6);
    }

    #[test]
    fn the_first_always_stays() {
        let params = Params {
            min_prior: 0.5,
            ..Params::default()
        };
        let kept = expansion(&[0.3, 0.2]).priors(&params);
        assert_eq!(kept, vec![(0, 1.0, 0.3f32.ln())]);
    }

    #[test]
    #[should_panic(expected = "holds a NaN")]
    fn nan_is_refused() {
        expansion(&[f32::NAN]).priors(&Params::default());
    }
}
