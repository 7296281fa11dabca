//! Batches: right-padded token rows with the list of positions that a loss looks at.

use super::example::{PolicyExample, ValueExample};
use super::pull::Want;
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;

/// Batches of a chunk are sorted by length together, which saves most of the padding and still
/// mixes what a batch contains.
const BATCHES_IN_A_CHUNK: usize = 12;

/// The order in which a fit visits its examples: one list of indices for each optimiser step.
///
/// Every pass over the data is shuffled, cut into chunks of twelve batches, sorted by length within
/// the chunk and cut into batches, which are shuffled again. What is left over of a pass comes
/// first in the next, so every batch has `batch` examples (or all of them, if there are fewer).
pub fn plan(lengths: &[usize], batch: usize, steps: usize, seed: u64) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let batch = batch.min(lengths.len()).max(1);
    let mut batches: Vec<Vec<usize>> = Vec::with_capacity(steps);
    let mut left_over: Vec<usize> = Vec::new();
    while batches.len() < steps && !lengths.is_empty() {
        let mut pass: Vec<usize> = (0..lengths.len()).collect();
        pass.shuffle(&mut rng);
        left_over.append(&mut pass);
        let whole = left_over.len() - left_over.len() % batch;
        for chunk in left_over[..whole].chunks(batch * BATCHES_IN_A_CHUNK) {
            let mut chunk = chunk.to_vec();
            chunk.sort_by_key(|&i| lengths[i]);
            let mut cut: Vec<Vec<usize>> = chunk.chunks(batch).map(<[usize]>::to_vec).collect();
            cut.shuffle(&mut rng);
            batches.append(&mut cut);
        }
        left_over.drain(..whole);
    }
    batches.truncate(steps);
    batches
}

/// Right-padded rows of tokens.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rows {
    /// `rows * time` tokens; padding is token 0, which no real token can see.
    pub tokens: Vec<i32>,
    pub rows: usize,
    pub time: usize,
    /// Tokens that are not padding.
    pub real: usize,
    /// The same for each row.
    pub lengths: Vec<usize>,
}

impl Rows {
    /// Pads `sequences` to the longest.
    pub fn new(sequences: &[&[u32]]) -> Rows {
        let time = sequences.iter().map(|s| s.len()).max().unwrap_or(0);
        let mut tokens = vec![0; sequences.len() * time];
        for (row, sequence) in sequences.iter().enumerate() {
            for (slot, &token) in tokens[row * time..].iter_mut().zip(*sequence) {
                *slot = token as i32;
            }
        }
        Rows {
            tokens,
            rows: sequences.len(),
            time,
            real: sequences.iter().map(|s| s.len()).sum(),
            lengths: sequences.iter().map(|s| s.len()).collect(),
        }
    }
}

/// Positions that a loss looks at, with what it wants there.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Targets<T> {
    /// Indices into the flattened rows: `row * time + position`.
    pub positions: Vec<i32>,
    /// One target for each position.
    pub wanted: Vec<T>,
    /// One weight for each position, all positive.
    pub weights: Vec<f32>,
    /// What the weighted sum of the losses is divided by: the weight of the whole optimiser step,
    /// of which this may be a part.
    pub total: f64,
}

impl<T> Targets<T> {
    /// No positions yet.
    pub fn empty() -> Self {
        Targets {
            positions: Vec::new(),
            wanted: Vec::new(),
            weights: Vec::new(),
            total: 0.0,
        }
    }

    fn push(&mut self, position: usize, wanted: T, weight: f32) {
        if weight > 0.0 {
            self.positions.push(position as i32);
            self.wanted.push(wanted);
            self.weights.push(weight);
            self.total += f64::from(weight);
        }
    }
}

/// How visits become the weight of a target.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VisitWeight {
    /// Visits above this count no more.
    pub cap: f32,
    /// Exponent of the capped visits.
    pub power: f32,
}

impl VisitWeight {
    /// `min(visits, cap) ^ power`, 0 for no visits.
    pub fn of(self, visits: f32) -> f32 {
        if visits > 0.0 {
            visits.min(self.cap).powf(self.power)
        } else {
            0.0
        }
    }
}

/// The tokens that the forward pass of an example needs: all but the last, which predicts nothing.
pub fn policy_input(example: &PolicyExample) -> &[u32] {
    &example.tokens[..example.tokens.len() - 1]
}

/// The tokens that the forward pass of an example needs.
pub fn value_input(example: &ValueExample) -> &[u32] {
    &example.tokens[..example.needed()]
}

/// Next-token targets of `examples`, which start at `first_row` of rows of `time` tokens. Prompt
/// tokens count `prompt_weight` times as much as solution tokens.
pub fn policy_targets(
    examples: &[&PolicyExample],
    first_row: usize,
    time: usize,
    prompt_weight: f32,
) -> Targets<Want> {
    let mut targets = Targets::empty();
    for (row, example) in examples.iter().enumerate() {
        let start = (first_row + row) * time;
        for aim in &example.aims {
            let weight = aim.share * example.weight;
            let want = Want {
                token: aim.token,
                pull: aim.pull,
            };
            targets.push(start + aim.position as usize, want, weight);
        }
        // With aims, only the prompt is left to imitate.
        let imitated = match example.aims.is_empty() {
            true => example.tokens.len(),
            false => example.first,
        };
        for (position, &next) in example.tokens[..imitated].iter().skip(1).enumerate() {
            let scale = if position + 1 < example.first {
                prompt_weight
            } else {
                1.0
            };
            let want = Want::imitate(next);
            targets.push(start + position, want, scale * example.weight);
        }
    }
    targets
}

