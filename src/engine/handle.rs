//! The engine as its clients see it.

use super::pool::Slot;
use super::request::{Reply, Request};
use super::thread::{Message, Shared, Worker};
use super::{Load, Params, Place};
use crate::model::{Blend, Decoder, Value};
use burn::tensor::Device;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// Why a request was not served.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum Error {
    #[error("the engine was shut down")]
    Stopped,
    #[error(
        "the engine failed: {0}; on an accelerator this is mostly a lack of memory (lower \
         engine.kv_slots or engine.max_step_tokens), else it is a bug worth a report"
    )]
    Failed(String),
    #[error("the device does not compute in bfloat16: set engine.weights to \"auto\" or \"f32\"")]
    Weights,
    #[error("the device thread could not be started: {0}")]
    Start(String),
    #[error(
        "a sequence of {length} tokens is longer than the model's {limit}: \
         shorten the prompt or lower max_new_tokens"
    )]
    TooLong { length: usize, limit: usize },
    #[error(
        "a session needs up to {needed} key-value slots and the pool has {capacity}: \
         raise engine.kv_slots, lower the number of simulations or of new tokens, or bound what a tree \
         may hold (`slots` of collect.search or of a table under evaluate.search)"
    )]
    SessionTooLarge { needed: usize, capacity: usize },
    #[error("the pool of key-value slots ran out: a session used more than it reserved")]
    OutOfSlots,
    #[error("token {token} is outside the model's vocabulary of {vocab}")]
    UnknownToken { token: u32, vocab: usize },
    #[error("a request carries no tokens")]
    Empty,
    #[error("the model produced a logit that is not finite: its weights are damaged")]
    NotFinite,
}

impl Error {
    /// Whether the request itself is at fault, so that others are served.
    pub fn is_of_request(&self) -> bool {
        matches!(
            self,
            Error::TooLong { .. }
                | Error::SessionTooLarge { .. }
                | Error::UnknownToken { .. }
                | Error::Empty
        )
    }
}

/// A running device thread. Dropping it stops the thread.
pub struct Engine {
    handle: EngineHandle,
    thread: Option<JoinHandle<()>>,
}

/// A cloneable way to reach the engine.
#[derive(Clone)]
pub struct EngineHandle {
    sender: Sender<Message>,
    shared: Arc<Shared>,
    slots: Arc<Semaphore>,
    capacity: usize,
    limit: usize,
    vocab: usize,
    /// Nets that forward every token: 2 with a value trunk of its own, else 1.
    nets: u64,
    /// Of the policy.
    parameters: usize,
    blend: Option<Blend>,
    device: Device,
}

impl Engine {
    /// Moves the networks to a new device thread and starts it. Keys and values lie in main memory
    /// where the weights do, else on the device.
    ///
    /// # Errors
    /// [`Error::Start`] when the operating system refuses the thread, [`Error::Weights`] when the device
    /// cannot hold weights as `params` say.
    pub fn start(policy: Decoder, value: Option<Value>, params: Params) -> Result<Engine, Error> {
        let place = Place::of(&policy.embedding.val().device(), params.weights)?;
        Self::start_at(policy, value, params, place)
    }

