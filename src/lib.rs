//! tokenzero: AlphaZero's loop for language models.
//!
//! Token-level tree search collects traces, the traces train a value head and fine-tune the policy,
//! the new pair is evaluated with search guided by the value head alone, and the next iteration
//! starts from it.
//!
//! Modules, ground floor first (imports go down only): [`guard`], [`kernels`], [`memory`], [`stop`],
//! [`task`], [`tree`], [`trace`], [`monitor`]; [`model`]; [`engine`], [`train`]; [`search`]; [`collect`],
//! [`evaluate`]; [`recipe`]; [`iterate`]; [`mod@bench`], [`estimate`], [`view`]; [`cli`].

pub mod bench;
pub mod cli;
pub mod collect;
pub mod engine;
pub mod estimate;
pub mod evaluate;
pub mod guard;
pub mod iterate;
pub mod kernels;
pub mod memory;
pub mod model;
pub mod monitor;
pub mod recipe;
pub mod search;
pub mod stop;
pub mod task;
pub mod trace;
pub mod train;
pub mod tree;
pub mod view;
