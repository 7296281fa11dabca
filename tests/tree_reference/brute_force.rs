//! PUCT by brute force.

use std::collections::{HashMap, HashSet};

use tokenzero::tree::*;

use super::world::{Random, Slots, World, attach};

#[derive(Default, Clone, Copy)]
pub struct Stat {
    pub visits: u32,
    pub total: f64,
    pub squares: f64,
}

/// PUCT with everything keyed by token paths. Virtual loss is counted from the list of paths in
/// flight each time.
pub struct Reference {
    pub world: World,
    pub params: Params,
    pub root: Vec<u32>,
    pub stats: HashMap<Vec<u32>, Stat>,
    pub known: HashSet<Vec<u32>>,
    /// Path of each leaf in flight; a missing child is its last token.
    pub flights: Vec<Vec<u32>>,
}

impl Reference {
    pub fn new(world: World, params: Params) -> Self {
        Self {
            world,
            params,
            root: Vec::new(),
            stats: HashMap::new(),
            known: HashSet::from([Vec::new()]),
            flights: Vec::new(),
        }
    }

    pub fn stat(&self, path: &[u32]) -> Stat {
        self.stats.get(path).copied().unwrap_or_default()
    }

    pub fn others(&self, path: &[u32]) -> f64 {
        let through = |flight: &&Vec<u32>| flight.starts_with(path);
        f64::from(self.params.virtual_loss) * self.flights.iter().filter(through).count() as f64
    }

    pub fn kept(&self, path: &[u32]) -> Vec<(u32, f32)> {
        let expansion = self.world.expansion(path);
        let mut kept = Vec::new();
        let mut mass = 0.0;
        for i in 0..expansion.tokens.len() {
            let prob = f64::from(expansion.log_probs[i]).exp();
            if i == 0 || prob >= f64::from(self.params.min_prior) {
                kept.push((expansion.tokens[i], prob));
                mass += prob;
            }
        }
        if !self.params.renormalise {
            mass = 1.0;
        }
        if self.forced(path) {
            return vec![(kept[0].0, 1.0)];
        }
        kept.iter().map(|&(t, p)| (t, (p / mass) as f32)).collect()
    }

    /// Whether the gate leaves a state of several continuations only the first.
    pub fn forced(&self, path: &[u32]) -> bool {
        let expansion = self.world.expansion(path);
        let probs = expansion.log_probs.iter().map(|&p| f64::from(p).exp());
        let probs: Vec<f64> = probs.collect();
        let floor = f64::from(self.params.min_prior);
        let several = probs.iter().skip(1).any(|&p| p >= floor);
        let closed = match self.params.gate {
            Gate::Every => false,
            Gate::Nth { n } => !path.len().is_multiple_of(n as usize),
            Gate::Entropy { above } => {
                let rest = 1.0 - probs.iter().sum::<f64>();
                let all = probs.iter().copied().chain([rest.max(1e-300)]);
                -all.map(|p| p * p.ln()).sum::<f64>() <= f64::from(above)
            }
            Gate::Unsure { below } => probs[0] >= f64::from(below),
        };
        several && closed
    }

    /// The continuations that the width leaves, in their order.
    fn considered(&self, path: &[u32], kept: Vec<(u32, f32)>) -> Vec<(u32, f32)> {
        let here = self.stat(path);
        let visits = f64::from(here.visits);
        let limit = match self.params.width {
            _ if kept.len() == 1 => return kept,
            Width::All => return kept,
            Width::Progressive { factor, exponent } => {
                (f64::from(factor) * visits.powf(f64::from(exponent))).ceil()
            }
            Width::Spread { least, factor } => {
                let mean = here.total / visits;
                let variance = (here.squares / visits - mean * mean).max(0.0);
                least as f64 + (f64::from(factor) * variance.sqrt()).floor()
            }
        };
        let larger = |prior: f32, rank: usize| {
            let before =
                |(other, k): (usize, &(u32, f32))| k.1 > prior || (k.1 == prior && other < rank);
            kept.iter().enumerate().filter(|&k| before(k)).count()
        };
        let stays = |(rank, k): (usize, &(u32, f32))| {
            let visited = self.stat(&[path, &[k.0]].concat()).visits > 0;
            (visited || (larger(k.1, rank) as f64) < limit).then_some(*k)
        };
        kept.iter().enumerate().filter_map(stays).collect()
    }

