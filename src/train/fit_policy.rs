//! Fine-tunes the policy on selected solutions; also trains one from nothing.

use super::batch::VisitWeight;
use super::check::{Check, optimiser_methods};
use super::error::Error;
use super::example::{PolicyExample, is_held_out};
use super::fit::{Compute, Context, Job, can_by_hand, free, free_last_layers, run, step_count};
use super::learner::{LOGITS_AT_ONCE, Objective};
use super::loss::ValueLoss;
use super::passes::{Drawing, TokenPasses, pieces};
use super::report::{FitReport, Tags};
use super::schedule::Decay;
use crate::model::Decoder;
use burn::module::{Lora, Module, ParamGroup};
use std::sync::Arc;

const FIT: &str = "policy";

/// Which weights of the policy a fit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Method {
    /// All of them.
    Full,
    /// Low-rank adapters on the matrices of the layers (Hu et al., 2021), merged at the end.
    Lora,
    /// The last layers and the final norm.
    LastLayers,
}

/// How the policy is fitted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Which weights move: `full`, `lora` or `last-layers`. Default `full`.
    pub method: Method,
    /// Rank of the adapters, where `method` is `lora`. Default 16.
    pub lora_rank: usize,
    /// The adapters' product is scaled by `lora_alpha / lora_rank`. Default 32.
    pub lora_alpha: f64,
    /// Number of layers that move, where `method` is `last-layers`. Default 2.
    pub last_layers: usize,
    /// Optimiser steps; 0 takes `epochs` instead. Default 0.
    pub steps: usize,
    /// Passes over the training examples, where `steps` is 0. Default 3.
    pub epochs: f64,
    /// Examples in an optimiser step. Default 32.
    pub batch: usize,
    /// Examples of a question that are drawn into a step together; 0 for all. On the CPU what they begin
    /// with together is computed once, so that more of them cost less; but a step then sees fewer
    /// questions. Default 1.
    pub siblings: usize,
    /// Forward and backward passes that an optimiser step is cut into, to save memory; the result is
    /// that of one pass up to rounding. Default 1.
    pub accumulation: usize,
    /// Peak learning rate. Default 5e-4.
    pub lr: f64,
    /// How the learning rate falls: `cosine`, `linear` or `constant`. Default `cosine`.
    pub decay: Decay,
    /// Warm-up: a number of steps, or below 1 a fraction of all steps. Default 0.05.
    pub warmup: f64,
    /// Share of `lr` that is left at the end. Default 0.1.
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
    /// Weight of prompt tokens in the loss relative to solution tokens. Default 0.
    pub prompt_weight: f64,
    /// Share of the questions held out to validate on. Default 0.
    pub validation: f64,
    /// Steps between the checkpoints that an interrupted fit goes on from; 0 for none. Default 100.
    pub checkpoint_every: usize,
    /// Type of products and attention: `auto` is bfloat16 on an accelerator that computes in it, with
    /// weights, norms, sums and losses in f32, and f32 elsewhere; `f32` is f32 everywhere. Default
    /// `auto`.
    pub compute: Compute,
    /// Seed of the order of the examples and of the adapters. Default 0.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            method: Method::Full,
            lora_rank: 16,
            lora_alpha: 32.0,
            last_layers: 2,
            steps: 0,
            epochs: 3.0,
            batch: 32,
            siblings: 1,
            accumulation: 1,
            lr: 5e-4,
            decay: Decay::Cosine,
            warmup: 0.05,
            final_lr_fraction: 0.1,
            weight_decay: 0.05,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            clip_norm: 1.0,
            prompt_weight: 0.0,
            validation: 0.0,
            checkpoint_every: 100,
            compute: Compute::Auto,
            seed: 0,
        }
    }
}

optimiser_methods!(Params, FIT);

