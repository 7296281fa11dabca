//! Texts drawn for a training question, without a tree: the control that every search has to beat.

use super::decode::Policy;
use super::grader::Grader;
use super::random::seed_of;
use super::sample::{Params, draw};
use super::{Error, Ledger};
use crate::engine::{Finish, Output};
use crate::task::{Problem, Train};

/// A drawn text.
#[derive(Debug, Clone)]
pub struct Draw {
    /// Tokens after the prompt, the stop token included.
    pub tokens: Vec<u32>,
    /// Their log-probabilities at temperature 1.
    pub log_probs: Vec<f32>,
    /// What is known after the prompt, and after each of `tokens` but the last; values as a search reads
    /// them.
    pub outputs: Vec<Output>,
    /// Its reward, from -1 to 1.
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
/// An engine that refuses the prompt or has stopped, and a reward that is not there.
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
    let (replies, mut ledger) = draw(policy, prompt, count, Some(top_k), params, seed).await?;
    let mut draws = Vec::with_capacity(count);
    for reply in replies {
        ledger.rollout(reply.slots.len(), policy.engine.nets());
        let values = policy.values(&reply);
        let outputs = reply.outputs.into_iter().zip(values);
        draws.push(Draw {
            outcome: grader
                .outcome(&reply.generated, reply.finish == Finish::Stop)
                .await?,
            tokens: reply.generated,
            log_probs: reply.log_probs,
            outputs: outputs
                .map(|(output, value)| Output { value, ..output })
                .collect(),
        });
    }
    Ok(Drafts {
        problem: problem.id,
        prompt: prompt.to_vec(),
        draws,
        ledger,
    })
}
