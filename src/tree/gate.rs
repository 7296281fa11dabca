//! Where a search looks at more than one continuation.

use super::{Expansion, NodeId, Tree};
use serde::{Deserialize, Serialize};

/// The states at which a tree of tokens branches. At the others the most probable continuation is
/// the only child, passed without spending a simulation.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Gate {
    /// All of them.
    #[default]
    Every,
    /// Those whose number of tokens below the first root is a multiple of `n`.
    Nth {
        /// 1 or more; 1 is every state.
        n: u32,
    },
    /// Those whose next token is open: the entropy of the `top_k` known probabilities and, as one more
    /// outcome, the rest exceeds `above`.
    Entropy {
        /// In nats, 0 or more.
        above: f32,
    },
    /// Those whose most probable next token is less probable than `below`.
    Unsure {
        /// A probability.
        below: f32,
    },
}

impl Gate {
    /// Whether a state `depth` tokens below the first root branches.
    pub fn opens(self, depth: u32, expansion: &Expansion) -> bool {
        match self {
            Gate::Every => true,
            Gate::Nth { n } => depth.is_multiple_of(n.max(1)),
            Gate::Entropy { above } => entropy(&expansion.log_probs) > f64::from(above),
            Gate::Unsure { below } => f64::from(expansion.log_probs[0]).exp() < f64::from(below),
        }
    }
}

/// Entropy in nats of outcomes with these log-probabilities and one more that has the rest of the mass.
pub fn entropy(log_probs: &[f32]) -> f64 {
    let known = log_probs.iter().map(|&p| f64::from(p));
    let rest = 1.0 - known.clone().map(f64::exp).sum::<f64>();
    let of = |p: f64| if p > 0.0 { -p * p.ln() } else { 0.0 };
    known.map(|p| of(p.exp())).sum::<f64>() + of(rest)
}

impl Tree {
    /// The rank among `kept` priors of the one continuation that the state behind `id` is left with;
    /// none where it branches.
    pub(super) fn forced(
        &self,
        id: NodeId,
        expansion: &Expansion,
        kept: &[(u32, f32, f32)],
    ) -> Option<usize> {
        let params = &self.params;
        if params.driven.options || kept.len() < 2 {
            return None;
        }
        if params.plain > 0.0 {
            let mut draws = Draws::new(params.driven.seed, &self.tokens(id));
            if draws.uniform() < f64::from(params.plain) {
                return Some(draws.rank(kept.iter().map(|k| f64::from(k.1))));
            }
        }
        let opens = params.gate.opens(self.depth(id), expansion);
        (!opens).then_some(0)
    }
}

/// Numbers that depend on a seed and a text alone.
struct Draws(u64);

impl Draws {
    fn new(seed: u64, tokens: &[u32]) -> Draws {
        let step = |state, &token: &u32| mixed(state ^ mixed(u64::from(token) + 1));
        Draws(tokens.iter().fold(mixed(seed), step))
    }

    /// From 0 to below 1.
    fn uniform(&mut self) -> f64 {
        self.0 = mixed(self.0);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    /// An index, each as probable as its share of `weights`.
    fn rank(&mut self, weights: impl ExactSizeIterator<Item = f64> + Clone) -> usize {
        let last = weights.len() - 1;
        let mut left = self.uniform() * weights.clone().sum::<f64>();
        for (rank, weight) in weights.enumerate() {
            left -= weight;
            if left < 0.0 {
                return rank;
            }
        }
        last
    }
}

/// The output function of SplitMix64 (Steele et al. 2014).
fn mixed(z: u64) -> u64 {
    let z = z.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_one_more_outcome() {
        let halves = [0.5f32.ln(), 0.25f32.ln()];
        assert!((entropy(&halves) - 1.5 * 2f64.ln()).abs() < 1e-6);
        assert!(entropy(&[0.0]).abs() < 1e-12);
    }

    #[test]
    fn draws_follow_their_weights() {
        let mut counts = [0; 3];
        for token in 0..30_000 {
            let mut draws = Draws::new(5, &[token]);
            draws.uniform();
            counts[draws.rank([0.5, 0.0, 0.3].into_iter())] += 1;
        }
        assert_eq!(counts[1], 0);
        assert!((f64::from(counts[0]) / 30_000.0 - 0.625).abs() < 0.01);
    }
}
