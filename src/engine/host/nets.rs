//! Policy and value net on the host, and how a step's rows are spread over threads.

use super::cache::HostCache;
use super::head::HostHead;
use super::net::{HostNet, Work};
use crate::engine::batch::{Batch, Judged, Wanted};
use crate::engine::handle::Error;
use crate::engine::sample;
use crate::kernels::Team;
use crate::kernels::lanes::all_finite;
use crate::model::{Decoder, Opinion, Value};
use rayon::prelude::*;
use std::ops::Range;

/// Weights up to this size stay in a core's cache, so that every thread may read all of them.
const SMALL: usize = 32 << 20;

/// Tokens for which another thread pays.
const TOKENS_PER_THREAD: usize = 4;

/// The networks of an engine with their keys and values.
pub struct HostNets {
    policy: Member,
    /// A value trunk of its own.
    trunk: Option<Member>,
    head: Option<HostHead>,
    groups: Vec<Group>,
    small: bool,
}

struct Member {
    net: HostNet,
    cache: HostCache,
}

/// What one thread, or all together, work in.
#[derive(Default)]
struct Group {
    work: Work,
    /// Final hidden states of the policy and of the value net's own trunk.
    hidden: Vec<f32>,
    value_hidden: Vec<f32>,
    /// Those of the policy's whose logits are wanted, where not all are.
    spoken: Vec<f32>,
    logits: Vec<f32>,
}

/// A group's share of a step.
struct Share {
    tokens: Range<usize>,
    /// What is wanted of its tokens, counted from its first.
    wanted: Vec<Wanted>,
}

impl Member {
    fn new(decoder: Decoder, bf16: bool) -> Member {
        Member {
            cache: HostCache::new(decoder.config(), decoder.rope().clone()),
            net: HostNet::pack(decoder, bf16),
        }
    }
}

impl HostNets {
    /// Packs the networks, their weights in bfloat16 or f32.
    pub fn new(policy: Decoder, value: Option<Value>, bf16: bool) -> HostNets {
        let (trunk, head) = value.map_or((None, None), Value::into_parts);
        let policy = Member::new(policy, bf16);
        HostNets {
            small: policy.net.bytes() <= SMALL,
            policy,
            trunk: trunk.map(|trunk| Member::new(trunk, bf16)),
            head: head.as_ref().map(HostHead::pack),
            groups: Vec::new(),
        }
    }

