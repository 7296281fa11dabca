//! One question, one method, its answer. Nothing here knows a gold answer.

use super::vote::{self, Candidate};
use crate::model::Tokenizer;
use crate::search::{
    Completion, Error, GuidedParams, Ledger, Policy, SampleParams, sample, seed_of,
};
use crate::task::Task;
use std::sync::Arc;

/// A question without its answer.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub id: u64,
    /// Its tokens, or why it has none.
    pub prompt: Result<Vec<u32>, String>,
}

/// A method's answer to one question.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub completion: Completion,
    pub text: String,
    pub ledger: Ledger,
    /// Why there is no text.
    pub failure: Option<String>,
}

/// How a question is answered.
#[derive(Debug, Clone)]
pub(super) enum Method {
    /// Greedy decoding of at most this many tokens.
    Greedy(usize),
    /// Majority vote, value-weighted vote and best-of-n over the same draws.
    Samples {
        count: usize,
        sampling: SampleParams,
        seed: u64,
    },
    /// Value-guided search.
    Guided(GuidedParams),
}

/// What all questions share.
pub(super) struct Shared {
    pub policy: Policy,
    pub tokenizer: Arc<Tokenizer>,
    pub task: Arc<dyn Task>,
    pub method: Method,
}

impl Shared {
    /// One answer, or three for [`Method::Samples`]: majority vote, weighted vote, best-of-n. A question
    /// that cannot be answered gets empty ones.
    pub async fn answer(&self, question: &Question) -> Result<Vec<Answer>, Error> {
        let reason = match &question.prompt {
            Err(reason) => reason.clone(),
            Ok(prompt) => match self.answer_prompt(question.id, prompt).await {
                Err(Error::Engine(error)) if error.is_of_request() => error.to_string(),
                answered => return answered,
            },
        };
        let empty = Answer {
            completion: Completion::default(),
            text: String::new(),
            ledger: Ledger::default(),
            failure: Some(reason),
        };
        let columns = match self.method {
            Method::Samples { .. } => 3,
            _ => 1,
        };
        Ok(vec![empty; columns])
    }

    async fn answer_prompt(&self, id: u64, prompt: &[u32]) -> Result<Vec<Answer>, Error> {
        match &self.method {
            Method::Greedy(max_new_tokens) => {
                let (completion, ledger) = self.policy.greedy(prompt, *max_new_tokens).await?;
                Ok(vec![self.give(completion, ledger.without_value())])
            }
            Method::Guided(params) => {
                let guided = self.policy.guided(prompt, params).await?;
                Ok(vec![self.give(guided.completion, guided.ledger)])
            }
            Method::Samples {
                count,
                sampling,
                seed,
            } => {
                let seed = seed_of(*seed, &[id]);
                let (drawn, ledger) = sample(&self.policy, prompt, *count, sampling, seed).await?;
                Ok(self.choose(drawn, ledger))
            }
        }
    }

    fn choose(&self, drawn: Vec<Completion>, ledger: Ledger) -> Vec<Answer> {
        let candidates: Vec<Candidate> = drawn
            .iter()
            .map(|completion| Candidate {
                answer: self
                    .task
                    .answer(&self.tokenizer.decode(&completion.tokens))
                    .filter(|_| completion.finished),
                value: completion.value,
            })
            .collect();
        let choices = [
            (vote::majority(&candidates), ledger.without_value()),
            (vote::weighted(&candidates), ledger),
            (vote::best_of_n(&candidates), ledger),
        ];
        choices
            .into_iter()
            .filter_map(|(index, ledger)| Some(self.give(drawn[index?].clone(), ledger)))
            .collect()
    }

    fn give(&self, completion: Completion, ledger: Ledger) -> Answer {
        Answer {
            text: self.tokenizer.decode(&completion.tokens),
            completion,
            ledger,
            failure: None,
        }
    }
}
