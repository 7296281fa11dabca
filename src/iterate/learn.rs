//! The train phase: which fits run, in which order.

use super::Error;
use crate::evaluate::gate::Ruling;
use crate::model::{Checkpoint, Decoder, Value};
use crate::monitor::Monitor;
use crate::recipe::{Mode, Recipe};
use crate::stop::Stop;
use crate::trace::TreeRecord;
use crate::train::fit_value::Kind;
use crate::train::from_traces::policy_examples;
use crate::train::loss::ValueLoss;
use crate::train::sound::LeftOut;
use crate::train::{
    self, Context, Drift, FitReport, PolicyExample, ValueExample, drift, fit_joint, fit_policy,
    fit_value,
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
    /// The policy beside the model that the run started from.
    #[serde(default)]
    pub drift: Option<Drift>,
    /// Right solutions that were left out as not sound, where the recipe asks for more than right ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unsound: Option<LeftOut>,
    /// What the gate said of the new networks, where there is one.
    #[serde(default)]
    pub gate: Option<Ruling>,
}

impl TrainReport {
    /// Optimiser steps of all fits.
    pub fn steps(&self) -> u64 {
        self.fits().map(|fit| fit.steps as u64).sum()
    }

    /// Tokens that went through the networks in all fits.
    pub fn tokens(&self) -> u64 {
        self.fits().map(|fit| fit.tokens).sum()
    }

    fn fits(&self) -> impl Iterator<Item = &FitReport> {
        let fits = [&self.joint, &self.value, &self.policy];
        fits.into_iter().flatten()
    }
}

/// Where in a run a train phase stands.
pub(super) struct Place<'a> {
    pub iteration: u64,
    /// Optimiser steps of earlier iterations, so that curves go on where they ended.
    pub first_step: u64,
    /// The policy that the run started from.
    pub base: &'a Decoder,
    pub monitor: &'a Monitor,
    /// For the checkpoints of fits that are not finished.
    pub folder: &'a Path,
    pub stop: &'a Stop,
    /// Whether the fits take the terminal.
    pub dashboard: bool,
}

/// Solution tokens at which the policy is compared with the base: enough for a steady mean, and a few
/// seconds' work for a real model on a CPU.
const DRIFT_POSITIONS: usize = 512;

/// Fits the networks of `checkpoint` to `trees`.
pub(super) fn learn(
    checkpoint: Checkpoint,
    trees: &[TreeRecord],
    recipe: &Recipe,
    place: Place<'_>,
) -> Result<(Checkpoint, TrainReport), Error> {
    let values = recipe.value_examples(trees);
    let (solutions, left_out) = policy_examples(trees, &recipe.traces, &checkpoint.tokenizer);
    if solutions.is_empty() {
        place
            .monitor
            .line("no question was solved: the policy stays as it is");
    }
    let (monitor, first_step) = (place.monitor, place.first_step);
    let sound = recipe.traces.sound.asks().then_some(left_out);
    let base = place.base;
    let fits = Fits { recipe, place };
    let (checkpoint, mut report) = match recipe.learn.mode {
        Mode::Joint if !solutions.is_empty() => fits.joint(checkpoint, &values, &solutions)?,
        Mode::Joint | Mode::Separate => fits.separate(checkpoint, &values, &solutions)?,
    };
    // The first solutions are those of the first iteration: the same ones every time.
    report.drift = drift(&checkpoint.policy, base, &solutions, DRIFT_POSITIONS);
    if let Some(drift) = report.drift {
        let figures = [
            ("policy/kl_to_base", drift.kl_to_base),
            ("policy/entropy", drift.entropy),
        ];
        monitor.scalars(&figures, first_step + report.steps());
    }
    report.unsound = sound;
    if let Some(out) = sound {
        let figures = [
            ("policy/left_out_equation", out.equation as f64),
            ("policy/left_out_jump", out.jump as f64),
            ("policy/left_out_disagreement", out.disagreement as f64),
            (
                "policy/left_out",
                out.total() as f64 / out.solutions.max(1) as f64,
            ),
        ];
        monitor.scalars(&figures, first_step + report.steps());
    }
    Ok((checkpoint, report))
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
        fit: impl FnOnce(&Context<'_>) -> Result<T, train::Error>,
    ) -> Result<T, Error> {
        let folder = self.place.folder.join(name);
        Ok(fit(&Context {
            first_step: self.place.first_step,
            folder: Some(&folder),
            stop: self.place.stop.clone(),
            dashboard: self.place.dashboard,
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
        let (policy, head, report) = self.fit("joint", |context| {
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
            let (policy, fitted) = self.fit("policy", |context| {
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
            // The trunk must stay the policy's, and what the head is made for must go on.
            let joint = &self.recipe.joint;
            params.kind = Kind::Head;
            if joint.loss == ValueLoss::HlGauss || params.loss == ValueLoss::HlGauss {
                params.loss = joint.loss;
            }
            params.sigma = joint.sigma;
            params.ranking = joint.ranking;
            params.ranking_temperature = joint.ranking_temperature;
            params.draw = joint.draw;
            params.siblings = joint.siblings;
            params.calibrate = joint.calibrate;
        }
        let (trunk, head) = match value {
            Value::Separate { trunk, head } => (trunk, head),
            Value::Shared(head) => (checkpoint.policy.clone(), head),
        };
        let (trunk, head, fitted) = self.fit("value", |context| {
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
