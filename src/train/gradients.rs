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

/// The gradients of all matrices, one after the other.
fn all_gradients(trainee: &Trainee, grads: &GradientsParams) -> Vec<f32> {
    struct Collect<'a>(&'a GradientsParams, Vec<f32>);
    impl ModuleVisitor for Collect<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            let grad = self.0.get::<D>(param.id).unwrap();
            assert_eq!(
                grad.dtype(),
                DType::F32,
                "gradients are those of the masters"
            );
            self.1.extend(grad.into_data().try_to_vec::<f32>().unwrap());
        }
    }
    let mut all = Collect(grads, Vec::new());
    trainee.visit(&mut all);
    all.1
}

#[test]
fn passes_in_bfloat16_have_the_gradients_of_f32_up_to_its_rounding() {
    let batch = &passes(true, true, 1)[0];
    let exact = trainee(ValueLoss::Bce, 1 << 20);
    let mut rounded = exact.clone();
    rounded.trunk = rounded.trunk.map(|t| t.computing_in(DType::BF16));
    let (a, b) = (exact.pass(batch), rounded.pass(batch));
    assert_ne!(a.0.loss, b.0.loss, "nothing was computed in bfloat16");
    assert!(
        (a.0.loss - b.0.loss).abs() < 0.01 * a.0.loss,
        "{} {}",
        a.0.loss,
        b.0.loss
    );
    let (a, b) = (all_gradients(&exact, &a.1), all_gradients(&rounded, &b.1));
    let square = |x: &mut dyn Iterator<Item = f32>| x.map(|x| f64::from(x * x)).sum::<f64>().sqrt();
    let error = square(&mut a.iter().zip(&b).map(|(a, b)| a - b)) / square(&mut a.iter().copied());
    assert!(error > 1e-5 && error < 0.03, "relative error {error}");
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
                assert_close(&a, &b, 5e-5);
            }
        }
    }
}

/// A state that several sequences share gets the sum of their gradients: those of the step are those of
/// a pass for each sequence.
#[test]
fn shared_beginnings_give_the_gradients_of_separate_sequences() {
    let device = Device::flex();
    let config = Config {
        hidden_size: 24,
        intermediate_size: 40,
        num_hidden_layers: 3,
        ..config()
    };
    for (policy, value) in [(true, true), (true, false), (false, true)] {
        for last_layers in [0, 2] {
            let mut one = trainee(ValueLoss::Bce, 7 * 11);
            let mut trunk = Decoder::init(&config, 1, &device);
            trunk.embedding = trunk.embedding.map(|e| e.mul_scalar(25.0));
            one.trunk = Some(crate::train::fit::free_last_layers(trunk, last_layers));
            let mut head = ValueHead::init(HeadKind::Mlp, 24, 6, 3, &device);
            let score = (0..6).map(|i| 0.3 * i as f32 - 0.7).collect::<Vec<_>>();
            head.score = Param::from_data(TensorData::new(score, [6, 1]), &device);
            one.head = Some(free(head, |_| true));
            let (solutions, trajectories) = siblings();
            let count = (usize::from(policy) + usize::from(value)) * trajectories.len();
            let batches = |parts| {
                let all = (solutions.clone(), trajectories.clone());
                passes_over(all, policy, value, parts)
            };
            let rows = |batches: &[Batch]| -> Vec<usize> {
                let rows = |batch: &Batch| match &batch.source {
                    Source::Tokens(rows) => rows.rows,
                    Source::Hidden(_) => 0,
                };
                batches.iter().map(rows).collect()
            };
            assert_eq!(rows(&batches(1)), [count]);
            assert_eq!(rows(&batches(count)), vec![1; count]);

            one.shared.objective.by_hand = true;
            let (together, a) = one.passes(&batches(1));
            let (apart, b) = one.passes(&batches(count));
            let a = flat(&one, &a);
            assert!(a.iter().filter(|g| norm(g) > 1e-4).count() > 8);
            assert!((together.loss - apart.loss).abs() < 1e-6 * apart.loss.abs());
            assert_close(&a, &flat(&one, &b), 1e-5);
            let [(burn, c), _] = both(one, &batches(1));
            assert!((burn - together.loss).abs() < 1e-5 * burn.abs());
            assert_close(&c, &a, 5e-5);

            assert_eq!(apart.tokens, apart.sequence_tokens);
            assert_eq!(together.sequence_tokens, apart.sequence_tokens);
            let inputs = solutions.iter().filter(|_| policy).map(policy_input);
            let inputs = inputs.chain(trajectories.iter().filter(|_| value).map(value_input));
            let beginnings: std::collections::BTreeSet<&[u32]> = inputs
                .flat_map(|line| (1..=line.len()).map(|end| &line[..end]))
                .collect();
            assert_eq!(together.tokens, beginnings.len() as u64);
            let prefix = |e: &ValueExample| -> usize {
                let learned = e.weights.iter().enumerate().filter(|(_, w)| **w > 0.0);
                learned.map(|(i, _)| e.first + i + 1).sum()
            };
            let prefixes: usize = trajectories.iter().filter(|_| value).map(prefix).sum();
            assert_eq!(together.prefix_tokens, prefixes as u64);
        }
    }
}

