//! Options: chains of tokens from one boundary to the next, entered into the tree as a trie.
//!
//! The nodes stay those of tokens, so key-value slots, traces and targets know nothing of options.
//! A node inside an option is passed; a simulation ends at a boundary. (Options: Sutton, Precup and
//! Singh 1999, "Between MDPs and semi-MDPs".)

use super::arena::{Edge, Link};
use super::{Child, Expansion, NodeId, Slot, Stage, Tree};
use std::collections::HashMap;

/// A token of an [`Action`].
#[derive(Debug, Clone, PartialEq)]
pub struct ActionStep {
    /// The token.
    pub token: u32,
    /// Its natural log-probability over the full vocabulary; 0 for a token that was given.
    pub log_prob: f32,
    /// Whether it was put there instead of chosen ([`Tree::revise`]).
    pub given: bool,
    /// The state after it and its slot. Not at the last step, which is forwarded when it is selected,
    /// and not where the node is in the tree.
    pub state: Option<(Expansion, Slot)>,
}

/// An option drawn at a boundary.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// At least one.
    pub steps: Vec<ActionStep>,
    /// What it weighs against its siblings, above 0. Equal options add up.
    pub weight: f64,
}

impl Tree {
    /// Gives a closed boundary its options and returns the slots that the tree did not take. At each
    /// node of their trie a continuation's prior becomes its share of the weight that passes through
    /// the node, 0 for those that no option takes.
    ///
    /// # Panics
    /// Where `node` is not [`Stage::Closed`], there is no option, one is empty, or the state of a step
    /// is neither given nor in the tree.
    pub fn open(&mut self, node: NodeId, actions: Vec<Action>) -> Vec<Slot> {
        assert_eq!(
            self.stage(node),
            Stage::Closed,
            "{node:?} is no boundary without options"
        );
        assert!(!actions.is_empty(), "{node:?} was given no options");
        let mut unused = Vec::new();
        let (mut inner, mut given) = (vec![node], Vec::new());
        let mut through: HashMap<(NodeId, u32), f64> = HashMap::new();
        for action in actions {
            assert!(action.weight > 0.0, "an option weighs {}", action.weight);
            let last = action.steps.len().checked_sub(1).expect("an empty option");
            let mut at = node;
            for (index, step) in action.steps.into_iter().enumerate() {
                *through.entry((at, step.token)).or_insert(0.0) += action.weight;
                let edge = self.edge_for(at, step.token, step.log_prob);
                if index == last {
                    self.end_option(edge);
                    break;
                }
                if let Some((expansion, slot)) = step.state {
                    let child = Child::Expanded { expansion, slot };
                    unused.extend(self.attach_at(at, edge, child).unused);
                }
                let child = self.edges[edge].link.child();
                at = child.expect("a step of an option without its state");
                if !inner.contains(&at) {
                    inner.push(at);
                }
                if step.given {
                    given.push(at);
                }
            }
        }
        for &id in &inner {
            self.stages[id.index()] = Stage::Passed;
            let edges = self.nodes[id.index()].edges();
            let weight = |edge: &Edge| through.get(&(id, edge.token)).copied().unwrap_or(0.0);
            let all: f64 = self.edges[edges.clone()].iter().map(weight).sum();
            for edge in &mut self.edges[edges] {
                edge.prior = (weight(edge) / all) as f32;
            }
        }
        for id in given {
            self.stages[id.index()] = Stage::Given;
        }
        self.stages[node.index()] = Stage::Open;
        unused
    }

    /// Makes what lies behind `edge` a boundary, now or when it is attached.
    fn end_option(&mut self, edge: usize) {
        match self.edges[edge].link.child() {
            Some(child) if self.is_terminal(child) => {}
            Some(child) => self.stages[child.index()] = Stage::Closed,
            None => self.edges[edge].link.set_boundary(),
        }
    }

    /// The edge of `token`, which a draw may have taken from outside the kept ones.
    fn edge_for(&mut self, id: NodeId, token: u32, log_prob: f32) -> usize {
        let known = self.edge_of(id, token);
        known.unwrap_or_else(|| self.push_edge(id, token, log_prob))
    }

    /// One more edge of a node, the last, whose prior is 0; the others move with it.
    pub(super) fn push_edge(&mut self, id: NodeId, token: u32, log_prob: f32) -> usize {
        let old = self.nodes[id.index()].edges();
        let first = self.edges.len();
        self.edges.extend_from_within(old);
        self.edges.push(Edge {
            token,
            prior: 0.0,
            log_prob,
            link: Link::EMPTY,
        });
        let node = &mut self.nodes[id.index()];
        node.first_edge = u32::try_from(first).expect("a tree has too many edges");
        node.edge_count += 1;
        let moved = node.edges();
        for edge in moved.clone() {
            if let Some(child) = self.edges[edge].link.child() {
                self.nodes[child.index()].edge = edge as u32;
            }
        }
        moved.end - 1
    }
}
