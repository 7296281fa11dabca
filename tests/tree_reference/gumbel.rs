//! Searches that `gumbel.py`, beside this file, prints: mctx's selection, completed returns and final
//! policy over the same worlds; and UCT and AlphaZero's PUCT by their formulas.

use tokenzero::tree::improved::{Scale, Tried, completed_policy};
use tokenzero::tree::*;

use super::world::{Slots, World, attach};

/// Seed, simulations after the root's own, children considered, whether returns are stretched; visits
/// of the root's children, the one chosen, the improved policy.
type Searched = (
    u64,
    usize,
    usize,
    bool,
    &'static [u32],
    usize,
    &'static [f64],
);

#[rustfmt::skip]
const MCTX: &[Searched] = &[
    (1, 16, 3, false, &[7, 2, 0, 7], 3, &[0.364837757, 0.379856913, 0.134136791, 0.121168539]),
    (2, 50, 4, true, &[50], 0, &[1.000000000]),
    (3, 8, 2, false, &[0, 4, 4, 0, 0], 1, &[0.331470309, 0.467696922, 0.024387833, 0.098748474, 0.077696462]),
    (4, 16, 3, true, &[2, 7, 0, 7], 1, &[0.002944527, 0.798326170, 0.016383949, 0.182345354]),
    (5, 50, 4, false, &[25, 25], 1, &[0.873799470, 0.126200530]),
    (6, 8, 2, true, &[8], 0, &[1.000000000]),
    (7, 16, 3, false, &[16], 0, &[1.000000000]),
    (8, 50, 4, true, &[6, 19, 6, 19, 0], 1, &[0.017943565, 0.979794553, 0.000814703, 0.001162982, 0.000284197]),
    (9, 8, 2, false, &[4, 4, 0], 1, &[0.345494715, 0.621864221, 0.032641063]),
    (10, 16, 3, true, &[2, 7, 7], 1, &[0.003621199, 0.982385659, 0.013993141]),
    (11, 50, 4, false, &[6, 6, 19, 19, 0], 3, &[0.178230680, 0.263719271, 0.233545668, 0.313115108, 0.011389272]),
    (12, 8, 2, true, &[4, 4, 0, 0], 0, &[0.483707265, 0.003406229, 0.266083853, 0.246802653]),
];

const DEPTH: u32 = 8;

/// One simulation, evaluated by the world's value.
fn simulate(tree: &mut Tree, world: &World, slots: &mut Slots) {
    let mut leaf = tree.select();
    loop {
        match leaf.status() {
            Status::Missing { parent, token, .. } => {
                attach(tree, parent, token, world, slots);
                tree.advance(&mut leaf);
            }
            Status::Closed { .. } => unreachable!("this tree moves by tokens"),
            Status::Ready { node, .. } => {
                let value = tree.value(node);
                tree.complete(leaf, value);
                return;
            }
        }
    }
}

fn grown(seed: u64, rule: Rule, c_puct: f32) -> (Tree, World, Slots) {
    let world = World {
        seed,
        max_depth: DEPTH,
    };
    let params = Params {
        rule,
        c_puct,
        min_prior: 0.0,
        pass_single_child: false,
        lambda: 0.0,
        max_depth: DEPTH,
        ..Params::default()
    };
    let mut tree = Tree::new(params, world.expansion(&[]));
    let mut slots = Slots::default();
    simulate(&mut tree, &world, &mut slots);
    (tree, world, slots)
}

fn visits(tree: &Tree) -> Vec<u32> {
    let of = |child: Continuation| child.node.map_or(0, |node| tree.visits(node));
    tree.children(tree.root()).map(of).collect()
}

