//! The train phase: which fits run, in which order.

use super::Error;
use crate::model::{Checkpoint, Value};
use crate::monitor::Monitor;
use crate::recipe::{Mode, Recipe};
use crate::stop::Stop;
use crate::trace::TreeRecord;
use crate::train::fit_value::Kind;
use crate::train::from_traces::{policy_examples, value_examples};
use crate::train::{
    self, Context, FitReport, PolicyExample, ValueExample, fit_joint, fit_policy, fit_value,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// What the train phase did.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrainReport {
    /// The fit of policy and value on one trunk.
    pub joint: Option<FitReport>,
    /// The fit of the value.
    pub value: Option<FitReport>,
    /// The fit of the policy.
    pub policy: Option<FitReport>,
}

/// Optimiser steps of earlier iterations, so that curves go on where they ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Steps {
    joint: u64,
    value: u64,
    policy: u64,
}

impl Steps {
    /// Counts the steps of an earlier iteration.
    pub fn add(&mut self, report: Option<&TrainReport>) {
        let steps = |fit: Option<&FitReport>| fit.map_or(0, |f| f.steps as u64);
        self.joint += steps(report.and_then(|r| r.joint.as_ref()));
        self.value += steps(report.and_then(|r| r.value.as_ref()));
        self.policy += steps(report.and_then(|r| r.policy.as_ref()));
    }
}

/// Where in a run a train phase stands.
pub(super) struct Place<'a> {
    pub iteration: u64,
    pub first_steps: Steps,
    pub monitor: &'a Monitor,
    /// For the checkpoints of fits that are not finished.
    pub folder: &'a Path,
    pub stop: &'a Stop,
}

/// Fits the networks of `checkpoint` to `trees`.
pub(super) fn learn(
    checkpoint: Checkpoint,
    trees: &[TreeRecord],
    recipe: &Recipe,
    place: Place<'_>,
) -> Result<(Checkpoint, TrainReport), Error> {
    let values = value_examples(trees, &recipe.traces, recipe.seed);
    let solutions = policy_examples(trees, &recipe.traces);
    if solutions.is_empty() {
        place
            .monitor
            .line("no question was solved: the policy stays as it is");
    }
    let fits = Fits { recipe, place };
    match recipe.learn.mode {
        Mode::Joint if !solutions.is_empty() => fits.joint(checkpoint, &values, &solutions),
        Mode::Joint | Mode::Separate => fits.separate(checkpoint, &values, &solutions),
    }
}

struct Fits<'a> {
    recipe: &'a Recipe,
    place: Place<'a>,
}

impl Fits<'_> {
    /// Runs a fit with a folder of its own.
    fn fit<T>(
        &self,
        name: &str,
        first_step: u64,
        fit: impl FnOnce(&Context<'_>) -> Result<T, train::Error>,
    ) -> Result<T, Error> {
        let folder = self.place.folder.join(name);
        Ok(fit(&Context {
            first_step,
            folder: Some(&folder),
            stop: self.place.stop.clone(),
            ..Context::new(self.place.monitor)
        })?)
    }

    fn seed(&self, own: u64) -> u64 {
        crate::search::seed_of(self.recipe.seed, &[self.place.iteration, own])
    }

    fn joint(
        &self,
        mut checkpoint: Checkpoint,
        values: &[ValueExample],
        solutions: &[PolicyExample],
    ) -> Result<(Checkpoint, TrainReport), Error> {
        let Some(value) = &checkpoint.value else {
            return self.separate(checkpoint, values, solutions);
        };
        let params = fit_joint::Params {
            seed: self.seed(self.recipe.joint.seed),
            ..self.recipe.joint.clone()
        };
        let (policy, head) = (&checkpoint.policy, value.head());
        let first_step = self.place.first_steps.joint;
        let (policy, head, report) = self.fit("joint", first_step, |context| {
            fit_joint::fit_joint(policy, head, values, solutions, &params, context)
        })?;
        checkpoint.policy = policy;
        checkpoint.value = Some(Value::Shared(head));
        let report = TrainReport {
            joint: Some(report),
            ..TrainReport::default()
        };
        Ok((checkpoint, report))
    }

    /// A value trunk of its own learns from the policy that made the traces; a head on the
    /// policy's trunk is fitted after the policy, because that moves the trunk under it.
    fn separate(
        &self,
        mut checkpoint: Checkpoint,
        values: &[ValueExample],
        solutions: &[PolicyExample],
    ) -> Result<(Checkpoint, TrainReport), Error> {
        let mut report = TrainReport::default();
        let own_trunk =
            self.recipe.learn.mode == Mode::Separate && self.recipe.value.kind == Kind::Trunk;
        if own_trunk {
            self.value(&mut checkpoint, values, &mut report)?;
        }
        if !solutions.is_empty() && self.recipe.learn.mode == Mode::Separate {
            let params = fit_policy::Params {
                seed: self.seed(self.recipe.policy.seed),
                ..self.recipe.policy.clone()
            };
            let first_step = self.place.first_steps.policy;
            let (policy, fitted) = self.fit("policy", first_step, |context| {
                fit_policy::fit_policy(&checkpoint.policy, solutions, &params, context)
            })?;
            checkpoint.policy = policy;
            report.policy = Some(fitted);
        }
        if !own_trunk {
            self.value(&mut checkpoint, values, &mut report)?;
        }
        Ok((checkpoint, report))
    }

    fn value(
        &self,
        checkpoint: &mut Checkpoint,
        values: &[ValueExample],
        report: &mut TrainReport,
    ) -> Result<(), Error> {
        let Some(value) = checkpoint.value.take() else {
            return Ok(());
        };
        let mut params = self.recipe.value.clone();
        params.seed = self.seed(params.seed);
        if self.recipe.learn.mode == Mode::Joint {
            // The trunk must stay the policy's.
            params.kind = Kind::Head;
        }
        let (trunk, head) = match value {
            Value::Separate { trunk, head } => (trunk, head),
            Value::Shared(head) => (checkpoint.policy.clone(), head),
        };
        let first_step = self.place.first_steps.value;
        let (trunk, head, fitted) = self.fit("value", first_step, |context| {
            fit_value::fit_value(&trunk, &head, values, &params, context)
        })?;
        checkpoint.value = Some(match params.kind {
            Kind::Head => Value::Shared(head),
            Kind::Trunk => Value::Separate { trunk, head },
        });
        report.value = Some(fitted);
        Ok(())
    }
}
