//! Templated word problems in the shape of GSM8K: one to five steps, one worked sentence a step
//! ("Then Tom has 12 + 5 = 17 coins.") and `#### 17`.
//!
//! Eight rare verbs and "doubles" hardly occur in pretraining and in 70% of the events afterwards:
//! the base model can calculate and has to learn the new phrasing.

mod pretraining;
mod source;
mod story;

pub use pretraining::{Pretraining, pretraining, tokenizer_text};
pub use story::{MAX_STEPS, RARE_WORDS};

use super::class::Class;
use super::{Dev, Error, Grade, Problem, Prompt, Split, Task, Test, Train};
use source::Source;
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// The seed of the dev and test sequences, which no parameter moves.
const HELD_OUT_SEED: u64 = 999;
/// Probability of a rare word in an event of the train, dev and test questions.
const RARE: f64 = 0.7;
/// The generator could go on; the splits end here, so that "all of it" is an amount.
const TRAIN_SIZE: usize = 200_000;
/// Where the dev and test splits end.
const HELD_OUT_SIZE: usize = 10_000;

/// The bundled word problems.
#[derive(Debug)]
pub struct Arithmetic {
    train: Mutex<Sequence>,
    dev: Mutex<Sequence>,
    test: Mutex<Sequence>,
}

/// The questions and answers drawn so far, and where the next ones come from.
#[derive(Debug)]
struct Sequence {
    drawn: Vec<(String, String)>,
    source: Source,
    size: usize,
}

impl Sequence {
    fn new(class: Class, seed: u64, size: usize) -> Mutex<Self> {
        Mutex::new(Self {
            drawn: Vec::new(),
            source: Source::new(class, seed, [1.0; MAX_STEPS], RARE),
            size,
        })
    }

    fn problems<S: Split>(&mut self, range: Range<usize>) -> Vec<Problem<S>> {
        let range = range.start..range.end.min(self.size);
        while self.drawn.len() < range.end {
            let story = self.source.next_story();
            self.drawn.push((story.question, story.answer.to_string()));
        }
        range
            .map(|i| {
                let (question, gold) = &self.drawn[i];
                Problem::new(i as u64, question.as_str(), gold.as_str())
            })
            .collect()
    }
}

/// A panic elsewhere cannot leave a sequence half-written, so a poisoned lock is still good.
fn problems<S: Split>(sequence: &Mutex<Sequence>, range: Range<usize>) -> Vec<Problem<S>> {
    sequence
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .problems(range)
}

impl Arithmetic {
    /// The task; `seed` decides the train questions.
    pub fn new(seed: u64) -> Self {
        Self {
            train: Sequence::new(Class::Train, seed, TRAIN_SIZE),
            dev: Sequence::new(Class::Dev, HELD_OUT_SEED, HELD_OUT_SIZE),
            test: Sequence::new(Class::Test, HELD_OUT_SEED, HELD_OUT_SIZE),
        }
    }
}

impl Task for Arithmetic {
    fn name(&self) -> &str {
        "arithmetic"
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

    fn imagine(&self, examples: &[&str]) -> Option<Prompt> {
        Some(Prompt::another_line(examples))
    }

    /// The first line, which must have a number in it and ask.
    fn imagined(&self, completion: &str, finished: bool) -> Option<String> {
        let line = match completion.trim_start().split_once('\n') {
            Some((line, _)) => line,
            None if finished => completion,
            None => return None,
        };
        let line = line.trim();
        let asks = line.ends_with('?') && line.contains(|c: char| c.is_ascii_digit());
        asks.then(|| line.to_owned())
    }

    fn grade(&self, _question: &str, gold: &str, completion: &str) -> Grade {
        let parsed = self.answer(completion);
        Grade {
            correct: parsed.is_some() && parsed.as_deref() == canonical(gold).as_deref(),
            parsed,
        }
    }

    /// The number after the last `####`; any other text there is no answer.
    fn answer(&self, completion: &str) -> Option<String> {
        let (_, stated) = completion.rsplit_once("####")?;
        canonical(stated)
    }
}

/// A whole number in plain digits, without leading zeros.
fn canonical(text: &str) -> Option<String> {
    let text = text.trim();
    let plain = (1..=20).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| match text.trim_start_matches('0') {
        "" => "0".to_owned(),
        digits => digits.to_owned(),
    })
}

#[cfg(test)]
mod tests;
