//! What a fit tells: a line for each step while it runs, and a summary at its end.

use super::calibrate::Calibrated;
use super::checkpointer::History;
use super::fit::Context;
use crate::monitor::{Bin, Monitor, Picture, Progress};
use burn::tensor::TensorReadError;
use burn_train::metric::{Metric, MetricMetadata, MetricName, SerializedEntry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// The places in a trajectory where values are judged: after the question, after a third and two
/// thirds of the solution, and at its end.
pub const DEPTHS: [&str; 4] = ["question", "third", "two_thirds", "end"];

/// How well a value predicts outcomes of held-out questions.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Assessment {
    /// Trajectories.
    pub trajectories: usize,
    /// Mean weighted loss over all positions.
    pub loss: Option<f64>,
    /// Mean squared error of `(value + 1) / 2` as a probability of a correct outcome, over the four
    /// depths.
    pub brier: Option<f64>,
    /// Expected calibration error of the same.
    #[serde(default)]
    pub ece: Option<f64>,
    /// Share of the variance of the targets at all positions that the value explains.
    #[serde(default)]
    pub explained_variance: Option<f64>,
    /// The probabilities in bins.
    #[serde(default)]
    pub reliability: Vec<Bin>,
    /// Area under the ROC curve over the four depths together.
    pub auc: Option<f64>,
    /// The same at each of [`DEPTHS`].
    pub auc_by_depth: [Option<f64>; 4],
    /// Share of (correct, wrong) pairs of one question in the right order, at each of [`DEPTHS`].
    pub ranking: [Option<f64>; 4],
}

impl Assessment {
    /// Reports the figures as `value/brier` and so on, rankings at other depths than the end as
    /// `value/ranking_<depth>`, and the reliability diagram.
    pub(crate) fn report(&self, context: &Context<'_>, steps: usize) {
        let step = context.first_step + steps as u64;
        let tag = |name: &str, value: &Option<f64>| {
            if let Some(value) = value {
                context
                    .monitor
                    .scalar(&format!("value/{name}"), step, *value);
            }
        };
        tag("held_out_loss", &self.loss);
        tag("brier", &self.brier);
        tag("auc", &self.auc);
        tag("ece", &self.ece);
        tag("explained_variance", &self.explained_variance);
        for (depth, value) in DEPTHS.iter().zip(&self.ranking) {
            match *depth {
                "end" => tag("same_question_ranking", value),
                depth => tag(&format!("ranking_{depth}"), value),
            }
        }
        let picture = Picture::reliability(&self.reliability);
        context.monitor.picture("value/reliability", step, picture);
    }
}

/// The summary of a fit.
#[derive(Debug, Clone, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct FitReport {
    /// Optimiser steps, those that were skipped included.
    pub steps: usize,
    /// Steps at which a number was not finite and the weights were left as they were.
    #[serde(default)]
    pub skipped: usize,
    /// Examples trained on.
    pub examples: usize,
    /// Exponential mean of the loss (factor 0.98) after the last step.
    pub train_loss: f64,
    /// Loss on held-out questions, if there are any.
    pub valid_loss: Option<f64>,
    /// How well the fitted value predicts held-out questions; a policy fit has none.
    pub value: Option<Assessment>,
    /// What its calibration did, where there is one; `value` is as it was before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Calibrated>,
    /// Tokens that went through the network, forward and back (forward once, for a head on a frozen
    /// trunk), padding not counted; a beginning that examples of a pass share counts once.
    pub tokens: u64,
    /// The same if every example were a sequence of its own.
    #[serde(default)]
    pub sequence_tokens: u64,
    /// The same if every prefix that the value learned from were one: what a pass for each tree node
    /// takes.
    #[serde(default)]
    pub prefix_tokens: u64,
    /// Wall-clock time of the fit.
    pub seconds: f64,
    /// Mean of the gradient's global norm before clipping.
    pub grad_norm: f64,
}

/// One optimiser step.
#[derive(Debug, Clone, Copy, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StepReport {
    pub loss: f64,
    pub policy_loss: Option<f64>,
    pub value_loss: Option<f64>,
    pub grad_norm: f64,
    pub lr: f64,
    /// See [`FitReport`], as the next two.
    pub tokens: u64,
    #[serde(default)]
    pub sequence_tokens: u64,
    #[serde(default)]
    pub prefix_tokens: u64,
    /// A number was not finite and the weights were left as they were.
    pub skipped: bool,
}

impl StepReport {
    /// Sets the loss to the sum of both losses, the value's times `value_scale`.
    pub(crate) fn combine(&mut self, value_scale: f64) {
        self.loss = match (self.policy_loss, self.value_loss) {
            (Some(policy), Some(value)) => policy + value_scale * value,
            (policy, value) => policy.or(value.map(|v| value_scale * v)).unwrap_or(0.0),
        };
    }

    /// Adds the losses and tokens of another piece of the same step.
    pub(crate) fn add(&mut self, other: &StepReport) {
        let sum = |a: Option<f64>, b: Option<f64>| match (a, b) {
            (Some(a), Some(b)) => Some(a + b),
            (a, b) => a.or(b),
        };
        self.loss += other.loss;
        self.policy_loss = sum(self.policy_loss, other.policy_loss);
        self.value_loss = sum(self.value_loss, other.value_loss);
        self.tokens += other.tokens;
        self.sequence_tokens += other.sequence_tokens;
        self.prefix_tokens += other.prefix_tokens;
    }
}

