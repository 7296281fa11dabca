//! Search with greedy rollouts, which are remembered or not.

use tokenzero::tree::*;

use super::world::{Slots, World, attach};

#[derive(Clone, Copy, PartialEq)]
pub enum Memory {
    /// Outcomes and recorded tails are used; a rollout starts where the record ends.
    Used,
    /// Every rollout is run anew and recorded over the old one.
    Ignored,
    /// Every rollout is run anew and nothing of it is recorded.
    None,
}

/// Searches with greedy rollouts; returns the tree and the forward passes it took.
pub fn search(
    world: &World,
    params: &Params,
    simulations: usize,
    wide: usize,
    memory: Memory,
) -> (Tree, u32) {
    let mut tree = Tree::new(params.clone(), world.expansion(&[]));
    let mut slots = Slots::default();
    let mut thrown_away = 0;
    let mut done = 0;
    while done < simulations {
        let mut leaves: Vec<Leaf> = (0..wide.min(simulations - done))
            .map(|_| tree.select())
            .collect();
        for leaf in &mut leaves {
            loop {
                match leaf.status() {
                    Status::Ready { .. } | Status::Closed { .. } => break,
                    Status::Missing { parent, token, .. } => {
                        if tree.child(parent, token).is_none() {
                            attach(&mut tree, parent, token, world, &mut slots);
                        }
                        tree.advance(leaf);
                    }
                }
            }
        }
        for leaf in leaves {
            let Status::Ready { node, .. } = leaf.status() else {
                unreachable!()
            };
            let from = match memory {
                Memory::Used => tree.greedy_tail(node).nodes.pop().unwrap(),
                _ => node,
            };
            let start = tree.tokens(from);
            if params.lambda == 0.0 {
                // Valued only.
            } else if memory == Memory::None {
                let mut path = start.clone();
                while !world.terminal(&path) {
                    path.push(world.expansion(&path).tokens[0]);
                    thrown_away += u32::from(!world.terminal(&path));
                }
            } else if memory == Memory::Ignored || tree.outcome(node).is_none() {
                let mut path = start.clone();
                let mut steps = Vec::new();
                while !world.terminal(&path) {
                    path.push(world.expansion(&path).tokens[0]);
                    steps.push(RolloutStep {
                        token: path[path.len() - 1],
                        child: world.child(&path, &mut slots),
                    });
                }
                let recorded = tree.record_rollout(from, steps, Some(world.grade(&path)));
                assert!(recorded.finished);
                assert_eq!(tree.tokens(recorded.end), path);
                slots.free(recorded.unused);
                assert_eq!(tree.outcome(node), Some(world.grade(&path)));
            }
            let value = mix(params.lambda, tree.value(node), world.rollout(&start));
            tree.complete(leaf, value);
            done += 1;
        }
        tree.check().unwrap();
        slots.check(&tree);
    }
    (tree, slots.taken + thrown_away)
}
