//! The device thread: it owns the weights and the pool of keys and values, and advances every row
//! that has work by one step at a time. It speaks token ids only.
//!
//! A [`Session`] is one client's share: requests go over a channel, each becomes a row, rows of all
//! sessions share each step, and a row leaves as soon as it is done. One token takes one slot; a
//! sequence is the list of its slots, so a prefix is shared by naming the same slots again.

mod attend_device;
mod attend_host;
mod batch;
mod handle;
mod kernels;
mod meter;
mod pool;
mod request;
mod row;
mod sample;
#[cfg(test)]
mod tests;
mod thread;

pub use handle::{Engine, EngineHandle, Error, Session};
pub use meter::{Load, Meter};
pub use pool::Slot;
pub use request::{Choose, Finish, Generate, Output, Reply, Request};

use serde::{Deserialize, Serialize};

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
    /// Tokens that a step on the CPU is filled up to with idle ones. Matrix kernels sum in another
    /// order for a few rows than for many: with at least 8, what a row computes does not depend on
    /// how many others there are. 1 is faster where a single text is written. Default 8.
    pub min_step_tokens: usize,
    /// How long a step waits for sessions that are between requests, in microseconds. Default 300.
    pub linger_us: u64,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            max_rows: 256,
            max_step_tokens: 1024,
            kv_slots: 0,
            min_step_tokens: 8,
            linger_us: 300,
        }
    }
}
