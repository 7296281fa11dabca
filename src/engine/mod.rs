//! The device thread: it owns the weights and the pool of keys and values, and advances every row
//! that has work by one step at a time. It speaks token ids only.
//!
//! A [`Session`] is one client's share: requests go over a channel, each becomes a row, rows of all
//! sessions share each step, and a row leaves as soon as it is done. One token takes one slot; a
//! sequence is the list of its slots, so a prefix is shared by naming the same slots again.

mod batch;
mod device;
mod handle;
mod host;
mod machine;
mod meter;
mod pool;
mod request;
mod row;
mod sample;
#[cfg(test)]
mod tests;
mod thread;

pub use handle::{Engine, EngineHandle, Error, Session};
pub use machine::Machine;
pub use meter::{Load, Meter};
pub use pool::Slot;
pub use request::{Choose, Finish, Generate, Output, Reply, Request};

use serde::{Deserialize, Serialize};

/// How weights are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weights {
    #[default]
    F32,
    Bf16,
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
    /// How the CPU holds weights: `"f32"`, or `"bf16"` for half the memory and up to twice the speed
    /// of a few rows; arithmetic is in f32 either way. A published model in bfloat16 loses nothing by
    /// it, a trained one its last digits. Default `"f32"`.
    pub weights: Weights,
    /// How long a step waits for sessions that are between requests, in microseconds. Default 300.
    pub linger_us: u64,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            max_rows: 256,
            max_step_tokens: 1024,
            kv_slots: 0,
            weights: Weights::F32,
            linger_us: 300,
        }
    }
}
