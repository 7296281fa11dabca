//! One question, one method, its answer. Nothing here knows a gold answer.

use super::Setting;
use super::vote::{self, Candidate};
use crate::model::Tokenizer;
use crate::search::{
    BeamParams, Completion, Drawn, Error, GuidedParams, Ledger, Policy, SampleParams, sample,
    seed_of, trace,
};
use crate::task::Task;
use std::sync::Arc;

/// A question without its answer.
#[derive(Debug, Clone)]
pub(super) struct Question {
    pub id: u64,
    pub text: String,
    /// Its tokens, or why it has none.
    pub prompt: Result<Vec<u32>, String>,
}

/// A method's answer to one question.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub completion: Completion,
    pub text: String,
    pub ledger: Ledger,
    /// Whether the method asks the value net.
    pub valued: bool,
    /// Values and log-probabilities along the text, where the method keeps them.
    pub along: Option<Along>,
    /// Why there is no text.
    pub failure: Option<String>,
}

/// What was known along a text.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Along {
    /// After the prompt, and after each token but the last.
    pub values: Vec<f32>,
    /// Of each token.
    pub log_probs: Vec<f32>,
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
    /// So many drawn texts, each an answer, with what was known along them.
    Traced {
        count: usize,
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
            Method::Guided(params, _) => setting
                .policy
                .with_aides(params.aides(), setting.tokenizer)?
                .with_rubrics(&params.judges)?
                .with_phrases(&params.revise.phrases, setting.tokenizer),
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
    /// One answer; [`CHOICES`] of each size for [`Method::Samples`], every text for [`Method::Traced`]. A
    /// question that cannot be answered gets empty ones.
    pub async fn answer(&self, question: &Question) -> Result<Vec<Answer>, Error> {
        let reason = match &question.prompt {
            Err(reason) => reason.clone(),
            Ok(prompt) => match self.answer_prompt(question, prompt).await {
                Err(Error::Engine(error)) if error.is_of_request() => error.to_string(),
                answered => return answered,
            },
        };
        let empty = Answer {
            completion: Completion::default(),
            text: String::new(),
            ledger: Ledger::default(),
            valued: false,
            along: None,
            failure: Some(reason),
        };
        let columns = match &self.method {
            Method::Samples { sizes, .. } => CHOICES.len() * sizes.len(),
            Method::Traced { count, .. } => *count,
            _ => 1,
        };
        Ok(vec![empty; columns])
    }

    async fn answer_prompt(
        &self,
        question: &Question,
        prompt: &[u32],
    ) -> Result<Vec<Answer>, Error> {
        let id = question.id;
        match &self.method {
            Method::Greedy(max_new_tokens) => {
                let (completion, ledger) = self.policy.greedy(prompt, *max_new_tokens).await?;
                Ok(vec![self.give(completion, ledger, false)])
            }
            Method::Guided(params, seed) => {
                let seed = seed_of(*seed, &[id]);
                let policy = self.policy.about(&question.text);
                let guided = policy.guided(prompt, params, seed).await?;
                Ok(vec![self.give(guided.completion, guided.ledger, true)])
            }
            Method::Beam(params) => {
                let (completion, ledger) = self.policy.beam(prompt, params).await?;
                Ok(vec![self.give(completion, ledger, true)])
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
            Method::Traced {
                count,
                sampling,
                seed,
            } => {
                let seed = seed_of(*seed, &[id]);
                let (texts, ledger) = trace(&self.policy, prompt, *count, sampling, seed).await?;
                let answers = texts.into_iter().enumerate().map(|(index, text)| {
                    // What all of them cost is charged to the first.
                    let ledger = if index == 0 {
                        ledger
                    } else {
                        Ledger::default()
                    };
                    Answer {
                        along: Some(Along {
                            values: text.values,
                            log_probs: text.log_probs,
                        }),
                        ..self.give(text.completion, ledger, true)
                    }
                });
                Ok(answers.collect())
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
            (vote::majority(&candidates), false),
            (vote::weighted(&candidates), true),
            (vote::best_of_n(&candidates), true),
            (vote::most_probable(&candidates), false),
        ];
        choices
            .into_iter()
            .filter_map(|(index, valued)| Some(self.give(texts[index?].clone(), ledger, valued)))
            .collect()
    }

    /// `ledger` holds the value net's tokens, which only a method that asks it is charged.
    fn give(&self, completion: Completion, ledger: Ledger, valued: bool) -> Answer {
        Answer {
            text: self.tokenizer.decode(&completion.tokens),
            completion,
            ledger: match valued {
                true => ledger,
                false => ledger.without_value(),
            },
            valued,
            along: None,
            failure: None,
        }
    }
}
