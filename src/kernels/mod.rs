//! Arithmetic that engine and training share: on the CPU matrix products over packed weights and
//! element-wise kernels, and the operations of a forward pass on any device. It knows numbers only.

pub mod lanes;
mod multiply;
pub mod ops;
mod panels;
mod team;
mod tile;

pub use multiply::{Left, Tiles, multiply, multiply_rate, multiply_rows};
pub use panels::{Panels, WIDTH};
pub use team::Team;
