//! Where a simulation may end, and what it may choose from there.

use super::{NodeId, Tree};

/// How the walk treats a node that is not terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The first simulation ends here; later ones choose among all kept continuations.
    Choice,
    /// No simulation ends here; they choose among the continuations whose prior is above 0.
    Passed,
    /// Passed, and reached by a token that was put there instead of chosen ([`Tree::revise`]).
    Given,
    /// A boundary between two options. The first simulation ends here; the next asks for options
    /// ([`Status::Closed`](super::Status::Closed)). At the end of a text: for revisions.
    Closed,
    /// A boundary whose options are in the tree; simulations choose among the continuations whose
    /// prior is above 0. The end of a text: simulations go on beside it, in its revisions.
    Open,
}

impl Stage {
    /// Whether continuations with a prior of 0 are left out.
    pub(super) fn chooses_by_prior(self) -> bool {
        self.passes() || self == Stage::Open
    }

    /// Whether no simulation ends here.
    pub(super) fn passes(self) -> bool {
        matches!(self, Stage::Passed | Stage::Given)
    }
}

impl Tree {
    /// How the walk treats a node.
    pub fn stage(&self, node: NodeId) -> Stage {
        self.stages[node.index()]
    }

    /// Whether simulations from here choose anything: not at the end of a text, inside an option, or
    /// at a node with a single continuation.
    pub fn decides(&self, node: NodeId) -> bool {
        match self.stage(node) {
            Stage::Passed | Stage::Given => false,
            Stage::Closed => !self.is_terminal(node),
            Stage::Choice | Stage::Open => self.choices(node).count() > 1,
        }
    }

    /// The edges that may be selected at a node, in their order.
    pub(super) fn open_edges(&self, id: NodeId) -> impl Iterator<Item = usize> + '_ {
        let by_prior = self.stages[id.index()].chooses_by_prior();
        let edges = self.nodes[id.index()].edges();
        edges.filter(move |&edge| !by_prior || self.edges[edge].prior > 0.0)
    }
}
