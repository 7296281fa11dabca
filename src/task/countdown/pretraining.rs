//! Worked examples for the base model: random walks, which know the rules but not the goal.

use super::game::{self, MAX_NUMBER, Question, Step};
use super::{space, text};
use crate::task::Worked;
use crate::task::class::{Class, probability};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Parameters of the pretraining examples.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Pretraining {
    /// Probability that the target is where the walk ends; otherwise it is any number that can be
    /// reached. Higher makes a stronger base. 0 to 1. Default 0.75.
    pub rho: f64,
}

impl Default for Pretraining {
    fn default() -> Self {
        Self { rho: 0.75 }
    }
}

/// `n` worked examples of the pretraining class. Questions repeat: the class is finite.
pub fn pretraining(seed: u64, n: usize, params: &Pretraining) -> Vec<Worked> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(Class::Pretraining as u64);
    let rho = probability(params.rho);
    (0..n)
        .map(|_| {
            let size = if rng.random_bool(space::FOUR) { 4 } else { 3 };
            loop {
                if let Some(example) = attempt(&mut rng, size, rho) {
                    return example;
                }
            }
        })
        .collect()
}

/// One walk over `size` numbers; none where it gets stuck or the question is another split's.
fn attempt(rng: &mut ChaCha8Rng, size: usize, rho: f64) -> Option<Worked> {
    let mut numbers: Vec<u32> = (0..size)
        .map(|_| rng.random_range(1..=MAX_NUMBER))
        .collect();
    numbers.sort_unstable();
    let walk = walk(rng, &numbers)?;
    let target = if rng.random_bool(rho) {
        walk.last()?.result
    } else {
        *pick(rng, &game::members(game::reachable(&numbers)))?
    };
    let question = Question { numbers, target };
    (space::class(&question) == Class::Pretraining).then(|| Worked {
        question: question.to_string(),
        solution: text::solution(&walk, target),
    })
}

/// Random steps until one number is left; none where no step is legal.
fn walk(rng: &mut ChaCha8Rng, numbers: &[u32]) -> Option<Vec<Step>> {
    let mut walk: Vec<Step> = Vec::new();
    for _ in 1..numbers.len() {
        let from = walk.last().map_or(numbers, |step| &step.left);
        let step = pick(rng, &game::steps(from))?.clone();
        walk.push(step);
    }
    Some(walk)
}

fn pick<'a, T>(rng: &mut ChaCha8Rng, from: &'a [T]) -> Option<&'a T> {
    (!from.is_empty()).then(|| &from[rng.random_range(0..from.len())])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Task;
    use crate::task::countdown::Countdown;

    #[test]
    fn a_walk_solves_its_question_where_the_target_is_its_end() {
        let task = Countdown::new(0);
        let solved = |rho| {
            pretraining(3, 2000, &Pretraining { rho })
                .iter()
                .filter(|w| {
                    let gold = w.question.rsplit(' ').next().unwrap();
                    task.grade(&w.question, gold, &w.solution).correct
                })
                .count()
        };
        assert_eq!(solved(1.0), 2000);
        let some = solved(0.75) as f64 / 2000.0;
        assert!((0.74..0.83).contains(&some), "{some}");
    }

    #[test]
    fn statistics_are_the_reference_generators() {
        // Reference, 20,000 walks: three numbers 0.60, mean target 20.6, targets below 10 0.29.
        let examples = pretraining(1, 20_000, &Pretraining::default());
        let questions: Vec<Question> = examples
            .iter()
            .map(|w| Question::parse(&w.question).unwrap())
            .collect();
        let share = |f: &dyn Fn(&Question) -> bool| {
            questions.iter().filter(|q| f(q)).count() as f64 / questions.len() as f64
        };
        let three = share(&|q| q.numbers.len() == 3);
        let small = share(&|q| q.target < 10);
        let mean = questions.iter().map(|q| f64::from(q.target)).sum::<f64>() / 20_000.0;
        assert!((three - 0.6).abs() < 0.015, "{three}");
        assert!((small - 0.293).abs() < 0.03, "{small}");
        assert!((mean - 20.6).abs() < 1.0, "{mean}");
    }
}
