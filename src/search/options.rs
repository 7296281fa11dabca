//! Drawing the options of a boundary.

use super::actions::{Options, Prior, cosine, distance};
use super::decode::tree_slot;
use super::driver::Driver;
use super::pressure::Job;
use super::random::seed_of;
use super::rollout::{Play, Played, most_slots};
use crate::engine::{Choose, Error, Output, Request, Session, Slot};
use crate::tree::{Action, ActionStep, NodeId};
use std::sync::Arc;
use tokio::task::JoinSet;

/// The options of one boundary, on their way.
pub(super) struct Draws {
    /// Slots of the text up to where the greedy option goes on, as far as they are there.
    context: Vec<Slot>,
    /// Tokens of the rest of that text, which are forwarded before anything else.
    missing: Vec<u32>,
    options: Vec<Pending>,
    /// Where options are embedded, how many tokens of the text lie before them, and how many tokens may be
    /// forwarded again.
    embeds: Option<(usize, usize)>,
}

struct Pending {
    /// Tokens of the option that are known already; all but the last have a node.
    known: Vec<u32>,
    /// Lets the policy write the rest, after this many tokens of the text; none where nothing is left.
    request: Option<(usize, Request)>,
    /// Slots of the reply that stand for the boundary's own last token.
    skip: usize,
}

/// A drawn option.
#[derive(Debug, Default)]
pub(super) struct Drawn {
    pub tokens: Vec<u32>,
    /// Which of them were put there instead of chosen; empty for none.
    pub given: Vec<bool>,
    /// Leading tokens whose states the tree has.
    pub recorded: usize,
    /// States after the following tokens, up to the last but one.
    pub states: Vec<(Output, Slot)>,
    /// Of the tokens that the engine chose, the last ones of `tokens`; 0 for given ones between them.
    pub log_probs: Vec<f32>,
    /// Mean of the final hidden states of `tokens`; empty where options are not embedded.
    pub embedding: Vec<f32>,
}

impl Draws {
    /// Slots that they take at most.
    pub fn most_slots(&self) -> usize {
        let requests = self
            .options
            .iter()
            .filter_map(|option| option.request.as_ref());
        self.missing.len()
            + self.embeds.map_or(0, |(_, again)| again)
            + requests
                .map(|(_, request)| most_slots(request))
                .sum::<usize>()
    }

    pub async fn run(self, session: &Arc<Session>) -> Result<Played, Error> {
        let mut played = Played::default();
        let mut context = self.context;
        if !self.missing.is_empty() {
            let request = Request {
                context: context.clone(),
                tokens: self.missing,
                top_k: 1,
                generate: None,
                ..Request::default()
            };
            played.lead = session.run(request).await?.slots;
            played.forwarded = played.lead.len();
            context.extend(&played.lead);
        }
        let mut tasks = JoinSet::new();
        for (index, option) in self.options.into_iter().enumerate() {
            let session = session.clone();
            let request = option.request.map(|(after, request)| Request {
                context: context[..after].to_vec(),
                ..request
            });
            let before = self
                .embeds
                .map(|(boundary, _)| context[..boundary].to_vec());
            tasks.spawn(async move {
                let reply = match request {
                    Some(request) => Some(session.run(request).await?),
                    None => None,
                };
                let embedded = reply.as_ref().is_some_and(|reply| !reply.mean.is_empty());
                let again = match before {
                    Some(context) if !embedded => {
                        let written = reply
                            .as_ref()
                            .map_or(&[][..], |reply| reply.generated.as_slice());
                        let request = Request {
                            context,
                            tokens: [option.known.as_slice(), written].concat(),
                            top_k: 1,
                            mean_from: Some(0),
                            ..Request::default()
                        };
                        Some(session.run(request).await?)
                    }
                    _ => None,
                };
                Ok((index, option.known, option.skip, reply, again))
            });
        }
        let mut done = Vec::new();
        while let Some(result) = tasks.join_next().await {
            done.push(result.map_err(|_| Error::Stopped)??);
        }
        done.sort_by_key(|option| option.0);
        for (_, mut tokens, skip, reply, again) in done {
            let recorded = tokens.len().saturating_sub(1);
            let (mut states, mut log_probs) = (Vec::new(), Vec::new());
            let mut embedding = Vec::new();
            if let Some(again) = again {
                played.forwarded += again.slots.len();
                played.spare.extend(again.slots);
                embedding = again.mean;
            }
            if let Some(mut reply) = reply {
                played.forwarded += reply.slots.len();
                played.spare.extend(&reply.slots[..skip]);
                if !reply.mean.is_empty() {
                    // The last token was forwarded for the mean alone.
                    played.spare.extend(reply.slots.pop());
                    embedding = reply.mean;
                }
                states = reply.outputs.into_iter().zip(reply.slots).collect();
                states.drain(..skip);
                tokens.extend(&reply.generated);
                log_probs = reply.log_probs;
            }
            played.options.push(Drawn {
                tokens,
                recorded,
                states,
                log_probs,
                embedding,
                ..Drawn::default()
            });
        }
        Ok(played)
    }
}

