//! How many continuations of a node are considered.

use super::{NodeId, Tree};
use serde::{Deserialize, Serialize};

/// The number of continuations that selection looks at, those with the largest priors first. A
/// continuation that was visited once stays.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Width {
    /// All that were kept.
    #[default]
    All,
    /// `factor * N^exponent`, rounded up: progressive widening (Coulom 2007, "Computing Elo ratings of
    /// move patterns in the game of Go"; Chaslot et al. 2008).
    Progressive {
        /// At least 1.
        factor: f32,
        /// From 0 to 1.
        exponent: f32,
    },
    /// `least`, and one more for every `1 / factor` of standard deviation of the returns so far: many
    /// where they disagree. AlphaLLM (Tian et al. 2024) widens so by the spread of values.
    Spread {
        /// At least 1.
        least: usize,
        /// Continuations for a standard deviation of 1, the largest that there is.
        factor: f32,
    },
}

impl Width {
    /// Continuations considered at a node of `visits` whose returns have the standard deviation
    /// `deviation`; `None` for all.
    pub fn limit(self, visits: f64, deviation: f64) -> Option<usize> {
        match self {
            Width::All => None,
            Width::Progressive { factor, exponent } => {
                let limit = f64::from(factor) * visits.powf(f64::from(exponent));
                Some(limit.ceil().max(1.0) as usize)
            }
            Width::Spread { least, factor } => {
                Some(least.max(1) + (f64::from(factor) * deviation) as usize)
            }
        }
    }
}

impl Tree {
    /// Variance of the returns of the simulations through a node; 0 without a visit, and where the
    /// search asks for none.
    pub fn variance(&self, node: NodeId) -> f64 {
        let (Some(squares), Some(mean)) = (self.squares.get(node.index()), self.mean(node)) else {
            return 0.0;
        };
        (squares / f64::from(self.visits(node)) - mean * mean).max(0.0)
    }

    /// The edges that selection looks at, in their order; `None` for all of the node's.
    pub(super) fn considered(&self, id: NodeId) -> Option<Vec<usize>> {
        let width = self.params.width;
        if width == Width::All && !self.stages[id.index()].chooses_by_prior() {
            return None;
        }
        let mut edges: Vec<usize> = self.open_edges(id).collect();
        let visits = f64::from(self.visits(id));
        if let Some(limit) = width.limit(visits, self.variance(id).sqrt()) {
            let visited = |&edge: &usize| match self.edges[edge].link.child() {
                Some(child) => self.visits(child) > 0,
                None => false,
            };
            let prior = |&edge: &usize| self.edges[edge].prior;
            // Stable: the earlier of equals comes first.
            edges.sort_by(|a, b| prior(b).total_cmp(&prior(a)));
            let mut rank = 0..;
            edges.retain(|edge| rank.next() < Some(limit) || visited(edge));
            edges.sort_unstable();
        }
        Some(edges)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_by_hand() {
        assert_eq!(Width::All.limit(9.0, 1.0), None);
        let wide = Width::Progressive {
            factor: 1.5,
            exponent: 0.5,
        };
        assert_eq!(wide.limit(1.0, 0.0), Some(2));
        assert_eq!(wide.limit(16.0, 0.0), Some(6));
        let spread = Width::Spread {
            least: 2,
            factor: 3.0,
        };
        assert_eq!(spread.limit(5.0, 0.0), Some(2));
        assert_eq!(spread.limit(5.0, 0.7), Some(4));
        assert_eq!(spread.limit(5.0, 1.0), Some(5));
    }
}
