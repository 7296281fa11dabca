//! The forward pass on an accelerator.

mod cache;
mod graphs;
mod net;
mod nets;
mod numbers;
mod step;

pub use graphs::Graphs;
pub(super) use nets::DeviceNets;
