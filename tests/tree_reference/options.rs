//! Search by options against a brute force that keeps them as lists of tokens: priors are summed over
//! the list at every step of every walk.

use std::collections::{HashMap, HashSet};

use tokenzero::tree::*;

use super::brute_force::Stat;
use super::draws::{Draws, GIVEN, drawn, open, revisions, to_be_revised};
use super::world::{Random, Slots, World, attach, random_params};

struct Reference {
    world: World,
    params: Params,
    length: usize,
    /// Texts that were given revisions.
    revised: HashSet<Vec<u32>>,
    stats: HashMap<Vec<u32>, Stat>,
    known: HashSet<Vec<u32>>,
    opened: HashSet<Vec<u32>>,
    flights: Vec<Vec<u32>>,
}

impl Reference {
    fn stat(&self, path: &[u32]) -> Stat {
        self.stats.get(path).copied().unwrap_or_default()
    }

    /// The options of a boundary, and those among them that were revised: each revision is an option that
    /// takes its share of the weight. Weights are whole numbers, and stay so.
    fn options(&self, boundary: &[u32]) -> (Draws, Vec<Vec<u32>>) {
        let mut options = drawn(&self.world, boundary, self.length);
        let mut ended = Vec::new();
        loop {
            let full = |tokens: &[u32]| [boundary, tokens].concat();
            let mut found = options.iter().map(|option| full(&option.0));
            let Some(end) = found.find(|path| self.revised.contains(path)) else {
                return (options, ended);
            };
            let own = revisions(&self.world, &end);
            let all: f64 = own.iter().map(|revision| revision.1).sum();
            let before = end[boundary.len()..end.len() - 1].to_vec();
            options = options
                .into_iter()
                .flat_map(|(tokens, weight)| match full(&tokens) == end {
                    false => vec![(tokens, weight * all)],
                    true => own
                        .iter()
                        .map(|(more, share)| ([&before[..], more].concat(), weight * share))
                        .collect(),
                })
                .collect();
            ended.push(end);
        }
    }

    /// Where a leaf that stands at `from` stops. Options are followed one token at a time.
    fn walk(&self, from: &[u32]) -> Vec<u32> {
        // From the end of a revised text it goes back a step.
        let from = match self.revised.contains(from) {
            true => &from[..from.len() - 1],
            false => from,
        };
        let mut boundary: Vec<u32> = Vec::new();
        loop {
            let unvisited = self.stat(&boundary).visits == 0;
            let stops = unvisited || !self.opened.contains(&boundary);
            if boundary.len() >= from.len() && (stops || self.world.terminal(&boundary)) {
                return boundary;
            }
            let mut options = self.options(&boundary).0;
            let mut at = boundary.clone();
            while !options
                .iter()
                .any(|(tokens, _)| at[boundary.len()..] == tokens[..])
            {
                let depth = at.len() - boundary.len();
                let token = match from.get(at.len()) {
                    Some(&token) => token,
                    None => self.best(&at, depth, &options),
                };
                at.push(token);
                options.retain(|(tokens, _)| tokens[depth] == token);
                if !self.known.contains(&at) && at.len() < self.world.max_depth as usize {
                    return at;
                }
            }
            boundary = at;
        }
    }

    /// The continuation of `at` that the rule selects among `options`, which all pass here.
    fn best(&self, at: &[u32], depth: usize, options: &[(Vec<u32>, f64)]) -> u32 {
        let all: f64 = options.iter().map(|o| o.1).sum();
        let prior = |token: u32| {
            let through = options.iter().filter(|o| o.0[depth] == token);
            (through.map(|o| o.1).sum::<f64>() / all) as f32
        };
        // The order of equals: the model's, then that of the draws.
        let kept = self.kept(at);
        let rest = options.iter().map(|o| o.0[depth]);
        let rest = rest.filter(|token| !kept.contains(token));
        let mut order: Vec<u32> = kept.iter().copied().chain(rest).collect();
        order.sort_by_key(|&token| token == GIVEN[0]);
        let here = self.stat(at);
        let others = |path: &[u32]| {
            let through = self.flights.iter().filter(|f| f.starts_with(path)).count();
            f64::from(self.params.virtual_loss) * through as f64
        };
        let inner = f64::from(u8::from(depth > 0));
        let sum = f64::from(here.visits) + inner + others(at);
        let mean = match here.visits {
            0 => f64::from(self.world.value(at)),
            visits => here.total / f64::from(visits),
        };
        let mut best = (f64::NEG_INFINITY, 0);
        for token in order {
            if prior(token) == 0.0 {
                continue;
            }
            let path = [at, &[token]].concat();
            let (child, lost) = (self.stat(&path), others(&path));
            let visits = f64::from(child.visits) + lost;
            let q = match visits > 0.0 {
                true => (child.total - lost) / visits,
                false => mean - f64::from(self.params.first_play_urgency),
            };
            let explore = f64::from(self.params.c_puct) * f64::from(prior(token)) * sum.sqrt();
            let score = q + explore / (1.0 + visits);
            if score > best.0 {
                best = (score, token);
            }
        }
        best.1
    }