    /// As [`Engine::start`], with the place of keys and values given.
    pub(crate) fn start_at(
        policy: Decoder,
        value: Option<Value>,
        params: Params,
        place: Place,
    ) -> Result<Engine, Error> {
        let config = policy.config().clone();
        let nets = 1 + u64::from(matches!(value, Some(Value::Separate { .. })));
        let number = match place {
            Place::Host { .. } => size_of::<f32>(),
            Place::Device(dtype) => dtype.size(),
        };
        let slot_bytes = nets as usize * config.num_hidden_layers * config.kv_size() * number;
        let capacity = match (params.kv_slots, place) {
            (0, Place::Host { .. }) => (available_memory() / 2 / slot_bytes).max(1024),
            // What an accelerator has free cannot be asked in a portable way.
            (0, Place::Device(_)) => (8 << 30) / slot_bytes,
            (n, _) => n,
        }
        .min(Slot::MAX);
        let (sender, inbox) = channel();
        let shared = Arc::new(Shared::default());
        let handle = EngineHandle {
            sender,
            shared: shared.clone(),
            slots: Arc::new(Semaphore::new(capacity)),
            capacity,
            limit: config.max_position_embeddings,
            vocab: config.vocab_size,
            nets,
            parameters: config.parameters(),
            blend: (value.as_ref()).and_then(|value| value.head().readout.calibration.blend()),
            device: policy.embedding.val().device(),
        };
        let thread = std::thread::Builder::new()
            .name("engine".into())
            .spawn(move || {
                Worker::new(params, policy, value, place, capacity, shared, inbox).run();
            })
            .map_err(|e| Error::Start(e.to_string()))?;
        Ok(Engine {
            handle,
            thread: Some(thread),
        })
    }

