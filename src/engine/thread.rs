//! The loop of the device thread: gather rows, run a step, hand out results.

use super::batch::{Batch, Judged, Wanted};
use super::device::DeviceNets;
use super::handle::Error;
use super::host::HostNets;
use super::pool::{Slot, SlotPool};
use super::queue;
use super::request::Request;
use super::row::{Answer, Row};
use super::{Params, Place};
use crate::guard::guarded;
use crate::model::{Decoder, Value};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, TryRecvError};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Steps between two looks at the accelerator's memory.
const STEPS_PER_LOOK: u64 = 64;

/// What reaches the device thread.
pub(super) enum Message {
    Run(Request, Answer),
    /// Slots for this many tokens that nothing was forwarded for.
    Blank(usize, oneshot::Sender<Result<Vec<Slot>, Error>>),
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

/// Where the networks run.
enum Nets {
    Host(Box<HostNets>),
    Device(Box<DeviceNets>),
}

impl Nets {
    fn forward(
        &mut self,
        batch: &Batch,
        slots: usize,
        wanted: &[Wanted],
    ) -> Result<Vec<Judged>, Error> {
        match self {
            Nets::Host(nets) => nets.forward(batch, slots, wanted),
            Nets::Device(nets) => nets.forward(batch, slots, wanted),
        }
    }

    fn device_bytes(&self) -> Option<u64> {
        match self {
            Nets::Host(_) => None,
            Nets::Device(nets) => nets.device_bytes(),
        }
    }
}

/// The state of the device thread.
pub(super) struct Worker {
    params: Params,
    nets: Nets,
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
        place: Place,
        capacity: usize,
        shared: Arc<Shared>,
        inbox: Receiver<Message>,
    ) -> Worker {
        let nets = match place {
            Place::Host { bf16 } => Nets::Host(Box::new(HostNets::new(policy, value, bf16))),
            Place::Device(dtype) => {
                let nets = DeviceNets::new(policy, value, dtype, params.graphs);
                Nets::Device(Box::new(nets))
            }
        };
        Worker {
            params,
            nets,
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
            Message::Blank(count, answer) => {
                let slots: Vec<Slot> = std::iter::from_fn(|| self.pool.take())
                    .take(count)
                    .collect();
                let enough = slots.len() == count;
                let reply = if enough {
                    Ok(slots)
                } else {
                    self.pool.release(&slots);
                    Err(Error::OutOfSlots)
                };
                if let Err(Ok(unsent)) = answer.send(reply) {
                    self.pool.release(&unsent);
                }
            }
            Message::Release(slots) => self.pool.release(&slots),
            Message::Stop => return false,
            #[cfg(test)]
            Message::Panic => panic!("asked to panic"),
        }
        true
    }

    /// Forwards one batch, or several steps of decode, and hands out what came of it.
    fn step(&mut self) -> Result<(), Error> {
        let steps = self.queued_steps();
        if let Nets::Device(nets) = &mut self.nets
            && steps > 1
        {
            let done = queue::decode(nets, &mut self.active, &mut self.pool, steps)?;
            self.count(steps, done.forwarded, done.forwarded);
            self.retire(done.finished);
            return Ok(());
        }
        // Single tokens first: a long prefill must not hold up the rest.
        let mut order: Vec<usize> = (0..self.active.len()).collect();
        order.sort_by_key(|&i| self.active[i].waiting() > 1);
        let mut shares = Vec::with_capacity(order.len());
        let mut budget = self.params.max_step_tokens;
        for i in order {
            if budget == 0 {
                break;
            }
            let share = self.active[i].join(budget, &mut self.pool)?;
            budget -= share.tokens;
            shares.push((i, share));
        }
        let mut batch = Batch::default();
        // What rows want to know after their last tokens, and these rows' indices in `active`.
        let (mut wanted, mut rows) = (Vec::new(), Vec::new());
        for (row, (i, share)) in shares.iter().enumerate() {
            let active = &self.active[*i];
            for (at, &token) in active.tokens(share).iter().enumerate() {
                batch.tokens.push(token);
                batch.positions.push(share.first_position + at);
                batch.rows.push(row);
            }
            batch.paths.push(active.path());
            let first = batch.len() - share.wanted;
            wanted.extend((first - share.states..first).map(Wanted::only_state));
            wanted.extend((0..share.wanted).map(|n| active.wanted(first + n, n)));
            rows.resize(wanted.len(), *i);
        }
        let slots = self.pool.touched();
        let (joined, tokens) = (batch.paths.len(), batch.len());
        let judged = self.nets.forward(&batch, slots, &wanted)?;
        self.count(1, joined, tokens);
        let mut finished = vec![false; self.active.len()];
        let mut judged = judged.into_iter();
        for same in rows.chunk_by(|a, b| a == b) {
            let own = judged.by_ref().take(same.len()).collect();
            finished[same[0]] = self.active[same[0]].advance(own, &mut self.pool);
        }
        self.retire(finished);
        Ok(())
    }

    /// Steps to run before the thread looks at what came of them. One while anything waits to enter, or
    /// a session is about to ask for something, or a row does anything else than decode.
    fn queued_steps(&self) -> usize {
        let rows = self.active.len();
        let sessions = self.shared.sessions.load(Ordering::Relaxed);
        let complete = self.waiting.is_empty() && rows >= sessions.min(self.params.max_rows);
        if !complete || rows > self.params.max_step_tokens || matches!(self.nets, Nets::Host(_)) {
            return 1;
        }
        queue::steps(&self.active, &self.pool, self.params.queued_steps)
    }

    /// Counts `steps` that are done, with `rows` and `tokens` in them together.
    fn count(&self, steps: usize, rows: usize, tokens: usize) {
        let add = |counter: &AtomicU64, n: usize| counter.fetch_add(n as u64, Ordering::Relaxed);
        let before = add(&self.shared.steps, steps);
        add(&self.shared.rows, rows);
        add(&self.shared.tokens, tokens);
        // Asking takes a look at every page.
        let after = before + steps as u64;
        if (before == 0 || before / STEPS_PER_LOOK < after / STEPS_PER_LOOK)
            && let Some(bytes) = self.nets.device_bytes()
        {
            self.shared.device_bytes.store(bytes, Ordering::Relaxed);
        }
    }

    /// Lets those rows go that are `finished`.
    fn retire(&mut self, finished: Vec<bool>) {
        let rows = std::mem::take(&mut self.active);
        for (row, finished) in rows.into_iter().zip(finished) {
            if finished {
                self.pool.release(&row.finish());
            } else {
                self.active.push(row);
            }
        }
        self.pool.check();
        self.shared.live.store(self.pool.live(), Ordering::Relaxed);
    }
}
