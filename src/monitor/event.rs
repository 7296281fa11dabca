//! The one thing that sinks receive.

use super::Histogram;

/// Something that happened at a step. Tags are paths (`collect/solved`); a step
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
}
