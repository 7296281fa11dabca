//! Fits policy and value on one trunk, as AlphaZero does: one forward pass gives prior and value.

use super::calibrate::{Calibrate, Fitted};
use super::check::{Check, optimiser_methods, value_methods};
use super::draw::Draw;
use super::error::Error;
use super::example::{PolicyExample, ValueExample, is_held_out};
use super::fit::{Compute, Context, Job, can_by_hand, free, free_last_layers, run, step_count};
use super::learner::{LOGITS_AT_ONCE, Objective};
use super::loss::ValueLoss;
use super::passes::{TokenPasses, pieces};
use super::report::{FitReport, Tags};
use super::schedule::Decay;
use crate::model::{Calibration, Decoder, ValueHead};
use std::sync::Arc;

const FIT: &str = "joint";

/// How policy and value are fitted together.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Factor of the value loss beside the cross-entropy. Default 1.
    pub value_scale: f64,
    /// Layers that move, the last ones; 0 for all weights. Default 0.
    pub last_layers: usize,
    /// The loss: `bce`, `mse`, or `hl_gauss` for a head with `learn.bins` (cross-entropy with a
    /// Gaussian histogram around the return). Default `bce`.
    pub loss: ValueLoss,
    /// Standard deviation of the Gaussian that `hl_gauss` spreads a return by, in bins. Default 0.75.
    pub sigma: f64,
    /// Weight of a loss that ranks siblings beside the other: `-ln sigmoid((better - worse) /
    /// ranking_temperature)` over the values of prefixes of one question, equally long and with
    /// different mean returns, that meet in a batch (see `siblings`); 0 for none. Default 0.
    pub ranking: f64,
    /// What differences of values are divided by in the ranking loss. Default 0.5.
    pub ranking_temperature: f64,
    /// What a pass over the trajectories goes through: `trajectories`, each once; `questions`, each once
    /// with the next `siblings` of its trajectories, so that all weigh the same; `balanced`, the same
    /// with right and wrong ones in turn. Default `trajectories`.
    pub draw: Draw,
    /// A target weighs `min(visits, weight_cap) ^ weight_power`. Default 8.
    pub weight_cap: f64,
    /// See `weight_cap`. Default 0.5.
    pub weight_power: f64,
    /// Optimiser steps; 0 takes `epochs` of the value examples instead. Default 600.
    pub steps: usize,
    /// Passes over the value examples, where `steps` is 0. Default 4.
    pub epochs: f64,
    /// Solutions in an optimiser step. Default 48.
    pub policy_batch: usize,
    /// Trajectories in an optimiser step. Default 48.
    pub value_batch: usize,
    /// Trajectories of a question that are drawn into a step together, with its solutions where these
    /// are due; 0 for all. The ranking loss compares them. On the CPU what they begin with together is
    /// computed once, so that more of them cost less; but a step then sees fewer questions. Default 1.
    pub siblings: usize,
    /// Forward and backward passes that an optimiser step is cut into, to save memory; the result is
    /// that of one pass up to rounding. Default 1.
    pub accumulation: usize,
    /// Peak learning rate. Default 1.5e-3.
    pub lr: f64,
    /// How the learning rate falls: `cosine`, `linear` or `constant`. Default `linear`.
    pub decay: Decay,
    /// Warm-up: a number of steps, or below 1 a fraction of all steps. Default 30.
    pub warmup: f64,
    /// Share of `lr` that is left at the end. Default 0.05.
    pub final_lr_fraction: f64,
    /// AdamW's weight decay of matrices, per step and unit of learning rate. Default 0.05.
    pub weight_decay: f64,
    /// AdamW's decay of the mean gradient. Default 0.9.
    pub beta1: f64,
    /// AdamW's decay of the mean squared gradient. Default 0.98.
    pub beta2: f64,
    /// AdamW's floor under the root of the mean squared gradient. Default 1e-8.
    pub epsilon: f64,
    /// Limit of the gradient's global norm. Default 1.
    pub clip_norm: f64,
    /// Weight of prompt tokens in the cross-entropy relative to solution tokens. Default 0.
    pub prompt_weight: f64,
    /// Share of the questions held out to validate on. Default 0.05.
    pub validation: f64,
    /// Calibration of the value on the held-out questions (`validation`) after the fit, kept with the
    /// head: `none`, `temperature` (a scale and a shift of its logit), `isotonic` (a monotone table), or
    /// `features`: a logistic regression on its logit and on what the policy that made the traces says of
    /// the text, namely the mean, the least and the last log-probability of its tokens so far, the entropy
    /// of the next one (the most probable token or any other), and the log of their number. Searches, beams,
    /// votes and rankings read every value through it; an exported net and a judge `reward` are without.
    /// Default `none`.
    pub calibrate: Calibrate,
    /// Steps between the checkpoints that an interrupted fit goes on from; 0 for none. Default 100.
    pub checkpoint_every: usize,
    /// Type of products and attention: `auto` is bfloat16 on an accelerator that computes in it, with
    /// weights, norms, sums and losses in f32, and f32 elsewhere; `f32` is f32 everywhere. Default
    /// `auto`.
    pub compute: Compute,
    /// Seed of the order of the examples. Default 0.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            value_scale: 1.0,
            last_layers: 0,
            loss: ValueLoss::Bce,
            sigma: 0.75,
            ranking: 0.0,
            ranking_temperature: 0.5,
            draw: Draw::Trajectories,
            weight_cap: 8.0,
            weight_power: 0.5,
            steps: 600,
            epochs: 4.0,
            policy_batch: 48,
            value_batch: 48,
            siblings: 1,
            accumulation: 1,
            lr: 1.5e-3,
            decay: Decay::Linear,
            warmup: 30.0,
            final_lr_fraction: 0.05,
            weight_decay: 0.05,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            clip_norm: 1.0,
            prompt_weight: 0.0,
            validation: 0.05,
            calibrate: Calibrate::None,
            checkpoint_every: 100,
            compute: Compute::Auto,
            seed: 0,
        }
    }
}

