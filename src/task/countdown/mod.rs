//! Countdown: combine three or four given numbers to reach a target.
//!
//! Text: the question `1 4 9 11 make 35`, then one line a step, `11 * 1 = 11 left 4 9 11`, a check
//! line `35 = 35` (or `<`, `>`), and `#### 35`. Numbers are 1 to 12 (60% three of them, 40% four),
//! results 1 to 60, targets 10 to 60.

mod game;
mod grader;
mod pretraining;
mod space;
mod text;

pub use game::{MAX_NUMBER, MAX_RESULT, MIN_TARGET, Op, Question, Step};
pub use pretraining::{Pretraining, pretraining};
pub use text::{tokens, vocabulary};

use super::class::Class;
use super::{Dev, Error, Grade, Problem, Prompt, Split, Task, Test, Train};
use std::ops::Range;

/// The seed of the dev and test sequences, which no parameter moves.
const HELD_OUT_SEED: u64 = 999;

/// The bundled number game.
#[derive(Debug)]
pub struct Countdown {
    train: Vec<Question>,
    dev: Vec<Question>,
    test: Vec<Question>,
}

impl Countdown {
    /// The task; `seed` decides the order of the train questions.
    pub fn new(seed: u64) -> Self {
        Self {
            train: space::sequence(Class::Train, seed),
            dev: space::sequence(Class::Dev, HELD_OUT_SEED),
            test: space::sequence(Class::Test, HELD_OUT_SEED),
        }
    }
}

fn problems<S: Split>(questions: &[Question], range: Range<usize>) -> Vec<Problem<S>> {
    let end = range.end.min(questions.len());
    (range.start..end)
        .map(|i| {
            let question = &questions[i];
            Problem::new(i as u64, question.to_string(), question.target.to_string())
        })
        .collect()
}

impl Task for Countdown {
    fn name(&self) -> &str {
        "countdown"
    }

    fn train(&self, range: Range<usize>) -> Result<Vec<Problem<Train>>, Error> {
        Ok(problems(&self.train, range))
    }

    fn dev(&self, limit: usize) -> Result<Vec<Problem<Dev>>, Error> {
        Ok(problems(&self.dev, 0..limit))
    }

    fn test(&self, limit: usize) -> Result<Vec<Problem<Test>>, Error> {
        Ok(problems(&self.test, 0..limit))
    }

    fn prompt(&self, question: &str) -> Prompt {
        Prompt::line(question)
    }

    fn grade(&self, question: &str, gold: &str, completion: &str) -> Grade {
        let correct = Question::parse(question).is_some_and(|question| {
            gold.trim() == question.target.to_string() && grader::solves(&question, completion)
        });
        Grade {
            correct,
            parsed: self.answer(completion),
        }
    }

    fn answer(&self, completion: &str) -> Option<String> {
        grader::answer(completion).map(|number| number.to_string())
    }
}

#[cfg(test)]
mod tests;
