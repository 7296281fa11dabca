//! The search tree against a brute-force PUCT over random worlds, against counts from the Python
//! study's search over the same worlds, and under random operations.

#[path = "tree_reference/brute_force.rs"]
mod brute_force;
#[path = "tree_reference/draws.rs"]
mod draws;
#[path = "tree_reference/evictions.rs"]
mod evictions;
#[path = "tree_reference/gumbel.rs"]
mod gumbel;
#[path = "tree_reference/leaves.rs"]
mod leaves;
#[path = "tree_reference/options.rs"]
mod options;
#[path = "tree_reference/rollouts.rs"]
mod rollouts;
#[path = "tree_reference/study.rs"]
mod study;
#[path = "tree_reference/world.rs"]
mod world;

use std::collections::{BTreeMap, HashMap};

use proptest::prelude::*;
use tokenzero::tree::*;

use brute_force::{Reference, assert_same_counts, run_both};
use evictions::{evict_both, restore};
use rollouts::{Memory, search};
use world::{Random, Slots, World, attach, random_params};

fn matches_reference(seed: u64, wide: usize, adjust: impl Fn(&mut Params)) -> usize {
    let mut random = Random(seed);
    let mut params = random_params(&mut random);
    adjust(&mut params);
    let world = World {
        seed,
        max_depth: params.max_depth,
    };
    let mut tree = Tree::new(params.clone(), world.expansion(&[]));
    let mut reference = Reference::new(world, params);
    let mut slots = Slots::default();
    run_both(
        &mut tree,
        &mut reference,
        &mut random,
        &mut slots,
        (200, wide),
    );
    assert_eq!(tree.visits(tree.root()), 200);
    tree.len()
}

#[test]
fn one_leaf_at_a_time_matches_brute_force() {
    let nodes: usize = (0..250)
        .map(|seed| matches_reference(seed, 1, |_| ()))
        .sum();
    assert!(nodes > 250 * 40, "the worlds are too small: {nodes} nodes");
}

#[test]
fn leaves_in_flight_match_brute_force() {
    for seed in 0..250 {
        matches_reference(1000 + seed, 2 + seed as usize % 9, |_| ());
    }
}

#[test]
fn leaves_in_flight_without_virtual_loss_match_brute_force() {
    for seed in 0..100 {
        matches_reference(2000 + seed, 8, |params| params.virtual_loss = 0.0);
    }
}

#[test]
fn gates_match_brute_force() {
    let gates = [
        Gate::Nth { n: 3 },
        Gate::Entropy { above: 1.2 },
        Gate::Unsure { below: 0.4 },
    ];
    for seed in 0..240 {
        let wide = 1 + seed as usize % 5;
        matches_reference(6000 + seed, wide, |params| {
            params.gate = gates[seed as usize % 3];
        });
    }
}

#[test]
fn widths_match_brute_force() {
    let widths = [
        Width::Progressive {
            factor: 1.0,
            exponent: 0.4,
        },
        Width::Spread {
            least: 1,
            factor: 2.5,
        },
    ];
    for seed in 0..200 {
        let wide = 1 + seed as usize % 3;
        matches_reference(6500 + seed, wide, |params| {
            params.width = widths[seed as usize % 2];
        });
    }
}

#[test]
fn plain_sampling_leaves_one_child_that_depends_on_seed_and_text() {
    let tokens = |seed: u64, plain: f32| -> Vec<Vec<u32>> {
        let world = World {
            seed: 9,
            max_depth: 12,
        };
        let params = Params {
            plain,
            max_depth: 12,
            driven: Driven {
                seed,
                ..Driven::default()
            },
            ..Params::default()
        };
        let (tree, _) = search(&world, &params, 30, 1, Memory::None);
        tree.nodes()
            .filter(|&node| tree.visits(node) > 0)
            .map(|node| tree.tokens(node))
            .collect()
    };
    let one = tokens(1, 1.0);
    assert_eq!(one, tokens(1, 1.0));
    // A single line of tokens: every node continues the one before it.
    assert!(one.windows(2).all(|pair| pair[1].starts_with(&pair[0])));
    let different = (2..40).filter(|&seed| tokens(seed, 1.0) != one).count();
    assert!(different > 10, "{different} of 38 seeds draw another text");
    assert!(
        tokens(1, 0.3)
            .windows(2)
            .any(|pair| !pair[1].starts_with(&pair[0]))
    );
}

