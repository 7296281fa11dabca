//! Slots that go before their nodes do.
//!
//! A node that gives its slot up keeps its token, its continuations, its value and its counts; only
//! a forward pass below it has to begin higher up. Slots hang together: a node holds one only where
//! its parent does, so what a path misses is always its end.

use super::{NodeId, Slot, Tree};
use std::cmp::Reverse;

impl Tree {
    /// The nodes on the way to `node` whose slots are gone, in the order of the text: a pass below
    /// `node` forwards their tokens after [`Tree::slots`], and [`Tree::restore`]s what it gets.
    pub fn missing(&self, node: NodeId) -> Vec<NodeId> {
        let lacks = |id: &NodeId| {
            let node = &self.nodes[id.index()];
            *id != self.root() && !node.terminal && node.slot.is_none()
        };
        let up = std::iter::successors(Some(node), |&id| self.parent(id));
        let mut gone: Vec<NodeId> = up
            .skip_while(|&id| self.is_terminal(id))
            .take_while(lacks)
            .collect();
        gone.reverse();
        gone
    }

    /// Gives `node` the slot of its token, which was forwarded anew. The slot comes back, for the
    /// caller to free, from a node that has one and from one that needs none: the root, whose context
    /// stays, and terminal nodes.
    ///
    /// # Panics
    /// Where the parent's slot is gone: slots come back from the top.
    pub fn restore(&mut self, node: NodeId, slot: Slot) -> Option<Slot> {
        let needed = self.missing(node);
        match needed[..] {
            [] => return Some(slot),
            [only] if only == node => self.nodes[node.index()].slot = Some(slot),
            _ => panic!("{node:?} gets its slot back before its parent does"),
        }
        None
    }

    /// Takes the slots of up to `count` nodes away, for the caller to free: of the least visited,
    /// among those the deepest, among those the oldest. A node has no more visits than its parent,
    /// so none goes before those below it. What lies on the way to one of `kept`, and the root's
    /// context, stays.
    pub fn evict(&mut self, count: usize, kept: &[NodeId]) -> Vec<Slot> {
        let mut stays = vec![false; self.nodes.len()];
        stays[0] = true;
        for &end in kept {
            let mut at = end;
            while !std::mem::replace(&mut stays[at.index()], true) {
                at = NodeId::new(self.nodes[at.index()].parent as usize);
            }
        }
        let held = self.nodes.iter().enumerate();
        let mut going: Vec<(u32, Reverse<u32>, usize)> = held
            .filter(|(index, node)| node.slot.is_some() && !stays[*index])
            .map(|(index, node)| (node.visits, Reverse(node.depth), index))
            .collect();
        if count < going.len() {
            going.select_nth_unstable(count);
            going.truncate(count);
        }
        let freed = going.into_iter();
        freed
            .filter_map(|(_, _, index)| self.nodes[index].slot.take())
            .collect()
    }
}
