//! Policies that are better than the prior, from what a search found out (Danihelka et al. 2022,
//! "Policy improvement by planning with Gumbel"; the numbers are those of mctx).

use serde::{Deserialize, Serialize};

/// How much returns weigh against the prior: `sigma(q) = (visit + max N) * scale * q`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scale {
    /// Added to the visits of the most visited child. More trusts returns more from the start.
    /// Default 50.
    pub visit: f64,
    /// Factor of it all. Default 0.1.
    pub scale: f64,
    /// Whether the least and the largest return among siblings are stretched to 0 and 1 first, as mctx
    /// does; else returns of -1 to 1 are. Default false: small differences of few returns would decide.
    pub rescale: bool,
}

impl Default for Scale {
    fn default() -> Self {
        Scale {
            visit: 50.0,
            scale: 0.1,
            rescale: false,
        }
    }
}

/// A continuation as the search left it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Tried {
    /// Logarithm of its prior, up to a constant that all siblings share.
    pub logit: f64,
    /// Simulations through it.
    pub visits: f64,
    /// Mean return, -1 to 1; not looked at where there are no visits.
    pub mean: f64,
}

/// `softmax` of numbers that may be far from 0.
fn softmax(x: impl Iterator<Item = f64> + Clone) -> Vec<f64> {
    let peak = x.clone().fold(f64::NEG_INFINITY, f64::max);
    let weights: Vec<f64> = x.map(|x| (x - peak).exp()).collect();
    let total: f64 = weights.iter().sum();
    weights.into_iter().map(|w| w / total).collect()
}

/// What a child without visits is taken to return: `value`, the node's own evaluation, and the mean of
/// its visited children by prior, the latter once for each visit.
fn mixed_value(tried: &[Tried], value: f64) -> f64 {
    let priors = softmax(tried.iter().map(|t| t.logit));
    let visited = || tried.iter().zip(&priors).filter(|(t, _)| t.visits > 0.0);
    let visits: f64 = tried.iter().map(|t| t.visits).sum();
    let mass: f64 = visited().map(|(_, p)| p.max(f64::MIN_POSITIVE)).sum();
    if visits == 0.0 {
        return value;
    }
    let mean: f64 = visited()
        .map(|(t, p)| p.max(f64::MIN_POSITIVE) * t.mean / mass)
        .sum();
    (value + visits * mean) / (visits + 1.0)
}

/// `sigma(Q)` of each child, unvisited ones completed by the mixed value. `value` is the node's own
/// evaluation, -1 to 1.
pub fn completed(tried: &[Tried], value: f64, scale: Scale) -> Vec<f64> {
    let mixed = mixed_value(tried, value);
    let q = tried.iter().map(|t| match t.visits > 0.0 {
        true => t.mean,
        false => mixed,
    });
    let (least, most) = match scale.rescale {
        true => (
            q.clone().fold(f64::INFINITY, f64::min),
            q.clone().fold(f64::NEG_INFINITY, f64::max),
        ),
        false => (-1.0, 1.0),
    };
    let peak = tried.iter().map(|t| t.visits).fold(0.0, f64::max);
    let factor = (scale.visit + peak) * scale.scale / (most - least).max(1e-8);
    q.map(|q| (q - least) * factor).collect()
}

/// The completed-Q policy, `softmax(logit + sigma(Q))`.
pub fn completed_policy(tried: &[Tried], value: f64, scale: Scale) -> Vec<f64> {
    let sigma = completed(tried, value, scale);
    softmax(tried.iter().zip(&sigma).map(|(t, s)| t.logit + s))
}

/// Visit counts to the power of `1 / temperature`, as shares; `None` where nothing was visited. (Silver
/// et al. 2017.)
pub fn visit_policy(tried: &[Tried], temperature: f64) -> Option<Vec<f64>> {
    let visited = tried.iter().any(|t| t.visits > 0.0);
    visited.then(|| softmax(tried.iter().map(|t| t.visits.ln() / temperature)))
}

/// How many visits the child has that simulation `i` at a root goes to: sequential halving among
/// `considered` children with a budget of `simulations` (Karnin et al. 2013).
pub fn considered_visits(considered: usize, simulations: usize) -> Vec<u32> {
    if considered <= 1 {
        return (0..simulations as u32).collect();
    }
    let rounds = (considered as f64).log2().ceil() as usize;
    let mut visits = vec![0u32; considered];
    let mut left = considered;
    let mut sequence = Vec::with_capacity(simulations);
    while sequence.len() < simulations {
        for _ in 0..(simulations / (rounds * left)).max(1) {
            sequence.extend_from_slice(&visits[..left]);
            visits[..left].iter_mut().for_each(|v| *v += 1);
        }
        left = (left / 2).max(2);
    }
    sequence.truncate(simulations);
    sequence
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tried(list: &[(f64, f64, f64)]) -> Vec<Tried> {
        list.iter()
            .map(|&(prior, visits, mean)| Tried {
                logit: prior.ln(),
                visits,
                mean,
            })
            .collect()
    }

    #[test]
    fn visits_are_a_policy() {
        let node = tried(&[(0.5, 3.0, 0.0), (0.3, 1.0, 0.0), (0.2, 0.0, 0.0)]);
        let near = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-12);
        assert!(near(&visit_policy(&node, 1.0).unwrap(), &[0.75, 0.25, 0.0]));
        assert!(near(&visit_policy(&node, 0.5).unwrap(), &[0.9, 0.1, 0.0]));
        assert_eq!(visit_policy(&tried(&[(1.0, 0.0, 0.0)]), 1.0), None);
    }

    #[test]
    fn halving_spends_the_budget() {
        assert_eq!(considered_visits(1, 3), [0, 1, 2]);
        assert_eq!(considered_visits(4, 8), [0, 0, 0, 0, 1, 1, 2, 2]);
        assert_eq!(considered_visits(5, 16).len(), 16);
    }

    #[test]
    fn an_unvisited_node_keeps_its_prior() {
        let node = tried(&[(0.6, 0.0, 0.0), (0.4, 0.0, 0.0)]);
        let policy = completed_policy(&node, 0.3, Scale::default());
        assert!((policy[0] - 0.6).abs() < 1e-12);
    }
}