optimiser_methods!(Params, FIT);
value_methods!(Params, FIT);

impl Params {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Param`] for the first that is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        self.check_optimiser()?;
        let check = Check(FIT);
        check.positive("value_scale", self.value_scale)?;
        check.at_least_one("policy_batch", self.policy_batch)?;
        check.at_least_one("value_batch", self.value_batch)?;
        check.not_negative("prompt_weight", self.prompt_weight)?;
        self.check_value()
    }
}

/// Fits `policy` and `head` on one trunk: every step minimises
/// `value_scale * value loss + cross-entropy` over a batch of trajectories and one of solutions,
/// which share a pass. Questions are held out of both.
///
/// # Errors
/// Parameters or examples that cannot be used (before any work), a loss or gradient that is not
/// finite, and checkpoints that cannot be read or written.
pub fn fit_joint(
    policy: &Decoder,
    head: &ValueHead,
    values: &[ValueExample],
    solutions: &[PolicyExample],
    params: &Params,
    context: &Context<'_>,
) -> Result<(Decoder, ValueHead, FitReport), Error> {
    params.check()?;
    Check(FIT).head(&params.criterion(), &head.readout)?;
    for (index, example) in values.iter().enumerate() {
        example.check(FIT, index, policy.config())?;
    }
    for (index, example) in solutions.iter().enumerate() {
        example.check(FIT, index, policy.config())?;
    }
    let held_out = |question| is_held_out(question, params.validation, params.seed);
    let (valid, values): (Vec<ValueExample>, Vec<ValueExample>) =
        values.iter().cloned().partition(|e| held_out(e.question));
    let solutions: Vec<PolicyExample> = solutions
        .iter()
        .filter(|e| !held_out(e.question))
        .cloned()
        .collect();
    let weight = params.visit_weight();
    let missing = if !values.iter().any(|e| e.weights.iter().any(|w| *w > 0.0)) {
        Some("visited positions to train on")
    } else if solutions.is_empty() {
        Some("solutions to train on")
    } else {
        None
    };
    if let Some(what) = missing {
        return Err(Error::NoExamples { fit: FIT, what });
    }
    let count = values.len() + solutions.len();
    let value_batch = params.value_batch.min(values.len());
    let policy_batch = params.policy_batch.min(solutions.len());
    let parts = params.accumulation.min(value_batch).min(policy_batch);
    let steps = step_count(
        params.steps,
        params.epochs,
        values.len(),
        params.value_batch,
    );
    let all: Vec<&ValueExample> = valid.iter().collect();
    let job = Job {
        objective: Objective {
            fit: FIT,
            criterion: params.criterion(),
            value_scale: params.value_scale,
            clip_norm: params.clip_norm,
            logits_at_once: LOGITS_AT_ONCE,
            by_hand: can_by_hand(policy),
        },
        settings: params.settings(),
        schedule: params.schedule(steps),
        steps,
        parts,
        checkpoint_every: params.checkpoint_every,
        compute: params.compute,
        valid: TokenPasses::of_values(&all, value_batch.div_ceil(parts), weight),
        passes: Arc::new(TokenPasses {
            prompt_weight: params.prompt_weight as f32,
            parts,
            pieces: pieces(policy, (policy_batch + value_batch).div_ceil(parts)),
            ..TokenPasses::new(weight)
                .drawn(params.drawing(&values, head))
                .with_values(values, value_batch, steps, params.seed)
                .with_policy(solutions, policy_batch, steps, params.seed)
        }),
        tags: Tags {
            steps: "policy",
            valid: "value",
        },
        trunk: Some(free_last_layers(policy.clone(), params.last_layers)),
        head: Some(free(head.clone().calibrated(Calibration::None), |_| true)),
    };
    let (trunk, new_head, mut report) = run(job, context)?;
    let trunk = trunk.unwrap_or_else(|| policy.clone());
    let head = new_head.unwrap_or_else(|| head.clone());
    report.examples = count;
    let fitted = Fitted {
        trunk: &trunk,
        head,
        valid: &valid,
        criterion: params.criterion(),
        weight,
        calibrate: params.calibrate,
    };
    let head = fitted.conclude(context, &mut report);
    Ok((trunk, head, report))
}
