//! Losses and gradients of a pass on the CPU, derived by hand: products over packed weights, no
//! padding, and no graph. Burn's autodiff does the same work elsewhere, and is what the tests compare
//! this with.

mod attention;
mod heads;
mod layer;
mod net;
mod norm;

pub(crate) use net::{Weights, hidden, pass};
