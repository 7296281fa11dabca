//! Texts that the policy writes by itself: one greedy, or several drawn.

use super::decode::{Completion, Policy};
use super::random::seed_of;
use super::{Error, Ledger};
use crate::engine::{Choose, Finish, Generate, Reply, Request};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::task::JoinSet;

/// How texts are drawn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Softmax temperature; 1 is the policy itself. Default 1.
    pub temperature: f32,
    /// Mass of the most probable tokens that a draw is cut to; 1 keeps all. Default 1.
    pub top_p: f32,
    /// Tokens of a solution at most, its stop token included. Default 256.
    pub max_new_tokens: usize,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            temperature: 1.0,
            top_p: 1.0,
            max_new_tokens: 256,
        }
    }
}

/// Texts drawn for one question, with what each cost.
#[derive(Debug)]
pub struct Drawn {
    pub completions: Vec<Completion>,
    prompted: Ledger,
    ledgers: Vec<Ledger>,
}

impl Drawn {
    /// The cost of the prompt and the first `count` texts.
    pub fn ledger(&self, count: usize) -> Ledger {
        self.ledgers.iter().take(count).copied().sum::<Ledger>() + self.prompted
    }
}

impl Policy {
    /// The policy's most probable continuation, token by token.
    ///
    /// # Errors
    /// An engine that refuses the prompt or has stopped.
    pub async fn greedy(
        &self,
        prompt: &[u32],
        max_new_tokens: usize,
    ) -> Result<(Completion, Ledger), Error> {
        let session = self.engine.session(prompt.len() + max_new_tokens).await?;
        let reply = session
            .run(Request {
                context: Vec::new(),
                tokens: prompt.to_vec(),
                top_k: 1,
                generate: Some(Generate {
                    draft: None,
                    choose: Choose::Greedy,
                    max_new_tokens,
                    stop: self.stop.clone(),
                    until: None,
                    record: false,
                }),
                ..Request::default()
            })
            .await?;
        let mut ledger = Ledger::default();
        ledger.prefill(prompt.len(), self.engine.nets());
        ledger.rollout(reply.slots.len() - prompt.len(), self.engine.nets());
        Ok((Completion::generated(self, &reply), ledger))
    }
}

/// Draws `count` texts that share the prompt's keys and values. The i-th depends on `seed` and i.
///
/// # Errors
/// An engine that refuses the prompt or has stopped.
pub async fn sample(
    policy: &Policy,
    prompt: &[u32],
    count: usize,
    params: &Params,
    seed: u64,
) -> Result<Drawn, Error> {
    let (replies, prompted) = draw(policy, prompt, count, None, params, seed).await?;
    let cost = |reply: &Reply| {
        let mut ledger = Ledger::default();
        ledger.rollout(reply.slots.len(), policy.engine.nets());
        ledger
    };
    Ok(Drawn {
        completions: (replies.iter())
            .map(|reply| Completion::generated(policy, reply))
            .collect(),
        prompted,
        ledgers: replies.iter().map(cost).collect(),
    })
}

/// A drawn text with what was known along it.
#[derive(Debug, Clone, PartialEq)]
pub struct Traced {
    pub completion: Completion,
    /// Log-probabilities of its tokens at temperature 1.
    pub log_probs: Vec<f32>,
    /// What the value net says after the prompt, and after each token but the last; in [-1, 1].
    pub values: Vec<f32>,
}

/// As [`sample`], with the value of every prefix, and what all of them cost together.
///
/// # Errors
/// As [`sample`].
pub async fn trace(
    policy: &Policy,
    prompt: &[u32],
    count: usize,
    params: &Params,
    seed: u64,
) -> Result<(Vec<Traced>, Ledger), Error> {
    let (replies, mut ledger) = draw(policy, prompt, count, Some(1), params, seed).await?;
    for reply in &replies {
        ledger.rollout(reply.slots.len(), policy.engine.nets());
    }
    let traced = |reply: &Reply| Traced {
        completion: Completion::generated(policy, reply),
        log_probs: reply.log_probs.clone(),
        values: policy.values(reply),
    };
    Ok((replies.iter().map(traced).collect(), ledger))
}

/// The replies behind [`sample`], with `record` continuations of every position if it is given, and what
/// the prompt cost.
pub(super) async fn draw(
    policy: &Policy,
    prompt: &[u32],
    count: usize,
    record: Option<usize>,
    params: &Params,
    seed: u64,
) -> Result<(Vec<Reply>, Ledger), Error> {
    let mut prompted = Ledger::default();
    let Some((&last, before)) = prompt.split_last() else {
        return Err(crate::engine::Error::Empty.into());
    };
    let slots = prompt.len() + count * (params.max_new_tokens + 1);
    let session = Arc::new(policy.engine.session(slots).await?);
    let context = match before {
        [] => Vec::new(),
        _ => {
            policy
                .prefill(&session, before, 1, &mut prompted)
                .await?
                .slots
        }
    };
    let mut tasks = JoinSet::new();
    for index in 0..count {
        let request = policy.continuation(
            context.clone(),
            vec![last],
            Choose::Sample {
                temperature: params.temperature,
                top_p: params.top_p,
                seed: seed_of(seed, &[index as u64]),
            },
            params.max_new_tokens,
            record,
        );
        let session = session.clone();
        tasks.spawn(async move { (index, session.run(request).await) });
    }
    let mut replies = Vec::with_capacity(count);
    while let Some(result) = tasks.join_next().await {
        let (index, reply) = result?;
        let reply = reply?;
        debug_assert_ne!(reply.finish, Finish::Forwarded);
        replies.push((index, reply));
    }
    replies.sort_by_key(|reply| reply.0);
    Ok((replies.into_iter().map(|reply| reply.1).collect(), prompted))
}
