//! The accounts, on a model whose sizes are known by heart.

use super::accounts::{Part, sum};
use super::helpers::Helpers;
use super::plan::Plan;
use super::sample::{Sample, Spread};
use super::{Estimate, PhaseEstimate, Refusal, Room};
use crate::engine::Weights;
use crate::iterate::{Phase, phases};
use crate::model::Config;
use crate::recipe::{Mode, Recipe, Shape};
use crate::train::fit_policy::Method;
use crate::train::fit_value::Kind;

mod helped;

const GIB: f64 = 1024.0 * 1024.0 * 1024.0;

/// 16 MB of keys and values for a thousand tokens.
fn config() -> Config {
    Shape {
        layers: 8,
        hidden: 512,
        heads: 8,
        kv_heads: 4,
        intermediate: 2048,
        context: 4096,
    }
    .config(32_000, 0)
}

fn recipe() -> Recipe {
    let mut recipe = Recipe::default();
    recipe.rounds.iterations = 2;
    recipe.collect.questions = 100;
    recipe.collect.workers = 10;
    recipe
}

/// Every prompt 50 tokens, every tree 1000 nodes.
fn sample(recipe: &Recipe) -> Sample {
    sample_with(recipe, &Helpers::new())
}

fn sample_with(recipe: &Recipe, helpers: &Helpers) -> Sample {
    Sample {
        tree: Spread::even(1000.0),
        nodes: 1000.0,
        tree_bytes: 10_000.0,
        ..Sample::assumed(recipe, Spread::even(50.0), helpers)
    }
}

fn estimate(recipe: &Recipe) -> Estimate {
    let sample = sample(recipe);
    Plan::new(recipe, &config(), &sample).estimate(&phases(recipe))
}

fn peak(recipe: &Recipe, iteration: u32, phase: Phase) -> (f64, Vec<Part>) {
    let estimate = estimate(recipe);
    let found = estimate
        .phases
        .into_iter()
        .find(|p| (p.iteration, p.phase) == (iteration, phase))
        .unwrap();
    assert_eq!(found.memory, sum(&found.parts));
    (found.memory, found.parts)
}

fn bytes_of(parts: &[Part], what: &str) -> f64 {
    let found: Vec<&Part> = parts.iter().filter(|part| part.what == what).collect();
    assert!(found.len() <= 1, "{what} twice in {parts:?}");
    found.first().map_or(0.0, |part| part.bytes)
}

#[test]
fn keys_and_values_are_those_of_the_trees_in_work() {
    let mut recipe = recipe();
    let keys = |recipe: &Recipe| {
        let (_, parts) = peak(recipe, 1, Phase::Collect);
        bytes_of(&parts, "keys and values")
    };
    // Ten trees of a thousand tokens, 8 layers of 2 * 4 * 64 floats, and a quarter for growth.
    let ten = 10.0 * 1000.0 * 8.0 * 512.0 * 4.0 * 1.25;
    assert_eq!(keys(&recipe), ten);
    recipe.collect.workers = 20;
    assert_eq!(keys(&recipe), 2.0 * ten);
    recipe.collect.workers = 100_000;
    assert_eq!(keys(&recipe), 10.0 * ten, "no more trees than questions");
    // The pool bounds them, and each session sets its worst case aside.
    let worst = sample(&recipe).reserved(&recipe);
    recipe.engine.kv_slots = (3.5 * worst) as usize;
    assert!((keys(&recipe) / (0.3 * ten) - 1.0).abs() < 1e-9);
}

#[test]
fn every_copy_of_the_weights_counts() {
    let weights = config().parameters() as f64 * 4.0;
    let mut recipe = recipe();
    let packed = |recipe: &Recipe, iteration| {
        let (_, parts) = peak(recipe, iteration, Phase::Evaluate);
        bytes_of(&parts, "first model as the engine packs it")
    };
    assert!(
        packed(&recipe, 0) > weights,
        "beside the first model itself"
    );
    recipe.engine.weights = Weights::Bf16;
    assert!(packed(&recipe, 0) < weights);
    recipe.engine.weights = Weights::Auto;
    assert_eq!(
        packed(&recipe, 1),
        0.0,
        "the first model is not searched with"
    );
    let (_, parts) = peak(&recipe, 1, Phase::Evaluate);
    assert!(bytes_of(&parts, "weights of the last checkpoint") > 0.99 * weights);

    let moved = |recipe: &Recipe| {
        let (_, parts) = peak(recipe, 1, Phase::Train);
        bytes_of(&parts, "moved weights, their gradients and moments")
    };
    recipe.joint.checkpoint_every = 0;
    let whole = moved(&recipe);
    assert!((whole / (4.0 * weights) - 1.0).abs() < 0.01, "{whole}");
    recipe.joint.last_layers = 2;
    assert!(moved(&recipe) < 0.5 * whole);

    recipe.learn.mode = Mode::Separate;
    recipe.value.kind = Kind::Trunk;
    recipe.policy.method = Method::Lora;
    let (shared, _) = peak(&self::recipe(), 2, Phase::Evaluate);
    let (own, _) = peak(&recipe, 2, Phase::Evaluate);
    assert!(own > shared + 0.9 * weights, "a value trunk of its own");
}

