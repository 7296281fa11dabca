//! Fits a value net: a head on the frozen policy trunk, or a trunk of its own.

use super::assess::assess;
use super::batch::{Targets, VisitWeight, value_input, value_targets};
use super::check::{Check, optimiser_methods};
use super::error::Error;
use super::example::{ValueExample, is_held_out};
use super::fit::{Compute, Context, Job, can_by_hand, free, free_last_layers, run, step_count};
use super::learner::{Batch, LOGITS_AT_ONCE, Objective, Source, hidden_states};
use super::loss::ValueLoss;
use super::passes::{HiddenPasses, TokenPasses, pieces, reading};
use super::plan::plan;
use super::report::{FitReport, StepReport, Tags};
use super::schedule::Decay;
use super::trie::distinct;
use crate::model::{Decoder, ValueHead};
use burn::module::Module;
use burn::tensor::{Int, Tensor, TensorData};
use std::sync::Arc;

const FIT: &str = "value";

/// What a value fit moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Only the head. The hidden states of the frozen trunk are computed once.
    Head,
    /// The head and a trunk, which usually starts as a copy of the policy.
    Trunk,
}

/// How a value net is fitted.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// What moves: `head` or `trunk`. Default `head`.
    pub kind: Kind,
    /// Layers of the trunk that move, the last ones, where `kind` is `trunk`; 0 for all weights.
    /// Default 0.
    pub last_layers: usize,
    /// The loss: `bce` or `mse`. Default `bce`.
    pub loss: ValueLoss,
    /// A target weighs `min(visits, weight_cap) ^ weight_power`. Default 8.
    pub weight_cap: f64,
    /// See `weight_cap`. Default 0.5.
    pub weight_power: f64,
    /// Optimiser steps; 0 takes `epochs` instead. Default 600.
    pub steps: usize,
    /// Passes over the training examples, where `steps` is 0. Default 4.
    pub epochs: f64,
    /// Trajectories in an optimiser step, where a trunk is trained. Default 48.
    pub batch: usize,
    /// Trajectories of a question that are drawn into a step together, where a trunk is trained; 0 for
    /// all. On the CPU what they begin with together is computed once, so that more of them cost less; but
    /// a step then sees fewer questions. Default 1.
    pub siblings: usize,
    /// Positions in an optimiser step, where only the head is trained. Default 1024.
    pub positions: usize,
    /// Forward and backward passes that an optimiser step is cut into, to save memory; the result is
    /// that of one pass up to rounding. Default 1.
    pub accumulation: usize,
    /// Peak learning rate. Default 1e-3.
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
    /// Share of the questions held out to validate on. Default 0.05.
    pub validation: f64,
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
            kind: Kind::Head,
            last_layers: 0,
            loss: ValueLoss::Bce,
            weight_cap: 8.0,
            weight_power: 0.5,
            steps: 600,
            epochs: 4.0,
            batch: 48,
            siblings: 1,
            positions: 1024,
            accumulation: 1,
            lr: 1e-3,
            decay: Decay::Linear,
            warmup: 30.0,
            final_lr_fraction: 0.05,
            weight_decay: 0.05,
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            clip_norm: 1.0,
            validation: 0.05,
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
        check.at_least_one("positions", self.positions)?;
        check.positive("weight_cap", self.weight_cap)?;
        check.not_negative("weight_power", self.weight_power)
    }

    /// How visits weigh.
    pub fn visit_weight(&self) -> VisitWeight {
        VisitWeight {
            cap: self.weight_cap as f32,
            power: self.weight_power as f32,
        }
    }
}