    fn kept(&self, path: &[u32]) -> Vec<u32> {
        let expansion = self.world.expansion(path);
        let probs = expansion.log_probs.iter().map(|&p| f64::from(p).exp());
        let floor = f64::from(self.params.min_prior);
        let ranked = expansion.tokens.into_iter().zip(probs).enumerate();
        ranked
            .filter(|&(rank, (_, prob))| rank == 0 || prob >= floor)
            .map(|(_, (token, _))| token)
            .collect()
    }
}

/// Nodes of the tree, and how many texts in it were revised.
fn matches_brute_force(seed: u64, wide: usize, revises: bool) -> (usize, usize) {
    let mut random = Random(seed);
    let mut params = random_params(&mut random);
    params.driven.options = true;
    params.driven.variance = true;
    let world = World {
        seed,
        max_depth: params.max_depth,
    };
    let length = 1 + random.below(5) as usize;
    let mut tree = Tree::new(params.clone(), world.expansion(&[]));
    let mut reference = Reference {
        world,
        params,
        length,
        revised: HashSet::new(),
        stats: HashMap::new(),
        known: HashSet::from([Vec::new()]),
        opened: HashSet::new(),
        flights: Vec::new(),
    };
    let mut slots = Slots::default();
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut completed = 0;
    while completed < 150 {
        if leaves.len() < wide && (leaves.is_empty() || random.below(2) == 0) {
            let expected = reference.walk(&[]);
            leaves.push(tree.select());
            reference.flights.push(expected);
        }
        let index = random.below(leaves.len() as u64) as usize;
        let place = *leaves[index].path().last().unwrap();
        let mut path = tree.tokens(place);
        match leaves[index].status() {
            Status::Missing { token, .. } => {
                path.push(token);
                assert_eq!(path, reference.flights[index]);
                attach(&mut tree, place, token, &world, &mut slots);
                reference.known.insert(path);
            }
            Status::Closed { node, .. } => {
                assert_eq!(path, reference.flights[index]);
                if tree.stage(node) == Stage::Closed {
                    // A rollout that was recorded before must change nothing.
                    let ends = tree.is_terminal(node);
                    if !ends && random.below(2) == 0 {
                        plant(&mut tree, node, &world, &mut slots);
                    }
                    open(&mut tree, node, &world, length, &mut slots);
                    match ends {
                        true => reference.revised.insert(path.clone()),
                        false => reference.opened.insert(path.clone()),
                    };
                    for (tokens, _) in drawn(&world, &path, length) {
                        for n in 1..tokens.len() {
                            let inner = [&path, &tokens[..n]].concat();
                            reference.known.insert(inner);
                        }
                    }
                    // Whatever is in the tree needs no forward pass.
                    reference
                        .known
                        .extend(tree.nodes().map(|node| tree.tokens(node)));
                }
            }
            Status::Ready { node, .. } => {
                assert_eq!(path, reference.flights[index]);
                reference.flights.remove(index);
                let value = mix(tree.params().lambda, tree.value(node), world.rollout(&path));
                tree.complete(leaves.remove(index), value);
                for n in 0..=path.len() {
                    let stat = reference.stats.entry(path[..n].to_vec()).or_default();
                    stat.visits += 1;
                    stat.total += f64::from(value);
                }
                completed += 1;
                let fresh = tree.stage(node) == Stage::Choice;
                if revises && tree.is_terminal(node) && fresh && to_be_revised(&world, &path) {
                    tree.reopen(node);
                }
                tree.check().unwrap();
                continue;
            }
        }
        // A leaf's own virtual loss does not count.
        let from = reference.flights.remove(index);
        let expected = reference.walk(&from);
        reference.flights.insert(index, expected);
        tree.advance(&mut leaves[index]);
        tree.check().unwrap();
    }
    for leaf in leaves {
        tree.abandon(leaf);
    }
    tree.check().unwrap();
    slots.check(&tree);
    for node in tree.nodes() {
        let (path, stat) = (tree.tokens(node), reference.stat(&tree.tokens(node)));
        assert_eq!(tree.visits(node), stat.visits, "at {path:?}");
        assert_eq!(tree.total(node), stat.total, "at {path:?}");
    }
    let counted = tree.nodes().filter(|&node| tree.visits(node) > 0).count();
    assert_eq!(counted, reference.stats.len());
    answers(&tree, &reference);
    for end in &reference.revised {
        let visits = reference.stat(end).visits;
        assert!(visits == 1 || wide > 1, "{end:?} has {visits} visits");
    }
    (tree.len(), reference.revised.len())
}

