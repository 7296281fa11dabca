//! Texts drawn for a training question, without a tree: the control that every search has to beat.

use super::decode::Policy;
use super::grader::Grader;
use super::random::seed_of;
use super::sample::Params;
use super::{Error, Ledger};
use crate::engine::{Choose, Finish, Output, Request};
use crate::task::{Problem, Train};
use std::sync::Arc;
use tokio::task::JoinSet;

/// A drawn text.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Tokens after the prompt, the stop token included.
    pub tokens: Vec<u32>,
    /// Their log-probabilities at temperature 1.
    pub log_probs: Vec<f32>,
    /// What is known after the prompt, and after each of `tokens` but the last.
    pub outputs: Vec<Output>,
    /// +1 or -1.
    pub outcome: f32,
}

/// The draws of one question.
#[derive(Debug)]
pub struct Drafts {
    /// The question's id in the train split.
    pub problem: u64,
    pub prompt: Vec<u32>,
    pub draws: Vec<Draw>,
    pub ledger: Ledger,
}

/// Draws `count` texts for `problem` and grades them. All randomness comes from `seed` and the problem's
/// id.
///
/// # Errors
/// An engine that refuses the prompt or has stopped.
pub async fn draw_problem(
    policy: &Policy,
    grader: &Grader,
    problem: &Problem<Train>,
    prompt: &[u32],
    (count, top_k): (usize, usize),
    params: &Params,
    seed: u64,
) -> Result<Drafts, Error> {
    let seed = seed_of(seed, &[problem.id]);
    let Some((&last, before)) = prompt.split_last() else {
        return Err(crate::engine::Error::Empty.into());
    };
    let slots = prompt.len() + count * (params.max_new_tokens + 1);
    let session = Arc::new(policy.engine.session(slots).await?);
    let mut ledger = Ledger::default();
    let context = match before {
        [] => Vec::new(),
        _ => {
            let reply = policy.prefill(&session, before, 1, &mut ledger).await?;
            reply.slots
        }
    };
    let mut tasks = JoinSet::new();
    for index in 0..count {
        let choose = Choose::Sample {
            temperature: params.temperature,
            top_p: params.top_p,
            seed: seed_of(seed, &[index as u64]),
        };
        let request: Request = policy.continuation(
            context.clone(),
            vec![last],
            choose,
            params.max_new_tokens,
            Some(top_k),
        );
        let session = session.clone();
        tasks.spawn(async move { (index, session.run(request).await) });
    }
    let mut draws = Vec::with_capacity(count);
    while let Some(result) = tasks.join_next().await {
        let (index, reply) = result?;
        let reply = reply?;
        ledger.rollout(reply.slots.len(), policy.engine.nets());
        let outcome = grader.outcome(&reply.generated, reply.finish == Finish::Stop);
        draws.push((
            index,
            Draw {
                tokens: reply.generated,
                log_probs: reply.log_probs,
                outputs: reply.outputs,
                outcome,
            },
        ));
    }
    draws.sort_by_key(|draw| draw.0);
    Ok(Drafts {
        problem: problem.id,
        prompt: prompt.to_vec(),
        draws: draws.into_iter().map(|draw| draw.1).collect(),
        ledger,
    })
}
