//! Training targets.

use super::{NodeId, Tree};

/// A finished text of the tree, with a value target for each of its prefixes. `n` tokens below
/// the root give `n + 1` positions: index 0 is the root, index `i` the state after `tokens[i - 1]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Trajectory {
    /// Tokens from the root on, `[n]`, the stop token included.
    pub tokens: Vec<u32>,
    /// Nodes, `[n + 1]`.
    pub nodes: Vec<NodeId>,
    /// Value targets, `[n + 1]`, -1 to 1: mean return, or the outcome where there is no visit.
    pub targets: Vec<f32>,
    /// Weights, `[n + 1]`: visits, at least 1, in the one trajectory that owns the node, 0 in the
    /// others, so that a node shared by many texts is learned once. 0 too where a node has
    /// neither a visit nor a known outcome, and so no target.
    pub weights: Vec<f32>,
    /// Return of the text, -1 to 1.
    pub outcome: f32,
    /// Log-probability of `tokens` under the policy, full vocabulary.
    pub log_prob: f32,
    /// Whether every token is the most probable one.
    pub greedy: bool,
}

impl Tree {
    /// One trajectory for each terminal node with a known outcome, depth first with more probable
    /// tokens first. A node is owned by the first trajectory that passes it.
    pub fn trajectories(&self) -> Vec<Trajectory> {
        let mut owned = vec![false; self.nodes.len()];
        let mut found = Vec::new();
        let mut stack = vec![self.root()];
        while let Some(node) = stack.pop() {
            if self.is_terminal(node) {
                if let Some(outcome) = self.outcome(node) {
                    found.push(self.trajectory(node, outcome, &mut owned));
                }
                continue;
            }
            let first = stack.len();
            stack.extend(self.children(node).filter_map(|child| child.node));
            stack[first..].reverse();
        }
        found
    }

    fn trajectory(&self, end: NodeId, outcome: f32, owned: &mut [bool]) -> Trajectory {
        let nodes = self.path(end);
        let mut targets = Vec::with_capacity(nodes.len());
        let mut weights = Vec::with_capacity(nodes.len());
        for &id in &nodes {
            let target = self
                .mean(id)
                .map(|mean| mean as f32)
                .or_else(|| self.outcome(id));
            let owns = !std::mem::replace(&mut owned[id.index()], true);
            targets.push(target.unwrap_or(0.0));
            weights.push(if owns && target.is_some() {
                self.visits(id).max(1) as f32
            } else {
                0.0
            });
        }
        let mut log_prob = 0.0;
        let mut greedy = true;
        for id in &nodes[1..] {
            let node = &self.nodes[id.index()];
            log_prob += f64::from(self.edges[node.edge as usize].log_prob);
            greedy &= self.nodes[node.parent as usize].first_edge == node.edge;
        }
        Trajectory {
            tokens: nodes[1..]
                .iter()
                .map(|id| self.nodes[id.index()].token)
                .collect(),
            nodes,
            targets,
            weights,
            outcome,
            log_prob: log_prob as f32,
            greedy,
        }
    }
}