impl Driver<'_> {
    /// Draws and enters the options of `node`, outside any simulation.
    pub(super) async fn open_now(&mut self, node: NodeId) -> Result<(), super::Error> {
        let job = self.draws(node);
        let played = self.forward_one(job).await?;
        self.ledger
            .rollout(played.forwarded, self.policy.engine.nets());
        let mut spare = self.enter(node, played.options);
        spare.extend(played.spare);
        self.session.release(&spare);
        Ok(())
    }

    /// The engine's part in opening `node`, or in revising the text that ends there. What is drawn depends on
    /// the tree's seed, the text and the option's number alone.
    pub(super) fn draws(&self, node: NodeId) -> Job {
        if self.tree.is_terminal(node) {
            return self.revisions(node);
        }
        let actions = &self.params.actions;
        let left = (self.tree.params().max_depth - self.tree.depth(node)) as usize;
        let limit = actions.limit(left);
        let options = actions.options().cloned().unwrap_or_default();
        let count = options
            .count
            .min(self.affordable(limit + 1, options.again(limit)));
        let mut pending = Vec::with_capacity(count);
        let mut end = node;
        if options.greedy {
            let (greedy, from) = self.greedy_option(node, limit);
            pending.push(greedy);
            end = from;
        }
        let path = self.solution(node, &[]);
        let own = path.iter().map(|&token| u64::from(token));
        let seed = seed_of(self.seed, &[5].into_iter().chain(own).collect::<Vec<_>>());
        let last = self.tree.token(node).unwrap_or(self.root_token);
        for index in pending.len()..count {
            let choose = Choose::Sample {
                temperature: options.temperature,
                top_p: 1.0,
                seed: seed_of(seed, &[index as u64]),
            };
            let mut request = self.option(last, choose, limit, Vec::new());
            request.mean_from = options.embeds().then_some(1);
            pending.push(Pending {
                known: Vec::new(),
                // A draw needs all logits behind its last token, which is forwarded anew.
                request: Some((self.length(node) - 1, request)),
                skip: 1,
            });
        }
        let start = self.start_below(end);
        Job {
            play: Play::Options(Draws {
                context: start.context,
                missing: start.tokens,
                options: pending,
                embeds: options
                    .embeds()
                    .then(|| (self.length(node), options.again(limit))),
            }),
            end,
            lead: start.lead,
        }
    }

    /// Tokens of everything up to `node`.
    fn length(&self, node: NodeId) -> usize {
        self.root.len() + self.tree.tokens(node).len()
    }

    /// How many options of `tokens` the budget still pays for, and `once` more; at least one.
    pub(super) fn affordable(&self, tokens: usize, once: usize) -> usize {
        let [each, once] = [tokens, once].map(|n| n as u64 * self.policy.engine.nets());
        let left = |limit: u64| limit.saturating_sub(self.ledger.total() + once);
        match self.params.stop.forward_tokens {
            0 => usize::MAX,
            limit => (left(limit) / each).max(1) as usize,
        }
    }

    /// The most probable continuation, token by token, as far as it is recorded and on from there; and
    /// the node that it goes on from, `node` itself where nothing is left.
    fn greedy_option(&self, node: NodeId, limit: usize) -> (Pending, NodeId) {
        let mut known = Vec::new();
        let mut at = node;
        loop {
            // A node that is not terminal has at least one continuation.
            let Some(first) = self.tree.children(at).next() else {
                break;
            };
            known.push(first.token);
            let ended = known.len() >= limit
                || self.policy.stop.contains(&first.token)
                || self.params.actions.stops(&known, &self.policy.spell);
            match first.node {
                _ if ended => break,
                Some(child) => at = child,
                None => {
                    let left = limit - known.len();
                    let mut request = self.option(first.token, Choose::Greedy, left, known.clone());
                    // Of recorded tokens there is no state left: they are embedded in a pass of their own.
                    let fresh = known.len() == 1 && self.embeds();
                    request.mean_from = fresh.then_some(0);
                    let greedy = Pending {
                        known,
                        request: Some((self.length(at), request)),
                        skip: 0,
                    };
                    return (greedy, at);
                }
            }
        }
        let recorded = Pending {
            known,
            request: None,
            skip: 0,
        };
        (recorded, node)
    }

    fn embeds(&self) -> bool {
        let options = self.params.actions.options();
        options.is_some_and(Options::embeds)
    }

    /// Lets the policy write an option that begins with `known` after `last`.
    fn option(&self, last: u32, choose: Choose, limit: usize, known: Vec<u32>) -> Request {
        let record = Some(self.params.top_k);
        let mut request = self
            .policy
            .continuation(Vec::new(), vec![last], choose, limit, record);
        if let Some(generate) = &mut request.generate {
            generate.until = Some(self.params.actions.until(known, &self.policy.spell));
        }
        request
    }

    /// Enters drawn options into the tree; slots that it did not take.
    pub(super) fn enter(&mut self, node: NodeId, drawn: Vec<Drawn>) -> Vec<Slot> {
        let options = self.params.actions.options().cloned().unwrap_or_default();
        // Revisions begin alike, with a phrase, and are all kept.
        let (kept, mut spare) = match self.tree.is_terminal(node) {
            true => (drawn, Vec::new()),
            false => apart(drawn, &options),
        };
        let kept: Vec<Vec<ActionStep>> = kept
            .into_iter()
            .map(|option| self.steps(node, option))
            .collect();
        let means: Vec<f64> = kept.iter().map(|steps| mean_log_prob(steps)).collect();
        let peak = means.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let weight = |mean: f64| match options.prior {
            Prior::Equal => 1.0,
            // A weight of 0 is no option.
            Prior::Probability => (mean - peak).exp().max(1e-6),
        };
        let actions = kept.into_iter().zip(means).map(|(steps, mean)| Action {
            steps,
            weight: weight(mean),
        });
        let actions = actions.collect();
        let unused = match self.tree.is_terminal(node) {
            true => self.tree.revise(node, actions),
            false => self.tree.open(node, actions),
        };
        spare.extend(unused.into_iter().map(super::decode::engine_slot));
        spare
    }

    fn steps(&self, node: NodeId, option: Drawn) -> Vec<ActionStep> {
        let known = option.tokens.len() - option.log_probs.len();
        let mut states = option.states.into_iter();
        let mut at = Some(node);
        let last = option.tokens.len() - 1;
        let mut trail = self.trail(node);
        let step = |(index, &token): (usize, &u32)| {
            let edge = at.and_then(|at| self.tree.children(at).find(|c| c.token == token));
            at = edge.and_then(|edge| edge.node);
            let log_prob = match index.checked_sub(known) {
                Some(chosen) => option.log_probs[chosen],
                None => edge.map_or(0.0, |edge| edge.log_prob),
            };
            trail.push(log_prob);
            let state = match index < option.recorded || index == last {
                true => None,
                false => states.next(),
            };
            ActionStep {
                token,
                log_prob,
                given: option.given.get(index).copied().unwrap_or(false),
                state: state.map(|(output, slot)| {
                    let pessimism = self.params.pessimism;
                    let expansion = self.policy.expansion(&output, pessimism, &trail);
                    (expansion, tree_slot(slot))
                }),
            }
        };
        option.tokens.iter().enumerate().map(step).collect()
    }
}

