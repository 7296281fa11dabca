//! Fits policies and value nets to traces, through burn-train.
//!
//! A fit is a list of [`example`]s, cut into optimiser steps ([`batch`]) before it starts; each
//! step is one or several passes of a [`Decoder`] and a [`ValueHead`] with the losses of [`loss`] at
//! the positions that count. [`fit_policy()`] imitates solutions, [`fit_value()`] fits a head or a
//! separate trunk to returns, [`fit_joint()`] does both on one trunk. A fit depends on its inputs and
//! its seed alone.
//!
//! [`Decoder`]: crate::model::Decoder
//! [`ValueHead`]: crate::model::ValueHead

mod apart;
mod assess;
mod backward;
pub mod batch;
pub mod calibrate;
mod check;
mod checkpointer;
mod compared;
mod dashboard;
pub mod distil;
pub mod draw;
mod drift;
mod error;
pub mod example;
mod feed;
mod fit;
pub mod fit_joint;
pub mod fit_policy;
pub mod fit_value;
pub mod from_traces;
mod goal;
#[cfg(test)]
mod gradients;
mod hl_gauss;
mod learner;
mod logistic;
pub mod loss;
pub mod metrics;
mod monotone;
pub mod optimiser;
mod passes;
pub mod plan;
pub mod pull;
mod report;
pub mod schedule;
mod siblings;
mod silent;
pub mod sound;
mod trie;

pub use assess::{assess, values};
pub use compared::group_advantages;
pub use drift::{Drift, drift};
pub use error::Error;
pub use example::{Aim, PolicyExample, ValueExample};
pub(crate) use fit::step_count;
pub use fit::{Compute, Context};
pub use fit_joint::fit_joint;
pub use fit_policy::fit_policy;
pub use fit_value::fit_value;
pub(crate) use learner::LOGITS_AT_ONCE;
pub(crate) use passes::piece_count;
pub use report::{Assessment, DEPTHS, FitReport};
pub(crate) use trie::crowds;
