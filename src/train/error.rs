//! What can go wrong in a fit.

use crate::stop::Stopped;
use crate::trace::fs;
use std::path::PathBuf;

/// Why a fit did not start or did not finish.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{fit} fit: there are no {what}; collect more traces or lower `validation`")]
    NoExamples {
        fit: &'static str,
        what: &'static str,
    },
    #[error("{fit} fit: `{key}` is {found}, but {expected} is needed")]
    Param {
        fit: &'static str,
        key: &'static str,
        found: String,
        expected: &'static str,
    },
    #[error("{fit} fit: example {index} (question {question}): {problem}")]
    Example {
        fit: &'static str,
        index: usize,
        question: u64,
        problem: String,
    },
    #[error(
        "{fit} fit stopped at step {step}: for {in_a_row} steps in a row a number was not finite, \
         the last time the {what} ({value}) with questions {questions:?}; lower `lr` or `clip_norm`, \
         and look at these questions. The weights from before the fit are untouched"
    )]
    NonFinite {
        fit: &'static str,
        /// Optimiser step, counted from 0.
        step: usize,
        what: &'static str,
        value: f64,
        in_a_row: usize,
        questions: Vec<u64>,
    },
    #[error("{fit} fit: {path}: {problem}; remove the folder to start this fit again")]
    Checkpoint {
        fit: &'static str,
        path: PathBuf,
        problem: String,
    },
    #[error(transparent)]
    File(#[from] fs::Error),
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error("{fit} fit: {problem}")]
    Training { fit: &'static str, problem: String },
}
