//! Gradients of a pass against central finite differences, and of a cut pass against a whole one.

use super::batch::VisitWeight;
use super::example::{PolicyExample, ValueExample};
use super::fit::free;
use super::learner::{Batch, LOGITS_AT_ONCE, Objective, Shared, State, Trainee};
use super::loss::ValueLoss;
use super::optimiser::global_norm;
use super::passes::{Passes, TokenPasses};
use crate::model::{Architecture, Config, Decoder, HeadKind, ValueHead};
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use burn_train::Interrupter;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::{Arc, Mutex};

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

#[test]
fn a_step_whose_gradient_is_not_finite_is_skipped_and_five_in_a_row_end_the_fit() {
    use burn_train::TrainStep;
    let bits = |trainee: &Trainee| {
        let data = trainee.trunk.as_ref().unwrap().embedding.val().into_data();
        data.try_to_vec::<f32>().unwrap()
    };
    let batches = passes(true, true, 1);
    let mut trainee = trainee(ValueLoss::Mse, 1 << 20);
    let before = bits(&trainee);
    let mut optimiser = crate::train::optimiser::adamw(&crate::train::optimiser::Settings {
        beta1: 0.9,
        beta2: 0.98,
        epsilon: 1e-8,
        weight_decay: 0.1,
    });
    let shared = trainee.shared.clone();
    for skipped in 1..=5 {
        let mut grads = trainee.step(batches.clone()).grads;
        let embedding = trainee.trunk.as_ref().unwrap().embedding.id;
        let grad = grads.remove::<2>(embedding).unwrap();
        grads.register(embedding, grad.div_scalar(0.0));
        trainee = trainee.optimize(&mut optimiser, 1e-3.into(), grads);
        let history = shared.history.lock().unwrap();
        assert_eq!(history.steps.iter().filter(|s| s.skipped).count(), skipped);
        let state = shared.state.lock().unwrap();
        assert_eq!(state.failure.is_some(), skipped == 5);
        assert!(state.questions.is_empty(), "they are those of one step");
    }
    assert_eq!(bits(&trainee), before);
    let error = shared
        .state
        .lock()
        .unwrap()
        .failure
        .take()
        .unwrap()
        .to_string();
    assert!(error.contains("questions [0, 1, 2"), "{error}");
}

/// The passes of one step over all examples, cut into `parts`.
fn passes(policy: bool, value: bool, parts: usize) -> Vec<Batch> {
    let (solutions, trajectories) = examples();
    let mut all = TokenPasses::new(WEIGHT);
    if policy {
        all = all.with_policy(solutions, 6, 1, 0);
    }
    if value {
        all = all.with_values(trajectories, 6, 1, 0);
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
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        let difference: Vec<f32> = a.iter().zip(b).map(|(x, y)| x - y).collect();
        assert!(
            norm(&difference) < 1e-6 + 2e-5 * norm(a),
            "parameter {index}: {} of {}",
            norm(&difference),
            norm(a)
        );
    }
}

#[test]
fn the_parts_of_a_step_add_up_to_the_whole() {
    let trainee = trainee(ValueLoss::Bce, LOGITS_AT_ONCE);
    let (whole, grads) = trainee.pass(&passes(true, true, 1)[0]);
    let expected = flat(&trainee, &grads);
    for parts in [2, 3, 6] {
        let mut sum: Vec<Vec<f32>> = expected.iter().map(|g| vec![0.0; g.len()]).collect();
        let mut loss = 0.0f64;
        for batch in passes(true, true, parts) {
            let (report, grads) = trainee.pass(&batch);
            loss += report.loss;
            for (total, g) in sum.iter_mut().zip(flat(&trainee, &grads)) {
                total.iter_mut().zip(g).for_each(|(t, x)| *t += x);
            }
        }
        assert!((loss - whole.loss).abs() < 1e-5);
        assert_same(&expected, &sum);
    }
}

#[test]
fn logits_in_pieces_give_the_same_gradient() {
    let batch = passes(true, true, 1).remove(0);
    let whole = trainee(ValueLoss::Bce, LOGITS_AT_ONCE);
    let (report, grads) = whole.pass(&batch);
    // Four positions at a time.
    let pieces = trainee(ValueLoss::Bce, 4 * 11);
    let (report_in_pieces, grads_in_pieces) = pieces.pass(&batch);
    assert!((report.loss - report_in_pieces.loss).abs() < 1e-5);
    assert!(global_norm(&whole, &grads) > 0.1);
    assert_same(&flat(&whole, &grads), &flat(&pieces, &grads_in_pieces));
}

