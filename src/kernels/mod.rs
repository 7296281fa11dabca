//! Arithmetic on the CPU that engine and training share: matrix products over packed weights, and
//! element-wise kernels. It knows numbers only.

pub mod lanes;
mod multiply;
mod panels;
mod team;
mod tile;

pub use multiply::{Left, Tiles, multiply, multiply_rate, multiply_rows};
pub use panels::{Panels, WIDTH};
pub use team::Team;
