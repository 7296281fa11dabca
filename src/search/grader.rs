//! From a finished text to its return.

use crate::model::Tokenizer;
use crate::task::reward::{Asked, Fault, Rewards};
use crate::task::{Problem, Split};
use std::sync::Arc;

/// Grades solutions of one problem.
#[derive(Clone)]
pub struct Grader {
    tokenizer: Arc<Tokenizer>,
    rewards: Arc<Rewards>,
    question: String,
    gold: String,
}

impl Grader {
    /// A grader of `problem`.
    pub fn new<S: Split>(
        tokenizer: Arc<Tokenizer>,
        rewards: Arc<Rewards>,
        problem: &Problem<S>,
    ) -> Grader {
        Grader {
            tokenizer,
            rewards,
            question: problem.question.clone(),
            gold: problem.gold.clone(),
        }
    }

    /// The return of a solution, from -1 to 1: its reward. `finished` says whether it ended by a stop token.
    ///
    /// # Errors
    /// A reward that is not there.
    pub async fn outcome(&self, tokens: &[u32], finished: bool) -> Result<f32, Fault> {
        let asked = Asked {
            question: &self.question,
            gold: &self.gold,
            completion: &self.tokenizer.decode(tokens),
            finished,
        };
        self.rewards.of(&asked).await
    }
}