/// What the training thread leaves for burn-train's metric thread.
#[derive(Debug, Default)]
pub(crate) struct Outbox {
    pub steps: Vec<StepReport>,
    /// Weighted loss and weight of the validation passes of an epoch.
    pub valid: (f64, f64),
}

/// What the steps of a fit add up to.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Totals {
    pub steps: usize,
    pub skipped: usize,
    pub loss: f64,
    pub tokens: u64,
    pub sequence_tokens: u64,
    pub prefix_tokens: u64,
    pub grad_norm: f64,
    pub valid_loss: Option<f64>,
}

/// Under which heading a fit reports, `value` or `policy`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Tags {
    /// Its steps.
    pub steps: &'static str,
    /// Its validation.
    pub valid: &'static str,
}

/// Feeds a [`Monitor`] from burn-train's metric thread, so that sinks never hold up a step.
#[derive(Clone)]
pub(crate) struct Feed {
    pub monitor: Monitor,
    pub bar: Arc<Progress>,
    pub tags: Tags,
    pub last: Arc<Mutex<Instant>>,
    /// Step number of the first step, so that the curves of successive fits follow each other.
    pub first_step: u64,
    pub outbox: Arc<Mutex<Outbox>>,
    pub totals: Arc<Mutex<Totals>>,
    pub history: Arc<Mutex<History>>,
}

/// Locks what no panic can leave half-changed.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Feed {
    /// Reports what an earlier process did, so that totals and curves are whole.
    pub fn replay(&self, history: &History) {
        let mut valid = history.valid.iter().peekable();
        for done in 0..=history.steps.len() {
            while let Some((_, loss)) = valid.next_if(|(at, _)| *at == done) {
                self.valid(*loss);
            }
            if let Some(report) = history.steps.get(done) {
                self.step(report);
            }
        }
    }

    fn step(&self, report: &StepReport) {
        let mut totals = lock(&self.totals);
        let step = self.first_step + totals.steps as u64;
        if report.skipped {
            totals.steps += 1;
            totals.skipped += 1;
            let skipped = totals.skipped;
            drop(totals);
            let tag = format!("{}/skipped", self.tags.steps);
            self.monitor.scalar(&tag, step, skipped as f64);
            self.bar.inc(1);
            return;
        }
        totals.loss = if totals.steps == totals.skipped {
            report.loss
        } else {
            0.98 * totals.loss + 0.02 * report.loss
        };
        totals.steps += 1;
        totals.tokens += report.tokens;
        totals.sequence_tokens += report.sequence_tokens;
        totals.prefix_tokens += report.prefix_tokens;
        totals.grad_norm += report.grad_norm;
        let (mean, skipped) = (totals.loss, totals.skipped);
        drop(totals);
        let tag = |name: &str| format!("{}/{name}", self.tags.steps);
        let took = std::mem::replace(&mut *lock(&self.last), Instant::now()).elapsed();
        let mut values = vec![
            (tag("grad_norm"), report.grad_norm),
            (tag("lr"), report.lr),
            (tag("skipped"), skipped as f64),
            ("perf/train_step_ms".into(), 1e3 * took.as_secs_f64()),
        ];
        match (report.policy_loss, report.value_loss) {
            (Some(policy), Some(value)) => {
                values.push(("policy/loss".into(), policy));
                values.push(("value/loss".into(), value));
            }
            _ => values.push((tag("loss"), report.loss)),
        }
        let values: Vec<(&str, f64)> = values.iter().map(|(t, v)| (t.as_str(), *v)).collect();
        self.monitor.scalars(&values, step);
        self.bar.inc(1);
        self.bar.message(format!("loss {mean:.4}"));
    }

    fn valid_loss(&self) -> Option<f64> {
        let (loss, weight) = std::mem::take(&mut lock(&self.outbox).valid);
        if weight == 0.0 {
            return None;
        }
        let mean = loss / weight;
        let done = self.valid(mean);
        lock(&self.history).valid.push((done, mean));
        Some(mean)
    }

    /// Reports a validation; returns the number of steps before it.
    fn valid(&self, mean: f64) -> usize {
        let mut totals = lock(&self.totals);
        totals.valid_loss = Some(mean);
        let done = totals.steps;
        drop(totals);
        let step = self.first_step + done as u64;
        self.monitor
            .scalar(&format!("{}/valid_loss", self.tags.valid), step, mean);
        done
    }
}

/// burn-train calls this after every training pass.
#[derive(Clone)]
pub(crate) struct StepMetric(pub Feed);

/// burn-train asks this for its result after the validation passes of an epoch.
#[derive(Clone)]
pub(crate) struct ValidMetric(pub Feed);

impl Metric for StepMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Steps".into())
    }

    fn update(&mut self, _: &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        let steps = std::mem::take(&mut lock(&self.0.outbox).steps);
        for report in &steps {
            self.0.step(report);
        }
        Ok(SerializedEntry::not_available(None))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::not_available(None))
    }

    fn clear(&mut self) {}
}

impl Metric for ValidMetric {
    type Input = ();

    fn name(&self) -> MetricName {
        Arc::new("Validation".into())
    }

    fn update(&mut self, _: &(), _: &MetricMetadata) -> Result<SerializedEntry, TensorReadError> {
        Ok(SerializedEntry::not_available(None))
    }

    fn compute(&mut self) -> Result<SerializedEntry, TensorReadError> {
        Ok(match self.0.valid_loss() {
            Some(mean) => SerializedEntry::new(mean.to_string(), mean.to_string()),
            None => SerializedEntry::not_available(None),
        })
    }

    fn clear(&mut self) {}
}
