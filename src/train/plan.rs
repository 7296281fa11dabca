//! Which examples make up which optimiser step.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use std::collections::{HashMap, HashSet};

/// Batches of a chunk are sorted by length together, which saves most of the padding and still
/// mixes what a batch contains.
const BATCHES_IN_A_CHUNK: usize = 12;

/// The order in which a fit visits its examples: one list of indices for each optimiser step.
///
/// Every pass over the data is shuffled, cut into chunks of twelve batches, sorted by length within
/// the chunk and cut into batches, which are shuffled again. What is left over of a pass comes
/// first in the next, so every batch has `batch` examples (or all of them, if there are fewer).
pub fn plan(lengths: &[usize], batch: usize, steps: usize, seed: u64) -> Vec<Vec<usize>> {
    let alone =
        |pass: Vec<usize>, _: &mut ChaCha8Rng| pass.into_iter().map(|i| (lengths[i], i)).collect();
    batches(lengths.len(), batch, steps, seed, alone)
}

/// A [`plan`] in which up to `siblings` examples of a question, all of them for 0, stand together:
/// drawn anew for each pass, they are one item of the shuffle and lie in one batch, unless the batch
/// is full before.
pub fn plan_together(
    lengths: &[usize],
    questions: &[u64],
    siblings: usize,
    batch: usize,
    steps: usize,
    seed: u64,
) -> Vec<Vec<usize>> {
    if siblings == 1 {
        return plan(lengths, batch, steps, seed);
    }
    let most = if siblings == 0 { usize::MAX } else { siblings };
    let together = |pass: Vec<usize>, rng: &mut ChaCha8Rng| {
        let mut groups: Vec<Vec<usize>> = Vec::new();
        let mut open: HashMap<u64, usize> = HashMap::new();
        for i in pass {
            match open.get(&questions[i]) {
                Some(&group) if groups[group].len() < most => groups[group].push(i),
                _ => {
                    open.insert(questions[i], groups.len());
                    groups.push(vec![i]);
                }
            }
        }
        groups.shuffle(rng);
        let longest = |group: &[usize]| group.iter().map(|&i| lengths[i]).max().unwrap_or(0);
        let keyed = |group: Vec<usize>| {
            let length = longest(&group);
            group.into_iter().map(move |i| (length, i))
        };
        groups.into_iter().flat_map(keyed).collect()
    };
    batches(lengths.len(), batch, steps, seed, together)
}

/// The batches of passes over `count` examples, each shuffled and then arranged, with the lengths that
/// it is sorted by.
fn batches(
    count: usize,
    batch: usize,
    steps: usize,
    seed: u64,
    mut arrange: impl FnMut(Vec<usize>, &mut ChaCha8Rng) -> Vec<(usize, usize)>,
) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let batch = batch.min(count).max(1);
    let mut batches: Vec<Vec<usize>> = Vec::with_capacity(steps);
    let mut left_over: Vec<(usize, usize)> = Vec::new();
    while batches.len() < steps && count > 0 {
        let mut pass: Vec<usize> = (0..count).collect();
        pass.shuffle(&mut rng);
        left_over.append(&mut arrange(pass, &mut rng));
        let whole = left_over.len() - left_over.len() % batch;
        for chunk in left_over[..whole].chunks(batch * BATCHES_IN_A_CHUNK) {
            let mut chunk = chunk.to_vec();
            // Stable: what stands together stays together.
            chunk.sort_by_key(|(length, _)| *length);
            let only = |batch: &[(usize, usize)]| batch.iter().map(|(_, i)| *i).collect();
            let mut cut: Vec<Vec<usize>> = chunk.chunks(batch).map(only).collect();
            cut.shuffle(&mut rng);
            batches.append(&mut cut);
        }
        left_over.drain(..whole);
    }
    batches.truncate(steps);
    batches
}

