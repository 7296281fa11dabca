//! In which order the trajectories of the questions come, and which of them come together.

use super::batch::plan;
use super::example::{ValueExample, mix};
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
/// or as many as whole groups make. A group is up to `group` trajectories of one question, which stay
/// together. With [`Draw::Trajectories`] and groups of one this is [`plan`].
pub(crate) fn order(
    examples: &[ValueExample],
    batch: usize,
    steps: usize,
    seed: u64,
    draw: Draw,
    group: usize,
) -> Vec<Vec<usize>> {
    if (draw, group) == (Draw::Trajectories, 1) {
        let lengths: Vec<usize> = examples.iter().map(ValueExample::needed).collect();
        return plan(&lengths, batch, steps, seed);
    }
    let mut questions: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
    for (index, example) in examples.iter().enumerate() {
        questions.entry(example.question).or_default().push(index);
    }
    for (question, own) in &mut questions {
        own.shuffle(&mut ChaCha8Rng::seed_from_u64(mix(seed ^ mix(*question))));
    }
    let units: Vec<Vec<usize>> = match draw {
        Draw::Trajectories => questions
            .values()
            .flat_map(|own| own.chunks(group).map(<[usize]>::to_vec))
            .collect(),
        Draw::Questions => questions.into_values().collect(),
        Draw::Balanced => questions
            .into_values()
            .map(|own| in_turn(&own, examples))
            .collect(),
    };
    let lengths: Vec<usize> = units
        .iter()
        .map(|unit| unit.iter().map(|&i| examples[i].needed()).max())
        .map(Option::unwrap_or_default)
        .collect();
    // How many trajectories of a unit have been handed out.
    let mut used = vec![0; units.len()];
    let mut next = |unit: usize| {
        let own = &units[unit];
        let count = match draw {
            Draw::Trajectories | Draw::Questions => group.min(own.len()),
            Draw::Balanced => group,
        };
        let first = used[unit];
        used[unit] += count;
        (first..first + count).map(move |i| own[i % own.len()])
    };
    plan(&lengths, (batch / group).max(1), steps, seed)
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

/// Part `part` of `parts` of a step, cut between questions.
pub(crate) fn share<'a>(
    step: &'a [usize],
    part: usize,
    parts: usize,
    examples: &[ValueExample],
) -> &'a [usize] {
    let cut = |part: usize| {
        let mut at = part * step.len() / parts;
        let question = |i: usize| examples[step[i]].question;
        while at > 0 && at < step.len() && question(at) == question(at - 1) {
            at += 1;
        }
        at
    };
    &step[cut(part)..cut(part + 1)]
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
    fn by_default_the_order_is_that_of_the_plan() {
        let all = examples();
        let lengths: Vec<usize> = all.iter().map(ValueExample::needed).collect();
        assert_eq!(
            order(&all, 6, 20, 3, Draw::Trajectories, 1),
            plan(&lengths, 6, 20, 3)
        );
    }

    #[test]
    fn groups_stay_together_and_every_trajectory_comes_once_a_pass() {
        let all = examples();
        // 1 + 1 + 2 + 2 + 3 + 3 + 4 + 4 groups of up to four; ten passes in steps of two groups.
        let order = order(&all, 8, 100, 3, Draw::Trajectories, 4);
        assert!(counts(&order, |i| i, 64).iter().all(|&n| n == 10));
        for step in &order {
            let changes = step
                .windows(2)
                .filter(|pair| all[pair[0]].question != all[pair[1]].question)
                .count();
            assert!(changes <= 1 && step.len() <= 8, "{step:?}");
        }
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

    #[test]
    fn a_step_is_cut_between_questions() {
        let all = examples();
        for step in order(&all, 16, 9, 3, Draw::Questions, 4) {
            let parts: Vec<&[usize]> = (0..3).map(|part| share(&step, part, 3, &all)).collect();
            assert_eq!(parts.concat(), step);
            for pair in parts.windows(2) {
                if let (Some(&a), Some(&b)) = (pair[0].last(), pair[1].first()) {
                    assert_ne!(all[a].question, all[b].question);
                }
            }
        }
    }
}
