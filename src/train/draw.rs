//! In which order the trajectories of the questions come, and which of them come together.

use super::example::{ValueExample, mix};
use super::plan::{plan, plan_together};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// What a pass over the value's examples goes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Draw {
    /// Every trajectory once: a question weighs as much as it has trajectories.
    #[default]
    Trajectories,
    /// Every question once, with the next of its trajectories: questions weigh the same.
    Questions,
    /// The same, right and wrong trajectories in turn where a question has both.
    Balanced,
}

/// The order in which a fit visits `examples`: a list of indices for each optimiser step, of `batch` each
/// or as many as whole questions make. Up to `siblings` trajectories of a question, all of them for 0,
/// stand in a step together. With [`Draw::Trajectories`] this is [`plan_together`].
pub(crate) fn order(
    examples: &[ValueExample],
    batch: usize,
    steps: usize,
    seed: u64,
    draw: Draw,
    siblings: usize,
) -> Vec<Vec<usize>> {
    if draw == Draw::Trajectories {
        let lengths: Vec<usize> = examples.iter().map(ValueExample::needed).collect();
        let questions: Vec<u64> = examples.iter().map(|e| e.question).collect();
        return plan_together(&lengths, &questions, siblings, batch, steps, seed);
    }
    let mut questions: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, example) in examples.iter().enumerate() {
        questions.entry(example.question).or_default().push(index);
    }
    for (question, own) in &mut questions {
        own.shuffle(&mut ChaCha8Rng::seed_from_u64(mix(seed ^ mix(*question))));
        if draw == Draw::Balanced {
            *own = in_turn(own, examples);
        }
    }
    let units: Vec<Vec<usize>> = questions.into_values().collect();
    let lengths: Vec<usize> = units
        .iter()
        .map(|unit| unit.iter().map(|&i| examples[i].needed()).max())
        .map(Option::unwrap_or_default)
        .collect();
    // Trajectories that a unit gives at once.
    let give = |unit: &Vec<usize>| match (siblings, draw) {
        (0, _) => unit.len().min(batch),
        // The same of each kind, over and over.
        (most, Draw::Balanced) => most.min(batch),
        (most, _) => most.min(unit.len()).min(batch),
    };
    let mean = match siblings {
        0 => units
            .iter()
            .map(give)
            .sum::<usize>()
            .div_ceil(units.len().max(1)),
        most => most,
    };
    // How many trajectories of a unit have been handed out.
    let mut used = vec![0; units.len()];
    let mut next = |unit: usize| {
        let own = &units[unit];
        let (first, count) = (used[unit], give(own));
        used[unit] += count;
        (first..first + count).map(move |i| own[i % own.len()])
    };
    plan(&lengths, (batch / mean.max(1)).max(1), steps, seed)
        .into_iter()
        .map(|step| step.into_iter().flat_map(&mut next).collect())
        .collect()
}

/// Right and wrong trajectories in turn, each kind over and over until the larger one is used up; as
/// they are where there is only one kind.
fn in_turn(own: &[usize], examples: &[ValueExample]) -> Vec<usize> {
    let (right, wrong): (Vec<usize>, Vec<usize>) =
        own.iter().partition(|i| examples[**i].outcome > 0.0);
    if right.is_empty() || wrong.is_empty() {
        return own.to_vec();
    }
    (0..right.len().max(wrong.len()))
        .flat_map(|i| [right[i % right.len()], wrong[i % wrong.len()]])
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Question `q` has `1 + 2 q` trajectories, of which the first is right.
    fn examples() -> Vec<ValueExample> {
        let mut all = Vec::new();
        for question in 0..8u64 {
            for i in 0..1 + 2 * question {
                let n = 3 + ((question * 5 + i * 3) % 7) as usize;
                all.push(ValueExample {
                    tokens: vec![1; n],
                    first: 0,
                    targets: vec![0.0; n],
                    weights: vec![1.0; n],
                    question,
                    outcome: if i == 0 { 1.0 } else { -1.0 },
                    probabilities: Vec::new(),
                });
            }
        }
        all
    }

    fn counts(order: &[Vec<usize>], of: impl Fn(usize) -> usize, n: usize) -> Vec<usize> {
        let mut counts = vec![0; n];
        order.iter().flatten().for_each(|&i| counts[of(i)] += 1);
        counts
    }

    #[test]
    fn trajectories_are_drawn_as_planned() {
        let all = examples();
        let lengths: Vec<usize> = all.iter().map(ValueExample::needed).collect();
        let questions: Vec<u64> = all.iter().map(|e| e.question).collect();
        let drawn = |siblings| order(&all, 6, 20, 3, Draw::Trajectories, siblings);
        assert_eq!(drawn(1), plan(&lengths, 6, 20, 3));
        for siblings in [0, 4] {
            let planned = plan_together(&lengths, &questions, siblings, 6, 20, 3);
            assert_eq!(drawn(siblings), planned);
        }
    }

    #[test]
    fn all_of_a_question_come_together_up_to_a_batch() {
        let all = examples();
        let question = |i: usize| all[i].question as usize;
        // Eight in the mean: three questions a step, and three passes in eight steps.
        let some = order(&all, 24, 8, 3, Draw::Questions, 0);
        let each = [3, 9, 15, 21, 27, 33, 39, 45];
        assert_eq!(counts(&some, question, 8), each);
        // A step of one question at most.
        let some = order(&all, 12, 8, 3, Draw::Questions, 0);
        assert_eq!(counts(&some, question, 8), [1, 3, 5, 7, 9, 11, 12, 12]);
        let more = order(&all, 4, 9, 3, Draw::Balanced, 20);
        assert!(more.iter().all(|step| step.len() == 4));
    }

    #[test]
    fn questions_weigh_the_same() {
        let all = examples();
        let question = |i: usize| all[i].question as usize;
        let alone = order(&all, 4, 20, 3, Draw::Questions, 1);
        assert_eq!(counts(&alone, question, 8), vec![10; 8]);
        // The trajectories of the last question come in turn: ten of its fifteen once.
        let of_last = counts(&alone, |i| i, 64)[49..].to_vec();
        assert_eq!(of_last.iter().filter(|&&n| n == 1).count(), 10);
        assert_eq!(alone, order(&all, 4, 20, 3, Draw::Questions, 1));
        assert_ne!(alone, order(&all, 4, 20, 4, Draw::Questions, 1));
        let pairs = order(&all, 4, 40, 3, Draw::Questions, 2);
        assert_eq!(counts(&pairs, question, 8)[1..], [20; 7]);
    }

    #[test]
    fn right_and_wrong_come_in_turn_where_there_are_both() {
        let all = examples();
        for group in [1, 2, 4] {
            let order = order(&all, 4, 8 * group, 3, Draw::Balanced, group);
            let kind = |i: usize| 2 * all[i].question as usize + usize::from(all[i].outcome > 0.0);
            let counts = counts(&order, kind, 16);
            for question in 1..8 {
                let (wrong, right) = (counts[2 * question], counts[2 * question + 1]);
                assert_eq!(right, wrong, "{group}: {counts:?}");
            }
        }
    }
}