impl Params {
    /// Checks every number.
    ///
    /// # Errors
    /// [`Error::Param`] for the first that is out of its range.
    pub fn check(&self) -> Result<(), Error> {
        self.check_optimiser()?;
        let check = Check(FIT);
        check.at_least_one("batch", self.batch)?;
        check.not_negative("prompt_weight", self.prompt_weight)?;
        match self.method {
            Method::Full => Ok(()),
            Method::Lora => {
                check.at_least_one("lora_rank", self.lora_rank)?;
                check.positive("lora_alpha", self.lora_alpha)
            }
            Method::LastLayers => check.at_least_one("last_layers", self.last_layers),
        }
    }
}

/// Fits `policy` to the solutions by supervised learning; the loss is the mean cross-entropy of
/// their tokens, each weighted by its example's weight.
///
/// # Errors
/// Parameters or examples that cannot be used (before any work), a loss or gradient that is not
/// finite, and checkpoints that cannot be read or written. `policy` is untouched in all cases.
pub fn fit_policy(
    policy: &Decoder,
    examples: &[PolicyExample],
    params: &Params,
    context: &Context<'_>,
) -> Result<(Decoder, FitReport), Error> {
    params.check()?;
    for (index, example) in examples.iter().enumerate() {
        example.check(FIT, index, policy.config())?;
    }
    let held_out = |e: &PolicyExample| is_held_out(e.question, params.validation, params.seed);
    let (valid, train): (Vec<PolicyExample>, Vec<PolicyExample>) =
        examples.iter().cloned().partition(held_out);
    if train.is_empty() {
        return Err(Error::NoExamples {
            fit: FIT,
            what: "solutions to train on",
        });
    }
    let count = train.len();
    let batch = params.batch.min(count);
    let parts = params.accumulation.min(batch);
    let steps = step_count(params.steps, params.epochs, count, params.batch);
    let trunk = match params.method {
        Method::Full => free(policy.clone(), |_| true),
        Method::LastLayers => free_last_layers(policy.clone(), params.last_layers),
        Method::Lora => adapted(policy, params),
    };
    let no_values = VisitWeight {
        cap: 1.0,
        power: 1.0,
    };
    let prompt_weight = params.prompt_weight as f32;
    let job = Job {
        objective: Objective {
            fit: FIT,
            criterion: ValueLoss::Bce.into(),
            value_scale: 1.0,
            clip_norm: params.clip_norm,
            logits_at_once: LOGITS_AT_ONCE,
            by_hand: params.method != Method::Lora && can_by_hand(policy),
        },
        settings: params.settings(),
        schedule: params.schedule(steps),
        steps,
        parts,
        checkpoint_every: params.checkpoint_every,
        compute: params.compute,
        valid: TokenPasses::of_policies(&valid, batch.div_ceil(parts), prompt_weight),
        passes: Arc::new(TokenPasses {
            prompt_weight,
            parts,
            pieces: pieces(policy, batch.div_ceil(parts)),
            ..TokenPasses::new(no_values)
                .drawn(Drawing {
                    siblings: params.siblings,
                    ..Drawing::default()
                })
                .with_policy(train, batch, steps, params.seed)
        }),
        tags: Tags {
            steps: "policy",
            valid: "policy",
        },
        trunk: Some(trunk),
        head: None,
    };
    let (trunk, _, mut report) = run(job, context)?;
    report.examples = count;
    let trunk = trunk
        .map(Module::materialize)
        .unwrap_or_else(|| policy.clone());
    Ok((trunk, report))
}

/// The policy with fresh adapters on the matrices of its layers and everything else frozen.
fn adapted(policy: &Decoder, params: &Params) -> Decoder {
    // The adapters are drawn from the device's generator.
    policy.embedding.val().device().seed(params.seed);
    let matrices = ["qkv", "output", "gate_up", "down"];
    let paths: Vec<String> = (0..policy.layers.len())
        .flat_map(|layer| matrices.map(|name| format!("layers.{layer}.{name}.weight")))
        .collect();
    let lora = Lora::new(params.lora_rank, params.lora_alpha)
        .set_param_group(ParamGroup::from_paths(paths));
    free(policy.clone(), |_| true).apply_lora(lora)
}
