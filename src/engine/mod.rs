//! The device thread: it owns the weights and the pool of keys and values, and advances every row
//! that has work by one step at a time. It speaks token ids only.
//!
//! A [`Session`] is one client's share: requests go over a channel, each becomes a row, rows of all
//! sessions share each step, and a row leaves as soon as it is done. One token takes one slot; a
//! sequence is the list of its slots, so a prefix is shared by naming the same slots again.

mod batch;
mod device;
mod draft;
mod handle;
mod host;
mod machine;
mod meter;
mod pool;
mod queue;
mod request;
mod row;
mod sample;
#[cfg(test)]
mod tests;
mod thread;

pub use device::Graphs;
pub use draft::{Draft, Texts};
pub use handle::{Engine, EngineHandle, Error, Session};
pub use machine::Machine;
pub use meter::{Load, Meter};
pub use pool::Slot;
pub use request::{Choose, Ends, Finish, Generate, Output, Reply, Request, Until};

use crate::model::device::is_cpu;
use burn::tensor::{DType, Device};
use serde::{Deserialize, Serialize};

/// How weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    /// In bfloat16 on an accelerator that computes in it, else in f32.
    #[default]
    Auto,
    F32,
    Bf16,
}

impl Weights {
    /// How they are held on `device`: `F32` or `Bf16`.
    ///
    /// # Errors
    /// [`Error::Weights`] for bfloat16 on a device that does not compute in it.
    pub fn on(self, device: &Device) -> Result<Weights, Error> {
        let computes = device.supports_dtype(DType::BF16);
        match self {
            Weights::Auto if is_cpu(device) || !computes => Ok(Weights::F32),
            Weights::Auto => Ok(Weights::Bf16),
            Weights::Bf16 if !is_cpu(device) && !computes => Err(Error::Weights),
            held => Ok(held),
        }
    }
}

/// Where weights, keys and values lie, and how.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    /// In main memory; keys and values in f32.
    Host { bf16: bool },
    /// On an accelerator, everything in this type.
    Device(DType),
}

impl Place {
    /// The place that weights on `device` have.
    fn of(device: &Device, weights: Weights) -> Result<Place, Error> {
        let bf16 = weights.on(device)? == Weights::Bf16;
        Ok(match (is_cpu(device), bf16) {
            (true, bf16) => Place::Host { bf16 },
            (false, true) => Place::Device(DType::BF16),
            (false, false) => Place::Device(DType::F32),
        })
    }
}

/// How the engine batches and how much it may hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Rows that advance together in one step. More rows use the device better and need more
    /// memory for activations. Default 256.
    pub max_rows: usize,
    /// Tokens in one step, prefill included; longer prompts are split. Default 1024.
    pub max_step_tokens: usize,
    /// Tokens whose keys and values fit in the pool at once; 0 takes as many as half of the free
    /// memory holds, on an accelerator as many as 8 GiB hold. Default 0.
    pub kv_slots: usize,
    /// How weights are held: `"f32"`; `"bf16"` for half the memory and, on the CPU, up to twice the
    /// speed of a few rows (a published model in bfloat16 loses nothing by it, a trained one its last
    /// digits); `"auto"` for bfloat16 on an accelerator that computes in it and f32 elsewhere. The CPU
    /// computes in f32 either way, an accelerator in the type that it holds. Default `"auto"`.
    pub weights: Weights,
    /// How long a step waits for sessions that are between requests, in microseconds. Default 300.
    pub linger_us: u64,
    /// On an accelerator, steps that run before their tokens are read back, where every row decodes and
    /// nothing waits to enter: a step's choices go straight into the next one. A row that ends within them
    /// goes on unseen, which wastes up to this many tokens less one; a request that arrives waits as
    /// long. 1 reads after every step; the replies are the same. Default 4.
    pub queued_steps: usize,
    /// On an accelerator, whether steps of single tokens are captured as CUDA graphs and replayed as one
    /// launch: `"off"`; `"auto"` where the device replays in hardware; `"always"` also where it only runs
    /// the step again, which gains nothing. Each shape of a step that comes often gets a graph, which
    /// holds memory for its intermediate results. Default `"off"`.
    pub graphs: Graphs,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            max_rows: 256,
            max_step_tokens: 1024,
            kv_slots: 0,
            weights: Weights::Auto,
            linger_us: 300,
            queued_steps: 4,
            graphs: Graphs::Off,
        }
    }
}
