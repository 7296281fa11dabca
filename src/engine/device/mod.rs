//! The forward pass on an accelerator, in Burn's tensors.

mod attention;
mod nets;

pub(super) use nets::DeviceNets;
