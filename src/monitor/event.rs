//! The one thing that sinks receive.

use super::{Histogram, Layout, Picture, Start};

/// Something that happened at a step. Tags are paths (`collect/solve_rate`); a step
/// counts whatever its tag counts (questions, optimiser steps, iterations).
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// Numbers that share a step, by tag.
    Scalars {
        step: u64,
        values: Vec<(String, f64)>,
    },
    /// Markdown.
    Text {
        tag: String,
        step: u64,
        text: String,
    },
    /// A distribution.
    Histogram {
        tag: String,
        step: u64,
        histogram: Histogram,
    },
    /// A picture.
    Picture {
        tag: String,
        step: u64,
        picture: Picture,
    },
    /// The charts that TensorBoard's custom scalars dashboard opens with.
    Layout(Layout),
    /// The run's settings, for TensorBoard's hparams dashboard.
    Start(Start),
    /// The run has come to its end.
    End,
}
