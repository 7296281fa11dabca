//! Fits of tiny models: they learn, they repeat themselves, and they stop where they must.

mod ends;
#[allow(dead_code, reason = "shared with tests that run scripts on folders")]
#[path = "../python/mod.rs"]
mod python;
mod values;

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
