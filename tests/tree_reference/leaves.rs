//! Leaves in flight that meet, and rollouts that end in unusual ways.

use tokenzero::tree::*;

fn two_way(value: f32) -> Expansion {
    Expansion {
        tokens: vec![1, 2],
        log_probs: vec![0.9f32.ln(), 0.1f32.ln()],
        log_sum_exp: 0.0,
        value,
    }
}

fn expanded(slot: u32) -> Child {
    Child::Expanded {
        expansion: two_way(0.0),
        slot: Slot(slot),
    }
}

/// A tree whose root was visited once, without virtual loss, so that leaves meet.
fn meeting_tree() -> Tree {
    let params = Params {
        virtual_loss: 0.0,
        ..Params::default()
    };
    let mut tree = Tree::new(params, two_way(0.0));
    let leaf = tree.select();
    tree.complete(leaf, 0.0);
    tree
}

fn missing(parent: NodeId, in_flight: bool) -> Status {
    Status::Missing {
        parent,
        token: 1,
        in_flight,
    }
}

#[test]
fn the_second_leaf_at_a_missing_child_is_told() {
    let mut tree = meeting_tree();
    let root = tree.root();
    let (mut first, mut second) = (tree.select(), tree.select());
    assert_eq!(first.status(), missing(root, false));
    assert_eq!(second.status(), missing(root, true));
    tree.advance(&mut second);
    assert_eq!(second.status(), missing(root, true));
    let node = tree.attach(root, 1, expanded(7)).node;
    tree.check().unwrap();
    // Whoever arrives first evaluates.
    tree.advance(&mut second);
    tree.advance(&mut first);
    assert_eq!(
        second.status(),
        Status::Ready {
            node,
            in_flight: false
        }
    );
    assert_eq!(
        first.status(),
        Status::Ready {
            node,
            in_flight: true
        }
    );
    tree.complete(second, 0.5);
    // The other one goes on below.
    tree.advance(&mut first);
    assert_eq!(first.status(), missing(node, false));
    tree.abandon(first);
    tree.check().unwrap();
    assert_eq!((tree.in_flight(), tree.visits(root)), (0, 2));
}

#[test]
fn work_given_up_passes_to_the_leaf_that_waits() {
    let mut tree = meeting_tree();
    let root = tree.root();
    let (first, mut second) = (tree.select(), tree.select());
    tree.abandon(first);
    assert_eq!(second.status(), missing(root, true));
    tree.advance(&mut second);
    assert_eq!(second.status(), missing(root, false));
    let third = tree.select();
    assert_eq!(third.status(), missing(root, true));
    let attached = tree.attach(root, 1, expanded(0));
    let again = tree.attach(root, 1, expanded(1));
    assert!(attached.created && !again.created);
    assert_eq!((attached.unused, again.unused), (None, Some(Slot(1))));
    // Leaves may be given up between attach and advance.
    tree.abandon(third);
    tree.abandon(second);
    tree.check().unwrap();
}

#[test]
fn virtual_loss_spreads_and_a_known_outcome_blocks_nobody() {
    let mut tree = Tree::new(Params::default(), two_way(0.0));
    let leaf = tree.select();
    tree.complete(leaf, 0.0);
    let (first, second) = (tree.select(), tree.select());
    let root = tree.root();
    assert_eq!(first.status(), missing(root, false));
    assert!(matches!(
        second.status(),
        Status::Missing {
            token: 2,
            in_flight: false,
            ..
        }
    ));
    let end = tree.attach(root, 1, Child::Terminal).node;
    tree.set_outcome(end, 1.0);
    assert_eq!(tree.outcome(root), Some(1.0));
    let (mut first, mut third) = (first, second);
    tree.advance(&mut first);
    assert_eq!(
        first.status(),
        Status::Ready {
            node: end,
            in_flight: false
        }
    );
    tree.complete(first, 1.0);
    let (a, b) = (tree.select(), tree.select());
    assert_eq!(
        a.status(),
        Status::Ready {
            node: end,
            in_flight: false
        }
    );
    assert_eq!(
        b.status(),
        Status::Ready {
            node: end,
            in_flight: false
        }
    );
    tree.advance(&mut third);
    for leaf in [a, b, third] {
        tree.abandon(leaf);
    }
    tree.check().unwrap();
}

#[test]
fn sampled_rollouts_are_stored_but_pass_no_outcome_up() {
    let mut tree = meeting_tree();
    let root = tree.root();
    let step = |token, child| RolloutStep { token, child };
    let steps = vec![
        step(2, expanded(0)),
        step(1, expanded(1)),
        step(1, Child::Terminal),
    ];
    let recorded = tree.record_rollout(root, steps, Some(-1.0));
    assert!(recorded.finished && recorded.created == 3 && recorded.unused.is_empty());
    let outcomes: Vec<_> = tree
        .path(recorded.end)
        .iter()
        .map(|&n| tree.outcome(n))
        .collect();
    assert_eq!(outcomes, [None, Some(-1.0), Some(-1.0), Some(-1.0)]);
    // A token outside the kept continuations, and a cut rollout.
    let steps = vec![
        step(1, expanded(2)),
        step(9, expanded(3)),
        step(1, Child::Terminal),
    ];
    let broken = tree.record_rollout(root, steps, Some(1.0));
    assert!(!broken.finished && broken.unused == [Slot(3)]);
    assert_eq!((tree.outcome(root), tree.terminals().wrong), (None, 1));
    assert_eq!(tree.greedy_tail(root).nodes, [root, broken.end]);
    tree.check().unwrap();
}

#[test]
fn the_earlier_of_equals_wins() {
    let even = Expansion {
        log_probs: vec![0.5f32.ln(); 2],
        ..two_way(0.0)
    };
    let mut tree = Tree::new(Params::default(), even);
    let root = tree.root();
    let ends = [1, 2].map(|token| tree.attach(root, token, Child::Terminal).node);
    for reached in [root, ends[0], ends[1], ends[0]] {
        for pick in [Pick::Visits, Pick::MeanReturn] {
            let seen = (tree.visits(root) > 1).then_some(ends[0]);
            assert_eq!(tree.best_child(root, pick), seen);
        }
        let leaf = tree.select();
        assert_eq!(leaf.path().last(), Some(&reached));
        tree.complete(leaf, 1.0);
    }
    assert_eq!(tree.best_path(Pick::Visits), [root, ends[0]]);
}

#[test]
#[should_panic(expected = "with leaves in flight")]
fn commit_refuses_with_leaves_in_flight() {
    let mut tree = meeting_tree();
    let root = tree.root();
    tree.attach(root, 1, expanded(0));
    let _leaf = tree.select();
    tree.commit(1);
}
