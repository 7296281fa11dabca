//! Random worlds: seeded stand-ins for the model and the grader.

use std::collections::HashSet;

use tokenzero::tree::*;

pub const STOP: u32 = 0;

pub fn splitmix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    x ^ (x >> 31)
}

/// A stream of random numbers for the schedule of a test.
pub struct Random(pub u64);

impl Random {
    pub fn below(&mut self, n: u64) -> u64 {
        self.0 = splitmix(self.0);
        self.0 % n
    }

    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A seeded function from token paths to expansions, ends and grades: the model and the grader.
#[derive(Clone, Copy)]
pub struct World {
    pub seed: u64,
    pub max_depth: u32,
}

impl World {
    pub fn hash(&self, path: &[u32], salt: u64) -> u64 {
        let x = path
            .iter()
            .fold(splitmix(self.seed), |x, &t| splitmix(x ^ u64::from(t + 1)));
        splitmix(x ^ (salt << 32))
    }

    pub fn expansion(&self, path: &[u32]) -> Expansion {
        let k = if self.hash(path, 1) % 10 < 2 {
            1
        } else {
            2 + self.hash(path, 2) % 4
        };
        let base = self.hash(path, 3) % 11;
        let mut weighted: Vec<(u64, u32)> = (0..k)
            .map(|i| {
                let u = 1 + self.hash(path, 10 + i) % (1 << 20);
                (u, ((base + i) % 11) as u32)
            })
            .collect();
        weighted.sort_by_key(|&(weight, token)| (std::cmp::Reverse(weight), token));
        let mass: u64 = weighted.iter().map(|&(weight, _)| weight).sum();
        let all = mass + self.hash(path, 4) % (1 << 19);
        Expansion {
            tokens: weighted.iter().map(|&(_, token)| token).collect(),
            log_probs: weighted
                .iter()
                .map(|&(weight, _)| (weight as f64 / all as f64).ln() as f32)
                .collect(),
            log_sum_exp: path.len() as f32,
            value: (self.hash(path, 5) % 2049) as f32 / 1024.0 - 1.0,
        }
    }

    pub fn terminal(&self, path: &[u32]) -> bool {
        path.last() == Some(&STOP) || path.len() as u32 >= self.max_depth
    }

    pub fn grade(&self, path: &[u32]) -> f32 {
        if self.hash(path, 6).is_multiple_of(2) {
            -1.0
        } else {
            1.0
        }
    }

    pub fn value(&self, path: &[u32]) -> f32 {
        let state = if self.terminal(path) {
            &path[..path.len() - 1]
        } else {
            path
        };
        self.expansion(state).value
    }

    /// Return of the greedy rollout.
    pub fn rollout(&self, path: &[u32]) -> f32 {
        let mut path = path.to_vec();
        while !self.terminal(&path) {
            path.push(self.expansion(&path).tokens[0]);
        }
        self.grade(&path)
    }

    pub fn child(&self, path: &[u32], slots: &mut Slots) -> Child {
        if self.terminal(path) {
            Child::Terminal
        } else {
            Child::Expanded {
                expansion: self.expansion(path),
                slot: slots.take(),
            }
        }
    }
}

/// Accounts for slots: each one taken is live in the tree or freed, and never both.
#[derive(Default)]
pub struct Slots {
    pub taken: u32,
    pub freed: HashSet<Slot>,
}

impl Slots {
    pub fn take(&mut self) -> Slot {
        self.taken += 1;
        Slot(self.taken - 1)
    }

    pub fn free(&mut self, slots: impl IntoIterator<Item = Slot>) {
        for slot in slots {
            assert!(self.freed.insert(slot), "{slot:?} was freed twice");
        }
    }

    pub fn check(&self, tree: &Tree) {
        let mut held: HashSet<Slot> = HashSet::new();
        for slot in tree.live_slots() {
            assert!(held.insert(slot), "{slot:?} is held twice");
            assert!(
                !self.freed.contains(&slot),
                "{slot:?} is freed and in the tree"
            );
        }
        assert_eq!(held.len() + self.freed.len(), self.taken as usize);
    }
}

pub fn attach(tree: &mut Tree, parent: NodeId, token: u32, world: &World, slots: &mut Slots) {
    let mut path = tree.tokens(parent);
    path.push(token);
    let attached = tree.attach(parent, token, world.child(&path, slots));
    slots.free(attached.unused);
}

pub fn random_params(random: &mut Random) -> Params {
    Params {
        rule: Rule::Puct,
        c_puct: random.pick(&[0.5, 1.5, 2.0]),
        first_play_urgency: random.pick(&[0.0, 0.2]),
        min_prior: random.pick(&[0.0, 0.01, 0.1]),
        renormalise: random.pick(&[true, false]),
        pass_single_child: random.pick(&[true, false]),
        virtual_loss: random.pick(&[0.0, 1.0, 1.0, 3.0]),
        lambda: random.pick(&[0.0, 0.5, 1.0]),
        max_depth: random.pick(&[5, 12, 30]),
        ..Params::default()
    }
}
