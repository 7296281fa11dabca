//! One question, one method, its answer. Nothing here knows a gold answer.

use super::Setting;
use super::vote::{self, Candidate};
use crate::model::Tokenizer;
use crate::search::{
    BeamParams, Completion, Drawn, Error, GuidedParams, Ledger, Policy, SampleParams, sample,
    seed_of,
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
    /// [`CHOICES`] over the first so many of the same draws.
    Samples {
        sizes: Vec<usize>,
        sampling: SampleParams,
        seed: u64,
    },
    /// Value-guided search; its draws come from the seed.
    Guided(Box<GuidedParams>, u64),
    /// Beam search by value.
    Beam(BeamParams),
}

impl Method {
    /// The policy of `setting`, with the checkpoints at hand that the method asks.
    pub fn policy(&self, setting: &Setting<'_>) -> Result<Policy, Error> {
        match self {
            Method::Guided(params, _) => {
                setting.policy.with_aides(params.aides(), setting.tokenizer)
            }
            _ => Ok(setting.policy.clone()),
        }
    }
}

/// How one of several draws is chosen.
pub(super) const CHOICES: [&str; 4] = ["vote", "weighted_vote", "best_of_n", "most_probable"];

/// What all questions share.
pub(super) struct Shared {
    pub policy: Policy,
    pub tokenizer: Arc<Tokenizer>,
    pub task: Arc<dyn Task>,
    pub method: Method,
}

impl Shared {
    /// One answer, or [`CHOICES`] of each size for [`Method::Samples`]. A question that cannot be answered
    /// gets empty ones.
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
        let columns = match &self.method {
            Method::Samples { sizes, .. } => CHOICES.len() * sizes.len(),
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
            Method::Guided(params, seed) => {
                let seed = seed_of(*seed, &[id]);
                let guided = self.policy.guided(prompt, params, seed).await?;
                Ok(vec![self.give(guided.completion, guided.ledger)])
            }
            Method::Beam(params) => {
                let (completion, ledger) = self.policy.beam(prompt, params).await?;
                Ok(vec![self.give(completion, ledger)])
            }
            Method::Samples {
                sizes,
                sampling,
                seed,
            } => {
                let seed = seed_of(*seed, &[id]);
                let count = sizes.iter().copied().max().unwrap_or(0);
                let drawn = sample(&self.policy, prompt, count, sampling, seed).await?;
                let chosen = sizes.iter().flat_map(|&size| self.choose(&drawn, size));
                Ok(chosen.collect())
            }
        }
    }

    /// [`CHOICES`] among the first `size` draws.
    fn choose(&self, drawn: &Drawn, size: usize) -> Vec<Answer> {
        let ledger = drawn.ledger(size);
        let texts = &drawn.completions[..size.min(drawn.completions.len())];
        let candidates: Vec<Candidate> = texts
            .iter()
            .map(|completion| Candidate {
                answer: self
                    .task
                    .answer(&self.tokenizer.decode(&completion.tokens))
                    .filter(|_| completion.finished),
                value: completion.value,
                log_prob: completion.log_prob,
            })
            .collect();
        let choices = [
            (vote::majority(&candidates), ledger.without_value()),
            (vote::weighted(&candidates), ledger),
            (vote::best_of_n(&candidates), ledger),
            (vote::most_probable(&candidates), ledger.without_value()),
        ];
        choices
            .into_iter()
            .filter_map(|(index, ledger)| Some(self.give(texts[index?].clone(), ledger)))
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
