//! The loop of the device thread: gather rows, run a step, hand out results.

use super::Params;
use super::attend_device::{DeviceAttention, DeviceCache};
use super::attend_host::{HostAttention, HostCache};
use super::batch::Batch;
use super::handle::Error;
use super::pool::{Slot, SlotPool};
use super::request::Request;
use super::row::{Answer, Row};
use crate::guard::guarded;
use crate::model::layout::floats;
use crate::model::{Decoder, Value};
use burn::tensor::{Device, Int, Tensor, TensorData};
use rayon::prelude::*;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

/// Steps between two looks at the accelerator's memory.
const STEPS_PER_LOOK: u64 = 64;

/// What reaches the device thread.
pub(super) enum Message {
    Run(Request, Answer),
    Release(Vec<Slot>),
    Stop,
    #[cfg(test)]
    Panic,
}

/// Counters that the thread shares with its handles.
#[derive(Debug, Default)]
pub(super) struct Shared {
    /// Sessions that are open.
    pub sessions: AtomicUsize,
    /// Steps run.
    pub steps: AtomicU64,
    /// Rows in them, together.
    pub rows: AtomicU64,
    /// Tokens forwarded through the policy.
    pub tokens: AtomicU64,
    /// Time that the steps took, in nanoseconds.
    pub busy_ns: AtomicU64,
    /// Bytes that the accelerator's memory pool holds.
    pub device_bytes: AtomicU64,
    /// Slots in use.
    pub live: AtomicUsize,
    /// What the thread panicked with.
    pub panic: OnceLock<String>,
}

enum Cache {
    Host(HostCache),
    Device(DeviceCache),
}

/// A decoder with the keys and values it has seen.
struct Net {
    decoder: Decoder,
    cache: Cache,
    device: Device,
}

impl Net {
    fn new(decoder: Decoder, host: bool) -> Net {
        let device = decoder.embedding.val().device();
        let cache = if host {
            Cache::Host(HostCache::new(decoder.config()))
        } else {
            Cache::Device(DeviceCache::new(decoder.config(), &device))
        };
        Net {
            decoder,
            cache,
            device,
        }
    }

    /// Rows that a step is filled up to: accelerators compute a row alike whatever its neighbours.
    fn least(&self, least: usize) -> usize {
        match self.cache {
            Cache::Host(_) => least,
            Cache::Device(_) => 1,
        }
    }

    /// Final hidden states of the batch's tokens, `[tokens, hidden]`; idle tokens follow where the
    /// batch has fewer than `least`.
    fn forward(&mut self, batch: &Batch, slots: usize, least: usize) -> Tensor<2> {
        let mut tokens: Vec<i32> = batch.tokens.iter().map(|&t| t as i32).collect();
        tokens.resize(tokens.len().max(self.least(least)), 0);
        let count = tokens.len();
        let tokens = Tensor::<1, Int>::from_data(TensorData::new(tokens, [count]), &self.device);
        let rope = self.decoder.rope();
        match &mut self.cache {
            Cache::Host(cache) => {
                cache.grow(slots);
                let mut attend = HostAttention::new(cache, batch, rope, self.device.clone());
                self.decoder.forward(tokens, &mut attend)
            }
            Cache::Device(cache) => {
                cache.grow(slots);
                let mut attend = DeviceAttention::new(cache, batch, rope);
                self.decoder.forward(tokens, &mut attend)
            }
        }
    }
}

/// The state of the device thread.
pub(super) struct Worker {
    params: Params,
    policy: Net,
    /// A value trunk of its own; it sees the same tokens in the same slots.
    value_trunk: Option<Net>,
    head: Option<crate::model::ValueHead>,
    pool: SlotPool,
    waiting: VecDeque<Row>,
    active: Vec<Row>,
    shared: Arc<Shared>,
    inbox: Receiver<Message>,
}

impl Worker {
    pub fn new(
        params: Params,
        policy: Decoder,
        value: Option<Value>,
        host: bool,
        capacity: usize,
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
    ) -> Worker {
        let (value_trunk, head) = match value {
            None => (None, None),
            Some(Value::Shared(head)) => (None, Some(head)),
            Some(Value::Separate { trunk, head }) => (Some(Net::new(trunk, host)), Some(head)),
        };
        Worker {
            params,
            policy: Net::new(policy, host),
            value_trunk,
            head,
            pool: SlotPool::new(capacity),
            waiting: VecDeque::new(),
            active: Vec::new(),
            shared,
            inbox,
        }
    }

    /// [`Worker::serve`]; a panic ends it and is kept for those who wait for an answer.
    pub fn run(mut self) {
        let shared = self.shared.clone();
        if let Err(panic) = guarded(|| self.serve()) {
            let _ = shared.panic.set(panic);
        }
    }

    /// Serves until told to stop or until the last handle is gone.
    fn serve(&mut self) {
        while self.gather() {
            while self.active.len() < self.params.max_rows {
                let Some(row) = self.waiting.pop_front() else {
                    break;
                };
                self.active.push(row);
            }
            let start = Instant::now();
            let done = self.step();
            let took = start.elapsed().as_nanos() as u64;
            self.shared.busy_ns.fetch_add(took, Ordering::Relaxed);
            if let Err(error) = done {
                for row in std::mem::take(&mut self.active) {
                    self.pool.release(&row.fail(error.clone()));
                }
            }
        }
        for row in self.waiting.drain(..).chain(self.active.drain(..)) {
            row.fail(Error::Stopped);
        }
    }