    /// Where a leaf that stands at `path` ends up, by recursion.
    pub fn walk(&self, path: Vec<u32>) -> Vec<u32> {
        if !self.known.contains(&path) || self.world.terminal(&path) {
            return path;
        }
        let kept = self.kept(&path);
        let here = self.stat(&path);
        let below_root = path.len() > self.root.len();
        let single = kept.len() == 1 && (self.params.pass_single_child || self.forced(&path));
        let passed = single && below_root;
        if here.visits == 0 && !passed {
            return path;
        }
        let kept = self.considered(&path, kept);
        let step = |token: u32| [path.as_slice(), &[token]].concat();
        let score = |token: u32, prior: f32| {
            let child = self.stat(&step(token));
            let lost = self.others(&step(token));
            let visits = f64::from(child.visits) + lost;
            let q = if visits == 0.0 {
                here.total / f64::from(here.visits) - f64::from(self.params.first_play_urgency)
            } else {
                (child.total - lost) / visits
            };
            let sum = f64::from(here.visits) + self.others(&path);
            q + f64::from(self.params.c_puct) * f64::from(prior) * sum.sqrt() / (1.0 + visits)
        };
        let mut best = kept[0].0;
        if kept.len() > 1 {
            for &(token, prior) in &kept[1..] {
                let top = kept.iter().find(|k| k.0 == best).unwrap();
                if score(token, prior) > score(top.0, top.1) {
                    best = token;
                }
            }
        }
        self.walk(step(best))
    }

    pub fn select(&mut self) {
        let flight = self.walk_known(self.root.clone());
        self.flights.push(flight);
    }

    pub fn advance(&mut self, index: usize) {
        let flight = self.flights.remove(index);
        let flight = self.walk_known(flight);
        self.flights.insert(index, flight);
    }

    /// Children at the depth limit need no expansion.
    pub fn walk_known(&mut self, from: Vec<u32>) -> Vec<u32> {
        let end = self.walk(from);
        if end.len() as u32 == self.world.max_depth {
            self.known.insert(end.clone());
        }
        end
    }

    pub fn complete(&mut self, index: usize, value: f32) {
        let flight = self.flights.remove(index);
        for n in self.root.len()..=flight.len() {
            let stat = self.stats.entry(flight[..n].to_vec()).or_default();
            stat.visits += 1;
            stat.total += f64::from(value);
            stat.squares += f64::from(value) * f64::from(value);
        }
    }
}

/// Compares the counts of every node of the tree, and of every path of the reference.
pub fn assert_same_counts(tree: &Tree, reference: &Reference) {
    let mut visited = 0;
    for node in tree.nodes() {
        let stat = reference.stat(&tree.tokens(node));
        assert_eq!(tree.visits(node), stat.visits, "at {:?}", tree.tokens(node));
        assert_eq!(tree.total(node), stat.total, "at {:?}", tree.tokens(node));
        visited += usize::from(stat.visits > 0);
    }
    let below = |path: &&Vec<u32>| path.starts_with(&reference.root);
    assert_eq!(visited, reference.stats.keys().filter(below).count());
}

/// Runs `simulations` in the tree and the reference on one random schedule with up to `wide`
/// leaves in flight, comparing the leaves after each move.
pub fn run_both(
    tree: &mut Tree,
    reference: &mut Reference,
    random: &mut Random,
    slots: &mut Slots,
    (simulations, wide): (usize, usize),
) {
    let world = reference.world;
    let mut leaves: Vec<Leaf> = Vec::new();
    let mut completed = 0;
    while completed < simulations {
        let room = leaves.len() < wide && completed + leaves.len() < simulations;
        let index = if leaves.is_empty() || (room && random.below(2) == 0) {
            leaves.push(tree.select());
            reference.select();
            leaves.len() - 1
        } else {
            random.below(leaves.len() as u64) as usize
        };
        let place = leaves[index].path().last().copied().unwrap();
        let mut path = tree.tokens(place);
        match leaves[index].status() {
            Status::Missing { token, .. } => {
                path.push(token);
                assert_eq!(path, reference.flights[index]);
                if tree.child(place, token).is_none() {
                    assert!(!reference.known.contains(&path));
                    attach(tree, place, token, &world, slots);
                    reference.known.insert(path);
                }
                if random.below(3) > 0 {
                    tree.advance(&mut leaves[index]);
                    reference.advance(index);
                }
            }
            Status::Closed { .. } => unreachable!("this tree moves by tokens"),
            Status::Ready { node, .. } => {
                assert_eq!(path, reference.flights[index]);
                assert!(reference.known.contains(&path));
                match random.below(8) {
                    0 => {
                        tree.advance(&mut leaves[index]);
                        reference.advance(index);
                    }
                    1 if wide > 1 => {
                        tree.abandon(leaves.remove(index));
                        reference.flights.remove(index);
                    }
                    _ => {
                        assert_eq!(tree.value(node), world.value(&path));
                        let value =
                            mix(tree.params().lambda, tree.value(node), world.rollout(&path));
                        tree.complete(leaves.remove(index), value);
                        reference.complete(index, value);
                        completed += 1;
                    }
                }
            }
        }
    }
    while let Some(leaf) = leaves.pop() {
        tree.abandon(leaf);
        reference.flights.pop();
    }
    tree.check().unwrap();
    slots.check(tree);
    assert_same_counts(tree, reference);
}
