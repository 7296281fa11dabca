//! The module that burn-train trains: a trunk, a value head, or both on one trunk.

use super::backward;
use super::batch::{Rows, Targets};
use super::checkpointer::History;
use super::error::Error;
use super::goal::Goal;
use super::loss::{Criterion, cross_entropy};
use super::optimiser;
use super::pull::{Pull, Want};
use super::report::{Outbox, StepReport, lock};
use super::siblings::Pairs;
use crate::kernels::Team;
use crate::model::device::is_cpu;
use crate::model::{Decoder, ValueHead};
use burn::module::Module;
use burn::optim::lr_scheduler::module_lr_scheduler::ModuleLearningRate;
use burn::optim::{GradientsAccumulator, GradientsParams, ModuleOptimizer};
use burn::tensor::{Device, Int, Tensor, TensorData};
use burn_train::{InferenceStep, Interrupter, TrainOutput, TrainStep};
use rayon::prelude::*;
use std::sync::{Arc, Mutex};

/// Logits that are held at once; above this the vocabulary projection goes in pieces. A Qwen2
/// vocabulary of 152k allows 110 positions, which is 67 MB a copy.
pub(crate) const LOGITS_AT_ONCE: usize = 1 << 24;

/// Steps that may be skipped one after the other before a fit gives up.
const SKIPS_IN_A_ROW: usize = 5;

/// What a pass computes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Objective {
    pub fit: &'static str,
    pub criterion: Criterion,
    /// Factor of the value loss where both losses are fitted.
    pub value_scale: f64,
    /// Limit of the gradient's global norm.
    pub clip_norm: f64,
    /// Logits that are held at once.
    pub logits_at_once: usize,
    /// Whether the gradients of a trunk are those of [`backward`]; else they are Burn's.
    pub by_hand: bool,
}

/// Where the hidden states come from.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// A pass of the trunk.
    Tokens(Rows),
    /// `[n, hidden]`, computed before: the trunk is frozen.
    Hidden(Box<Tensor<2>>),
}

/// One pass: rows, and the positions whose losses are summed. Rows of both kinds share the pass.
#[derive(Debug, Clone)]
pub(crate) struct Batch {
    pub source: Source,
    /// Ids of the questions in it.
    pub questions: Vec<u64>,
    pub policy: Option<Targets<Want>>,
    pub value: Option<Targets<f32>>,
    /// How often each member of an ensemble sees the question of a value target, `[targets, members]`;
    /// empty for once.
    pub copies: Vec<f32>,
    /// Value targets that are compared.
    pub pairs: Pairs,
}

impl Batch {
    /// What the value is to learn, if there is anything.
    pub fn goal(&self) -> Option<Goal<'_>> {
        let targets = self.value.as_ref().filter(|t| !t.wanted.is_empty())?;
        Some(Goal {
            targets,
            copies: &self.copies,
            pairs: &self.pairs,
        })
    }
}

impl Batch {
    /// The tokens of a pass that shares no beginnings.
    pub fn tokens(&self) -> StepReport {
        let Source::Tokens(rows) = &self.source else {
            return StepReport::default();
        };
        let positions = self.value.iter().flat_map(|targets| &targets.positions);
        StepReport {
            tokens: rows.real as u64,
            sequence_tokens: rows.real as u64,
            prefix_tokens: positions
                .map(|&p| (p as usize % rows.time) as u64 + 1)
                .sum(),
            ..StepReport::default()
        }
    }
}

/// What all clones of a [`Trainee`] share.
#[derive(Clone)]
pub(crate) struct Shared {
    pub objective: Objective,
    pub interrupter: Interrupter,
    pub outbox: Arc<Mutex<Outbox>>,
    pub history: Arc<Mutex<History>>,
    pub state: Arc<Mutex<State>>,
}

/// The optimiser step in progress.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub current: StepReport,
    /// Ids of its questions.
    pub questions: Vec<u64>,
    pub failure: Option<Error>,
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.objective.fmt(f)
    }
}

