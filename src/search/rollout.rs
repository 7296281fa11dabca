//! Playing a leaf out: jobs for the engine that own what they need, so that several can run at
//! once.

use super::aide::Aided;
use super::options::{Drawn, Draws};
use super::rewrite::Revisions;
use crate::engine::{Error, Finish, Output, Reply, Request, Session, Slot};
use std::sync::Arc;
use tokio::task::JoinSet;

/// A job on behalf of one leaf. Its first tokens may stand for nodes of the leaf's path, whose slots
/// it brings.
pub(super) enum Play {
    /// Forward one token.
    Expand(Request),
    /// Forward `first`, which the leaf chose already, and let the policy go on.
    Go { first: u32, request: Request },
    /// Forward the leaf's own last token anew and draw from there: a draw needs all logits, and
    /// the tree kept the most probable continuations only.
    Draw(Request),
    /// The text ends with `last`; nothing to forward.
    End { last: u32, finished: bool },
    /// Beam search from the leaf's own last token.
    Beam(Beam),
    /// The options of a boundary.
    Options(Draws),
    /// The revisions of a finished text.
    Revise(Revisions),
    /// Another checkpoint's work.
    Aided(Aided),
}

/// What came of a job: a text after the leaf, and the states on its way.
#[derive(Debug, Default)]
pub(super) struct Played {
    pub tokens: Vec<u32>,
    pub finished: bool,
    /// State after each of `tokens` but the last.
    pub states: Vec<(Output, Slot)>,
    /// Slots of the nodes that the first tokens stood for.
    pub lead: Vec<Slot>,
    /// Log-probabilities of the tokens that the engine chose, the last ones of `tokens`; none of a beam.
    pub log_probs: Vec<f32>,
    /// The options of a boundary, of which each has tokens and states of its own.
    pub options: Vec<Drawn>,
    /// What another checkpoint's value net, or a rubric's reader, thinks.
    pub opinion: f32,
    /// Slots that no state stands for.
    pub spare: Vec<Slot>,
    /// Tokens forwarded, those of wrong drafts included.
    pub forwarded: usize,
}

impl Play {
    /// Slots that it takes at most.
    pub fn most_slots(&self) -> usize {
        match self {
            Play::Expand(request) | Play::Go { request, .. } | Play::Draw(request) => {
                most_slots(request)
            }
            Play::End { .. } => 0,
            Play::Beam(beam) => {
                beam.tokens.len() + beam.width * beam.max_new_tokens.saturating_sub(1)
            }
            Play::Options(draws) => draws.most_slots(),
            Play::Revise(revisions) => revisions.most_slots(),
            // It has a session of its own.
            Play::Aided(_) => 0,
        }
    }

    /// Runs it; its first `lead` tokens stand for nodes.
    pub async fn run(self, session: &Arc<Session>, lead: usize) -> Result<Played, Error> {
        match self {
            Play::Expand(request) => {
                let reply = session.run(request).await?;
                Ok(written(Vec::new(), reply, lead, 0))
            }
            Play::Go { first, request } => {
                let reply = session.run(request).await?;
                let mut tokens = vec![first];
                tokens.extend(&reply.generated);
                Ok(written(tokens, reply, lead, 0))
            }
            Play::Draw(request) => {
                let reply = session.run(request).await?;
                Ok(written(reply.generated.clone(), reply, lead, 1))
            }
            Play::End { last, finished } => Ok(Played {
                tokens: vec![last],
                finished,
                ..Played::default()
            }),
            Play::Beam(beam) => beam.run(session, lead).await,
            Play::Options(draws) => draws.run(session).await,
            Play::Revise(revisions) => revisions.run(session).await,
            Play::Aided(aided) => aided.run().await,
        }
    }
}

/// Slots that `request` takes at most.
pub(super) fn most_slots(request: &Request) -> usize {
    let generate = request.generate.as_ref();
    // Only a mean needs the last token forwarded.
    let last = usize::from(request.mean_from.is_none());
    let new = generate.map_or(0, |g| g.max_new_tokens.saturating_sub(last));
    request.tokens.len() + new
}