/// A plan for examples that go beside others: of those that are due in a pass, a step takes the ones
/// of the `beside` step's questions first. Every pass visits each once, and every batch has `batch`
/// examples (or all of them, if there are fewer).
pub fn plan_beside(
    questions: &[u64],
    beside: &[HashSet<u64>],
    batch: usize,
    seed: u64,
) -> Vec<Vec<usize>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let batch = batch.min(questions.len());
    let mut due: Vec<usize> = Vec::new();
    let mut draw = |wanted: &HashSet<u64>| {
        let mut taken = Vec::with_capacity(batch);
        while taken.len() < batch {
            if due.is_empty() {
                due = (0..questions.len()).collect();
                due.shuffle(&mut rng);
            }
            let room = batch - taken.len();
            // A stable partition: the order stays that of the shuffle.
            due.sort_by_cached_key(|&i| !wanted.contains(&questions[i]));
            taken.extend(due.drain(..room.min(due.len())));
        }
        taken
    };
    beside.iter().map(&mut draw).collect()
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

    /// Forty questions with one to eight examples each.
    fn families() -> (Vec<usize>, Vec<u64>) {
        let questions: Vec<u64> = (0..40u64)
            .flat_map(|q| vec![q; 1 + q as usize % 8])
            .collect();
        let lengths = (0..questions.len()).map(|i| 10 + (i * 37) % 50).collect();
        (lengths, questions)
    }

    #[test]
    fn siblings_stand_together_and_everything_is_visited_once_a_pass() {
        let (lengths, questions) = families();
        let n = lengths.len();
        let families_in = |batches: &[Vec<usize>]| -> usize {
            let of = |b: &Vec<usize>| {
                b.iter()
                    .map(|&i| questions[i])
                    .collect::<HashSet<_>>()
                    .len()
            };
            batches.iter().map(of).sum()
        };
        // Whole passes: 180 examples in 45 batches of 20 are five.
        assert_eq!((n, 45 * 20), (180, 5 * n));
        let alone = plan_together(&lengths, &questions, 1, 20, 45, 3);
        assert_eq!(alone, plan(&lengths, 20, 45, 3));
        for siblings in [0, 4] {
            let batches = plan_together(&lengths, &questions, siblings, 20, 45, 3);
            assert!(batches.iter().all(|b| b.len() == 20));
            let mut seen = vec![0; n];
            batches.iter().flatten().for_each(|&i| seen[i] += 1);
            assert!(seen.iter().all(|&count| count == 5), "{seen:?}");
            // Five passes over 40 questions, in groups of all or of four; a batch cuts at most one.
            let groups = if siblings == 0 { 40 } else { 60 };
            let found = families_in(&batches);
            assert!((5 * 40..=5 * groups + 45).contains(&found), "{found}");
            assert!(2 * found < families_in(&alone) + 5 * groups);
            // Longer plans continue shorter ones.
            let shorter = plan_together(&lengths, &questions, siblings, 20, 9, 3);
            assert_eq!(batches[..9], shorter);
            assert_ne!(
                shorter,
                plan_together(&lengths, &questions, siblings, 20, 9, 4)
            );
        }
    }

    #[test]
    fn what_goes_beside_others_is_of_their_questions_and_is_visited_once_a_pass() {
        let (_, questions) = families();
        let beside: Vec<HashSet<u64>> = (0..18u64)
            .map(|step| (0..6).map(|i| (step * 6 + i) % 40).collect())
            .collect();
        let batches = plan_beside(&questions, &beside, 20, 7);
        let mut seen = vec![0; questions.len()];
        batches.iter().flatten().for_each(|&i| seen[i] += 1);
        assert!(seen.iter().all(|&count| count == 2), "{seen:?}");
        // Six of forty questions have 27 examples in the mean: nearly all of a batch of 20.
        let met = |at: usize| {
            let of = |&&i: &&usize| beside[at].contains(&questions[i]);
            batches[at].iter().filter(of).count()
        };
        assert!(met(0) >= 15, "{}", met(0));
        assert_eq!(batches[..5], plan_beside(&questions, &beside[..5], 20, 7));
        assert_eq!(
            plan_beside(&questions[..3], &beside[..2], 20, 7)[0].len(),
            3
        );
    }
}