#[test]
fn commit_keeps_counts_and_the_search_goes_on_as_in_brute_force() {
    for seed in 3000..3060 {
        let mut random = Random(seed);
        let params = random_params(&mut random);
        let world = World {
            seed,
            max_depth: params.max_depth,
        };
        let mut tree = Tree::new(params.clone(), world.expansion(&[]));
        let mut reference = Reference::new(world, params);
        let mut slots = Slots::default();
        while !tree.is_terminal(tree.root()) {
            run_both(
                &mut tree,
                &mut reference,
                &mut random,
                &mut slots,
                (30, 1 + seed as usize % 4),
            );
            let best = match tree.best_child(tree.root(), Pick::Visits) {
                Some(best) => best,
                None => {
                    let root = tree.root();
                    let token = tree.children(root).next().unwrap().token;
                    attach(&mut tree, root, token, &world, &mut slots);
                    tree.child(tree.root(), token).unwrap()
                }
            };
            let path = tree.tokens(best);
            let kept: BTreeMap<Vec<u32>, (u32, Option<Slot>, Option<f32>)> = tree
                .nodes()
                .filter(|&node| tree.tokens(node).starts_with(&path))
                .map(|node| {
                    let facts = (tree.visits(node), tree.slot(node), tree.outcome(node));
                    (tree.tokens(node), facts)
                })
                .collect();
            let token = tree.token(best).unwrap();
            slots.free(tree.commit(token));
            assert_eq!(tree.tokens(tree.root()), path);
            assert_eq!(tree.token(tree.root()), Some(token));
            assert_eq!(tree.len(), kept.len());
            for node in tree.nodes() {
                let facts = (tree.visits(node), tree.slot(node), tree.outcome(node));
                assert_eq!(Some(&facts), kept.get(&tree.tokens(node)));
            }
            reference.known.extend(kept.into_keys());
            reference.root = path;
            tree.check().unwrap();
            slots.check(&tree);
            let forwarded =
                tree.tokens(tree.root()).len() - usize::from(tree.is_terminal(tree.root()));
            assert_eq!(tree.slots(tree.root()).len(), forwarded);
            assert_same_counts(&tree, &reference);
        }
    }
}

fn visited(tree: &Tree) -> BTreeMap<Vec<u32>, (u32, f64)> {
    tree.nodes()
        .filter(|&node| tree.visits(node) > 0)
        .map(|node| (tree.tokens(node), (tree.visits(node), tree.total(node))))
        .collect()
}

#[test]
fn remembered_rollouts_change_nothing_but_the_cost() {
    let (mut cheap, mut dear) = (0, 0);
    for seed in 4000..4060 {
        let mut random = Random(seed);
        let params = Params {
            lambda: random.pick(&[0.5, 1.0]),
            ..random_params(&mut random)
        };
        let world = World {
            seed,
            max_depth: params.max_depth,
        };
        let wide = random.pick(&[1, 1, 4]);
        let (used, cost) = search(&world, &params, 120, wide, Memory::Used);
        let (ignored, _) = search(&world, &params, 120, wide, Memory::Ignored);
        let (none, cost_without) = search(&world, &params, 120, wide, Memory::None);
        assert_eq!(visited(&used), visited(&none));
        assert_eq!(used.trajectories(), ignored.trajectories());
        assert_eq!(used.terminals(), ignored.terminals());
        assert_eq!(used.len(), ignored.len());
        for node in used.nodes() {
            assert_eq!(used.tokens(node), ignored.tokens(node));
            assert_eq!(used.outcome(node), ignored.outcome(node));
            assert_eq!(used.visits(node), ignored.visits(node));
        }
        assert!(cost <= cost_without);
        cheap += cost;
        dear += cost_without;
    }
    assert!(cheap * 2 < dear, "{cheap} forward passes instead of {dear}");
}