    /// Forwards a batch and judges what is wanted of it, which ascends.
    pub fn forward(
        &mut self,
        batch: &Batch,
        slots: usize,
        wanted: &[Wanted],
    ) -> Result<Vec<Judged>, Error> {
        let positions = batch.positions.iter().max().map_or(0, |p| p + 1);
        for member in std::iter::once(&mut self.policy).chain(&mut self.trunk) {
            member.cache.grow(slots, positions);
        }
        let threads = rayon::current_num_threads();
        let parts = match self.small {
            true => threads.min(batch.len().div_ceil(TOKENS_PER_THREAD)),
            false => 1,
        };
        let team = match self.small {
            true => Team::Alone,
            false => Team::All,
        };
        let ranges = cut(batch, parts);
        if self.groups.len() < ranges.len() {
            self.groups.resize_with(ranges.len(), Group::default);
        }
        let share = |tokens: Range<usize>| Share {
            wanted: wanted
                .iter()
                .filter(|w| tokens.contains(&w.at))
                .map(|w| Wanted {
                    at: w.at - tokens.start,
                    ..*w
                })
                .collect(),
            tokens,
        };
        let shares: Vec<Share> = ranges.into_iter().map(share).collect();
        let policy_cache = self.policy.cache.share();
        let trunk = self
            .trunk
            .as_mut()
            .map(|trunk| (&trunk.net, trunk.cache.share()));
        let (policy, head) = (&self.policy.net, &self.head);
        let run = |(share, group): (Share, &mut Group)| {
            let m = share.tokens.len();
            let width = policy.config().hidden_size;
            let Group {
                work,
                hidden,
                value_hidden,
                spoken,
                logits,
            } = group;
            let places: Vec<usize> = share.wanted.iter().map(|w| w.at).collect();
            policy.forward(team, batch, share.tokens.clone(), &policy_cache, work);
            hidden.resize(places.len() * width, 0.0);
            policy.hidden(team, m, &places, work, hidden);
            let speaking = share.wanted.iter().filter(|w| w.logits).count();
            let spoken = match speaking == places.len() {
                true => &*hidden,
                false => {
                    spoken.clear();
                    let states = share.wanted.iter().zip(hidden.chunks_exact(width));
                    states
                        .filter(|(wanted, _)| wanted.logits)
                        .for_each(|(_, state)| spoken.extend_from_slice(state));
                    &*spoken
                }
            };
            logits.resize(speaking * policy.config().vocab_size, 0.0);
            if speaking > 0 {
                policy.logits(team, spoken, work, logits);
            }
            let states = match &trunk {
                None => &*hidden,
                Some((net, cache)) => {
                    net.forward(team, batch, share.tokens, cache, work);
                    value_hidden.resize(places.len() * net.config().hidden_size, 0.0);
                    net.hidden(team, m, &places, work, value_hidden);
                    value_hidden
                }
            };
            let mut opinions = vec![Opinion::default(); places.len()];
            if let Some(head) = head {
                head.opinions(team, states, &mut opinions);
            }
            judge(team, &share.wanted, logits, &opinions, hidden)
        };
        let jobs: Vec<_> = shares.into_iter().zip(&mut self.groups).collect();
        // In the pool from the start, so that no operation has to be carried into it.
        let judged: Vec<_> = rayon::scope(|_| jobs.into_par_iter().map(run).collect());
        let mut all = Vec::with_capacity(wanted.len());
        for share in judged {
            all.append(&mut share?);
        }
        Ok(all)
    }
}

/// What is wanted of rows of logits.
fn judge(
    team: Team,
    wanted: &[Wanted],
    logits: &[f32],
    opinions: &[Opinion],
    hidden: &[f32],
) -> Result<Vec<Judged>, Error> {
    let width = hidden.len() / wanted.len().max(1);
    // Rows of logits before each place.
    let mut rows = Vec::with_capacity(wanted.len());
    let mut spoken = 0;
    for wanted in wanted {
        rows.push(spoken);
        spoken += usize::from(wanted.logits);
    }
    let vocab = logits.len() / spoken.max(1);
    let one = |i: usize| {
        let wanted = &wanted[i];
        let state = match wanted.state {
            true => hidden[i * width..][..width].to_vec(),
            false => Vec::new(),
        };
        if !wanted.logits {
            return Ok(Judged {
                state,
                silent: true,
                ..Judged::default()
            });
        }
        let row = &logits[rows[i] * vocab..][..vocab];
        if !all_finite(row) {
            let worst = row.iter().position(|x| !x.is_finite());
            tracing::error!("the logit of token {worst:?} is not finite");
            return Err(Error::NotFinite);
        }
        let output = sample::output(row, wanted.top_k, opinions[i]);
        let log_sum_exp = output.log_sum_exp;
        let next = wanted
            .choose
            .map(|(how, number)| sample::choose(row, log_sum_exp, how, number));
        Ok(Judged {
            compared: sample::compared(row, log_sum_exp, wanted.compare),
            output,
            next,
            state,
            silent: false,
        })
    };
    match team {
        Team::Alone => (0..wanted.len()).map(one).collect(),
        Team::All => (0..wanted.len()).into_par_iter().map(one).collect(),
    }
}

/// Cuts a batch between rows, into at most `parts` of about equal numbers of tokens.
fn cut(batch: &Batch, parts: usize) -> Vec<Range<usize>> {
    let mut ranges = Vec::with_capacity(parts);
    let mut start = 0;
    for part in 1..=parts {
        let mut end = batch.len() * part / parts;
        while end > start && end < batch.len() && batch.rows[end] == batch.rows[end - 1] {
            end += 1;
        }
        if end > start {
            ranges.push(start..end);
            start = end;
        }
    }
    ranges
}
