//! Fits of tiny models: they learn, they repeat themselves, and they stop where they must.

#[allow(dead_code, reason = "shared with tests that run scripts on folders")]
#[path = "python/mod.rs"]
mod python;

use std::ffi::OsStr;
use tokenzero::model::{
    Architecture, Calibration, Config, Decoder, HeadKind, HeadShape, ValueHead, Weight,
};
use tokenzero::monitor::Monitor;
use tokenzero::train::calibrate::Calibrate;
use tokenzero::train::draw::Draw;
use tokenzero::train::fit_policy::Method;
use tokenzero::train::fit_value::Kind;
use tokenzero::train::loss::{Criterion, ValueLoss};
use tokenzero::train::schedule::{Decay, Schedule};
use tokenzero::train::{
    Context, Error, PolicyExample, ValueExample, fit_joint, fit_policy, fit_value, values,
};

fn device() -> burn::tensor::Device {
    burn::tensor::Device::flex()
}

fn config() -> Config {
    Config {
        architecture: Architecture::Qwen2,
        vocab_size: 17,
        hidden_size: 32,
        intermediate_size: 64,
        num_hidden_layers: 2,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 8,
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

/// Twelve prompts of three tokens that differ in the first two, each with its own solution.
fn solutions() -> Vec<PolicyExample> {
    (0..12u32)
        .map(|i| {
            let n = 4 + i % 5;
            let mut tokens = vec![1 + i % 4, 5 + i / 4, 9];
            tokens.extend((0..n).map(|k| 1 + (i * 7 + k * k * 3 + k) % 16));
            tokens.push(0);
            PolicyExample {
                tokens,
                first: 3,
                weight: 1.0,
                question: u64::from(i),
                aims: Vec::new(),
            }
        })
        .collect()
}

/// The same trajectories with a target for each prefix.
fn trajectories() -> Vec<ValueExample> {
    solutions()
        .into_iter()
        .enumerate()
        .map(|(i, e)| {
            let n = e.tokens.len() - e.first;
            let outcome = if i % 3 == 0 { 0.9 } else { -0.6 };
            ValueExample {
                first: e.first - 1,
                targets: (0..n)
                    .map(|k| outcome * (k + 1) as f32 / n as f32)
                    .collect(),
                weights: (0..n).map(|k| 1.0 + k as f32).collect(),
                question: i as u64 / 2,
                outcome: outcome.signum(),
                tokens: e.tokens,
                probabilities: Vec::new(),
            }
        })
        .collect()
}

fn model() -> Decoder {
    Decoder::init(&config(), 1, &device())
}

fn head() -> ValueHead {
    ValueHead::init(HeadKind::Mlp, 32, 32, 2, &device())
}

fn policy_params(steps: usize) -> fit_policy::Params {
    fit_policy::Params {
        steps,
        batch: 12,
        lr: 3e-3,
        ..Default::default()
    }
}

fn quiet() -> Monitor {
    Monitor::silent()
}

fn bits(weights: &[Weight]) -> Vec<u32> {
    let all = weights.iter().flat_map(|w| &w.data);
    all.map(|x| x.to_bits()).collect()
}

#[test]
fn schedules_are_those_of_the_formula() {
    let (steps, lr) = (400, 3e-3);
    let cosine = Schedule::new(Decay::Cosine, lr, 0.05, 0.1, steps);
    let linear = Schedule::new(Decay::Linear, lr, 30.0, 0.05, steps);
    for step in 0..steps {
        let (s, n) = (step as f64, steps as f64);
        let warm = ((s + 1.0) / (0.05 * n).max(1.0)).min(1.0);
        let expected = warm * (0.1 + 0.9 * 0.5 * (1.0 + (std::f64::consts::PI * s / n).cos()));
        assert!((cosine.multiplier(step) - expected).abs() < 1e-12);
        let expected = ((s + 1.0) / 30.0).min(1.0) * (1.0 - 0.95 * s / n);
        assert!((linear.multiplier(step) - expected).abs() < 1e-12);
    }
}

#[test]
fn a_policy_learns_a_tiny_set_by_heart() {
    let monitor = quiet();
    let params = policy_params(300);
    let (fitted, report) =
        fit_policy(&model(), &solutions(), &params, &Context::new(&monitor)).unwrap();
    assert_eq!(report.steps, 300);
    assert!(report.tokens > 0 && report.grad_norm > 0.0);
    // The running mean lags behind; one more step shows the loss itself.
    let still = fit_policy::Params {
        lr: 1e-9,
        ..policy_params(1)
    };
    let (_, report) = fit_policy(&fitted, &solutions(), &still, &Context::new(&monitor)).unwrap();
    assert!(report.train_loss < 1e-2, "{report:?}");
}

#[test]
fn a_value_net_learns_a_tiny_set_by_heart() {
    let monitor = quiet();
    let params = fit_value::Params {
        kind: Kind::Trunk,
        loss: ValueLoss::Mse,
        steps: 300,
        lr: 3e-3,
        weight_decay: 0.0,
        validation: 0.0,
        ..Default::default()
    };
    let examples = trajectories();
    let (trunk, head, _) = fit_value(
        &model(),
        &head(),
        &examples,
        &params,
        &Context::new(&monitor),
    )
    .unwrap();
    let found = values(&trunk, &head, &examples);
    let (mut error, mut n) = (0.0, 0.0);
    for (row, example) in found.iter().zip(&examples) {
        for (v, t) in row.iter().zip(&example.targets) {
            error += (v - f64::from(*t)).powi(2);
            n += 1.0;
        }
    }
    assert!(error / n < 1e-3, "{}", error / n);
}

fn shaped(bins: usize, members: usize) -> ValueHead {
    let shape = HeadShape {
        kind: HeadKind::Mlp,
        width: 32,
        bins,
        members,
    };
    ValueHead::shaped(shape, 32, 2, &device())
}

#[test]
fn histogram_losses_are_those_of_the_published_code() {
    let Some(python) = python::with("torch") else {
        return;
    };
    let mut cases = Vec::new();
    for (bins, ratio) in [(2, 0.5), (21, 0.75), (51, 0.75), (51, 2.0)] {
        for target in [-1.0, -0.37, 0.0, 0.5, 0.993, 1.0] {
            let logits: Vec<f64> = (0..bins)
                .map(|i| ((i * 7) % 11) as f64 / 4.0 - 1.2)
                .collect();
            cases.push((logits, target, ratio));
        }
    }
    let given = serde_json::to_string(&cases).unwrap();
    let found = python::json(&python, "hl_gauss.py", &[OsStr::new(&given)]);
    let found: Vec<(f64, Vec<f64>)> = serde_json::from_value(found).unwrap();
    assert_eq!(found.len(), cases.len());
    for ((logits, target, sigma), (loss, gradient)) in cases.into_iter().zip(found) {
        let criterion = Criterion {
            sigma,
            ..ValueLoss::HlGauss.into()
        };
        let own = criterion.of(&logits, target);
        assert!((own - loss).abs() < 1e-9, "{target}: {own} and {loss}");
        for (a, b) in criterion.slopes(&logits, target).iter().zip(gradient) {
            assert!((a - b).abs() < 1e-9, "{target}: {a} and {b}");
        }
    }
}

#[test]
fn a_distribution_over_returns_learns_a_tiny_set_by_heart() {
    let monitor = quiet();
    let params = fit_value::Params {
        kind: Kind::Trunk,
        loss: ValueLoss::HlGauss,
        steps: 300,
        lr: 3e-3,
        weight_decay: 0.0,
        validation: 0.0,
        ..Default::default()
    };
    let (examples, context) = (trajectories(), Context::new(&monitor));
    let (trunk, head, _) =
        fit_value(&model(), &shaped(21, 1), &examples, &params, &context).unwrap();
    for (row, example) in values(&trunk, &head, &examples).iter().zip(&examples) {
        for (v, t) in row.iter().zip(&example.targets) {
            assert!((v - f64::from(*t)).abs() < 0.1, "{v} instead of {t}");
        }
    }
    let wrong = fit_value::Params {
        loss: ValueLoss::Bce,
        ..params
    };
    let error = fit_value(&model(), &shaped(21, 1), &examples, &wrong, &context).unwrap_err();
    assert!(error.to_string().contains("head with bins"), "{error}");
}

#[test]
fn members_of_an_ensemble_go_their_own_ways_and_agree_where_they_were_trained() {
    let monitor = quiet();
    for kind in [Kind::Head, Kind::Trunk] {
        let params = fit_value::Params {
            kind,
            steps: 150,
            lr: 1e-2,
            draw: Draw::Balanced,
            siblings: 2,
            ranking: 0.5,
            validation: 0.0,
            ..Default::default()
        };
        let fit = || {
            let context = Context::new(&monitor);
            fit_value(&model(), &shaped(1, 3), &trajectories(), &params, &context).unwrap()
        };
        let (_, head, report) = fit();
        assert_eq!(bits(&head.weights()), bits(&fit().1.weights()));
        assert!(report.train_loss < 0.9, "{report:?}");
        let score = &head.weights()[2];
        assert_eq!(score.shape, [3, 32]);
        let member = |i: usize| &score.data[i * 32..(i + 1) * 32];
        assert!(member(0) != member(1) && member(1) != member(2));
    }
}

#[test]
fn a_calibrated_head_says_what_its_map_makes_of_it() {
    let monitor = quiet();
    let fit = |members: usize, calibrate| {
        let params = fit_value::Params {
            steps: 30,
            lr: 1e-2,
            validation: 0.5,
            calibrate,
            ..Default::default()
        };
        let context = Context::new(&monitor);
        let (trunk, head, report) = fit_value(
            &model(),
            &shaped(1, members),
            &trajectories(),
            &params,
            &context,
        )
        .unwrap();
        (values(&trunk, &head, &trajectories()), head, report)
    };
    for members in [1, 2] {
        let (plain, _, report) = fit(members, Calibrate::None);
        assert!(report.calibration.is_none());
        for how in [Calibrate::Temperature, Calibrate::Isotonic] {
            let (calibrated, head, report) = fit(members, how);
            let map = report.calibration.unwrap().map;
            // Scaled and shifted logits of one member need no map of their own.
            let folded = members == 1 && how == Calibrate::Temperature;
            assert_eq!(head.readout.calibration == Calibration::None, folded);
            for (a, b) in plain.concat().iter().zip(calibrated.concat()) {
                let expected = f64::from(map.apply(*a as f32));
                assert!((expected - b).abs() < 1e-5, "{how:?}: {expected} and {b}");
            }
            assert!(plain.concat() != calibrated.concat());
        }
    }
}

#[test]
fn a_joint_fit_learns_both() {
    let monitor = quiet();
    let params = fit_joint::Params {
        loss: ValueLoss::Mse,
        steps: 300,
        lr: 3e-3,
        weight_decay: 0.0,
        validation: 0.0,
        ..Default::default()
    };
    let (examples, solutions) = (trajectories(), solutions());
    let context = Context::new(&monitor);
    let (_, _, report) =
        fit_joint(&model(), &head(), &examples, &solutions, &params, &context).unwrap();
    assert!(report.train_loss < 0.03, "{report:?}");
}

#[test]
fn a_head_on_a_frozen_trunk_learns_and_the_trunk_stays() {
    let monitor = quiet();
    let params = fit_value::Params {
        kind: Kind::Head,
        steps: 200,
        lr: 1e-2,
        validation: 0.4,
        ..Default::default()
    };
    let start = model();
    let (trunk, fitted, report) = fit_value(
        &start,
        &head(),
        &trajectories(),
        &params,
        &Context::new(&monitor),
    )
    .unwrap();
    assert_eq!(bits(&start.weights()), bits(&trunk.weights()));
    assert_ne!(bits(&head().weights()), bits(&fitted.weights()));
    // An untrained head says 0 everywhere: a cross-entropy of ln 2.
    assert!(report.train_loss < 0.6, "{report:?}");
    let value = report.value.unwrap();
    assert!(value.trajectories > 0 && value.brier.is_some(), "{value:?}");
    assert!((report.valid_loss.unwrap() - value.loss.unwrap()).abs() < 1e-4);
    // Both trajectories of a question share nothing but the chance to be told apart.
    assert!(
        value
            .ranking
            .iter()
            .flatten()
            .all(|r| (0.0..=1.0).contains(r))
    );
}

#[test]
fn only_the_last_layers_move() {
    let monitor = quiet();
    let params = fit_policy::Params {
        method: Method::LastLayers,
        last_layers: 1,
        ..policy_params(5)
    };
    let start = model();
    let (fitted, _) = fit_policy(&start, &solutions(), &params, &Context::new(&monitor)).unwrap();
    for (before, after) in start.weights().iter().zip(fitted.weights()) {
        let free = before.name.contains("layers.1.") || before.name == "model.norm.weight";
        assert_eq!(before.data != after.data, free, "{}", before.name);
    }
    // Being frozen once is not for ever.
    let (fitted, _) = fit_policy(
        &fitted,
        &solutions(),
        &policy_params(2),
        &Context::new(&monitor),
    )
    .unwrap();
    let (before, after) = (start.weights(), fitted.weights());
    assert!(before.iter().zip(&after).all(|(b, a)| b.data != a.data));
}

#[test]
fn adapters_are_merged_and_touch_only_the_matrices_of_the_layers() {
    let monitor = quiet();
    let params = fit_policy::Params {
        method: Method::Lora,
        lora_rank: 4,
        lora_alpha: 8.0,
        ..policy_params(60)
    };
    let start = model();
    let (fitted, report) =
        fit_policy(&start, &solutions(), &params, &Context::new(&monitor)).unwrap();
    for (before, after) in start.weights().iter().zip(fitted.weights()) {
        let adapted = before.name.contains("_proj.weight");
        assert_eq!(before.data != after.data, adapted, "{}", before.name);
    }
    // The merged weights give the loss that the adapters had.
    let still = fit_policy::Params {
        lr: 1e-9,
        ..policy_params(1)
    };
    let (_, after) = fit_policy(&fitted, &solutions(), &still, &Context::new(&monitor)).unwrap();
    assert!(after.train_loss < report.train_loss, "{report:?} {after:?}");
}

#[test]
fn the_same_seed_gives_the_same_weights_and_another_seed_others() {
    let monitor = quiet();
    let fit_siblings = |seed: u64, accumulation: usize, siblings: usize| {
        let params = fit_joint::Params {
            siblings,
            steps: 8,
            value_batch: 5,
            policy_batch: 4,
            seed,
            accumulation,
            validation: 0.0,
            ..Default::default()
        };
        let context = Context::new(&monitor);
        let (policy, head, _) = fit_joint(
            &model(),
            &head(),
            &trajectories(),
            &solutions(),
            &params,
            &context,
        )
        .unwrap();
        [bits(&policy.weights()), bits(&head.weights())].concat()
    };
    let fit = |seed, accumulation| fit_siblings(seed, accumulation, 1);
    assert_eq!(fit(3, 1), fit(3, 1));
    assert_eq!(fit(3, 2), fit(3, 2));
    assert_eq!(fit_siblings(3, 1, 2), fit_siblings(3, 1, 2));
    assert_ne!(fit_siblings(3, 1, 2), fit(3, 1));
    assert_ne!(fit(3, 1), fit(4, 1));
    // Cut into two passes a step is the same but for rounding, which AdamW's first steps blow up:
    // they have the size of the learning rate (1e-4 at most here) whatever the gradient's.
    let far = fit(3, 1)
        .iter()
        .zip(fit(3, 2))
        .map(|(a, b)| (f32::from_bits(*a) - f32::from_bits(b)).abs())
        .fold(0.0, f32::max);
    assert!(far < 2e-4, "{far}");
}

#[test]
fn a_number_that_is_not_finite_stops_the_fit_and_names_the_step() {
    let monitor = quiet();
    let params = fit_policy::Params {
        lr: 1e30,
        warmup: 0.0,
        ..policy_params(10)
    };
    let error = fit_policy(&model(), &solutions(), &params, &Context::new(&monitor)).unwrap_err();
    assert!(
        matches!(
            error,
            Error::NonFinite {
                fit: "policy",
                step: 5,
                ..
            }
        ),
        "{error}"
    );
    assert!(error.to_string().contains("step 5"), "{error}");
}

#[test]
fn an_interrupted_fit_goes_on_from_its_last_checkpoint() {
    let monitor = quiet();
    let folder = tempfile::tempdir().unwrap();
    let params = fit_policy::Params {
        checkpoint_every: 4,
        batch: 5,
        ..policy_params(14)
    };
    let context = Context {
        folder: Some(folder.path()),
        ..Context::new(&monitor)
    };
    let (whole, report) = fit_policy(&model(), &solutions(), &params, &context).unwrap();
    assert_eq!(report.steps, 14);
    // The last two of the four checkpoints are kept. Without the last one the fit repeats its last
    // two steps; a part that is missing makes a checkpoint none.
    let checkpoint = folder.path();
    assert!(!checkpoint.join("model-2.bpk").exists());
    std::fs::remove_file(checkpoint.join("optim-4.bpk")).unwrap();
    let (resumed, _) = fit_policy(&model(), &solutions(), &params, &context).unwrap();
    assert_eq!(bits(&whole.weights()), bits(&resumed.weights()));
    // A finished fit is not run again.
    let (again, _) = fit_policy(&model(), &solutions(), &params, &context).unwrap();
    assert_eq!(bits(&whole.weights()), bits(&again.weights()));
    // So it is where texts of a question are drawn together.
    let folder = tempfile::tempdir().unwrap();
    let context = Context {
        folder: Some(folder.path()),
        ..Context::new(&monitor)
    };
    let params_together = fit_joint::Params {
        checkpoint_every: 4,
        siblings: 2,
        value_batch: 6,
        policy_batch: 3,
        steps: 14,
        ..Default::default()
    };
    let joint = || {
        let (values, solutions) = (trajectories(), solutions());
        let params = &params_together;
        fit_joint(&model(), &head(), &values, &solutions, params, &context).unwrap()
    };
    let (whole, _, report) = joint();
    std::fs::remove_file(folder.path().join("optim-4.bpk")).unwrap();
    let (resumed, _, again) = joint();
    assert_eq!(bits(&whole.weights()), bits(&resumed.weights()));
    assert_eq!(report.tokens, again.tokens);
    assert!(report.tokens < report.sequence_tokens);
    // Another model's checkpoint is refused.
    let context = Context {
        folder: Some(checkpoint),
        ..context
    };
    let other = Decoder::init(
        &Config {
            num_hidden_layers: 1,
            ..config()
        },
        1,
        &device(),
    );
    let error = fit_policy(&other, &solutions(), &params, &context).unwrap_err();
    assert!(matches!(error, Error::Checkpoint { .. }), "{error}");
}

#[test]
fn bad_examples_and_parameters_are_named_before_any_work() {
    let monitor = quiet();
    let context = Context::new(&monitor);
    let fit = |examples: &[PolicyExample], params: &fit_policy::Params| {
        let result = fit_policy(&model(), examples, params, &context);
        result.unwrap_err().to_string()
    };
    let params = policy_params(1);
    let mut examples = solutions();
    examples[3].tokens[1] = 17;
    let error = fit(&examples, &params);
    assert!(
        error.contains("example 3 (question 3): token 17"),
        "{error}"
    );
    examples[3].tokens = vec![1; 65];
    assert!(fit(&examples, &params).contains("65 tokens"));
    assert!(fit(&[], &params).contains("no solutions"));
    let bad = fit_policy::Params { lr: 0.0, ..params };
    assert!(fit(&solutions(), &bad).contains("`lr` is 0"));
}

#[test]
fn scalars_reach_the_monitor_at_every_step() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let monitor = Monitor::builder().json_lines(&path).build().unwrap();
    let context = Context {
        first_step: 100,
        ..Context::new(&monitor)
    };
    fit_policy(&model(), &solutions(), &policy_params(7), &context).unwrap();
    monitor.flush().unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let losses = text.lines().filter(|line| line.contains("policy/loss"));
    assert_eq!(losses.count(), 7, "{text}");
    let step = |n: u64| text.contains(&format!("\"step\":{n},"));
    assert!(step(106) && !step(107), "{text}");
}
