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
    /// The best visited child of a node, which is the end of an option where the search moves by
    /// options; `None` where there is no visit below.
    pub fn best_child(&self, node: NodeId, pick: Pick) -> Option<NodeId> {
        if pick == Pick::Improved {
            let best = self.best_improved(node)?;
            return match self.is_passed(best) {
                true => self.best_child(best, pick),
                false => Some(best),
            };
        }
        let mut best = None;
        for (child, mean) in self.ends(node) {
            let score = match pick {
                Pick::Visits => f64::from(self.visits(child)) + 0.5 * mean,
                _ => mean,
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

    /// The visited children of a node with their mean returns; in place of a passed one, those below it.
    fn ends(&self, node: NodeId) -> Vec<(NodeId, f64)> {
        let mut found = Vec::new();
        for child in self.visited(node) {
            match (self.is_passed(child), self.mean(child)) {
                (true, _) => found.extend(self.ends(child)),
                (false, mean) => found.extend(mean.map(|mean| (child, mean))),
            }
        }
        found
    }

    fn best_improved(&self, node: NodeId) -> Option<NodeId> {
        let scores = self.improved_scores(node);
        let mut best: Option<(f64, NodeId)> = None;
        for (choice, score) in self.choices(node).zip(scores) {
            let visited = choice.node.filter(|&child| self.visits(child) > 0);
            if let Some(child) = visited.filter(|_| best.is_none_or(|(top, _)| score > top)) {
                best = Some((score, child));
            }
        }
        best.map(|(_, child)| child)
    }

    fn visited(&self, node: NodeId) -> impl Iterator<Item = NodeId> + '_ {
        // All of them: the end of a text is none of the choices once it is revised.
        let children = self.children(node).filter_map(|child| child.node);
        children.filter(|&child| self.visits(child) > 0)
    }

    fn is_passed(&self, node: NodeId) -> bool {
        !self.is_terminal(node) && self.stage(node).passes()
    }
}
