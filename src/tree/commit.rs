//! Re-rooting, for decoding token by token.

use super::arena::{Link, NONE};
use super::{NodeId, Slot, Terminals, Tree};

impl Tree {
    /// Makes the root's child `token` the new root, with its counts and its subtree, and drops
    /// the rest. Returns the slots of what was dropped, for the caller to free; those of the
    /// committed text, the new root's among them, stay with the tree. The arena is rebuilt, so
    /// every [`NodeId`] from before is void.
    ///
    /// # Panics
    /// Where a leaf is in flight, or the child is not in the tree ([`Tree::attach`] it first) or has
    /// no slot any more ([`Tree::restore`] it first).
    pub fn commit(&mut self, token: u32) -> Vec<Slot> {
        assert_eq!(
            self.in_flight, 0,
            "a tree cannot be re-rooted with leaves in flight"
        );
        let Some(new_root) = self.child(self.root(), token) else {
            panic!("token {token} is not a child of the root in the tree");
        };
        assert!(
            self.missing(new_root).is_empty(),
            "the slot of a new root is gone; it has to be restored first"
        );
        let old_nodes = std::mem::take(&mut self.nodes);
        let old_edges = std::mem::take(&mut self.edges);
        let old_stages = std::mem::take(&mut self.stages);
        let old_squares = std::mem::take(&mut self.squares);
        let mut freed = Vec::new();
        let mut moved: Vec<u32> = vec![NONE; old_nodes.len()];
        self.terminals = Terminals::default();
        self.gumbel = None;
        self.committed_tokens.push(token);
        // Parents come before children, so one pass knows of each node whether its parent stays.
        for (index, mut node) in old_nodes.into_iter().enumerate() {
            if index == 0 {
                self.committed_slots.extend(node.slot);
                continue;
            }
            let is_root = index == new_root.index();
            let parent = moved[node.parent as usize];
            if !is_root && parent == NONE {
                freed.extend(node.slot);
                continue;
            }
            let id = NodeId::new(self.nodes.len());
            moved[index] = id.index() as u32;
            let first_edge = self.edges.len() as u32;
            self.edges.extend_from_slice(&old_edges[node.edges()]);
            for edge in &mut self.edges[first_edge as usize..] {
                if edge.link.child().is_some() {
                    edge.link = Link::EMPTY;
                }
            }
            node.first_edge = first_edge;
            node.parent = parent;
            if is_root {
                node.edge = NONE;
            } else if let Some(edge) = self.edge_of(NodeId::new(parent as usize), node.token) {
                node.edge = edge as u32;
                self.edges[edge].link = Link::to(id);
            }
            if node.terminal {
                self.terminals
                    .count((!node.outcome.is_nan()).then_some(node.outcome));
            }
            self.nodes.push(node);
            self.stages.push(old_stages[index]);
            self.squares.extend(old_squares.get(index));
        }
        freed
    }
}