#[test]
fn traces_add_up_over_the_window_and_passes_shrink_with_accumulation() {
    let mut recipe = recipe();
    recipe.rounds.iterations = 4;
    let traces = |recipe: &Recipe, iteration| {
        let (_, parts) = peak(recipe, iteration, Phase::Train);
        bytes_of(&parts, "traces")
    };
    let one = traces(&recipe, 1);
    // A node is a struct and three lists of five numbers.
    assert!((150.0..300.0).contains(&(one / 1e5)), "{one}");
    assert_eq!(traces(&recipe, 4), 4.0 * one);
    recipe.traces.window = 2;
    assert_eq!(traces(&recipe, 4), 2.0 * one);

    recipe.joint.policy_batch = 64;
    recipe.joint.value_batch = 64;
    let pass = |recipe: &Recipe| {
        let (_, parts) = peak(recipe, 1, Phase::Train);
        bytes_of(&parts, "a pass of the fit")
    };
    let whole = pass(&recipe);
    recipe.joint.accumulation = 4;
    let cut = pass(&recipe);
    // The logits of a pass are bounded anyway.
    assert!(cut < 0.4 * whole && cut > 0.2 * whole, "{cut} of {whole}");
}

#[test]
fn what_does_not_fit_is_refused_with_its_knob() {
    let recipe = recipe();
    let estimate = estimate(&recipe);
    let room = |memory: f64, disk: f64| Room {
        memory: Some(memory),
        disk: Some(disk),
        dir: "runs/x".into(),
    };
    room(estimate.memory * 1.01, estimate.disk_peak * 1.01)
        .admits(&estimate)
        .unwrap();
    let message = |refusal: Refusal| {
        let help = miette::Diagnostic::help(&refusal).unwrap().to_string();
        format!("{refusal}; {help}")
    };
    let trained = |p: &&PhaseEstimate| (p.iteration, p.phase) == (1, Phase::Train);
    let training = PhaseEstimate::clone(estimate.phases.iter().find(trained).unwrap());
    let only = Estimate {
        phases: vec![training],
        ..estimate.clone()
    };
    let told = message(room(0.5 * GIB, 1e15).admits(&only).unwrap_err());
    for part in [
        "the training of iteration 1",
        "537 MB",
        "joint.",
        "--no-estimate",
    ] {
        assert!(told.contains(part), "{told}");
    }
    let told = message(room(1e15, 1e6).admits(&estimate).unwrap_err());
    for part in ["runs/x", "1.00 MB", "checkpoint", "--run-dir"] {
        assert!(told.contains(part), "{told}");
    }
    let nothing_known = Room {
        memory: None,
        disk: None,
        dir: "runs/x".into(),
    };
    nothing_known.admits(&estimate).unwrap();

    let mut narrow = self::recipe();
    narrow.engine.kv_slots = 100;
    let told = message(nothing_known.admits(&self::estimate(&narrow)).unwrap_err());
    assert!(told.contains("engine.kv_slots"), "{told}");
}

#[test]
fn only_what_remains_counts() {
    let recipe = recipe();
    let sample = sample(&recipe);
    let plan = Plan::new(&recipe, &config(), &sample);
    let all = phases(&recipe);
    let (whole, rest) = (plan.estimate(&all), plan.estimate(&all[4..]));
    assert_eq!(rest.phases, whole.phases[4..]);
    assert!(rest.tokens < whole.tokens && rest.disk < whole.disk);
    assert_eq!(plan.estimate(&[]).memory, 0.0);
}