impl Shared {
    /// Passes over the step in hand, whose `what` is `value`. Too many such steps in a row stop the
    /// fit; the weights are still those of the last good one.
    fn skip(&self, what: &'static str, value: f64) {
        let fit = self.objective.fit;
        let mut history = lock(&self.history);
        let step = history.steps.len();
        let state = &mut *lock(&self.state);
        let mut report = std::mem::take(&mut state.current);
        let mut questions = std::mem::take(&mut state.questions);
        questions.sort_unstable();
        questions.dedup();
        tracing::warn!(
            "{fit} fit, step {step}: the {what} is {value}, so that the step is skipped; questions {questions:?}"
        );
        report.skipped = true;
        history.steps.push(report);
        lock(&self.outbox).steps.push(report);
        let in_a_row = (history.steps.iter().rev())
            .take_while(|r| r.skipped)
            .count();
        if in_a_row >= SKIPS_IN_A_ROW {
            state.failure.get_or_insert(Error::NonFinite {
                fit,
                step,
                what,
                value,
                in_a_row,
                questions,
            });
            self.interrupter.stop(Some("a number is not finite"));
        }
    }

    fn failed(&self) -> bool {
        lock(&self.state).failure.is_some()
    }
}

/// Decoder and value head under training.
#[derive(Module, Debug)]
pub(crate) struct Trainee {
    pub trunk: Option<Decoder>,
    pub head: Option<ValueHead>,
    #[module(skip)]
    pub shared: Shared,
}

/// `[n]` integers on `device`.
pub(crate) fn ints(data: &[i32], device: &Device) -> Tensor<1, Int> {
    Tensor::from_data(TensorData::new(data.to_vec(), [data.len()]), device)
}

/// `[n]` numbers, each divided by `by`.
fn floats(data: &[f32], by: f64, device: &Device) -> Tensor<1> {
    let data: Vec<f32> = data.iter().map(|x| (f64::from(*x) / by) as f32).collect();
    let n = data.len();
    Tensor::from_data(TensorData::new(data, [n]), device)
}

fn read(scalar: &Tensor<1>) -> f64 {
    f64::from(scalar.clone().inner().into_scalar::<f32>())
}

/// Hidden states of right-padded rows, flattened: `[rows * time, hidden]`.
pub(crate) fn hidden_states(trunk: &Decoder, rows: &Rows, device: &Device) -> Tensor<2> {
    if is_cpu(device) && !trunk.embedding.val().is_autodiff() {
        let shape = [rows.rows * rows.time, trunk.config().hidden_size];
        let data = TensorData::new(backward::hidden(trunk, rows), shape);
        return Tensor::from_data(data, device);
    }
    let tokens = ints(&rows.tokens, device).reshape([rows.rows, rows.time]);
    let hidden = trunk.hidden(tokens);
    let [batch, time, width] = hidden.dims();
    hidden.reshape([batch * time, width])
}

impl Trainee {
    fn device(&self) -> Device {
        let first = self.devices().into_iter().next().unwrap_or_default();
        // Inputs need no gradient; their device only has to be that of the parameters.
        first.inner()
    }

    fn hidden(&self, source: &Source, device: &Device) -> Tensor<2> {
        match (source, &self.trunk) {
            (Source::Hidden(hidden), _) => Tensor::clone(hidden),
            (Source::Tokens(rows), Some(trunk)) => hidden_states(trunk, rows, device),
            (Source::Tokens(_), None) => unreachable!("token batches are made for fits of a trunk"),
        }
    }

    /// The value loss of a pass, its targets' divided by their total.
    fn value_loss(&self, hidden: &Tensor<2>, batch: &Batch) -> Option<Tensor<1>> {
        let (head, goal) = (self.head.as_ref()?, batch.goal()?);
        let positions = ints(&goal.targets.positions, &self.device());
        let logits = head.logits(hidden.clone().select(0, positions));
        Some(goal.sum(logits, &head.readout, &self.shared.objective.criterion))
    }

    /// The policy's loss over rows `range` of the selected `hidden`.
    fn policy_part(
        &self,
        hidden: Tensor<2>,
        targets: &Targets<Want>,
        range: std::ops::Range<usize>,
    ) -> Option<Tensor<1>> {
        let device = self.device();
        let logits = self.trunk.as_ref()?.logits(hidden);
        let wants = &targets.wanted[range.clone()];
        let weights = &targets.weights[range];
        if wants.iter().all(|want| want.pull == Pull::Imitate) {
            let labels: Vec<i32> = wants.iter().map(|want| want.token as i32).collect();
            return Some(cross_entropy(
                logits,
                ints(&labels, &device),
                floats(weights, targets.total, &device),
            ));
        }
        Some(pulled(logits, wants, weights, targets.total))
    }