/// Fits `head`, and with [`Kind::Trunk`] also `trunk`, to the targets of `examples`.
///
/// Returns the trunk (the given one, where it is frozen), the head, and a report whose `value` is an
/// [`assess`]ment on the held-out questions, if there are any.
///
/// # Errors
/// Parameters or examples that cannot be used (before any work), a loss or gradient that is not
/// finite, and checkpoints that cannot be read or written.
pub fn fit_value(
    trunk: &Decoder,
    head: &ValueHead,
    examples: &[ValueExample],
    params: &Params,
    context: &Context<'_>,
) -> Result<(Decoder, ValueHead, FitReport), Error> {
    params.check()?;
    for (index, example) in examples.iter().enumerate() {
        example.check(FIT, index, trunk.config())?;
    }
    let held_out = |e: &ValueExample| is_held_out(e.question, params.validation, params.seed);
    let (valid, train): (Vec<ValueExample>, Vec<ValueExample>) =
        examples.iter().cloned().partition(held_out);
    let weight = params.visit_weight();
    if !train.iter().any(|e| e.weights.iter().any(|w| *w > 0.0)) {
        return Err(Error::NoExamples {
            fit: FIT,
            what: "visited positions to train on",
        });
    }
    let count = train.len();
    let objective = Objective {
        fit: FIT,
        value_loss: params.loss,
        value_scale: 1.0,
        clip_norm: params.clip_norm,
        logits_at_once: LOGITS_AT_ONCE,
        by_hand: can_by_hand(trunk),
    };
    let all: Vec<&ValueExample> = valid.iter().collect();
    let free_head = Some(free(head.clone(), |_| true));
    let mut frozen = StepReport::default();
    let job = match params.kind {
        Kind::Head => {
            let (hidden, targets, taken) = hidden_positions(trunk, &train, weight);
            frozen = taken;
            let n = targets.wanted.len();
            let steps = step_count(params.steps, params.epochs, n, params.positions);
            let valid = if valid.is_empty() {
                Vec::new()
            } else {
                let (hidden, targets, _) = hidden_positions(trunk, &valid, weight);
                vec![Batch {
                    source: Source::Hidden(Box::new(hidden)),
                    questions: Vec::new(),
                    policy: None,
                    value: Some(targets),
                }]
            };
            Job {
                objective,
                settings: params.settings(),
                schedule: params.schedule(steps),
                steps,
                parts: 1,
                checkpoint_every: params.checkpoint_every,
                compute: params.compute,
                passes: Arc::new(HiddenPasses {
                    hidden,
                    targets,
                    plan: plan(&vec![1; n], params.positions, steps, params.seed),
                }),
                valid,
                tags: Tags {
                    steps: "value",
                    valid: "value",
                },
                trunk: None,
                head: free_head,
            }
        }
        Kind::Trunk => {
            let batch = params.batch.min(count);
            let parts = params.accumulation.min(batch);
            let steps = step_count(params.steps, params.epochs, count, params.batch);
            Job {
                objective,
                settings: params.settings(),
                schedule: params.schedule(steps),
                steps,
                parts,
                checkpoint_every: params.checkpoint_every,
                compute: params.compute,
                valid: TokenPasses::of_values(&all, batch.div_ceil(parts), weight),
                passes: Arc::new(TokenPasses {
                    parts,
                    pieces: pieces(trunk, batch.div_ceil(parts)),
                    ..TokenPasses::drawn(weight, params.siblings).with_values(
                        train,
                        batch,
                        steps,
                        params.seed,
                    )
                }),
                tags: Tags {
                    steps: "value",
                    valid: "value",
                },
                trunk: Some(free_last_layers(trunk.clone(), params.last_layers)),
                head: free_head,
            }
        }
    };
    let (new_trunk, new_head, mut report) = run(job, context)?;
    let new_trunk = new_trunk.unwrap_or_else(|| trunk.clone());
    let new_head = new_head.unwrap_or_else(|| head.clone());
    report.examples = count;
    report.tokens += frozen.tokens;
    report.sequence_tokens += frozen.sequence_tokens;
    report.prefix_tokens += frozen.prefix_tokens;
    if !valid.is_empty() {
        let judged = assess(&new_trunk, &new_head, &valid, params.loss, weight);
        judged.report(context, report.steps);
        report.value = Some(judged);
    }
    Ok((new_trunk, new_head, report))
}

/// The hidden states of all weighted positions, `[n, hidden]`, with their targets; and the tokens that
/// this took.
pub(super) fn hidden_positions(
    trunk: &Decoder,
    examples: &[ValueExample],
    weight: VisitWeight,
) -> (Tensor<2>, Targets<f32>, StepReport) {
    const ROWS: usize = 64;
    let trunk = trunk.valid();
    let device = trunk.embedding.val().device();
    let pick = |positions: Vec<i32>| {
        let n = positions.len();
        Tensor::<1, Int>::from_data(TensorData::new(positions, [n]), &device)
    };
    let mut sorted: Vec<&ValueExample> = examples.iter().collect();
    sorted.sort_by_key(|e| e.needed());
    let mut hidden = Vec::new();
    // Where each example's states begin among those that were computed.
    let mut starts = vec![0; sorted.len()];
    let (mut count, mut tokens) = (0, StepReport::default());
    for chunk in reading(&trunk, &sorted, ROWS) {
        let some: Vec<&ValueExample> = chunk.iter().map(|&i| sorted[i]).collect();
        for (&i, example) in chunk.iter().zip(&some) {
            starts[i] = count;
            count += value_targets(&[example], 0, 0, weight).wanted.len() as i32;
        }
        for batch in TokenPasses::of_values(&some, some.len(), weight) {
            let mut report = batch.tokens();
            let (Source::Tokens(rows), Some(targets)) = (&batch.source, batch.value) else {
                continue;
            };
            if targets.wanted.is_empty() {
                continue;
            }
            if can_by_hand(&trunk) {
                let inputs: Vec<&[u32]> = some.iter().map(|e| value_input(e)).collect();
                report.tokens = distinct(&inputs) as u64;
            }
            tokens.add(&report);
            let states = hidden_states(&trunk, rows, &device);
            hidden.push(states.select(0, pick(targets.positions)));
        }
    }
    let mut all = value_targets(&sorted, 0, 0, weight);
    let order = sorted.iter().zip(starts).flat_map(|(example, start)| {
        let n = value_targets(&[example], 0, 0, weight).wanted.len() as i32;
        start..start + n
    });
    all.positions = (0..all.wanted.len() as i32).collect();
    let hidden = Tensor::cat(hidden, 0).select(0, pick(order.collect()));
    (hidden, all, tokens)
}
