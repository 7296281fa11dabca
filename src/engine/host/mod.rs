//! The forward pass on the CPU: weights packed for it, keys and values in main memory, every kernel
//! in Rust. No tensor library stands between: a small model's step is a few microseconds of
//! arithmetic, which the bookkeeping of tensors would dwarf.

mod attention;
#[cfg(target_arch = "x86_64")]
mod attention_avx512;
mod cache;
mod head;
mod net;
mod nets;

pub(super) use nets::HostNets;