#[test]
fn trajectories_own_each_node_once() {
    for seed in 5000..5050 {
        let params = Params::default();
        let world = World {
            seed,
            max_depth: 40,
        };
        let (tree, _) = search(&world, &params, 80, 1, Memory::Used);
        let trajectories = tree.trajectories();
        let mut owners: HashMap<NodeId, f32> = HashMap::new();
        for trajectory in &trajectories {
            let end = *trajectory.nodes.last().unwrap();
            assert_eq!(trajectory.tokens, tree.tokens(end));
            assert_eq!(trajectory.outcome, world.grade(&trajectory.tokens));
            let (mut log_prob, mut greedy) = (0.0, true);
            for (i, &token) in trajectory.tokens.iter().enumerate() {
                let expansion = world.expansion(&trajectory.tokens[..i]);
                let rank = expansion.tokens.iter().position(|&t| t == token).unwrap();
                log_prob += expansion.log_probs[rank];
                greedy &= rank == 0;
            }
            assert!((trajectory.log_prob - log_prob).abs() < 1e-3);
            assert_eq!(trajectory.greedy, greedy);
            for (i, &node) in trajectory.nodes.iter().enumerate() {
                let mean = tree.mean(node).map(|mean| mean as f32);
                assert_eq!(trajectory.targets[i], mean.or(tree.outcome(node)).unwrap());
                if trajectory.weights[i] > 0.0 {
                    assert_eq!(trajectory.weights[i], tree.visits(node).max(1) as f32);
                    assert!(
                        owners.insert(node, 1.0).is_none(),
                        "{node:?} has two owners"
                    );
                }
            }
        }
        assert_eq!(owners.len(), tree.len(), "a node has no owner");
        assert_eq!(trajectories.iter().filter(|t| t.greedy).count(), 1);
        assert!(trajectories[0].greedy);
        let terminals = tree.terminals();
        assert_eq!(terminals.total(), trajectories.len());
        let correct = trajectories.iter().filter(|t| t.outcome > 0.0).count();
        assert_eq!((terminals.correct, terminals.unknown), (correct, 0));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn integrity_holds_under_random_operations(
        seed in 0u64..1000,
        ops in proptest::collection::vec((0u8..15, any::<u8>()), 1..250),
    ) {
        let mut random = Random(seed);
        let params = random_params(&mut random);
        let world = World { seed, max_depth: params.max_depth };
        let mut tree = Tree::new(params, world.expansion(&[]));
        let mut slots = Slots::default();
        let mut leaves: Vec<Leaf> = Vec::new();
        for (op, argument) in ops {
            let index = (argument as usize).checked_rem(leaves.len());
            match (op, index) {
                (0..=2, _) | (3..=8, None) => leaves.push(tree.select()),
                (3, Some(i)) => tree.advance(&mut leaves[i]),
                (4, Some(i)) => tree.abandon(leaves.remove(i)),
                (5..=6, Some(i)) => match leaves[i].status() {
                    Status::Missing { parent, token, .. } => {
                        restore(&mut tree, parent, &mut slots);
                        attach(&mut tree, parent, token, &world, &mut slots);
                        tree.advance(&mut leaves[i]);
                    }
                    Status::Closed { .. } => unreachable!("this tree moves by tokens"),
                    Status::Ready { node, .. } => {
                        let value = tree.value(node);
                        tree.complete(leaves.remove(i), value);
                    }
                },
                (7..=8, Some(_)) | (9, _) => {
                    // A rollout, greedy or not, finished or cut, from any node.
                    let from = tree.nodes().nth(argument as usize % tree.len()).unwrap();
                    restore(&mut tree, from, &mut slots);
                    let mut path = tree.tokens(from);
                    let mut steps = Vec::new();
                    while !world.terminal(&path) && random.below(20) > 0 {
                        let tokens = world.expansion(&path).tokens;
                        let token = if op == 7 { tokens[0] } else { random.pick(&tokens) };
                        path.push(token);
                        let child = world.child(&path, &mut slots);
                        steps.push(RolloutStep { token, child });
                    }
                    let outcome = world.terminal(&path).then(|| world.grade(&path));
                    slots.free(tree.record_rollout(from, steps, outcome).unused);
                }
                (12..=13, _) => {
                    let kept = random.below(3);
                    let kept: Vec<NodeId> = (0..kept)
                        .filter_map(|_| tree.nodes().nth(random.below(tree.len() as u64) as usize))
                        .collect();
                    slots.free(evict_both(&mut tree, argument as usize % 40, &kept));
                }
                (14, _) => {
                    let node = tree.nodes().nth(argument as usize % tree.len()).unwrap();
                    restore(&mut tree, node, &mut slots);
                }
                _ => {
                    if argument < 120 { continue; }
                    for leaf in leaves.drain(..) {
                        tree.abandon(leaf);
                    }
                    let child = tree.children(tree.root()).find(|child| child.node.is_some());
                    if let Some(child) = child {
                        if let Some(node) = child.node {
                            restore(&mut tree, node, &mut slots);
                        }
                        slots.free(tree.commit(child.token));
                    }
                }
            }
            prop_assert_eq!(tree.check(), Ok(()));
            prop_assert_eq!(tree.in_flight() as usize, leaves.len());
            slots.check(&tree);
            for node in tree.nodes() {
                let tail = tree.greedy_tail(node);
                let end = *tail.nodes.last().unwrap();
                prop_assert_eq!(tail.outcome, tree.outcome(end));
                if let Some(outcome) = tail.outcome {
                    prop_assert_eq!(outcome, world.rollout(&tree.tokens(node)));
                }
            }
        }
        for leaf in leaves {
            tree.abandon(leaf);
        }
        prop_assert_eq!(tree.check(), Ok(()));
    }
}

/// Not a bound that a busy machine can break: run by hand, in release.
#[test]
#[ignore = "a timing; run with --release -- --ignored --nocapture"]
fn select_speed() {
    let mut tree = Tree::new(
        Params {
            // Nothing but means, which are all equal: the earliest child is always chosen.
            c_puct: 0.0,
            ..Params::default()
        },
        deep(0),
    );
    let mut node = tree.root();
    for depth in 1..=40 {
        let children: Vec<_> = tree.children(node).map(|child| child.token).collect();
        for &token in &children {
            tree.attach(
                node,
                token,
                Child::Expanded {
                    expansion: deep(depth),
                    slot: Slot(0),
                },
            );
        }
        node = tree.child(node, 0).unwrap();
    }
    for _ in 0..40 {
        let leaf = tree.select();
        tree.complete(leaf, 1.0);
    }
    // Each simulation above went one level deeper, so the walk is now 40 nodes long.
    let leaf = tree.select();
    assert_eq!(leaf.path().len(), 41);
    tree.abandon(leaf);
    let best = (0..200)
        .map(|_| {
            let start = std::time::Instant::now();
            for _ in 0..1000 {
                let leaf = tree.select();
                tree.abandon(leaf);
            }
            start.elapsed() / 1000
        })
        .min();
    println!("select and abandon, depth 40, 5 children: {best:?}");
}

fn deep(depth: u32) -> Expansion {
    Expansion {
        tokens: vec![0, 1, 2, 3, 4],
        log_probs: [0.9f32, 0.04, 0.03, 0.02, 0.01].map(f32::ln).to_vec(),
        log_sum_exp: depth as f32,
        value: 0.0,
    }
}
