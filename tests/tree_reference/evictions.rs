//! Evictions one by one, by looking at the whole tree each time.

use std::collections::HashSet;

use tokenzero::tree::*;

use crate::world::Slots;

/// Evicts `count` slots from `tree`, and compares with taking one after the other from whichever node
/// may give its slot up and comes first. Returns the slots.
pub fn evict_both(tree: &mut Tree, count: usize, kept: &[NodeId]) -> Vec<Slot> {
    let before = tree.clone();
    let stays: HashSet<NodeId> = kept.iter().flat_map(|&node| tree.path(node)).collect();
    let mut held: HashSet<NodeId> = tree.nodes().filter(|&n| tree.slot(n).is_some()).collect();
    let mut expected = HashSet::new();
    for _ in 0..count {
        let free = held.iter().copied().filter(|&node| {
            let mut below = tree.children(node).filter_map(|child| child.node);
            node != tree.root() && !stays.contains(&node) && !below.any(|n| held.contains(&n))
        });
        let first = free.min_by_key(|&n| (tree.visits(n), u32::MAX - tree.depth(n), n));
        let Some(first) = first else {
            break;
        };
        held.remove(&first);
        expected.insert(tree.slot(first).unwrap());
    }
    let evicted = tree.evict(count, kept);
    assert_eq!(evicted.iter().copied().collect::<HashSet<_>>(), expected);
    assert_eq!(evicted.len(), expected.len());
    for node in tree.nodes() {
        let facts = |tree: &Tree| {
            let mine = (tree.tokens(node), tree.visits(node), tree.total(node));
            let said = (tree.value(node), tree.log_sum_exp(node), tree.outcome(node));
            (mine, said, tree.children(node).collect::<Vec<_>>())
        };
        assert_eq!(facts(tree), facts(&before));
    }
    for node in kept {
        assert_eq!(tree.slots(*node), before.slots(*node));
    }
    evicted
}

/// Brings back every slot on the way to `node`.
pub fn restore(tree: &mut Tree, node: NodeId, slots: &mut Slots) {
    let there = tree.slots(node);
    let missing = tree.missing(node);
    let forwarded = tree.tokens(node).len() - usize::from(tree.is_terminal(node));
    assert_eq!(there.len() + missing.len(), forwarded);
    let fresh: Vec<Slot> = missing.iter().map(|_| slots.take()).collect();
    for (&node, &slot) in missing.iter().zip(&fresh) {
        assert_eq!(tree.restore(node, slot), None);
    }
    assert_eq!(tree.slots(node), [there, fresh].concat());
    assert_eq!(tree.missing(node), []);
    let spare = slots.take();
    assert_eq!(tree.restore(node, spare), Some(spare), "it has one");
    slots.free([spare]);
}