/// The same pass by hand, through Burn's autodiff, and its gradients.
fn both(mut trainee: Trainee, batches: &[Batch]) -> [(f64, Vec<Vec<f32>>); 2] {
    [false, true].map(|by_hand| {
        trainee.shared.objective.by_hand = by_hand;
        let (report, grads) = trainee.passes(batches);
        (report.loss, flat(&trainee, &grads))
    })
}

#[test]
fn gradients_by_hand_are_those_of_autodiff() {
    let device = Device::flex();
    let shapes = [
        config(),
        Config {
            architecture: Architecture::Llama,
            vocab_size: 70,
            hidden_size: 48,
            intermediate_size: 40,
            num_hidden_layers: 3,
            num_attention_heads: 6,
            num_key_value_heads: 2,
            head_dim: 12,
            tie_word_embeddings: false,
            attention_bias: false,
            ..config()
        },
    ];
    for (config, kind) in shapes.iter().zip([HeadKind::Mlp, HeadKind::Linear]) {
        for last_layers in [0, 1] {
            for parts in [1, 3] {
                let mut one = trainee(ValueLoss::Bce, 7 * 11);
                let mut trunk = Decoder::init(config, 1, &device);
                trunk.embedding = trunk.embedding.map(|e| e.mul_scalar(25.0));
                one.trunk = Some(crate::train::fit::free_last_layers(trunk, last_layers));
                let mut head = ValueHead::init(kind, config.hidden_size, 6, 3, &device);
                let n = head.score.dims()[0];
                let score: Vec<f32> = (0..n).map(|i| 0.3 * (i % 7) as f32 - 0.7).collect();
                head.score = Param::from_data(TensorData::new(score, [n, 1]), &device);
                one.head = Some(free(head, |_| true));
                let [(burn, a), (own, b)] = both(one, &passes(true, true, parts));
                assert!((burn - own).abs() < 1e-5 * burn.abs(), "{burn} and {own}");
                assert!(a.iter().filter(|g| norm(g) > 1e-4).count() > 8);
                for (index, (a, b)) in a.iter().zip(&b).enumerate() {
                    let difference: Vec<f32> = a.iter().zip(b).map(|(x, y)| x - y).collect();
                    assert!(
                        norm(&difference) < 1e-6 + 5e-5 * norm(a),
                        "parameter {index}: {} of {}",
                        norm(&difference),
                        norm(a)
                    );
                }
            }
        }
    }
}

#[test]
fn hidden_states_by_hand_are_those_of_the_decoder() {
    let trunk = trainee(ValueLoss::Bce, 1).trunk.unwrap().valid();
    let batch = passes(true, false, 1).remove(0);
    let crate::train::learner::Source::Tokens(rows) = &batch.source else {
        panic!("rows of tokens")
    };
    let own = crate::train::backward::hidden(&trunk, rows);
    let tokens = Tensor::<2, burn::tensor::Int>::from_data(
        TensorData::new(rows.tokens.clone(), [rows.rows, rows.time]),
        &Device::flex(),
    );
    let width = trunk.config().hidden_size;
    let burn = crate::model::layout::floats(trunk.hidden(tokens));
    for (row, length) in rows.lengths.iter().enumerate() {
        for at in row * rows.time * width..(row * rows.time + length) * width {
            assert!((own[at] - burn[at]).abs() < 1e-5);
        }
    }
}

#[test]
fn pieces_of_a_net_whose_weights_are_packed_by_all_threads_do_not_wait_for_each_other() {
    // Its gates and ups are more numbers than one thread packs.
    let config = Config {
        hidden_size: 256,
        intermediate_size: 640,
        num_attention_heads: 4,
        head_dim: 64,
        ..config()
    };
    let mut one = trainee(ValueLoss::Bce, LOGITS_AT_ONCE);
    let device = Device::flex();
    one.trunk = Some(free(Decoder::init(&config, 1, &device), |_| true));
    one.head = Some(free(
        ValueHead::init(HeadKind::Linear, 256, 0, 3, &device),
        |_| true,
    ));
    one.shared.objective.by_hand = true;
    let batches = passes(true, true, 6);
    for _ in 0..3 {
        assert!(one.passes(&batches).0.loss.is_finite());
    }
}