    /// A way to reach this engine; it may outlive it, and then answers [`Error::Stopped`].
    pub fn handle(&self) -> EngineHandle {
        self.handle.clone()
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // Either the thread takes the message or it is gone already.
        let _ = self.handle.sender.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl EngineHandle {
    /// Opens a session that may hold up to `slots` slots at once; waits until they are free.
    ///
    /// # Errors
    /// [`Error::SessionTooLarge`] when the whole pool would not do.
    pub async fn session(&self, slots: usize) -> Result<Session, Error> {
        let too_large = Error::SessionTooLarge {
            needed: slots,
            capacity: self.capacity,
        };
        let permits = u32::try_from(slots).map_err(|_| too_large.clone())?;
        if slots > self.capacity {
            return Err(too_large);
        }
        let permit = self
            .slots
            .clone()
            .acquire_many_owned(permits)
            .await
            .map_err(|_| Error::Stopped)?;
        self.shared.sessions.fetch_add(1, Ordering::Relaxed);
        Ok(Session {
            handle: self.clone(),
            held: Mutex::new(Vec::new()),
            permit,
            awaited: true,
        })
    }

    /// Slots that the pool can hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// The longest sequence that the model takes, in tokens.
    pub fn context_limit(&self) -> usize {
        self.limit
    }

    /// Forward passes that one token costs: 2 where the value net has a trunk of its own.
    pub fn nets(&self) -> u64 {
        self.nets
    }

    /// Parameters of the policy.
    pub fn parameters(&self) -> usize {
        self.parameters
    }

    /// What the net's values are to be blended by with the policy's probabilities, where they are: the
    /// outputs hold them as they are.
    pub fn blend(&self) -> Option<&Blend> {
        self.blend.as_ref()
    }

    /// Where the weights were when the engine started.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// What the engine did since its start.
    pub fn load(&self) -> Load {
        let shared = &self.shared;
        Load {
            steps: shared.steps.load(Ordering::Relaxed),
            rows: shared.rows.load(Ordering::Relaxed),
            tokens: shared.tokens.load(Ordering::Relaxed),
            busy: Duration::from_nanos(shared.busy_ns.load(Ordering::Relaxed)),
            live_slots: shared.live.load(Ordering::Relaxed),
            device_bytes: shared.device_bytes.load(Ordering::Relaxed),
        }
    }

    /// Why the thread is gone.
    fn end(&self) -> Error {
        // Answers are dropped while the thread still unwinds, a moment before it says why.
        for _ in 0..100 {
            if let Some(panic) = self.shared.panic.get() {
                return Error::Failed(panic.clone());
            }
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        Error::Stopped
    }
}

/// One client's share of the engine. It owns the slots that its requests filled; they go back to
/// the pool when it is dropped, or earlier through [`Session::release`].
pub struct Session {
    handle: EngineHandle,
    held: Mutex<Vec<Slot>>,
    permit: OwnedSemaphorePermit,
    /// Whether steps wait for its requests.
    awaited: bool,
}

impl Session {
    /// Runs one request to its end. Several may run at once.
    ///
    /// # Errors
    /// A request that is empty, too long or names unknown tokens; an engine that stopped.
    pub async fn run(&self, request: Request) -> Result<Reply, Error> {
        self.check(&request)?;
        let (answer, reply) = oneshot::channel();
        self.handle
            .sender
            .send(Message::Run(request, answer))
            .map_err(|_| self.handle.end())?;
        let reply = reply.await.map_err(|_| self.handle.end())??;
        let mut held = self.lock();
        held.extend(&reply.slots);
        debug_assert!(
            held.len() <= self.reserved(),
            "a session of {} slots holds {}",
            self.reserved(),
            held.len()
        );
        drop(held);
        Ok(reply)
    }

    /// Cuts a session off that may hold `slots` of this one's, for requests of the same client that run
    /// between this one's: no step waits for them. None where this one has fewer.
    pub fn split(&mut self, slots: usize) -> Option<Session> {
        Some(Session {
            handle: self.handle.clone(),
            held: Mutex::new(Vec::new()),
            permit: self.permit.split(slots)?,
            awaited: false,
        })
    }

    /// Slots that it may hold at once.
    pub fn reserved(&self) -> usize {
        self.permit.num_permits()
    }

    /// Slots that it holds, those of requests in flight left out.
    pub fn held(&self) -> usize {
        self.lock().len()
    }

    /// Slots for `count` tokens that nothing was forwarded for, their keys and values zeros or
    /// whatever lay there: a context for measurements of speed, which the contents do not change.
    ///
    /// # Errors
    /// [`Error::OutOfSlots`] when the pool has too few, and an engine that stopped.
    pub async fn blank(&self, count: usize) -> Result<Vec<Slot>, Error> {
        let (answer, reply) = oneshot::channel();
        self.handle
            .sender
            .send(Message::Blank(count, answer))
            .map_err(|_| self.handle.end())?;
        let slots = reply.await.map_err(|_| self.handle.end())??;
        self.lock().extend(&slots);
        Ok(slots)
    }

    fn check(&self, request: &Request) -> Result<(), Error> {
        if request.tokens.is_empty() {
            return Err(Error::Empty);
        }
        let vocab = self.handle.vocab;
        let mut named = request
            .tokens
            .iter()
            .chain(request.compare.iter().flatten());
        if let Some(&token) = named.find(|&&t| t as usize >= vocab) {
            return Err(Error::UnknownToken { token, vocab });
        }
        let new = request.generate.as_ref().map_or(0, |g| g.max_new_tokens);
        let length = request.context.len() + request.tokens.len() + new;
        if length > self.handle.limit {
            return Err(Error::TooLong {
                length,
                limit: self.handle.limit,
            });
        }
        Ok(())
    }

    /// Gives slots back before the session ends.
    pub fn release(&self, slots: &[Slot]) {
        let gone: std::collections::HashSet<Slot> = slots.iter().copied().collect();
        self.lock().retain(|s| !gone.contains(s));
        // A stopped engine has no pool to give them back to.
        let _ = self.handle.sender.send(Message::Release(slots.to_vec()));
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Slot>> {
        self.held
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
impl EngineHandle {
    /// Makes the thread panic.
    pub(super) fn panic(&self) {
        let _ = self.sender.send(Message::Panic);
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if self.awaited {
            self.handle.shared.sessions.fetch_sub(1, Ordering::Relaxed);
        }
        let held = std::mem::take(&mut *self.lock());
        let _ = self.handle.sender.send(Message::Release(held));
    }
}

/// Bytes of memory that are free; 4 GiB where that cannot be read.
fn available_memory() -> usize {
    crate::memory::available().map_or(4 << 30, |bytes| bytes as usize)
}