/// Records the greedy continuation of a node.
fn plant(tree: &mut Tree, from: NodeId, world: &World, slots: &mut Slots) {
    let mut path = tree.tokens(from);
    let mut steps = Vec::new();
    while !world.terminal(&path) {
        let token = world.expansion(&path).tokens[0];
        path.push(token);
        let child = world.child(&path, slots);
        steps.push(RolloutStep { token, child });
    }
    let outcome = Some(world.grade(&path));
    slots.free(tree.record_rollout(from, steps, outcome).unused);
}

/// The answer is read off boundaries: the option that a list of them says is best.
fn answers(tree: &Tree, reference: &Reference) {
    for pick in [Pick::Visits, Pick::MeanReturn] {
        let score = |path: &Vec<u32>| {
            let stat = reference.stat(path);
            let mean = stat.total / f64::from(stat.visits);
            match pick {
                Pick::Visits => f64::from(stat.visits) + 0.5 * mean,
                _ => mean,
            }
        };
        let (options, ended) = reference.options(&[]);
        let options = options.into_iter().map(|option| option.0);
        let ends: HashSet<Vec<u32>> = options
            .chain(ended)
            .filter(|path| reference.stat(path).visits > 0)
            .collect();
        let best = ends.iter().map(score).fold(f64::NEG_INFINITY, f64::max);
        match tree.best_child(tree.root(), pick) {
            Some(node) => assert_eq!(score(&tree.tokens(node)), best),
            None => assert!(ends.is_empty()),
        }
    }
}

#[test]
fn options_match_brute_force() {
    let nodes: usize = (0..150)
        .map(|seed| matches_brute_force(7000 + seed, 1, false).0)
        .sum();
    assert!(nodes > 150 * 40, "the worlds are too small: {nodes} nodes");
}

#[test]
fn options_with_leaves_in_flight_match_brute_force() {
    for seed in 0..150 {
        matches_brute_force(7500 + seed, 2 + seed as usize % 6, false);
    }
}

#[test]
fn revisions_match_brute_force() {
    let revised: usize = (0..200)
        .map(|seed| matches_brute_force(9000 + seed, 1, true).1)
        .sum();
    assert!(revised > 200, "{revised} texts were revised");
}

#[test]
fn revisions_with_leaves_in_flight_match_brute_force() {
    let revised: usize = (0..200)
        .map(|seed| matches_brute_force(9500 + seed, 2 + seed as usize % 6, true).1)
        .sum();
    assert!(revised > 200, "{revised} texts were revised");
}

#[test]
fn commit_keeps_what_is_known_of_options() {
    for seed in 8000..8040 {
        let mut random = Random(seed);
        let mut params = random_params(&mut random);
        params.driven.options = true;
        let world = World {
            seed,
            max_depth: params.max_depth,
        };
        let mut tree = Tree::new(params, world.expansion(&[]));
        let mut slots = Slots::default();
        while !tree.is_terminal(tree.root()) {
            for _ in 0..20 {
                let mut leaf = tree.select();
                loop {
                    match leaf.status() {
                        Status::Missing { parent, token, .. } => {
                            attach(&mut tree, parent, token, &world, &mut slots);
                        }
                        Status::Closed { node, .. } => open(&mut tree, node, &world, 3, &mut slots),
                        Status::Ready { node, .. } => {
                            let value = tree.value(node);
                            tree.complete(leaf, value);
                            break;
                        }
                    }
                    tree.advance(&mut leaf);
                }
            }
            let best = tree.best_child(tree.root(), Pick::Visits).unwrap();
            let (path, facts) = (tree.tokens(best), (tree.visits(best), tree.stage(best)));
            let committed = tree.tokens(tree.root()).len();
            for &token in &path[committed..] {
                slots.free(tree.commit(token));
                tree.check().unwrap();
                slots.check(&tree);
            }
            let root = tree.root();
            assert_eq!((tree.visits(root), tree.stage(root)), facts);
        }
    }
}
