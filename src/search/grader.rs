//! From a finished text to its return.

use crate::model::Tokenizer;
use crate::task::{Problem, Split, Task};
use std::sync::Arc;

/// Grades solutions of one problem.
#[derive(Clone)]
pub struct Grader {
    tokenizer: Arc<Tokenizer>,
    task: Arc<dyn Task>,
    question: String,
    gold: String,
}

impl Grader {
    /// A grader of `problem`.
    pub fn new<S: Split>(
        tokenizer: Arc<Tokenizer>,
        task: Arc<dyn Task>,
        problem: &Problem<S>,
    ) -> Grader {
        Grader {
            tokenizer,
            task,
            question: problem.question.clone(),
            gold: problem.gold.clone(),
        }
    }

    /// The return of a solution: +1 where it ended by a stop token and its text is right, else -1.
    pub fn outcome(&self, tokens: &[u32], finished: bool) -> f32 {
        if finished && self.grade(tokens) {
            1.0
        } else {
            -1.0
        }
    }

    fn grade(&self, tokens: &[u32]) -> bool {
        let text = self.tokenizer.decode(tokens);
        self.task.grade(&self.question, &self.gold, &text).correct
    }
}
