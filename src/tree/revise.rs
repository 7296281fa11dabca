//! Finished texts that go on before their end.
//!
//! A revised text is an answer and an inner state in one. Its end, a terminal node, keeps the return
//! that was backed up from it, once; the share of the prior that led there leads to the revisions
//! now, whose returns are backed up through the same nodes above.

use super::{Action, Child, NodeId, Slot, Stage, Tree};

impl Tree {
    /// Makes the next simulation that reaches the end of a text ask for revisions
    /// ([`Status::Closed`](super::Status::Closed)).
    ///
    /// # Panics
    /// Where `end` is not terminal, follows the root at once, or was reached by no option.
    pub fn reopen(&mut self, end: NodeId) {
        let before = self.parent(end).filter(|_| self.is_terminal(end));
        let before = before.filter(|&node| node != self.root());
        assert!(
            before.is_some_and(|node| self.stage(node).chooses_by_prior()),
            "{end:?} is not the end of a text that options wrote"
        );
        self.stages[end.index()] = Stage::Closed;
    }

    /// Gives a reopened end its revisions and returns the slots that the tree did not take. Each begins
    /// with the same given token ([`ActionStep::given`](super::ActionStep::given)), which follows the
    /// state *before* `end`: on an edge of its own, the last of that node, even where another one has
    /// the same token. So a revision shares no node with what the policy wrote without being asked. Among
    /// the revisions of one text, a node that one of them was given and another chose counts as given.
    ///
    /// # Panics
    /// Where `end` was not reopened, there is no revision, one is shorter than two tokens, or the state
    /// of a step is neither given nor in the tree.
    pub fn revise(&mut self, end: NodeId, mut revisions: Vec<Action>) -> Vec<Slot> {
        assert!(
            self.is_terminal(end) && self.stage(end) == Stage::Closed,
            "{end:?} was not reopened"
        );
        let Some(before) = self.parent(end) else {
            panic!("{end:?} is the root");
        };
        let mut firsts = Vec::new();
        for revision in &mut revisions {
            firsts.push(revision.steps.remove(0));
        }
        let mut firsts = firsts.into_iter();
        let first = firsts.next().expect("a text without revisions");
        let (expansion, slot) = first.state.expect("a given token without its state");
        let edge = self.push_edge(before, first.token, first.log_prob);
        let old = self.nodes[end.index()].edge as usize;
        self.edges[edge].prior = std::mem::take(&mut self.edges[old].prior);
        let attached = self.attach_at(before, edge, Child::Expanded { expansion, slot });
        let spare = firsts.filter_map(|step| Some(step.state?.1));
        let mut unused: Vec<Slot> = attached.unused.into_iter().chain(spare).collect();
        self.stages[end.index()] = Stage::Open;
        self.stages[attached.node.index()] = Stage::Closed;
        unused.extend(self.open(attached.node, revisions));
        self.stages[attached.node.index()] = Stage::Given;
        unused
    }