/// The options that are far enough from earlier ones, and the slots of the others.
fn apart(drawn: Vec<Drawn>, options: &Options) -> (Vec<Drawn>, Vec<Slot>) {
    let (mut kept, mut spare): (Vec<Drawn>, _) = (Vec::new(), Vec::new());
    for option in drawn {
        let near = |other: &Drawn| {
            let alike = || cosine(&option.embedding, &other.embedding);
            distance(&option.tokens, &other.tokens) < options.min_distance
                || (options.embeds() && alike() > f64::from(options.max_cosine))
        };
        match kept.iter().any(near) {
            true => spare.extend(option.states.into_iter().map(|state| state.1)),
            false => kept.push(option),
        }
    }
    (kept, spare)
}

/// Of the tokens that were chosen.
fn mean_log_prob(steps: &[ActionStep]) -> f64 {
    let chosen = || steps.iter().filter(|step| !step.given);
    let sum: f64 = chosen().map(|step| f64::from(step.log_prob)).sum();
    sum / chosen().count() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_too_alike_give_their_slots_back() {
        let drawn = |token: u32, embedding: [f32; 2]| Drawn {
            tokens: vec![token, 9],
            states: vec![(Output::default(), Slot(token))],
            log_probs: vec![-1.0; 2],
            embedding: embedding.to_vec(),
            ..Drawn::default()
        };
        let all = || {
            vec![
                drawn(1, [3.0, 0.0]),
                drawn(2, [0.0, 0.5]),
                drawn(3, [3.0, 0.0]),
                drawn(4, [2.0, 2.0]),
                drawn(5, [-1.0, 0.0]),
                drawn(6, [2.0, 1.0]),
            ]
        };
        let kept = |options: Options| {
            let (kept, spare) = apart(all(), &options);
            let kept: Vec<u32> = kept.iter().map(|option| option.tokens[0]).collect();
            (kept, spare.iter().map(|slot| slot.0).collect::<Vec<_>>())
        };
        let cosine = |max_cosine| Options {
            max_cosine,
            ..Options::default()
        };
        assert_eq!(kept(cosine(1.0)), (vec![1, 2, 3, 4, 5, 6], vec![]));
        // The third is the first; the sixth is at 0.89 to the first and at 0.95 to the fourth.
        assert_eq!(kept(cosine(0.99)), (vec![1, 2, 4, 5, 6], vec![3]));
        assert_eq!(kept(cosine(0.9)), (vec![1, 2, 4, 5], vec![3, 6]));
        assert_eq!(kept(cosine(0.7)), (vec![1, 2, 5], vec![3, 4, 6]));
        let both = Options {
            min_distance: 0.6,
            ..cosine(0.99)
        };
        assert_eq!(kept(both), (vec![1], vec![2, 3, 4, 5, 6]));
    }
}
