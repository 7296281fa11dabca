//! The forward pass on an accelerator.

mod cache;
mod net;
mod nets;
mod numbers;

pub(super) use nets::DeviceNets;
