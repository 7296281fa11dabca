//! The rules by which a node's child is selected.

use super::improved::{Scale, Tried, completed, completed_policy, considered_visits};
use serde::{Deserialize, Serialize};

/// A rule of selection. The constant of the first three is `c_puct`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Rule {
    /// PUCT with a constant factor (Silver et al. 2016): `Q + c P sqrt(N) / (1 + n)`.
    #[default]
    Puct,
    /// PUCT with AlphaZero's factor, which grows with the node's visits (Silver et al. 2018):
    /// `c + ln((1 + N + base) / base)`.
    AlphaZero {
        /// Visits at which the factor has grown by ln 2. AlphaZero had 19652.
        base: f32,
    },
    /// UCT, which knows no priors (Kocsis and Szepesvári 2006): `Q + c sqrt(ln N / n)`, each child once
    /// first, the more probable ones before.
    Uct,
    /// Gumbel search (Danihelka et al. 2022): at the root sequential halving among `considered` children
    /// drawn without replacement, below it the child whose visits lag most behind the completed-Q
    /// policy.
    Gumbel {
        /// Children of the root that are tried at most.
        considered: usize,
        /// How returns weigh against the prior.
        #[serde(default)]
        scale: Scale,
    },
}

/// A node as a rule sees it. Leaves in flight are in the numbers.
pub(super) struct Scene<'a> {
    /// Visits of the node.
    pub visits: f64,
    /// The node's own evaluation, -1 to 1.
    pub value: f64,
    pub children: &'a [Candidate],
    /// At a root with one.
    pub gumbel: Option<&'a RootGumbel>,
}

/// A child as a rule sees it.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub prior: f64,
    pub visits: f64,
    /// Sum of returns.
    pub total: f64,
}

/// The draw that decides which children of a root are tried.
#[derive(Debug, Clone)]
pub(super) struct RootGumbel {
    /// One for each child.
    pub noise: Vec<f64>,
    /// From [`considered_visits`].
    pub schedule: Vec<u32>,
}

impl RootGumbel {
    pub fn new(noise: Vec<f64>, considered: usize, simulations: usize) -> RootGumbel {
        RootGumbel {
            schedule: considered_visits(considered.min(noise.len()), simulations),
            noise,
        }
    }
}

impl Rule {
    /// What the completed-Q policy ranks children by: at a root with a draw its sum with logit and
    /// completed return among the most visited, else the policy's probabilities.
    pub(super) fn improved(self, scene: &Scene<'_>) -> Vec<f64> {
        let scale = match self {
            Rule::Gumbel { scale, .. } => scale,
            _ => Scale::default(),
        };
        let tried = scene.tried();
        match scene.gumbel {
            None => completed_policy(&tried, scene.value, scale),
            Some(gumbel) => {
                let most = tried.iter().map(|t| t.visits).fold(0.0, f64::max);
                scene.gumbel_scores(gumbel, scale, most)
            }
        }
    }
}

/// AlphaZero's factor at a node of `visits`, from `c` on.
pub(super) fn growing_factor(c: f64, base: f32, visits: f64) -> f64 {
    let base = f64::from(base);
    c + ((1.0 + visits + base) / base).ln()
}

impl Scene<'_> {
    /// The index of the child that UCT selects, the first among equals.
    pub(super) fn uct(&self, c: f64) -> usize {
        first_max(self.children.iter().map(|child| match child.visits > 0.0 {
            true => child.total / child.visits + c * (self.visits.ln() / child.visits).sqrt(),
            false => f64::INFINITY,
        }))
    }

    /// The index of the child that Gumbel search selects, the first among equals.
    pub(super) fn gumbel(&self, scale: Scale) -> usize {
        let spent: f64 = self.children.iter().map(|c| c.visits).sum();
        match self.gumbel {
            Some(gumbel) => {
                // Past its budget a search goes on with the children that are left.
                let turn = (spent as usize).min(gumbel.schedule.len().saturating_sub(1));
                let wanted = gumbel.schedule.get(turn).copied().unwrap_or(0);
                let scores = self.gumbel_scores(gumbel, scale, f64::from(wanted));
                first_max(scores.into_iter())
            }
            None => {
                let policy = completed_policy(&self.tried(), self.value, scale);
                let lag = policy.iter().zip(self.children);
                first_max(lag.map(|(p, c)| p - c.visits / (1.0 + spent)))
            }
        }
    }

    fn tried(&self) -> Vec<Tried> {
        let children = self.children.iter();
        children
            .map(|child| Tried {
                logit: child.prior.max(f64::MIN_POSITIVE).ln(),
                visits: child.visits,
                mean: child.total / child.visits.max(1.0),
            })
            .collect()
    }

    /// Sums of draw, logit and completed return of the children of `visits` visits, minus infinity for
    /// the others; of all children where none has as many.
    fn gumbel_scores(&self, gumbel: &RootGumbel, scale: Scale, visits: f64) -> Vec<f64> {
        let tried = self.tried();
        let sigma = completed(&tried, self.value, scale);
        let any = tried.iter().any(|t| t.visits == visits);
        let score = |(i, t): (usize, &Tried)| match any && t.visits != visits {
            true => f64::NEG_INFINITY,
            false => gumbel.noise[i] + t.logit + sigma[i],
        };
        tried.iter().enumerate().map(score).collect()
    }
}

fn first_max(scores: impl Iterator<Item = f64>) -> usize {
    let mut best = (f64::NEG_INFINITY, 0);
    for (index, score) in scores.enumerate() {
        if score > best.0 {
            best = (score, index);
        }
    }
    best.1
}
