//! The answer that a searched tree gives.

use serde::{Deserialize, Serialize};

use super::{NodeId, Tree};

/// By what the final choice ranks the visited children of a node; the earlier of equals wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pick {
    /// Visits, then mean return: `N + Q / 2`.
    Visits,
    /// Mean return, `Q = W / N`.
    MeanReturn,
    /// The completed-Q policy; at a root searched by [`Rule::Gumbel`](super::Rule::Gumbel) the most
    /// visited child with the largest sum of draw, logit and completed return.
    Improved,
}

impl Tree {
    /// The best visited child of a node; `None` where no child has a visit.
    pub fn best_child(&self, node: NodeId, pick: Pick) -> Option<NodeId> {
        let improved = match pick {
            Pick::Improved => self.improved_scores(node),
            _ => Vec::new(),
        };
        let mut best = None;
        for (rank, child) in self.children(node).enumerate() {
            let Some((child, mean)) = child.node.and_then(|c| Some((c, self.mean(c)?))) else {
                continue;
            };
            let score = match pick {
                Pick::Visits => f64::from(self.visits(child)) + 0.5 * mean,
                Pick::MeanReturn => mean,
                Pick::Improved => improved[rank],
            };
            if best.is_none_or(|(top, _)| score > top) {
                best = Some((score, child));
            }
        }
        best.map(|(_, child)| child)
    }

    /// The nodes from the root along best children, down to a terminal node or to one none of
    /// whose children was visited. The root is included.
    pub fn best_path(&self, pick: Pick) -> Vec<NodeId> {
        std::iter::successors(Some(self.root()), |&node| self.best_child(node, pick)).collect()
    }
}
