//! Greedy rollouts: recorded once, never repeated.
//!
//! A rollout's forward passes already give the expansion of every node on its way. Stored, they
//! make the return of each of those nodes known, and a later simulation that selects one needs
//! no forward pass. "Greedy" is always read off the recorded first continuation: an arg-max
//! taken anew, in another batch, may differ.

use super::{Child, NodeId, Slot, Tree};

/// One token of a rollout and what it led to.
#[derive(Debug, Clone, PartialEq)]
pub struct RolloutStep {
    /// The token.
    pub token: u32,
    /// The state after it; the last step of a finished rollout is [`Child::Terminal`].
    pub child: Child,
}

/// What became of a rollout.
#[derive(Debug, Clone, PartialEq)]
pub struct Recorded {
    /// The last node of the rollout in the tree.
    pub end: NodeId,
    /// Nodes added.
    pub created: usize,
    /// Whether every step is in the tree and `end` is terminal: only then the outcome is stored.
    /// A token outside its parent's kept continuations breaks a rollout off here.
    pub finished: bool,
    /// Slots of the steps that the tree did not take; the caller frees them.
    pub unused: Vec<Slot>,
}

/// The recorded greedy continuation of a node.
#[derive(Debug, Clone, PartialEq)]
pub struct Tail {
    /// The node itself and those below it along first continuations, as far as recorded. A
    /// rollout starts at the last one, with its first continuation.
    pub nodes: Vec<NodeId>,
    /// The return at its end, where that is known: no rollout is needed.
    pub outcome: Option<f32>,
}

impl Tree {
    /// The recorded greedy continuation of `node`.
    pub fn greedy_tail(&self, node: NodeId) -> Tail {
        let mut nodes = vec![node];
        let mut last = node;
        while let Some(child) = self.greedy_child(last) {
            nodes.push(child);
            last = child;
        }
        Tail {
            nodes,
            outcome: self.outcome(node),
        }
    }

    /// Stores a rollout that starts below `from`, re-using the nodes that exist, and, where it
    /// finished, its outcome (-1 to 1): at the terminal node, and at every node above it, beyond
    /// `from` too, from which the recorded greedy continuation leads there. Tokens other than the
    /// first continuation (a sampled rollout) are stored, but pass no outcome up.
    ///
    /// Without an outcome only nodes are stored; without steps, `from` is a terminal node that
    /// was graded.
    ///
    /// # Panics
    /// Where an expansion is malformed or the outcome is not finite.
    pub fn record_rollout(
        &mut self,
        from: NodeId,
        steps: impl IntoIterator<Item = RolloutStep>,
        outcome: Option<f32>,
    ) -> Recorded {
        let mut recorded = Recorded {
            end: from,
            created: 0,
            finished: true,
            unused: Vec::new(),
        };
        for step in steps {
            let edge = self.edge_of(recorded.end, step.token);
            let edge = edge.filter(|&edge| !self.revises(edge));
            let (Some(edge), true) = (edge, recorded.finished) else {
                recorded.finished = false;
                recorded.unused.extend(step.child.slot());
                continue;
            };
            let attached = self.attach_at(recorded.end, edge, step.child);
            recorded.end = attached.node;
            recorded.created += usize::from(attached.created);
            recorded.unused.extend(attached.unused);
        }
        recorded.finished &= self.is_terminal(recorded.end);
        if let (Some(outcome), true) = (outcome, recorded.finished) {
            self.set_outcome(recorded.end, outcome);
        }
        recorded
    }

    /// Stores the return of a terminal node, and of the nodes above it whose greedy continuation
    /// ends there. A return known before stays.
    ///
    /// # Panics
    /// Where `terminal` is not terminal or `outcome` is not finite.
    pub fn set_outcome(&mut self, terminal: NodeId, outcome: f32) {
        assert!(outcome.is_finite(), "an outcome is {outcome}");
        assert!(
            self.is_terminal(terminal),
            "{terminal:?} is not terminal, so it has no outcome of its own"
        );
        if self.outcome(terminal).is_some() {
            return;
        }
        self.terminals.unknown -= 1;
        self.terminals.count(Some(outcome));
        let mut id = terminal;
        loop {
            let node = &mut self.nodes[id.index()];
            node.outcome = outcome;
            let edge = node.edge;
            match self.parent(id) {
                Some(parent) if self.nodes[parent.index()].first_edge == edge => id = parent,
                _ => return,
            }
        }
    }

    fn greedy_child(&self, id: NodeId) -> Option<NodeId> {
        let node = &self.nodes[id.index()];
        if node.terminal {
            return None;
        }
        self.edges[node.first_edge as usize].link.child()
    }
}