    /// Whether an edge leads into a revision.
    pub(super) fn revises(&self, edge: usize) -> bool {
        let child = self.edges[edge].link.child();
        child.is_some_and(|child| self.stage(child) == Stage::Given)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{ActionStep, Driven, Expansion, Leaf, Params, Pick, Status};
    use super::*;

    const STOP: u32 = 0;

    fn expansion(tokens: &[u32]) -> Expansion {
        let even = (1.0 / tokens.len() as f32).ln();
        Expansion {
            tokens: tokens.to_vec(),
            log_probs: vec![even; tokens.len()],
            log_sum_exp: 0.0,
            value: 0.0,
        }
    }

    fn step(token: u32, given: bool, state: Option<(&[u32], u32)>) -> ActionStep {
        ActionStep {
            token,
            log_prob: if given { 0.0 } else { -0.5 },
            given,
            state: state.map(|(next, slot)| (expansion(next), Slot(slot))),
        }
    }

    fn action(steps: Vec<ActionStep>) -> Action {
        Action { steps, weight: 1.0 }
    }

    /// Takes a leaf to its end, stop tokens being terminal; what it says then.
    fn settle(tree: &mut Tree, leaf: &mut Leaf) -> Status {
        loop {
            tree.advance(leaf);
            match leaf.status() {
                Status::Missing { parent, token, .. } => {
                    let child = match token {
                        STOP => Child::Terminal,
                        _ => Child::Expanded {
                            expansion: expansion(&[STOP, 3]),
                            slot: Slot(900 + tree.len() as u32),
                        },
                    };
                    tree.attach(parent, token, child);
                }
                Status::Closed {
                    node,
                    in_flight: false,
                } if !tree.is_terminal(node) => {
                    let ends = vec![action(vec![step(STOP, false, None)])];
                    assert!(tree.open(node, ends).is_empty());
                }
                status => return status,
            }
        }
    }

    fn simulate(tree: &mut Tree, value: f32) -> NodeId {
        let mut leaf = tree.select();
        match settle(tree, &mut leaf) {
            Status::Ready { node, .. } => {
                tree.complete(leaf, value);
                node
            }
            status => panic!("{status:?}"),
        }
    }

    /// `1 0` is written, `1 2` goes on; `1 0` is reopened.
    fn written() -> (Tree, NodeId) {
        let params = Params {
            max_depth: 20,
            driven: Driven {
                options: true,
                ..Driven::default()
            },
            ..Params::default()
        };
        let mut tree = Tree::new(params, expansion(&[1]));
        simulate(&mut tree, 0.0);
        let options = vec![
            action(vec![
                step(1, false, Some((&[STOP, 2], 1))),
                step(STOP, false, None),
            ]),
            action(vec![step(1, false, None), step(2, false, None)]),
        ];
        assert!(tree.open(tree.root(), options).is_empty());
        let end = simulate(&mut tree, -0.5);
        assert!(tree.is_terminal(end));
        tree.set_outcome(end, -1.0);
        tree.reopen(end);
        tree.check().unwrap();
        (tree, end)
    }

    /// Two revisions, `7 8` given, then `1 0` and `4 0`, whose given tokens begin with `first`.
    fn revisions(first: u32) -> Vec<Action> {
        let given = |state: bool| {
            let opening = |next, slot| state.then_some((next, slot));
            vec![
                step(first, true, opening(&[8u32][..], 10)),
                step(8, true, Some((&[1, STOP][..], 11 + u32::from(!state)))),
            ]
        };
        let written = |token: u32, slot, state| {
            let own = [
                step(token, false, Some((&[STOP][..], slot))),
                step(STOP, false, None),
            ];
            action(given(state).into_iter().chain(own).collect())
        };
        vec![written(1, 20, true), written(4, 21, false)]
    }

    #[test]
    fn an_end_counts_once_and_its_revisions_take_its_share() {
        // The first given token may be the one that ends the text, or one that continues it.
        for first in [7, STOP, 2] {
            let (mut tree, end) = written();
            let before = tree.parent(end).unwrap();
            let share = tree.children(before).next().unwrap().prior;
            // It is the turn of `1 2`.
            let other = simulate(&mut tree, -0.9);
            assert_eq!(tree.tokens(other), [1, 2]);
            let mut leaf = tree.select();
            let status = settle(&mut tree, &mut leaf);
            assert_eq!(
                status,
                Status::Closed {
                    node: end,
                    in_flight: false
                }
            );
            assert_eq!(tree.revise(end, revisions(first)), [Slot(12)]);
            assert_eq!(
                settle(&mut tree, &mut leaf),
                Status::Ready {
                    node: tree.nodes().last().unwrap(),
                    in_flight: false,
                }
            );
            let texts = [&[1, first, 8, 1, STOP][..], &[1, first, 8, 4, STOP]];
            assert_eq!(tree.tokens(leaf.path()[leaf.path().len() - 1]), texts[0]);
            tree.complete(leaf, 0.25);
            tree.check().unwrap();
            let priors: Vec<f32> = tree.children(before).map(|child| child.prior).collect();
            assert_eq!(priors, [0.0, 1.0 - share, share]);
            for _ in 0..40 {
                let reached = simulate(&mut tree, 0.5);
                assert_ne!(reached, end);
                tree.check().unwrap();
            }
            assert_eq!((tree.visits(end), tree.mean(end)), (1, Some(-0.5)));
            for text in texts {
                let found = tree.nodes().filter(|&node| tree.tokens(node) == text);
                let visits: u32 = found.map(|node| tree.visits(node)).sum();
                assert!(visits > 3, "{text:?} has {visits} visits");
            }
            let stages: Vec<Stage> = tree.nodes().map(|node| tree.stage(node)).collect();
            assert_eq!(stages.iter().filter(|s| **s == Stage::Given).count(), 2);
        }
    }

    #[test]
    fn an_end_that_is_better_than_its_revisions_stays_the_answer() {
        for (value, pick, own) in [
            (-0.9, Pick::MeanReturn, true),
            (0.9, Pick::MeanReturn, false),
            (-0.9, Pick::Visits, false),
        ] {
            let (mut tree, end) = written();
            simulate(&mut tree, -1.0);
            let mut leaf = tree.select();
            settle(&mut tree, &mut leaf);
            tree.revise(end, revisions(7));
            settle(&mut tree, &mut leaf);
            tree.complete(leaf, value);
            for _ in 0..6 {
                simulate(&mut tree, value);
            }
            let best = *tree.best_path(pick).last().unwrap();
            assert_eq!(best == end, own, "{:?} by {pick:?}", tree.tokens(best));
        }
    }

    #[test]
    fn leaves_in_flight_wait_for_revisions_and_keep_their_place() {
        let (mut tree, end) = written();
        let mut leaves: Vec<Leaf> = (0..5).map(|_| tree.select()).collect();
        // One is on its way to `1 2`, which moves when the node gets the edge of the revisions.
        let missing = leaves
            .iter()
            .position(|leaf| matches!(leaf.status(), Status::Missing { token: 2, .. }));
        let closed = |leaf: &Leaf, other: bool| {
            leaf.status()
                == Status::Closed {
                    node: end,
                    in_flight: other,
                }
        };
        let first = leaves.iter().position(|leaf| closed(leaf, false)).unwrap();
        assert!(leaves.iter().any(|leaf| closed(leaf, true)));
        let waiting = tree.in_flight();
        tree.revise(end, revisions(7));
        tree.check().unwrap();
        for leaf in &mut leaves {
            let status = settle(&mut tree, leaf);
            assert!(
                matches!(status, Status::Ready { node, .. } if node != end),
                "{status:?}"
            );
            tree.check().unwrap();
        }
        assert!(missing.is_some_and(|index| { tree.tokens(leaves[index].last())[..2] == [1, 2] }));
        assert_eq!(tree.tokens(leaves[first].last())[1], 7);
        assert_eq!(tree.in_flight(), waiting);
        for leaf in leaves {
            tree.abandon(leaf);
        }
        tree.check().unwrap();
    }

    #[test]
    fn what_the_policy_writes_itself_is_no_revision() {
        let (mut tree, end) = written();
        simulate(&mut tree, -1.0);
        let mut leaf = tree.select();
        settle(&mut tree, &mut leaf);
        tree.revise(end, revisions(7));
        tree.abandon(leaf);
        let before = tree.parent(end).unwrap();
        let steps = [7, 8, 1, STOP].map(|token| super::super::RolloutStep {
            token,
            child: Child::Terminal,
        });
        let recorded = tree.record_rollout(before, steps, Some(1.0));
        assert!(!recorded.finished && recorded.end == before);
    }

    #[test]
    #[should_panic(expected = "was not reopened")]
    fn an_end_is_revised_once() {
        let (mut tree, end) = written();
        tree.revise(end, revisions(7));
        tree.revise(end, revisions(7));
    }
}
