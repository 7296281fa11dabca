//! The end of a simulation.

use super::{Leaf, Status, Tree};

impl Tree {
    /// Backs `value` (-1 to 1) up along the path of a ready leaf: one visit and `value` more for
    /// each node, the virtual loss off.
    ///
    /// # Panics
    /// Where the leaf is not [`Status::Ready`] or `value` is not finite.
    pub fn complete(&mut self, leaf: Leaf, value: f32) {
        assert!(
            matches!(leaf.status, Status::Ready { .. }),
            "only a ready leaf can be completed, this one is {:?}",
            leaf.status
        );
        assert!(value.is_finite(), "a leaf was evaluated as {value}");
        for &id in &leaf.path {
            let node = &mut self.nodes[id.index()];
            node.visits += 1;
            node.total += f64::from(value);
            if let Some(squares) = self.squares.get_mut(id.index()) {
                *squares += f64::from(value) * f64::from(value);
            }
        }
        self.nodes[leaf.last().index()].ends += 1;
        self.release(leaf);
    }

    /// Gives a leaf up: takes its virtual loss off, and frees its work for another leaf.
    pub fn abandon(&mut self, leaf: Leaf) {
        self.release(leaf);
    }

    fn release(&mut self, leaf: Leaf) {
        for &id in &leaf.path {
            self.nodes[id.index()].in_flight -= 1;
        }
        match leaf.status {
            Status::Ready { node, in_flight } | Status::Closed { node, in_flight } => {
                if !in_flight {
                    self.nodes[node.index()].claimed = false;
                }
            }
            Status::Missing {
                parent,
                token,
                in_flight,
            } => {
                let edge = self.missing_edge(parent, token);
                let link = &mut self.edges[edge].link;
                if let Some(child) = link.child() {
                    self.nodes[child.index()].in_flight -= 1;
                } else {
                    link.remove_waiting();
                    if !in_flight {
                        link.set_claimed(false);
                    }
                }
            }
        }
        self.in_flight -= 1;
        self.spare_paths.push(leaf.path);
    }
}