    fn vocabulary(&self) -> usize {
        self.trunk.as_ref().map_or(1, |t| t.config().vocab_size)
    }

    /// Positions whose logits are held at once.
    fn piece(&self) -> usize {
        (self.shared.objective.logits_at_once / self.vocabulary()).max(1)
    }

    /// Losses and gradients of a pass in pieces, which are computed side by side and added up in
    /// their order.
    pub(crate) fn passes(&self, pieces: &[Batch]) -> (StepReport, GradientsParams) {
        let tokens = |batch: &Batch| matches!(batch.source, Source::Tokens(_));
        let results: Vec<(StepReport, GradientsParams)> = match &self.trunk {
            Some(trunk) if self.shared.objective.by_hand && pieces.iter().all(tokens) => {
                self.passes_by_hand(trunk, pieces)
            }
            _ => {
                if let [batch] = pieces {
                    return self.pass(batch);
                }
                let device = self.device().autodiff();
                // Each piece has its own leaves, or the graphs would grow together and wait for
                // each other.
                let run = |batch| self.clone().fork(&device).pass(batch);
                pieces.par_iter().map(run).collect()
            }
        };
        let mut sum = GradientsAccumulator::new();
        let mut total = StepReport::default();
        for (report, grads) in results {
            total.add(&report);
            sum.accumulate(self, grads);
        }
        (total, sum.grads())
    }

    fn passes_by_hand(
        &self,
        trunk: &Decoder,
        pieces: &[Batch],
    ) -> Vec<(StepReport, GradientsParams)> {
        let weights = backward::Weights::new(trunk);
        let (head, objective) = (self.head.as_ref(), &self.shared.objective);
        let team = match pieces.len() {
            1 => Team::All,
            _ => Team::Alone,
        };
        let run = |batch| backward::pass(team, &weights, head, batch, objective);
        pieces.par_iter().map(run).collect()
    }

    /// Losses and gradients of one piece, by Burn.
    pub(crate) fn pass(&self, batch: &Batch) -> (StepReport, GradientsParams) {
        let device = self.device();
        let hidden = self.hidden(&batch.source, &device);
        let mut report = batch.tokens();
        let mut total: Option<Tensor<1>> = None;
        let mut add = |part: Tensor<1>| {
            total = Some(match total.take() {
                Some(sum) => sum + part,
                None => part,
            });
        };
        let mut pieces = GradientsAccumulator::new();
        if let Some(loss) = self.value_loss(&hidden, batch) {
            report.value_loss = Some(read(&loss));
            add(loss.mul_scalar(self.shared.objective.value_scale));
        }
        if let Some(targets) = batch.policy.as_ref().filter(|t| !t.wanted.is_empty()) {
            let n = targets.wanted.len();
            let at = hidden.select(0, ints(&targets.positions, &device));
            if n <= self.piece() {
                if let Some(loss) = self.policy_part(at, targets, 0..n) {
                    report.policy_loss = Some(read(&loss));
                    add(loss);
                }
            } else {
                let (loss, surrogate) = self.policy_in_pieces(at, targets, &mut pieces);
                report.policy_loss = Some(loss);
                add(surrogate);
            }
        }
        report.combine(self.shared.objective.value_scale);
        if let Some(total) = total.filter(|_| report.loss.is_finite()) {
            pieces.accumulate(self, GradientsParams::from_grads(total.backward(), self));
        }
        (report, pieces.grads())
    }

