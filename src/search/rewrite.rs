//! Writing the revisions of a finished text: jobs for the engine that own what they need.

use super::actions::Actions;
use super::decode::Policy;
use super::options::Drawn;
use super::random::seed_of;
use super::rollout::Played;
use crate::engine::{Choose, Error, Finish, Output, Request, Session, Slot};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The revisions of one text, on their way.
pub(super) struct Revisions {
    /// Slots of the text before its end, as far as they are there.
    pub context: Vec<Slot>,
    /// Tokens of the rest of that text, which are forwarded before anything else.
    pub missing: Vec<u32>,
    pub count: usize,
    pub writer: Arc<Writer>,
}

/// What the revisions of a text share.
pub(super) struct Writer {
    pub policy: Policy,
    pub actions: Actions,
    pub phrases: Arc<[Vec<u32>]>,
    pub top_k: usize,
    /// Tokens that fit behind the text.
    pub left: usize,
    /// The value of the text.
    pub value: f32,
    pub greedy: bool,
    pub temperature: f32,
    pub seed: u64,
}

impl Revisions {
    /// Slots that they take at most.
    pub fn most_slots(&self) -> usize {
        self.missing.len() + self.count * self.writer.left
    }

    pub async fn run(self, session: &Arc<Session>) -> Result<Played, Error> {
        let mut played = Played::default();
        let mut context = self.context;
        // All but the last token of the first phrase is the same in all of them, logits aside.
        let opening = self.writer.opening();
        let shared = [&self.missing[..], opening].concat();
        if !shared.is_empty() {
            let request = Request {
                context: context.clone(),
                tokens: shared,
                top_k: 1,
                ..Request::default()
            };
            played.lead = session.run(request).await?.slots;
            played.forwarded = played.lead.len();
            context.extend(&played.lead);
        }
        let mut opened = played.lead.split_off(self.missing.len());
        let mut tasks = JoinSet::new();
        for index in 0..self.count {
            let (writer, session, context) =
                (self.writer.clone(), session.clone(), context.clone());
            tasks.spawn(async move { (index, writer.write(&session, context, index).await) });
        }
        let mut done = Vec::new();
        while let Some(result) = tasks.join_next().await {
            let (index, written) = result.map_err(|_| Error::Stopped)?;
            done.push((index, written?));
        }
        done.sort_by_key(|written| written.0);
        for (_, mut drawn) in done {
            played.forwarded += drawn.states.len();
            // The first one brings the states of what they share.
            match opened.is_empty() {
                true => drawn.recorded = opening.len(),
                false => {
                    let next = self.writer.phrases[0][1..].iter();
                    let outputs = next.map(|&next| self.writer.silent(next));
                    let states = outputs.zip(opened.drain(..)).collect::<Vec<_>>();
                    drawn.states.splice(0..0, states);
                }
            }
            played.options.push(drawn);
        }
        Ok(played)
    }
}

impl Writer {
    fn opening(&self) -> &[u32] {
        self.phrases[0]
            .split_last()
            .map_or(&[], |(_, before)| before)
    }

    /// What is noted of a state whose next token is settled, and whose output nobody asked for.
    fn silent(&self, next: u32) -> Output {
        Output {
            tokens: vec![next],
            log_probs: vec![0.0],
            value: self.value,
            ..Output::default()
        }
    }

    fn choose(&self, index: usize, place: usize) -> Choose {
        match index == 0 && self.greedy {
            true => Choose::Greedy,
            false => Choose::Sample {
                temperature: self.temperature,
                top_p: 1.0,
                seed: seed_of(self.seed, &[index as u64, place as u64]),
            },
        }
    }

    /// One revision, from the last token of the first phrase on: the phrases with what the policy writes
    /// behind each, the last time as far as an option goes. What is cut for want of room is followed by the
    /// next phrase too, so that each has at least one token behind it.
    async fn write(
        &self,
        session: &Session,
        mut context: Vec<Slot>,
        index: usize,
    ) -> Result<Drawn, Error> {
        let mut drawn = Drawn::default();
        let mut tokens: Vec<u32> = Vec::new();
        for (place, phrase) in self.phrases.iter().enumerate() {
            let last = place + 1 == self.phrases.len();
            tokens.extend(match place {
                0 => &phrase[self.opening().len()..],
                _ => &phrase[..],
            });
            drawn.put(phrase);
            let others = self.phrases[place + 1..].iter();
            let others: usize = others.map(|phrase| phrase.len() + 1).sum();
            let left = self.left - drawn.tokens.len() - others;
            let limit = if last { self.actions.limit(left) } else { left };
            let choose = self.choose(index, place);
            let record = Some(self.top_k);
            let mut request =
                self.policy
                    .continuation(context.clone(), tokens.clone(), choose, limit, record);
            if let (Some(generate), true) = (&mut request.generate, last) {
                generate.until = Some(self.actions.until(Vec::new(), &self.policy.spell));
            }
            let mut reply = session.run(request).await?;
            context.extend(&reply.slots);
            let mut slots = reply.slots.into_iter();
            for pair in tokens.windows(2) {
                let output = self.silent(pair[1]);
                drawn.states.extend(slots.next().map(|slot| (output, slot)));
            }
            drawn.states.extend(reply.outputs.into_iter().zip(slots));
            tokens.clear();
            match (last, reply.finish) {
                (true, _) => {}
                // The next phrase goes in its place.
                (false, Finish::Stop) => {
                    reply.generated.pop();
                    reply.log_probs.pop();
                }
                (false, _) => tokens.extend(reply.generated.last()),
            }
            drawn.tokens.extend(&reply.generated);
            drawn.log_probs.extend(&reply.log_probs);
            drawn.given.resize(drawn.tokens.len(), false);
        }
        Ok(drawn)
    }
}

impl Drawn {
    /// Adds tokens that nobody chose.
    fn put(&mut self, tokens: &[u32]) {
        self.tokens.extend(tokens);
        self.given.resize(self.tokens.len(), true);
        self.log_probs.resize(self.tokens.len(), 0.0);
    }
}
