//! The finite space of questions and the order in which a split draws them.
//!
//! There are 2,383 questions with three numbers and 32,134 with four. Drawing one at random and
//! rejecting those seen is a weighted draw without replacement, so a split's whole sequence is
//! computed at once (Efraimidis and Spirakis, 2006: sort by `-ln(u) / weight`).

use super::game::{self, MAX_NUMBER, MAX_RESULT, MIN_TARGET, Question};
use crate::task::class::{Class, Shares};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::VecDeque;

/// The probability of four numbers instead of three.
pub(super) const FOUR: f64 = 0.4;

/// Shares in percent: pretraining, train, dev, test. Three-number questions are few and asked for
/// often, and what the policy can learn is limited by how many of them it trains on, so most are for
/// training: test keeps 60% of three numbers for 550 questions, dev for 350, train for 2,450; later
/// questions have four numbers.
const THREE_SHARES: Shares = Shares([14, 62, 10, 14]);
const FOUR_SHARES: Shares = Shares([45, 43, 4, 8]);

/// The split that may draw the question. Targets below [`MIN_TARGET`], which only pretraining
/// has, are classed alike so that pretraining keeps its share of every target.
pub(super) fn class(question: &Question) -> Class {
    let shares = if question.numbers.len() == 3 {
        THREE_SHARES
    } else {
        FOUR_SHARES
    };
    shares.class(&question.to_string())
}

/// All questions of a class, in the order in which they are drawn. Length: a few hundred
/// three-number questions, mixed 60 to 40 with four-number ones until the former run out.
pub(super) fn sequence(class: Class, seed: u64) -> Vec<Question> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(class as u64);
    let mut three = drawn(3, class, &mut rng);
    let mut four = drawn(4, class, &mut rng);
    let mut out = Vec::with_capacity(three.len() + four.len());
    loop {
        let (first, second) = if rng.random_bool(FOUR) {
            (&mut four, &mut three)
        } else {
            (&mut three, &mut four)
        };
        match first.pop_front().or_else(|| second.pop_front()) {
            Some(question) => out.push(question),
            None => return out,
        }
    }
}

/// The questions of `size` numbers in a class: a weighted random permutation, the weight being
/// the chance that `size` random numbers and a random reachable target give the question.
fn drawn(size: usize, wanted: Class, rng: &mut ChaCha8Rng) -> VecDeque<Question> {
    let mut keyed = Vec::new();
    for numbers in multisets(size) {
        let targets: Vec<u32> = game::members(game::reachable(&numbers))
            .into_iter()
            .filter(|target| (MIN_TARGET..=MAX_RESULT).contains(target))
            .collect();
        let weight = orders(&numbers) / targets.len() as f64;
        for target in targets {
            let question = Question {
                numbers: numbers.clone(),
                target,
            };
            if class(&question) == wanted {
                let uniform: f64 = 1.0 - rng.random::<f64>();
                keyed.push((-uniform.ln() / weight, question));
            }
        }
    }
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    keyed.into_iter().map(|(_, question)| question).collect()
}

/// Every ascending list of `size` numbers from 1 to [`MAX_NUMBER`].
fn multisets(size: usize) -> Vec<Vec<u32>> {
    let mut lists = vec![vec![]];
    for _ in 0..size {
        lists = lists
            .into_iter()
            .flat_map(|list: Vec<u32>| {
                let from = list.last().copied().unwrap_or(1);
                (from..=MAX_NUMBER).map(move |next| [&list[..], &[next]].concat())
            })
            .collect();
    }
    lists
}

/// In how many orders an ascending list can be drawn.
fn orders(numbers: &[u32]) -> f64 {
    let mut orders = 1.0;
    let mut run = 0.0;
    for (i, number) in numbers.iter().enumerate() {
        run = if i > 0 && numbers[i - 1] == *number {
            run + 1.0
        } else {
            1.0
        };
        orders *= (i + 1) as f64 / run;
    }
    orders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_space_is_as_large_as_documented() {
        let count = |size| -> usize {
            multisets(size)
                .iter()
                .map(|n| game::members(game::reachable(n) >> MIN_TARGET).len())
                .sum()
        };
        assert_eq!((multisets(3).len(), multisets(4).len()), (364, 1365));
        assert_eq!((count(3), count(4)), (2383, 32134));
    }

    #[test]
    fn orders_of_repeated_numbers() {
        assert_eq!(orders(&[1, 2, 3]), 6.0);
        assert_eq!(orders(&[1, 1, 3]), 3.0);
        assert_eq!(orders(&[4, 4, 4, 4]), 1.0);
        assert_eq!(orders(&[1, 1, 2, 2]), 6.0);
    }

    #[test]
    fn three_number_questions_last_as_long_as_documented() {
        for (class, questions) in [(Class::Train, 2450), (Class::Dev, 350), (Class::Test, 550)] {
            let sequence = sequence(class, 0);
            let three = sequence[..questions]
                .iter()
                .filter(|q| q.numbers.len() == 3)
                .count();
            let share = three as f64 / questions as f64;
            assert!((share - 0.6).abs() < 0.05, "{class:?}: {share}");
        }
    }
}
