//! The integrity check: everything that must hold between two calls.

use super::{NodeId, Stage, Terminals, Tree};

/// A tree whose parts contradict each other: a bug in this module, or a leaf of another tree.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("search tree, node {node}: {what}")]
pub struct Corrupt {
    /// Index of the node.
    pub node: usize,
    /// What does not hold there.
    pub what: String,
}

impl Tree {
    /// Checks links, order, slots, visit and return sums, virtual loss, outcomes and counts. Linear
    /// in the size of the tree.
    ///
    /// # Errors
    /// The first contradiction.
    pub fn check(&self) -> Result<(), Corrupt> {
        let mut terminals = Terminals::default();
        for id in self.nodes() {
            self.check_node(id).map_err(|what| Corrupt {
                node: id.index(),
                what,
            })?;
            if self.is_terminal(id) {
                terminals.count(self.outcome(id));
            }
        }
        let root = &self.nodes[0];
        let corrupt = |what| Err(Corrupt { node: 0, what });
        if terminals != self.terminals {
            return corrupt(format!("{:?} counted, {terminals:?} found", self.terminals));
        }
        let squares = usize::from(self.params.keeps_squares()) * self.len();
        if (self.stages.len(), self.squares.len()) != (self.len(), squares) {
            return corrupt("nodes without a stage, or without a sum of squares".into());
        }
        if root.in_flight != self.in_flight {
            return corrupt(format!(
                "{} leaves in flight, the tree says {}",
                root.in_flight, self.in_flight
            ));
        }
        Ok(())
    }

    fn check_node(&self, id: NodeId) -> Result<(), String> {
        let node = &self.nodes[id.index()];
        let ensure = |holds: bool, what: &str| holds.then_some(()).ok_or_else(|| what.to_string());
        ensure(
            node.terminal == (node.edge_count == 0),
            "terminal with continuations, or neither",
        )?;
        let closed = self.stage(id) == Stage::Closed;
        ensure(
            !closed || node.visits == node.ends,
            "simulations below a boundary without options",
        )?;
        let revised = node.terminal && self.stage(id) == Stage::Open;
        let edge = self.edges.get(node.edge as usize);
        ensure(
            !revised || edge.is_none_or(|edge| edge.prior == 0.0),
            "a revised text that simulations may still end in",
        )?;
        let (mut visits, mut total, mut in_flight) = (node.ends, 0.0, 0);
        for (rank, edge) in self.edges[node.edges()].iter().enumerate() {
            let Some(child_id) = edge.link.child() else {
                in_flight += edge.link.waiting();
                ensure(
                    !edge.link.claimed() || edge.link.waiting() > 0,
                    "an edge claimed by no leaf",
                )?;
                continue;
            };
            ensure(child_id > id, "a child before its parent")?;
            ensure(
                self.slot(child_id).is_none() || self.missing(id).is_empty(),
                "a slot below one that is gone",
            )?;
            let child = &self.nodes[child_id.index()];
            ensure(
                child.parent as usize == id.index()
                    && child.edge as usize == node.edges().start + rank
                    && child.token == edge.token
                    && child.depth == node.depth + 1,
                "a child that does not belong here",
            )?;
            ensure(
                rank != 0 || self.outcome(child_id) == self.outcome(id),
                "outcome differs from the greedy child's",
            )?;
            visits += child.visits;
            total += child.total;
            in_flight += child.in_flight;
        }
        ensure(
            node.visits == visits,
            "visits differ from those of the children",
        )?;
        ensure(
            (node.total - total).abs() <= f64::from(node.ends) + 1e-6 * (1.0 + total.abs()),
            "returns differ from those of the children",
        )?;
        ensure(
            node.in_flight >= in_flight,
            "more leaves in flight below than here",
        )?;
        ensure(
            node.in_flight > 0 || !node.claimed,
            "a node claimed by no leaf",
        )?;
        ensure(
            self.in_flight > 0 || node.in_flight == 0,
            "virtual loss without a leaf in flight",
        )
    }
}
