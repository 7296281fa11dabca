//! Gradients of a pass against central finite differences, and of a cut pass against a whole one.

use super::batch::{Rows, VisitWeight, policy_input, value_input, value_targets};
use super::example::{PolicyExample, ValueExample};
use super::fit::free;
use super::fit_value::{States, hidden_positions};
use super::learner::{Batch, LOGITS_AT_ONCE, Objective, Shared, Source, State, Trainee};
use super::loss::ValueLoss;
use super::optimiser::global_norm;
use super::passes::{Passes, TokenPasses};
use super::trie::distinct;
use crate::model::{Architecture, Config, Decoder, HeadKind, ValueHead};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{DType, Device, Tensor, TensorData};
use burn_train::Interrupter;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::{Arc, Mutex};

mod by_hand;
mod steps;
mod values;

const WEIGHT: VisitWeight = VisitWeight {
    cap: 8.0,
    power: 0.5,
};

/// A net small enough for differences.
pub(super) fn config() -> Config {
    Config {
        architecture: Architecture::Qwen2,
        vocab_size: 11,
        hidden_size: 8,
        intermediate_size: 12,
        num_hidden_layers: 1,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 4,
        max_position_embeddings: 64,
        rms_norm_eps: 1e-6,
        rope_theta: 10000.0,
        rope_scaling: None,
        tie_word_embeddings: true,
        attention_bias: true,
        bos_token_id: None,
        eos_token_ids: vec![0],
    }
}

fn examples() -> (Vec<PolicyExample>, Vec<ValueExample>) {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    let (mut policy, mut value) = (Vec::new(), Vec::new());
    for question in 0..6u64 {
        let n = 5 + question as usize;
        let tokens: Vec<u32> = (0..n).map(|_| rng.random_range(0..11)).collect();
        policy.push(PolicyExample {
            tokens: tokens.clone(),
            first: 2,
            weight: 0.5 + 0.1 * question as f32,
            question,
            aims: Vec::new(),
        });
        value.push(ValueExample {
            tokens,
            first: 1,
            targets: (0..n - 1).map(|_| rng.random_range(-1.0..1.0)).collect(),
            weights: (0..n - 1).map(|i| (i % 4) as f32 * 5.0).collect(),
            question,
            outcome: 1.0,
            probabilities: Vec::new(),
        });
    }
    (policy, value)
}

fn trainee(value_loss: ValueLoss, logits_at_once: usize) -> Trainee {
    let device = Device::flex();
    let config = config();
    let mut head = ValueHead::init(HeadKind::Mlp, config.hidden_size, 6, 3, &device);
    // A fresh head is zero in its last map, which hides the gradient of everything below.
    let score = (0..6).map(|i| 0.3 * i as f32 - 0.7).collect::<Vec<_>>();
    head.score = Param::from_data(TensorData::new(score, [6, 1]), &device);
    let mut trunk = Decoder::init(&config, 1, &device);
    // Fresh embeddings are about 0.02, and normalising such short vectors bends the loss so much
    // that no finite difference can follow.
    trunk.embedding = trunk.embedding.map(|e| e.mul_scalar(25.0));
    Trainee {
        trunk: Some(free(trunk, |_| true)),
        head: Some(free(head, |_| true)),
        shared: Shared {
            objective: Objective {
                fit: "test",
                criterion: value_loss.into(),
                value_scale: 0.7,
                clip_norm: 1.0,
                logits_at_once,
                by_hand: false,
            },
            interrupter: Interrupter::new(),
            outbox: Arc::default(),
            history: Arc::default(),
            state: Arc::new(Mutex::new(State::default())),
        },
    }
}

/// Two questions with four texts each that part at different depths: one text is the beginning of
/// another, two are the same. Right ones are solutions too.
fn siblings() -> (Vec<PolicyExample>, Vec<ValueExample>) {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    let (mut policy, mut value) = (Vec::new(), Vec::new());
    let texts: [&[u32]; 4] = [&[3, 5, 5, 2, 9], &[3, 5, 7], &[3, 5, 5], &[4, 1]];
    for (question, prompt) in [[1u32, 8, 6], [1, 2, 6]].into_iter().enumerate() {
        for text in texts.into_iter().chain([texts[0]]) {
            let tokens = [&prompt[..], text].concat();
            let n = text.len() + 1;
            value.push(ValueExample {
                tokens: tokens.clone(),
                first: 2,
                targets: (0..n).map(|_| rng.random_range(-1.0..1.0)).collect(),
                weights: (0..n)
                    .map(|i| ((i + text.len()) % 4) as f32 * 5.0)
                    .collect(),
                question: question as u64,
                outcome: 1.0,
                probabilities: Vec::new(),
            });
            policy.push(PolicyExample {
                tokens: [&tokens[..], &[0]].concat(),
                first: 3,
                weight: 0.5,
                question: question as u64,
                aims: Vec::new(),
            });
        }
    }
    (policy, value)
}

/// The passes of one step over all examples, cut into `parts`.
fn passes(policy: bool, value: bool, parts: usize) -> Vec<Batch> {
    passes_over(examples(), policy, value, parts)
}

