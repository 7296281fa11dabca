//! burn-train's terminal dashboard: what its curves show.

use super::report::{Totals, lock};
use burn::tensor::TensorReadError;
use burn_train::metric::{
    Metric, MetricAttributes, MetricMetadata, MetricName, Numeric, NumericAttributes, NumericEntry,
    SerializedEntry,
};
use std::sync::{Arc, Mutex};

/// A curve of one of the figures of a fit.
#[derive(Clone)]
pub(crate) struct Curve {
    name: &'static str,
    totals: Arc<Mutex<Totals>>,
    of: fn(&Totals) -> f64,
}

impl Curve {
    /// The running mean of the loss.
    pub fn loss(totals: &Arc<Mutex<Totals>>) -> Self {
        Curve {
            name: "Loss",
            totals: totals.clone(),
            of: |totals| totals.loss,
        }
    }

    /// The loss on held-out questions; NaN before the first validation.
    pub fn valid_loss(totals: &Arc<Mutex<Totals>>) -> Self {
        Curve {
            name: "Loss",
            totals: totals.clone(),
            of: |totals| totals.valid_loss.unwrap_or(f64::NAN),
        }
    }

    fn now(&self) -> f64 {
        (self.of)(&lock(&self.totals))
    }

    fn entry(&self) -> SerializedEntry {
        let value = self.now();
        SerializedEntry::new(format!("{value:.4}"), value.to_string())
    }
}

impl Metric for Curve {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new(self.name.into())
    }

    fn attributes(&self) -> MetricAttributes {
        NumericAttributes {
            unit: None,
            higher_is_better: false,
        }
        .into()
    }

    fn update(&mut self, _: &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(self.entry())
    }

    fn clear(&mut self) {}
}

impl Numeric for Curve {
    fn value(&self) -> Option<NumericEntry> {
        Some(NumericEntry::Value(self.now()))
    }

    fn running_value(&self) -> Option<NumericEntry> {
        self.value()
    }

    fn final_value(&self) -> NumericEntry {
        NumericEntry::Final(self.now())
    }
}
