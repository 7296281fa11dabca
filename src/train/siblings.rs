//! Trajectories of one question side by side: which prefixes are compared, and how often an ensemble's
//! members see a question.

use super::batch::VisitWeight;
use super::example::{ValueExample, mix};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Two prefixes of one question with as many tokens and different mean returns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Pair {
    /// Indices into the value targets of the pass.
    pub better: usize,
    pub worse: usize,
    pub weight: f32,
}

/// All pairs of a pass.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Pairs {
    pub list: Vec<Pair>,
    /// What the weighted sum of their losses is divided by: the weight of the whole optimiser step.
    pub total: f64,
}

impl Pairs {
    /// The pairs among `examples`: at each position from where two trajectories of a question part
    /// (there the prefixes are children of one node). A pair weighs the smaller of both targets'
    /// weights times half the difference of the mean returns.
    pub fn of(examples: &[&ValueExample], weight: VisitWeight) -> Pairs {
        // Where each position is among the targets, which leave out those without weight.
        let mut targets = 0;
        let places: Vec<Vec<usize>> = examples
            .iter()
            .map(|example| {
                let place = |visits: &f32| {
                    targets += usize::from(weight.of(*visits) > 0.0);
                    targets.saturating_sub(1)
                };
                example.weights.iter().map(place).collect()
            })
            .collect();
        let mut pairs = Pairs::default();
        for (index, a) in examples.iter().enumerate() {
            for (other, b) in examples.iter().enumerate().skip(index + 1) {
                if a.question != b.question {
                    continue;
                }
                let together = a.tokens.iter().zip(&b.tokens);
                let shared = together.take_while(|(x, y)| x == y).count();
                let first = shared.max(a.first).max(b.first);
                for position in first..a.needed().min(b.needed()) {
                    let (i, j) = (position - a.first, position - b.first);
                    let both = weight.of(a.weights[i]).min(weight.of(b.weights[j]));
                    let apart = a.targets[i] - b.targets[j];
                    let weight = both * apart.abs() / 2.0;
                    if weight > 0.0 {
                        let (x, y) = (places[index][i], places[other][j]);
                        let (better, worse) = if apart > 0.0 { (x, y) } else { (y, x) };
                        pairs.total += f64::from(weight);
                        pairs.list.push(Pair {
                            better,
                            worse,
                            weight,
                        });
                    }
                }
            }
        }
        pairs
    }
}

/// How often each member of an ensemble sees a question: a bootstrap resample of the questions for each
/// (Breiman, 1996; for values Osband et al., 2016). Empty for one member, which sees each once.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Resample {
    members: usize,
    copies: BTreeMap<u64, Vec<f32>>,
}

impl Resample {
    /// Each member draws as many of `questions` as there are, with replacement, from a stream of its
    /// own.
    pub fn new(questions: impl Iterator<Item = u64>, members: usize, seed: u64) -> Resample {
        if members == 1 {
            return Resample::default();
        }
        let mut copies: BTreeMap<u64, Vec<f32>> =
            questions.map(|q| (q, vec![0.0; members])).collect();
        let ids: Vec<u64> = copies.keys().copied().collect();
        for member in 0..members {
            let mut rng = ChaCha8Rng::seed_from_u64(mix(seed ^ mix(member as u64)));
            for _ in 0..ids.len() {
                let drawn = ids[rng.random_range(0..ids.len())];
                if let Some(copies) = copies.get_mut(&drawn) {
                    copies[member] += 1.0;
                }
            }
        }
        Resample { members, copies }
    }

    /// The copies of a question, one number a member; none where there is one member.
    pub fn of(&self, question: u64) -> &[f32] {
        self.copies.get(&question).map_or(&[], Vec::as_slice)
    }

    /// The copies behind each target of `examples`, `[targets, members]`; empty for one member.
    pub fn of_targets(&self, examples: &[&ValueExample], weight: VisitWeight) -> Vec<f32> {
        let mut all = Vec::new();
        if self.members > 1 {
            for example in examples {
                let targets = example.weights.iter().filter(|v| weight.of(**v) > 0.0);
                for _ in targets {
                    all.extend_from_slice(self.of(example.question));
                }
            }
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::batch::value_targets;

    const WEIGHT: VisitWeight = VisitWeight {
        cap: 9.0,
        power: 0.5,
    };

    fn example(question: u64, tokens: &[u32], targets: &[f32], weights: &[f32]) -> ValueExample {
        ValueExample {
            tokens: tokens.to_vec(),
            first: 1,
            targets: targets.to_vec(),
            weights: weights.to_vec(),
            question,
            outcome: 1.0,
            probabilities: Vec::new(),
        }
    }

    #[test]
    fn prefixes_are_compared_from_where_they_part() {
        let right = example(
            1,
            &[7, 8, 2, 3, 4],
            &[0.0, 0.5, 1.0, 1.0],
            &[9.0, 9.0, 4.0, 1.0],
        );
        let wrong = example(
            1,
            &[7, 8, 2, 5, 6],
            &[0.0, 0.5, -1.0, 1.0],
            &[0.0, 0.0, 1.0, 1.0],
        );
        let other = example(2, &[7, 8, 9], &[-1.0, -1.0], &[1.0, 1.0]);
        let all = [&wrong, &other, &right];
        let pairs = Pairs::of(&all, WEIGHT);
        // Position 3 only: before it the texts are one, at position 4 both are worth the same.
        assert_eq!(pairs.list.len(), 1, "{pairs:?}");
        assert_eq!((pairs.list[0].weight, pairs.total), (1.0, 1.0));
        let targets = value_targets(&all, 0, 5, WEIGHT);
        let at = |place: usize| targets.positions[place];
        assert_eq!(at(pairs.list[0].better), 2 * 5 + 3);
        assert_eq!(at(pairs.list[0].worse), 3);
        assert_eq!(Pairs::of(&[&right, &right], WEIGHT), Pairs::default());
    }

    #[test]
    fn every_member_has_a_resample_of_its_own() {
        let resample = Resample::new((0..200).chain(0..200), 3, 7);
        for member in 0..3 {
            let counts: Vec<f32> = (0..200).map(|q| resample.of(q)[member]).collect();
            assert_eq!(counts.iter().sum::<f32>(), 200.0);
            // A question is left out with probability (1 - 1/n)^n, about 0.367.
            let left_out = counts.iter().filter(|&&c| c == 0.0).count();
            assert!((50..98).contains(&left_out), "{left_out}");
        }
        assert_ne!(
            (0..200).map(|q| resample.of(q)[0]).collect::<Vec<_>>(),
            (0..200).map(|q| resample.of(q)[1]).collect::<Vec<_>>()
        );
        assert_eq!(resample, Resample::new(0..200, 3, 7));
        assert!(Resample::new(0..9, 1, 7).of(3).is_empty());
        let one = example(5, &[7, 8, 9], &[-1.0, -1.0], &[1.0, 0.0]);
        assert_eq!(resample.of_targets(&[&one], WEIGHT), resample.of(5));
    }
}