/// Value targets of `examples`, which start at `first_row` of rows of `time` tokens.
pub fn value_targets(
    examples: &[&ValueExample],
    first_row: usize,
    time: usize,
    weight: VisitWeight,
) -> Targets<f32> {
    let mut targets = Targets::empty();
    for (row, example) in examples.iter().enumerate() {
        let start = (first_row + row) * time + example.first;
        for (i, (&target, &visits)) in example.targets.iter().zip(&example.weights).enumerate() {
            targets.push(start + i, target, weight.of(visits));
        }
    }
    targets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_visits_everything_once_a_pass_and_is_seeded() {
        let lengths: Vec<usize> = (0..103).map(|i| 10 + (i * 37) % 50).collect();
        let batches = plan(&lengths, 10, 103, 3);
        assert_eq!(batches.len(), 103);
        assert!(batches.iter().all(|b| b.len() == 10));
        let mut seen = vec![0; 103];
        batches.iter().flatten().for_each(|&i| seen[i] += 1);
        assert!(seen.iter().all(|&n| n == 10), "{seen:?}");
        assert_eq!(batches, plan(&lengths, 10, 103, 3));
        assert_ne!(batches, plan(&lengths, 10, 103, 4));
        // Longer plans continue shorter ones, so a fit can be resumed by step number.
        assert_eq!(batches[..20], plan(&lengths, 10, 20, 3));
    }

    #[test]
    fn batches_are_bucketed_by_length() {
        let lengths: Vec<usize> = (0..480).map(|i| (i * 7919) % 400).collect();
        let padding = |batches: &[Vec<usize>]| -> usize {
            let padded = |b: &Vec<usize>| b.len() * b.iter().map(|&i| lengths[i]).max().unwrap();
            batches.iter().map(padded).sum::<usize>() - lengths.iter().sum::<usize>()
        };
        let bucketed = padding(&plan(&lengths, 40, 12, 0));
        let in_order: Vec<Vec<usize>> = (0..480)
            .collect::<Vec<_>>()
            .chunks(40)
            .map(<[usize]>::to_vec)
            .collect();
        assert!(bucketed * 5 < padding(&in_order), "{bucketed}");
    }

    #[test]
    fn fewer_examples_than_a_batch_make_one_batch_a_pass() {
        assert_eq!(plan(&[3, 4], 8, 2, 0).len(), 2);
        assert!(plan(&[3, 4], 8, 2, 0).iter().all(|b| b.len() == 2));
        assert!(plan(&[], 8, 2, 0).is_empty());
    }

    #[test]
    fn targets_name_the_weighted_positions_of_padded_rows() {
        let long = PolicyExample {
            tokens: vec![1, 2, 3, 4, 5],
            first: 3,
            weight: 0.5,
            question: 0,
            aims: Vec::new(),
        };
        let short = PolicyExample {
            tokens: vec![6, 7],
            first: 1,
            weight: 1.0,
            question: 1,
            aims: Vec::new(),
        };
        let rows = Rows::new(&[policy_input(&long), policy_input(&short)]);
        assert_eq!(rows.tokens, [1, 2, 3, 4, 6, 0, 0, 0]);
        assert_eq!((rows.rows, rows.time, rows.real), (2, 4, 5));
        let targets = policy_targets(&[&long, &short], 0, rows.time, 0.0);
        assert_eq!(targets.positions, [2, 3, 4]);
        assert_eq!(targets.wanted, [4, 5, 7].map(Want::imitate));
        assert_eq!(targets.weights, [0.5, 0.5, 1.0]);
        assert_eq!(targets.total, 2.0);
        let with_prompt = policy_targets(&[&long], 1, rows.time, 0.1);
        assert_eq!(with_prompt.positions, [4, 5, 6, 7]);
        assert_eq!(with_prompt.weights, [0.05, 0.05, 0.5, 0.5]);
    }

    #[test]
    fn value_targets_skip_unvisited_positions() {
        let example = ValueExample {
            tokens: vec![1, 2, 3, 4, 5],
            first: 1,
            targets: vec![0.0, 0.5, 1.0],
            weights: vec![100.0, 0.0, 4.0],
            question: 0,
            outcome: 1.0,
        };
        let weight = VisitWeight {
            cap: 9.0,
            power: 0.5,
        };
        assert_eq!(value_input(&example), [1, 2, 3, 4]);
        let targets = value_targets(&[&example], 2, 7, weight);
        assert_eq!(targets.positions, [15, 17]);
        assert_eq!(targets.wanted, [0.0, 1.0]);
        assert_eq!(targets.weights, [3.0, 2.0]);
    }
}