    /// Cross-entropy with the logits of a few positions at a time. Each piece runs back to its
    /// hidden states at once, so its logits can go; their gradient `g` then reaches the trunk through
    /// a stand-in for the loss, `sum(hidden * g)`, which has that very gradient.
    fn policy_in_pieces(
        &self,
        hidden: Tensor<2>,
        targets: &Targets<Want>,
        pieces: &mut GradientsAccumulator<Self>,
    ) -> (f64, Tensor<1>) {
        let n = targets.wanted.len();
        let values = hidden.clone().inner();
        let mut loss = 0.0;
        let mut gradients = Vec::new();
        for start in (0..n).step_by(self.piece()) {
            let range = start..(start + self.piece()).min(n);
            let leaf = values
                .clone()
                .slice(range.clone())
                .autodiff()
                .require_grad();
            let Some(part) = self.policy_part(leaf.clone(), targets, range) else {
                continue;
            };
            loss += read(&part);
            let mut grads = part.backward();
            gradients.extend(leaf.grad_remove(&mut grads));
            pieces.accumulate(self, GradientsParams::from_grads(grads, self));
        }
        (loss, (hidden * Tensor::cat(gradients, 0)).sum())
    }
}

/// The loss of rows of logits, with the gradient that [`Want::apply`] gives by hand: a stand-in that has
/// its value and its gradient.
fn pulled(logits: Tensor<2>, wants: &[Want], weights: &[f32], total: f64) -> Tensor<1> {
    let [n, vocab] = logits.dims();
    let mut rows = crate::model::layout::floats(logits.clone().inner());
    let mut loss = 0.0;
    for ((row, want), weight) in rows.chunks_exact_mut(vocab).zip(wants).zip(weights) {
        loss += want.apply(row, f64::from(*weight) / total);
    }
    let gradient = TensorData::new(rows, [n, vocab]);
    let gradient = Tensor::<2>::from_data(gradient, &logits.device());
    let stand_in = (logits * gradient).sum();
    (stand_in.clone() - stand_in.detach()).add_scalar(loss)
}

impl TrainStep for Trainee {
    type Input = Vec<Batch>;
    type Output = ();

    fn step(&self, pieces: Vec<Batch>) -> TrainOutput<()> {
        let (report, grads) = self.passes(&pieces);
        let mut state = lock(&self.shared.state);
        state.current.add(&report);
        let questions = pieces.iter().flat_map(|piece| &piece.questions);
        state.questions.extend(questions);
        TrainOutput { grads, item: () }
    }

    fn optimize(
        self,
        optimiser: &mut ModuleOptimizer,
        lr: ModuleLearningRate,
        grads: GradientsParams,
    ) -> Self {
        if self.shared.failed() {
            return self;
        }
        let loss = lock(&self.shared.state).current.loss;
        if !loss.is_finite() {
            self.shared.skip("loss", loss);
            return self;
        }
        let norm = optimiser::global_norm(&self, &grads);
        if !norm.is_finite() {
            self.shared.skip("gradient's norm", norm);
            return self;
        }
        let grads = optimiser::clip(&self, grads, norm, self.shared.objective.clip_norm);
        let mut state = lock(&self.shared.state);
        state.questions.clear();
        let mut report = std::mem::take(&mut state.current);
        drop(state);
        report.grad_norm = norm;
        report.lr = lr.base();
        lock(&self.shared.history).steps.push(report);
        lock(&self.shared.outbox).steps.push(report);
        optimiser.step(lr, self, grads)
    }
}

impl InferenceStep for Trainee {
    type Input = Vec<Batch>;
    type Output = ();

    fn step(&self, batches: Vec<Batch>) {
        for batch in &batches {
            self.validate(batch);
        }
    }
}

impl Trainee {
    fn validate(&self, batch: &Batch) {
        let device = self.device();
        let hidden = self.hidden(&batch.source, &device);
        let mut sums = (0.0, 0.0);
        if let Some(targets) = &batch.value
            && let Some(loss) = self.value_loss(&hidden, batch)
        {
            sums.0 += read(&loss) * targets.total;
            sums.1 += targets.total;
        }
        if let Some(targets) = &batch.policy {
            let n = targets.wanted.len();
            for start in (0..n).step_by(self.piece()) {
                let range = start..(start + self.piece()).min(n);
                let positions = ints(&targets.positions[range.clone()], &device);
                let at = hidden.clone().select(0, positions);
                if let Some(part) = self.policy_part(at, targets, range) {
                    sums.0 += read(&part) * targets.total;
                }
            }
            sums.1 += targets.total;
        }
        let mut outbox = lock(&self.shared.outbox);
        outbox.valid.0 += sums.0;
        outbox.valid.1 += sums.1;
    }
}
