//! Batches: right-padded token rows with the list of positions that a loss looks at.

use super::example::{PolicyExample, ValueExample};
use super::pull::Want;

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
            probabilities: Vec::new(),
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
