//! Reading the tree.

use super::arena::Edge;
use super::{NodeId, Params, Slot, Tree};

/// A continuation of a node: one of its kept top-k tokens.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Continuation {
    /// The token.
    pub token: u32,
    /// Its prior in the selection rule.
    pub prior: f32,
    /// Its natural log-probability over the full vocabulary.
    pub log_prob: f32,
    /// The node behind it, where it is in the tree.
    pub node: Option<NodeId>,
}

/// Terminal nodes of a tree, by their outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terminals {
    /// Outcome above 0.
    pub correct: usize,
    /// Outcome 0 or below.
    pub wrong: usize,
    /// No outcome yet.
    pub unknown: usize,
}

impl Terminals {
    /// All terminal nodes.
    pub fn total(&self) -> usize {
        self.correct + self.wrong + self.unknown
    }

    pub(super) fn count(&mut self, outcome: Option<f32>) {
        *match outcome {
            Some(outcome) if outcome > 0.0 => &mut self.correct,
            Some(_) => &mut self.wrong,
            None => &mut self.unknown,
        } += 1;
    }
}

fn continuation(edge: &Edge) -> Continuation {
    Continuation {
        token: edge.token,
        prior: edge.prior,
        log_prob: edge.log_prob,
        node: edge.link.child(),
    }
}

impl Tree {
    /// The settings.
    pub fn params(&self) -> &Params {
        &self.params
    }

    /// The root.
    pub fn root(&self) -> NodeId {
        NodeId::new(0)
    }

    /// Number of nodes, at least 1.
    #[allow(clippy::len_without_is_empty, reason = "a tree has at least its root")]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// All nodes, by index: the root first, parents before children.
    pub fn nodes(&self) -> impl ExactSizeIterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId::new)
    }

    /// Leaves in flight.
    pub fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Terminal nodes, by outcome.
    pub fn terminals(&self) -> Terminals {
        self.terminals
    }

    /// The node above; `None` at the root.
    pub fn parent(&self, node: NodeId) -> Option<NodeId> {
        (node != self.root()).then(|| NodeId::new(self.nodes[node.index()].parent as usize))
    }

    /// The token that led to a node; `None` at the first root, which is the whole prompt.
    pub fn token(&self, node: NodeId) -> Option<u32> {
        if node == self.root() {
            self.committed_tokens.last().copied()
        } else {
            Some(self.nodes[node.index()].token)
        }
    }

    /// Tokens below the first root, committed ones included.
    pub fn depth(&self, node: NodeId) -> u32 {
        self.nodes[node.index()].depth
    }

    /// Where the key and value vectors of a node's token lie; `None` at the first root, at terminal
    /// nodes and where [`Tree::evict`] took it.
    pub fn slot(&self, node: NodeId) -> Option<Slot> {
        self.nodes[node.index()].slot
    }

    /// Whether a node ends the text.
    pub fn is_terminal(&self, node: NodeId) -> bool {
        self.nodes[node.index()].terminal
    }

    /// Simulations through a node, `N`.
    pub fn visits(&self, node: NodeId) -> u32 {
        self.nodes[node.index()].visits
    }

    /// Sum of their returns, `W`.
    pub fn total(&self, node: NodeId) -> f64 {
        self.nodes[node.index()].total
    }

    /// Mean return, `W / N`; `None` without a visit.
    pub fn mean(&self, node: NodeId) -> Option<f64> {
        let node = &self.nodes[node.index()];
        (node.visits > 0).then(|| node.total / f64::from(node.visits))
    }

    /// The value net's view of a node, as in its expansion; a terminal node has its parent's.
    pub fn value(&self, node: NodeId) -> f32 {
        self.nodes[node.index()].value
    }

    /// Log-sum-exp of the logits at a node; 0 at terminal nodes.
    pub fn log_sum_exp(&self, node: NodeId) -> f32 {
        self.nodes[node.index()].log_sum_exp
    }

    /// Return at the end of the recorded greedy continuation of a node, where it is known.
    pub fn outcome(&self, node: NodeId) -> Option<f32> {
        let outcome = self.nodes[node.index()].outcome;
        (!outcome.is_nan()).then_some(outcome)
    }

    /// The continuations of a node, the most probable first; none where it is terminal.
    pub fn children(&self, node: NodeId) -> impl ExactSizeIterator<Item = Continuation> + '_ {
        let edges = self.edges[self.nodes[node.index()].edges()].iter();
        edges.map(continuation)
    }

    /// The continuations that selection may choose: all of them, or inside options those that one takes.
    pub fn choices(&self, node: NodeId) -> impl Iterator<Item = Continuation> + '_ {
        let edges = self.open_edges(node);
        edges.map(|edge| continuation(&self.edges[edge]))
    }

    /// The node behind the continuation `token`, where it is in the tree.
    pub fn child(&self, node: NodeId, token: u32) -> Option<NodeId> {
        self.edge_of(node, token)
            .and_then(|edge| self.edges[edge].link.child())
    }

    /// The nodes from the root to `node`, both included.
    pub fn path(&self, node: NodeId) -> Vec<NodeId> {
        let mut path: Vec<_> = std::iter::successors(Some(node), |&id| self.parent(id)).collect();
        path.reverse();
        path
    }

    /// The text below the first root that ends at `node`: committed tokens, then the path's.
    pub fn tokens(&self, node: NodeId) -> Vec<u32> {
        let path = self.path(node);
        let below = path[1..].iter().map(|id| self.nodes[id.index()].token);
        self.committed_tokens.iter().copied().chain(below).collect()
    }

    /// The slots of that text, in its order: what a forward pass below `node` attends to after
    /// the prompt. A terminal node adds none; those of [`Tree::missing`] are left out, at the end.
    pub fn slots(&self, node: NodeId) -> Vec<Slot> {
        let path = self.path(node);
        let below = path.iter().filter_map(|&id| self.slot(id));
        self.committed_slots.iter().copied().chain(below).collect()
    }

    /// Every slot that the tree holds, for its end.
    pub fn live_slots(&self) -> impl Iterator<Item = Slot> + '_ {
        let nodes = self.nodes.iter().filter_map(|node| node.slot);
        self.committed_slots.iter().copied().chain(nodes)
    }
}