/// Pieces keep the texts of a question together where they can, and a text of either kind is in one.
#[test]
fn a_step_is_cut_between_questions() {
    let mut all = TokenPasses::new(WEIGHT);
    let (mut solutions, mut trajectories) = (Vec::new(), Vec::new());
    for question in 0..8u64 {
        let (policy, value) = siblings();
        for (mut p, mut v) in policy.into_iter().zip(value).take(5) {
            for tokens in [&mut p.tokens, &mut v.tokens] {
                tokens[1] = 2 + question as u32;
            }
            (p.question, v.question) = (question, question);
            solutions.push(p);
            trajectories.push(v);
        }
    }
    all = all
        .with_policy(solutions, 40, 1, 0)
        .with_values(trajectories, 40, 1, 0);
    all.pieces = 4;
    let pieces = all.pass(0, 0);
    let mut questions: Vec<u64> = Vec::new();
    for piece in &pieces {
        let of: std::collections::BTreeSet<u64> = piece.questions.iter().copied().collect();
        assert_eq!((piece.questions.len(), of.len()), (20, 2));
        questions.extend(of);
    }
    questions.sort_unstable();
    assert_eq!(questions, [0, 1, 2, 3, 4, 5, 6, 7]);
    // Fewer questions than pieces: then within them.
    all.pieces = 16;
    let pieces = all.pass(0, 0);
    assert_eq!(pieces.len(), 16);
    assert!(pieces.iter().all(|piece| piece.questions.len() < 10));
}

#[test]
fn hidden_states_by_hand_are_those_of_the_decoder() {
    let trunk = trainee(ValueLoss::Bce, 1).trunk.unwrap().valid();
    for examples in [examples(), siblings()] {
        let batch = passes_over(examples, true, false, 1).remove(0);
        let Source::Tokens(rows) = &batch.source else {
            panic!("rows of tokens")
        };
        hidden_states_agree(&trunk, rows);
    }
}

fn hidden_states_agree(trunk: &Decoder, rows: &Rows) {
    let own = crate::train::backward::hidden(trunk, rows);
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
fn states_for_a_head_are_those_of_separate_sequences_in_the_order_of_their_lengths() {
    let trunk = trainee(ValueLoss::Bce, 1).trunk.unwrap().valid();
    let device = Device::flex();
    let mut examples = siblings().1;
    examples.reverse();
    examples.swap(1, 7);
    let States {
        hidden,
        targets,
        spans,
        taken,
    } = hidden_positions(&trunk, &examples, WEIGHT);
    let mut sorted: Vec<&ValueExample> = examples.iter().collect();
    sorted.sort_by_key(|e| e.needed());
    let (mut states, mut wanted) = (Vec::new(), Vec::new());
    for batch in TokenPasses::of_values(&sorted, 1, WEIGHT) {
        let Source::Tokens(rows) = &batch.source else {
            panic!("rows of tokens")
        };
        let tokens: Vec<i32> = rows.tokens.clone();
        let tokens = TensorData::new(tokens, [1, rows.time]);
        let all = crate::model::layout::floats(trunk.hidden(Tensor::from_data(tokens, &device)));
        let targets = batch.value.unwrap();
        for &at in &targets.positions {
            states.extend_from_slice(&all[at as usize * 8..][..8]);
        }
        wanted.extend(targets.wanted);
    }
    assert_eq!(targets.wanted, wanted);
    for (span, example) in spans.iter().zip(&examples) {
        let own = value_targets(&[example], 0, 0, WEIGHT).wanted;
        assert_eq!(targets.wanted[span.clone()], own);
    }
    let found = crate::model::layout::floats(hidden);
    assert_eq!(found.len(), states.len());
    assert!(found.iter().zip(&states).all(|(a, b)| (a - b).abs() < 1e-5));
    let inputs: Vec<&[u32]> = examples.iter().map(value_input).collect();
    assert_eq!(taken.tokens, distinct(&inputs) as u64);
    assert!(2 * taken.tokens < taken.sequence_tokens);
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
