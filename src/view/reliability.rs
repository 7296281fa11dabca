//! Whether the value head's probabilities are to be believed.

use super::Error;
use crate::iterate::iteration_dir;
use crate::monitor::Bin;
use crate::trace::{self, table};
use crate::train::metrics::{brier, ece, reliability};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Predicted probabilities against what happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Reliability {
    pub iteration: u32,
    /// The method whose answers were judged; `None` for the nodes of search trees.
    pub method: Option<String>,
    pub count: usize,
    /// Share of those that were right.
    pub right: f64,
    /// Those of the ten that hold any.
    pub bins: Vec<Bin>,
    /// Expected calibration error.
    pub ece: f64,
    /// Mean squared error of the probabilities.
    pub brier: f64,
}

/// The probability of being right that a value states, if it is a number.
pub(super) fn probability(value: f64) -> Option<f64> {
    value
        .is_finite()
        .then(|| ((value + 1.0) / 2.0).clamp(0.0, 1.0))
}

impl Reliability {
    /// Of (probability, right) pairs; `None` where no head can have made them: there are none, or
    /// all are one half.
    pub(super) fn of(
        iteration: u32,
        method: Option<String>,
        predictions: &[(f64, bool)],
    ) -> Option<Reliability> {
        let count = predictions.len();
        if predictions.iter().all(|&(p, _)| p == 0.5) {
            return None;
        }
        let bins = reliability(predictions);
        let right = predictions.iter().filter(|p| p.1).count();
        Some(Reliability {
            iteration,
            method,
            count,
            right: right as f64 / count as f64,
            ece: ece(&bins)?,
            bins,
            brier: brier(predictions)?,
        })
    }
}

/// Of the answers of an evaluated iteration, one for each method, from `evaluation.parquet`.
///
/// # Errors
/// A table that is missing or damaged.
pub(super) fn of_answers(run: &Path, iteration: u32) -> Result<Vec<Reliability>, Error> {
    let path = iteration_dir(run, iteration).join("evaluation.parquet");
    let columns = match table::read_text_columns(&path, &["method", "correct", "value", "failure"])
    {
        // Tables of older versions do not know of failures.
        Err(trace::Error::NoColumn { column, .. }) if column == "failure" => {
            table::read_text_columns(&path, &["method", "correct", "value"])
        }
        read => read,
    }?;
    let mut methods: BTreeMap<&str, Vec<(f64, bool)>> = BTreeMap::new();
    for row in 0..columns[0].len() {
        // A question that was not answered has no value.
        let answered = columns.get(3).is_none_or(|failure| failure[row].is_empty());
        let value = columns[2][row].parse().ok().and_then(probability);
        if let (true, Some(p)) = (answered, value) {
            let predictions = methods.entry(&columns[0][row]).or_default();
            predictions.push((p, columns[1][row] == "true"));
        }
    }
    let all = methods.into_iter();
    Ok(all
        .filter_map(|(method, p)| Reliability::of(iteration, Some(method.to_owned()), &p))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_gap_and_brier_by_hand() {
        let predictions = [
            (0.05, false),
            (0.15, false),
            (0.15, true),
            (0.95, true),
            (1.0, true),
        ];
        let found = Reliability::of(2, None, &predictions).unwrap();
        let counts: Vec<usize> = found.bins.iter().map(|b| b.count).collect();
        assert_eq!(counts, [1, 2, 2]);
        assert_eq!((found.bins[1].share, found.bins[2].share), (0.5, 1.0));
        assert!((found.right - 0.6).abs() < 1e-12);
        // |0.05 - 0| + |0.3 - 1| + |1.95 - 2|, over 5.
        assert!((found.ece - 0.16).abs() < 1e-12, "{}", found.ece);
        let brier = (0.0025 + 0.0225 + 0.7225 + 0.0025) / 5.0;
        assert!((found.brier - brier).abs() < 1e-12);
    }

    #[test]
    fn no_head_no_diagram() {
        assert_eq!(Reliability::of(0, None, &[]), None);
        assert_eq!(Reliability::of(0, None, &[(0.5, true), (0.5, false)]), None);
    }

    #[test]
    fn values_become_probabilities() {
        assert_eq!(probability(-1.0), Some(0.0));
        assert_eq!(probability(0.5), Some(0.75));
        assert_eq!(probability(1.5), Some(1.0));
        assert_eq!(probability(f64::NAN), None);
    }
}
