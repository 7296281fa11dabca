//! Beam search ranked by the value net: of all continuations of the kept texts the most valuable stay.

use super::decode::{Completion, Policy};
use super::{Error, Ledger};
use crate::engine::{Output, Request, Session, Slot};
use crate::model::Trail;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::task::JoinSet;

/// How a beam by value searches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Texts kept at each length. Default 4.
    pub width: usize,
    /// Continuations of a text: its most probable tokens. Default 3.
    pub top_k: usize,
    /// Continuations less probable than this are left out; the most probable one stays. Default 0.01.
    pub min_prior: f32,
    /// Tokens of a solution at most, its stop token included. Default 256.
    pub max_new_tokens: usize,
    /// Standard deviations of an ensemble's values (`learn.heads`) that every value is lowered by; 0
    /// ranks by the mean. Default 0.
    pub pessimism: f32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            width: 4,
            top_k: 3,
            min_prior: 0.01,
            max_new_tokens: 256,
            pessimism: 0.0,
        }
    }
}

/// A text of the beam; `output` is what is known after its last token, but for one that ends it.
#[derive(Clone)]
struct Text {
    tokens: Vec<u32>,
    slots: Vec<Slot>,
    output: Output,
    trail: Trail,
    value: f32,
    log_prob: f32,
    finished: bool,
}

impl Policy {
    /// Answers a prompt by the most valuable finished text of a beam, or by the most valuable one where
    /// none finished. A text is worth what the value net says before its stop token.
    ///
    /// # Errors
    /// An engine that refuses the prompt or has stopped.
    pub async fn beam(
        &self,
        prompt: &[u32],
        params: &Params,
    ) -> Result<(Completion, Ledger), Error> {
        let (width, top_k) = (params.width.max(1), params.top_k.max(1));
        let slots = prompt.len() + width * top_k * params.max_new_tokens;
        let session = Arc::new(self.engine.session(slots).await?);
        let mut ledger = Ledger::default();
        let reply = self.prefill(&session, prompt, top_k, &mut ledger).await?;
        let trail = Trail::default();
        let mut live = vec![Text {
            tokens: Vec::new(),
            value: self.value(reply.last(), params.pessimism, &trail),
            output: reply.last().clone(),
            trail,
            slots: reply.slots,
            log_prob: 0.0,
            finished: false,
        }];
        let mut done: Vec<Text> = Vec::new();
        let worth = |text: &Text| text.value;
        for _ in 0..params.max_new_tokens {
            let mut next = self.extend(&session, live, params, &mut ledger).await?;
            // Stable: equals keep the order of their parents and of their probability.
            next.sort_by(|a, b| worth(b).total_cmp(&worth(a)));
            for unused in next.split_off(width.min(next.len())) {
                if !unused.finished {
                    session.release(&unused.slots[unused.slots.len() - 1..]);
                }
            }
            let (finished, rest): (Vec<Text>, Vec<Text>) =
                next.into_iter().partition(|text| text.finished);
            done.extend(finished);
            live = rest;
            if live.is_empty() || done.len() >= width {
                break;
            }
        }
        let all = if done.is_empty() { live } else { done };
        let better = |best, text| match worth(&text) > worth(&best) {
            true => text,
            false => best,
        };
        let best = all.into_iter().reduce(better);
        let completion = best.map_or_else(Completion::default, |text| Completion {
            tokens: text.tokens,
            finished: text.finished,
            value: text.value,
            log_prob: text.log_prob,
        });
        Ok((completion, ledger))
    }

    /// All continuations of `live`, each forwarded unless it ends its text.
    async fn extend(
        &self,
        session: &Arc<Session>,
        live: Vec<Text>,
        params: &Params,
        ledger: &mut Ledger,
    ) -> Result<Vec<Text>, Error> {
        let mut next = Vec::new();
        let mut tasks = JoinSet::new();
        for text in live {
            let known = text.output.tokens.iter().zip(&text.output.log_probs);
            for (rank, (&token, &log_prob)) in known.enumerate() {
                if rank > 0 && log_prob.exp() < params.min_prior {
                    continue;
                }
                let mut child = text.clone();
                child.tokens.push(token);
                child.log_prob += log_prob;
                child.trail.push(log_prob);
                child.finished = self.stop.contains(&token);
                if !child.finished {
                    let request = Request {
                        context: text.slots.clone(),
                        tokens: vec![token],
                        top_k: params.top_k.max(1),
                        generate: None,
                        ..Request::default()
                    };
                    let (session, index) = (session.clone(), next.len());
                    tasks.spawn(async move { (index, session.run(request).await) });
                }
                next.push(child);
            }
        }
        while let Some(result) = tasks.join_next().await {
            let (index, reply) = result?;
            let reply = reply?;
            ledger.expansion(reply.slots.len(), self.engine.nets());
            let text = &mut next[index];
            text.value = self.value(reply.last(), params.pessimism, &text.trail);
            text.output = reply.last().clone();
            text.slots.extend(&reply.slots);
        }
        Ok(next)
    }
}
