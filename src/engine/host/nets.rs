//! Policy and value net on the host, and how a step's rows are spread over threads.

use super::cache::HostCache;
use super::head::HostHead;
use super::net::{HostNet, Work};
use crate::engine::batch::{Batch, Judged};
use crate::kernels::Team;
use crate::model::{Decoder, Value, ValueHead};
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
}

/// A group's share of a step.
struct Share<'a> {
    tokens: Range<usize>,
    /// Of its tokens, those whose logits are wanted.
    wanted: Vec<usize>,
    logits: &'a mut [f32],
    values: &'a mut [f32],
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
        let (trunk, head): (_, Option<ValueHead>) = match value {
            None => (None, None),
            Some(Value::Shared(head)) => (None, Some(head)),
            Some(Value::Separate { trunk, head }) => (Some(trunk), Some(head)),
        };
        HostNets {
            policy: Member::new(policy, bf16),
            trunk: trunk.map(|trunk| Member::new(trunk, bf16)),
            head: head.as_ref().map(HostHead::pack),
            groups: Vec::new(),
        }
    }

    /// Forwards a batch; logits and values after its tokens `wanted`, which ascend.
    pub fn forward(&mut self, batch: &Batch, slots: usize, wanted: &[usize]) -> Judged {
        let vocab = self.policy.net.config().vocab_size;
        let positions = batch.positions.iter().max().map_or(0, |p| p + 1);
        let mut judged = Judged {
            logits: vec![0.0; wanted.len() * vocab],
            values: vec![0.0; wanted.len()],
        };
        for member in std::iter::once(&mut self.policy).chain(&mut self.trunk) {
            member.cache.grow(slots, positions);
        }
        let small = self.policy.net.bytes() <= SMALL;
        let threads = rayon::current_num_threads();
        let parts = match small {
            true => threads.min(batch.len().div_ceil(TOKENS_PER_THREAD)),
            false => 1,
        };
        let team = match small {
            true => Team::Alone,
            false => Team::All,
        };
        let ranges = cut(batch, parts);
        if self.groups.len() < ranges.len() {
            self.groups.resize_with(ranges.len(), Group::default);
        }
        let mut shares = Vec::with_capacity(ranges.len());
        let (mut logits, mut values) = (&mut judged.logits[..], &mut judged.values[..]);
        for tokens in ranges {
            let wanted: Vec<usize> = wanted
                .iter()
                .filter(|at| tokens.contains(at))
                .map(|at| at - tokens.start)
                .collect();
            let (own_logits, rest) = logits.split_at_mut(wanted.len() * vocab);
            let (own_values, others) = values.split_at_mut(wanted.len());
            (logits, values) = (rest, others);
            shares.push(Share {
                tokens,
                wanted,
                logits: own_logits,
                values: own_values,
            });
        }
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
            } = group;
            policy.forward(team, batch, share.tokens.clone(), &policy_cache, work);
            hidden.resize(share.wanted.len() * width, 0.0);
            policy.hidden(team, m, &share.wanted, work, hidden);
            if !share.wanted.is_empty() {
                policy.logits(team, hidden, work, share.logits);
            }
            let states = match &trunk {
                None => hidden,
                Some((net, cache)) => {
                    net.forward(team, batch, share.tokens, cache, work);
                    value_hidden.resize(share.wanted.len() * net.config().hidden_size, 0.0);
                    net.hidden(team, m, &share.wanted, work, value_hidden);
                    value_hidden
                }
            };
            if let Some(head) = head {
                head.values(team, states, share.values);
            }
        };
        let jobs: Vec<_> = shares.into_iter().zip(&mut self.groups).collect();
        // In the pool from the start, so that no operation has to be carried into it.
        rayon::scope(|_| jobs.into_par_iter().for_each(run));
        judged
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
