//! Growing the tree by one node.

use super::arena::Link;
use super::{Child, NodeId, Slot, Stage, Tree};

/// What became of a child handed to [`Tree::attach`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attached {
    /// The node at the end of the edge.
    pub node: NodeId,
    /// Whether it is new. If not, the recorded node stays as it was, and takes the slot where its
    /// own is gone.
    pub created: bool,
    /// The slot handed in, where the tree did not take it: the child was recorded before, or is
    /// terminal for its depth. The caller frees it.
    pub unused: Option<Slot>,
}

impl Tree {
    /// Puts `child` at the end of the edge `token` of `parent`, and passes the virtual loss of
    /// the leaves that wait for it on to it. A child at `max_depth` becomes terminal whatever is
    /// handed in. Where the child is recorded already, nothing changes but that it takes the slot
    /// handed in where its own is gone.
    ///
    /// # Panics
    /// Where `token` is not among the children of `parent`, the expansion is malformed, or a slot is
    /// handed in and the parent's own is gone.
    pub fn attach(&mut self, parent: NodeId, token: u32, child: Child) -> Attached {
        let Some(edge) = self.edge_of(parent, token) else {
            panic!("token {token} is not a continuation of {parent:?}");
        };
        self.attach_at(parent, edge, child)
    }

    pub(super) fn attach_at(&mut self, parent: NodeId, edge: usize, child: Child) -> Attached {
        let link = self.edges[edge].link;
        if let Some(node) = link.child() {
            return Attached {
                node,
                created: false,
                unused: child.slot().and_then(|slot| self.restore(node, slot)),
            };
        }
        let above = &self.nodes[parent.index()];
        let (depth, value) = (above.depth + 1, above.value);
        let token = self.edges[edge].token;
        let node = self.push_node(parent.index() as u32, edge as u32, token, depth);
        self.nodes[node.index()].in_flight = link.waiting();
        let unused = match child {
            Child::Expanded { expansion, slot } if depth < self.params.max_depth => {
                assert!(
                    self.missing(parent).is_empty(),
                    "a child with a slot below {parent:?}, whose own is gone"
                );
                self.expand(node, &expansion, Some(slot));
                if self.params.driven.options {
                    self.stages[node.index()] = match link.boundary() {
                        true => Stage::Closed,
                        false => Stage::Passed,
                    };
                }
                None
            }
            child => {
                self.nodes[node.index()].value = value;
                self.terminals.unknown += 1;
                child.slot()
            }
        };
        self.edges[edge].link = Link::to(node);
        Attached {
            node,
            created: true,
            unused,
        }
    }
}