#[test]
fn gumbel_search_is_that_of_mctx() {
    for &(seed, simulations, considered, rescale, expected, chosen, policy) in MCTX {
        let scale = Scale {
            visit: 50.0,
            scale: 0.1,
            rescale,
        };
        let rule = Rule::Gumbel { considered, scale };
        let (mut tree, world, mut slots) = grown(seed, rule, 0.0);
        let noise = (0..expected.len() as u64)
            .map(|i| {
                let uniform = (world.hash(&[], 50 + i) % (1 << 20)) as f64 + 0.5;
                -(-(uniform / f64::from(1 << 20)).ln()).ln()
            })
            .collect();
        tree.set_root_gumbel(noise, simulations);
        for _ in 0..simulations {
            simulate(&mut tree, &world, &mut slots);
        }
        assert_eq!(visits(&tree), expected, "seed {seed}");
        let best = tree.best_child(tree.root(), Pick::Improved).unwrap();
        let tokens: Vec<u32> = tree.children(tree.root()).map(|c| c.token).collect();
        assert_eq!(tree.token(best), Some(tokens[chosen]), "seed {seed}");
        let tried: Vec<Tried> = tree
            .children(tree.root())
            .map(|child| Tried {
                logit: f64::from(child.prior).ln(),
                visits: child.node.map_or(0.0, |node| tree.visits(node).into()),
                mean: child.node.and_then(|node| tree.mean(node)).unwrap_or(0.0),
            })
            .collect();
        let value = f64::from(tree.value(tree.root()));
        for (a, b) in completed_policy(&tried, value, scale).iter().zip(policy) {
            assert!((a - b).abs() < 1e-5, "seed {seed}: {a} instead of {b}");
        }
    }
}

/// The child that `score(prior, visits, mean)` ranks first at each step down, until a node without
/// visits or an end.
fn walked(tree: &Tree, score: impl Fn(f64, f64, f64, f64, f64) -> f64) -> Vec<u32> {
    let mut node = tree.root();
    let mut path = Vec::new();
    while tree.visits(node) > 0 && !tree.is_terminal(node) {
        let all = f64::from(tree.visits(node));
        let own = tree.mean(node).unwrap();
        let mut best = None;
        for child in tree.children(node) {
            let visits = child.node.map_or(0.0, |c| f64::from(tree.visits(c)));
            let mean = child.node.and_then(|c| tree.mean(c)).unwrap_or(f64::NAN);
            let score = score(f64::from(child.prior), visits, mean, all, own);
            if best.is_none_or(|(top, _)| score > top) {
                best = Some((score, child));
            }
        }
        let (_, child) = best.unwrap();
        path.push(child.token);
        match child.node {
            Some(below) => node = below,
            None => break,
        }
    }
    path
}

fn follows(rule: Rule, c: f32, score: impl Fn(f64, f64, f64, f64, f64) -> f64) {
    for seed in 4000..4060 {
        let (mut tree, world, mut slots) = grown(seed, rule, c);
        for _ in 0..60 {
            let expected = walked(&tree, &score);
            let mut leaf = tree.select();
            while let Status::Missing { parent, token, .. } = leaf.status() {
                attach(&mut tree, parent, token, &world, &mut slots);
                tree.advance(&mut leaf);
            }
            let end = *leaf.path().last().unwrap();
            assert_eq!(tree.tokens(end), expected, "seed {seed}");
            let value = tree.value(end);
            tree.complete(leaf, value);
        }
    }
}

#[test]
fn uct_and_alpha_zero_follow_their_formulas() {
    follows(Rule::Uct, 0.7, |_, n, mean, all, _| match n > 0.0 {
        true => mean + f64::from(0.7f32) * (all.ln() / n).sqrt(),
        false => f64::INFINITY,
    });
    let base = 50.0f32;
    follows(
        Rule::AlphaZero { base },
        1.25,
        |prior, n, mean, all, own| {
            let c = 1.25 + ((1.0 + all + 50.0) / 50.0f64).ln();
            let mean = if n > 0.0 { mean } else { own };
            mean + c * prior * all.sqrt() / (1.0 + n)
        },
    );
}