    /// Takes in messages until there is work and nobody is about to bring more. False to stop.
    fn gather(&mut self) -> bool {
        loop {
            match self.inbox.try_recv() {
                Ok(message) => {
                    if !self.take(message) {
                        return false;
                    }
                }
                Err(TryRecvError::Disconnected) => return false,
                Err(TryRecvError::Empty) => {
                    let rows = self.active.len() + self.waiting.len();
                    if rows == 0 {
                        match self.inbox.recv() {
                            Ok(message) => match self.take(message) {
                                true => continue,
                                false => return false,
                            },
                            Err(_) => return false,
                        }
                    }
                    let expected = self.shared.sessions.load(Ordering::Relaxed);
                    if rows >= expected.min(self.params.max_rows) {
                        return true;
                    }
                    // Someone is between two requests: a moment's wait makes a wider batch.
                    match self
                        .inbox
                        .recv_timeout(Duration::from_micros(self.params.linger_us))
                    {
                        Ok(message) => {
                            if !self.take(message) {
                                return false;
                            }
                        }
                        Err(RecvTimeoutError::Timeout) => return true,
                        Err(RecvTimeoutError::Disconnected) => return false,
                    }
                }
            }
        }
    }

    fn take(&mut self, message: Message) -> bool {
        match message {
            Message::Run(request, answer) => {
                debug_assert!(
                    request.context.iter().all(|&s| self.pool.is_live(s)),
                    "a request names a slot that was released"
                );
                self.waiting.push_back(Row::new(request, answer));
            }
            Message::Release(slots) => self.pool.release(&slots),
            Message::Stop => return false,
            #[cfg(test)]
            Message::Panic => panic!("asked to panic"),
        }
        true
    }

    /// Forwards one batch and hands out what came of it.
    fn step(&mut self) -> Result<(), Error> {
        let mut batch = Batch::default();
        // Rows of the step that want logits: index in `active`, index of their last token.
        let mut wanted: Vec<(usize, usize)> = Vec::new();
        // Single tokens first: a long prefill must not hold up the rest.
        let mut order: Vec<usize> = (0..self.active.len()).collect();
        order.sort_by_key(|&i| self.active[i].waiting() > 1);
        for i in order {
            let budget = self.params.max_step_tokens - batch.len();
            if budget == 0 {
                break;
            }
            let share = self.active[i].join(budget, &mut self.pool)?;
            let row = batch.paths.len();
            for (at, &token) in share.tokens.iter().enumerate() {
                batch.tokens.push(token);
                batch.positions.push(share.first_position + at);
                batch.rows.push(row);
            }
            batch.paths.push(share.path);
            if share.wants_logits {
                wanted.push((i, batch.len() - 1));
            }
        }
        let slots = self.pool.touched();
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        let steps = add(&self.shared.steps, 1);
        add(&self.shared.rows, batch.paths.len());
        add(&self.shared.tokens, batch.len());
        // Asking takes a look at every page.
        if steps.is_multiple_of(STEPS_PER_LOOK)
            && let Some(usage) = self.policy.device.memory_pool_usage()
        {
            let bytes = &self.shared.device_bytes;
            bytes.store(usage.bytes_reserved, Ordering::Relaxed);
        }
        let least = self.params.min_step_tokens;
        let hidden = self.policy.forward(&batch, slots, least);
        let value_hidden = self
            .value_trunk
            .as_mut()
            .map(|net| net.forward(&batch, slots, least));
        if wanted.is_empty() {
            return Ok(());
        }
        let mut last: Vec<usize> = wanted.iter().map(|w| w.1).collect();
        last.resize(last.len().max(self.policy.least(least)), 0);
        let hidden_last = pick(hidden, &last, &self.policy.device);
        let values = self.head.as_ref().map(|head| {
            let states = match value_hidden {
                Some(own) => pick(own, &last, &self.policy.device),
                None => hidden_last.clone(),
            };
            floats(head.value(states))
        });
        let logits = floats(self.policy.decoder.logits(hidden_last));
        self.hand_out(&wanted, &logits, values.as_deref())
    }

    fn hand_out(
        &mut self,
        wanted: &[(usize, usize)],
        logits: &[f32],
        values: Option<&[f32]>,
    ) -> Result<(), Error> {
        let vocab = self.policy.decoder.config().vocab_size;
        let logits = &logits[..wanted.len() * vocab];
        if let Some(at) = logits.iter().position(|x| !x.is_finite()) {
            tracing::error!("a logit of row {} is not finite", at / vocab);
            return Err(Error::NotFinite);
        }
        let mut place = vec![None; self.active.len()];
        for (at, &(row, _)) in wanted.iter().enumerate() {
            place[row] = Some(at);
        }
        let finished: Vec<bool> = self
            .active
            .par_iter_mut()
            .zip(&place)
            .map(|(row, place)| {
                place.is_some_and(|at| {
                    let value = values.map_or(0.0, |v| v[at]);
                    row.advance(&logits[at * vocab..][..vocab], value)
                })
            })
            .collect();
        let rows = std::mem::take(&mut self.active);
        for (row, finished) in rows.into_iter().zip(finished) {
            if finished {
                self.pool.release(&row.finish());
            } else {
                self.active.push(row);
            }
        }
        self.shared.live.store(self.pool.live(), Ordering::Relaxed);
        Ok(())
    }
}

/// Rows `index` of `x`, without a copy when it is all of them in order.
fn pick(x: Tensor<2>, index: &[usize], device: &Device) -> Tensor<2> {
    let [n, _] = x.dims();
    if index.len() == n && index.iter().enumerate().all(|(i, &at)| i == at) {
        return x;
    }
    let index: Vec<i32> = index.iter().map(|&i| i as i32).collect();
    let count = index.len();
    x.select(
        0,
        Tensor::<1, Int>::from_data(TensorData::new(index, [count]), device),
    )
}