/// A text that the engine wrote; `known` leading outputs are of states that the leaf had before.
fn written(tokens: Vec<u32>, reply: Reply, lead: usize, known: usize) -> Played {
    let forwarded = reply.slots.len() + reply.rejected;
    let mut lead_slots = reply.slots;
    let slots = lead_slots.split_off(lead);
    let recorded = reply.outputs.len() == known + slots.len();
    let (spare, states) = if recorded {
        let outputs = reply.outputs.into_iter().skip(known);
        (Vec::new(), outputs.zip(slots).collect())
    } else {
        (slots, Vec::new())
    };
    Played {
        tokens,
        finished: reply.finish == Finish::Stop,
        states,
        lead: lead_slots,
        log_probs: reply.log_probs,
        spare,
        forwarded,
        ..Played::default()
    }
}

/// A beam search.
pub(super) struct Beam {
    /// Slots before `tokens`.
    pub context: Vec<Slot>,
    /// Tokens that end with the leaf's last.
    pub tokens: Vec<u32>,
    pub width: usize,
    pub max_new_tokens: usize,
    pub stop: Arc<[u32]>,
}

/// An unfinished text of a beam.
#[derive(Clone)]
struct Hypothesis {
    tokens: Vec<u32>,
    slots: Vec<Slot>,
    log_prob: f32,
}

impl Beam {
    /// Keeps the `width` most probable texts of each length; the answer is the most probable text
    /// that ended by a stop token, or the most probable one at the limit where none did.
    async fn run(self, session: &Arc<Session>, lead: usize) -> Result<Played, Error> {
        let mut played = Played::default();
        let mut live = vec![Hypothesis {
            tokens: Vec::new(),
            slots: self.context.clone(),
            log_prob: 0.0,
        }];
        let mut best: Option<Hypothesis> = None;
        for _ in 0..self.max_new_tokens {
            let mut candidates = Vec::new();
            for (hypothesis, output) in self.forward(session, live, &mut played).await? {
                for (&token, &log_prob) in output.tokens.iter().zip(&output.log_probs) {
                    let mut next = hypothesis.clone();
                    next.tokens.push(token);
                    next.log_prob += log_prob;
                    candidates.push(next);
                }
            }
            candidates.sort_by(|a, b| {
                let order = b.log_prob.total_cmp(&a.log_prob);
                order.then_with(|| a.tokens.cmp(&b.tokens))
            });
            candidates.truncate(self.width);
            live = Vec::new();
            for candidate in candidates {
                let ended = candidate
                    .tokens
                    .last()
                    .is_some_and(|t| self.stop.contains(t));
                if !ended {
                    live.push(candidate);
                } else if best
                    .as_ref()
                    .is_none_or(|b| candidate.log_prob > b.log_prob)
                {
                    best = Some(candidate);
                }
            }
            // A text only loses probability as it grows.
            let bar = best.as_ref().map_or(f32::NEG_INFINITY, |b| b.log_prob);
            live.retain(|h| h.log_prob > bar);
            if live.is_empty() {
                break;
            }
        }
        // The first pass of all forwarded them, and put its slots first.
        let rest = played.spare.split_off(lead);
        played.lead = std::mem::replace(&mut played.spare, rest);
        played.finished = best.is_some();
        if let Some(text) = best.or_else(|| live.into_iter().next()) {
            played.tokens = text.tokens;
        }
        Ok(played)
    }

    /// Forwards the last token of every hypothesis.
    async fn forward(
        &self,
        session: &Arc<Session>,
        live: Vec<Hypothesis>,
        played: &mut Played,
    ) -> Result<Vec<(Hypothesis, Output)>, Error> {
        let mut tasks = JoinSet::new();
        for (index, hypothesis) in live.into_iter().enumerate() {
            let request = Request {
                context: hypothesis.slots.clone(),
                tokens: match hypothesis.tokens.last() {
                    Some(&last) => vec![last],
                    None => self.tokens.clone(),
                },
                top_k: self.width,
                generate: None,
                ..Request::default()
            };
            let session = session.clone();
            tasks.spawn(async move { (index, hypothesis, session.run(request).await) });
        }
        let mut done = Vec::new();
        while let Some(result) = tasks.join_next().await {
            let (index, mut hypothesis, reply) = result.map_err(|_| Error::Stopped)?;
            let reply = reply?;
            played.forwarded += reply.slots.len();
            played.spare.extend(&reply.slots);
            hypothesis.slots.extend(&reply.slots);
            done.push((index, hypothesis, reply.last().clone()));
        }
        done.sort_by_key(|d| d.0);
        Ok(done.into_iter().map(|(_, h, o)| (h, o)).collect())
    }
}
