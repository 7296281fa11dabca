//! The forward pass on an accelerator.

mod cache;
mod net;
mod nets;

pub(super) use nets::DeviceNets;