fn passes_over(
    (solutions, trajectories): (Vec<PolicyExample>, Vec<ValueExample>),
    policy: bool,
    value: bool,
    parts: usize,
) -> Vec<Batch> {
    let mut all = TokenPasses::new(WEIGHT);
    if policy {
        let batch = solutions.len();
        all = all.with_policy(solutions, batch, 1, 0);
    }
    if value {
        let batch = trajectories.len();
        all = all.with_values(trajectories, batch, 1, 0);
    }
    all.prompt_weight = 0.2;
    all.parts = parts;
    (0..parts).flat_map(|part| all.pass(0, part)).collect()
}

/// Adds `delta` to parameter number `index`.
struct Nudge<'a> {
    index: usize,
    delta: &'a [f32],
    at: usize,
}

impl ModuleMapper for Nudge<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        self.at += 1;
        if self.at - 1 != self.index {
            return param;
        }
        let delta = self.delta.to_vec();
        param.map(|tensor| {
            let data = TensorData::new(delta, tensor.dims());
            (tensor.clone().inner() + Tensor::from_data(data, &tensor.device().inner()))
                .autodiff()
                .require_grad()
        })
    }
}

/// All gradients, flattened; zeros where there is none.
struct Flat<'a> {
    grads: &'a GradientsParams,
    all: Vec<Vec<f32>>,
}

impl ModuleVisitor for Flat<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.all.push(match self.grads.get::<D>(param.id) {
            Some(grad) => crate::model::layout::floats(grad),
            None => vec![0.0; param.val().shape().num_elements()],
        });
    }
}

fn flat(trainee: &Trainee, grads: &GradientsParams) -> Vec<Vec<f32>> {
    let mut flat = Flat {
        grads,
        all: Vec::new(),
    };
    trainee.visit(&mut flat);
    flat.all
}

fn norm(v: &[f32]) -> f64 {
    v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// Along the gradient's own direction the slope must be the gradient's norm (which any wrong length
/// or any surplus component breaks); along a random one it must be the projection (which a missing
/// component breaks). The loss is about 3 in f32, so it carries noise of about 5e-7; with a step of
/// 1e-2 that is 3e-5 of slope, and the third derivative adds about 1e-4 of it.
fn check(policy: bool, value: bool, loss: ValueLoss) {
    for by_hand in [false, true] {
        let mut trainee = trainee(loss, LOGITS_AT_ONCE);
        trainee.shared.objective.by_hand = by_hand;
        check_one(&trainee, &passes(policy, value, 1));
    }
    let mut trainee = trainee(loss, LOGITS_AT_ONCE);
    trainee.shared.objective.by_hand = true;
    let batches = passes_over(siblings(), policy, value, 1);
    check_one(&trainee, &batches);
    let report = trainee.passes(&batches).0;
    assert!(2 * report.tokens < report.sequence_tokens, "{report:?}");
}

fn check_one(trainee: &Trainee, batch: &[Batch]) {
    let (_, grads) = trainee.passes(batch);
    let gradients = flat(trainee, &grads);
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    let mut checked = 0;
    for (index, gradient) in gradients.iter().enumerate() {
        let random: Vec<f32> = gradient
            .iter()
            .map(|_| rng.random_range(-1.0..1.0))
            .collect();
        for direction in [gradient, &random] {
            let length = norm(direction);
            if length < 1e-6 {
                continue;
            }
            let unit: Vec<f32> = direction
                .iter()
                .map(|x| (f64::from(*x) / length) as f32)
                .collect();
            let step = 1e-2f32;
            let at = |sign: f32| {
                let delta: Vec<f32> = unit.iter().map(|u| u * step * sign).collect();
                let mut nudge = Nudge {
                    index,
                    delta: &delta,
                    at: 0,
                };
                trainee.clone().map(&mut nudge).passes(batch).0.loss
            };
            let slope = (at(1.0) - at(-1.0)) / f64::from(2.0 * step);
            let expected: f64 = gradient
                .iter()
                .zip(&unit)
                .map(|(g, u)| f64::from(*g) * f64::from(*u))
                .sum();
            assert!(
                (slope - expected).abs() < 3e-4 + 3e-3 * expected.abs(),
                "parameter {index}: slope {slope}, gradient {expected}"
            );
            checked += 1;
        }
    }
    assert!(checked > 10, "{checked}");
}

#[test]
fn cross_entropy_gradients_match_finite_differences() {
    check(true, false, ValueLoss::Bce);
}

#[test]
fn value_gradients_match_finite_differences() {
    check(false, true, ValueLoss::Bce);
    check(false, true, ValueLoss::Mse);
}

#[test]
fn joint_gradients_match_finite_differences() {
    check(true, true, ValueLoss::Bce);
}

/// Sums of a few hundred f32 terms in another order: relative differences of 1e-5 at most.
fn assert_same(a: &[Vec<f32>], b: &[Vec<f32>]) {
    assert_close(a, b, 2e-5);
}

fn assert_close(a: &[Vec<f32>], b: &[Vec<f32>], tolerance: f64) {
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        let difference: Vec<f32> = a.iter().zip(b).map(|(x, y)| x - y).collect();
        assert!(
            norm(&difference) < 1e-6 + tolerance * norm(a),
            "parameter {index}: {} of {}",
            norm(&difference),
            norm(a)
        );
    }
}

/// The same pass by hand, through Burn's autodiff, and its gradients.
fn both(mut trainee: Trainee, batches: &[Batch]) -> [(f64, Vec<Vec<f32>>); 2] {
    [false, true].map(|by_hand| {
        trainee.shared.objective.by_hand = by_hand;
        let (report, grads) = trainee.passes(batches);
        (report.loss, flat(&trainee, &grads))
    })
}
