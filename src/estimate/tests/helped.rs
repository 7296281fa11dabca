//! Players, judges, texts that are drawn anew and questions that the policy writes.

use super::super::helpers::{Helper, Helpers};
use super::super::plan::Plan;
use super::super::{Estimate, PhaseEstimate, Room};
use super::{bytes_of, config, recipe, sample_with};
use crate::iterate::{Phase, phases};
use crate::model::Config;
use crate::recipe::Recipe;
use crate::search::{GuidedParams, Judge};

/// Twice the layers of the policy.
fn other() -> Config {
    Config {
        num_hidden_layers: 2 * config().num_hidden_layers,
        ..config()
    }
}

fn estimate(recipe: &Recipe) -> Estimate {
    let helpers = Helpers::from([
        (
            "models/player".into(),
            Helper::of(&other(), None, &config()),
        ),
        (
            "models/judge".into(),
            Helper::of(&config(), Some(&config()), &config()),
        ),
    ]);
    let sample = sample_with(recipe, &helpers);
    let plan = Plan {
        helpers,
        ..Plan::new(recipe, &config(), &sample)
    };
    plan.estimate(&phases(recipe))
}

fn phase(recipe: &Recipe, iteration: u32, phase: Phase) -> PhaseEstimate {
    let found = estimate(recipe).phases;
    let mut found = found.into_iter();
    found
        .find(|p| (p.iteration, p.phase) == (iteration, phase))
        .unwrap()
}

fn reward() -> Vec<Judge> {
    vec![
        Judge::Rollout { weight: 1.0 },
        Judge::Reward {
            path: "models/judge".into(),
            weight: 1.0,
        },
    ]
}

#[test]
fn a_player_brings_its_weights_and_a_pool_of_its_own() {
    let without = phase(&recipe(), 1, Phase::Collect);
    let mut recipe = recipe();
    recipe.collect.search.player = "models/player".into();
    let with = phase(&recipe, 1, Phase::Collect);
    let weights = bytes_of(&with.parts, "weights of the player models/player");
    assert_eq!(weights, other().parameters() as f64 * 4.0);
    // Ten questions with a prompt of 50 tokens and a text of 0.55 * 256, 16 layers of 2 * 4 * 64 floats,
    // and a quarter for growth.
    let keys = 10.0 * (50.0 + 0.55 * 256.0) * 16.0 * 512.0 * 4.0 * 1.25;
    let found = bytes_of(&with.parts, "their keys and values");
    assert!((found / keys - 1.0).abs() < 1e-9, "{found}, {keys}");
    recipe.collect.search.leaves = 3;
    let three = phase(&recipe, 1, Phase::Collect);
    let texts = 10.0 * (50.0 + 3.0 * 0.55 * 256.0) * 16.0 * 512.0 * 4.0 * 1.25;
    let found = bytes_of(&three.parts, "their keys and values");
    assert!((found / texts - 1.0).abs() < 1e-9, "{found}, {texts}");
    recipe.collect.search.leaves = 1;

    let left = bytes_of(&with.parts, "what reading them leaves");
    assert_eq!(left, weights);
    let all = without.memory + weights + left + keys;
    assert!(with.memory > all && with.memory < all + 50e6, "steps");
    for other in [Phase::Train, Phase::Evaluate] {
        let (a, b) = (phase(&recipe, 1, other), phase(&self::recipe(), 1, other));
        assert_eq!((a.memory, a.tokens), (b.memory, b.tokens), "{other:?}");
    }
}

#[test]
fn a_judge_of_answers_is_there_in_evaluations_alone() {
    let mut recipe = recipe();
    let search = GuidedParams {
        judges: reward(),
        ..GuidedParams::default()
    };
    recipe.evaluate.search.insert("judged".into(), search);
    let found = phase(&recipe, 0, Phase::Evaluate);
    let weights = bytes_of(&found.parts, "weights of the judge models/judge");
    // A trunk of its own for its value net.
    assert_eq!(weights, 2.0 * config().parameters() as f64 * 4.0);
    assert!(bytes_of(&found.parts, "their keys and values") > 0.0);
    let collected = phase(&recipe, 1, Phase::Collect);
    assert_eq!(collected, phase(&self::recipe(), 1, Phase::Collect));
    // Both its nets read the text up to each leaf, half of one, and the prompt once.
    let mut plain = recipe.clone();
    let judges = &mut plain.evaluate.search.get_mut("judged").unwrap().judges;
    judges.truncate(1);
    let plain = phase(&plain, 0, Phase::Evaluate);
    let read = 500.0 * 2.0 * (50.0 + 40.0 * (1.0 + 0.55 * 256.0 / 2.0));
    let more = found.tokens - plain.tokens;
    assert!((more / read - 1.0).abs() < 1e-9, "{more}, {read}");
}

#[test]
fn helpers_cost_tokens_by_their_size_and_redraws_hold_no_slots() {
    let tokens = |recipe: &Recipe| phase(recipe, 1, Phase::Collect).tokens;
    let mut helped = recipe();
    helped.collect.search.judges = reward();
    // 100 questions of 40 simulations.
    let read = 100.0 * 2.0 * (50.0 + 40.0 * (1.0 + 0.55 * 256.0 / 2.0));
    let more = tokens(&helped) - tokens(&recipe());
    assert!((more / read - 1.0).abs() < 1e-9, "{more}, {read}");

    let mut anew = recipe();
    anew.collect.search.redraw.texts = 2;
    let more = tokens(&anew) - tokens(&recipe());
    assert!((more / (100.0 * 2.0 * 4.0 * 0.55 * 128.0) - 1.0).abs() < 1e-9);
    let keys = |recipe: &Recipe| {
        let parts = phase(recipe, 1, Phase::Collect).parts;
        bytes_of(&parts, "keys and values")
    };
    assert_eq!(keys(&anew), keys(&recipe()));
}

#[test]
fn written_questions_come_on_top() {
    let mut recipe = recipe();
    recipe.collect.imagine.share = 0.2;
    let (plain, more) = (estimate(&self::recipe()), estimate(&recipe));
    let collected = |estimate: &Estimate| {
        let found = estimate.phases.iter().find(|p| p.phase == Phase::Collect);
        found.unwrap().clone()
    };
    let (plain, more) = (collected(&plain), collected(&more));
    // 20 of them of 1000 tokens each; between one and four attempts, with four questions shown and a new
    // one, and eight solutions of its own.
    let attempt = (4.0 * 50.0 + 0.55 * 160.0) + (50.0 + 8.0 * 0.55 * 256.0);
    let written = 20.0 * (1000.0 + 2.5 * attempt);
    let found = more.tokens - plain.tokens;
    assert!((found / written - 1.0).abs() < 1e-9, "{found}, {written}");
    assert!(((more.disk - 6e3) / (plain.disk - 6e3) - 1.2).abs() < 1e-9);
    // Ten questions vote at once, each for more tokens than a tree has.
    let slots = 10.0 * (50.0 + 8.0 * 0.55 * 256.0) * 8.0 * 512.0 * 4.0 * 1.25;
    let keys = bytes_of(&more.parts, "keys and values");
    assert!((keys / slots - 1.0).abs() < 1e-9, "{keys}, {slots}");
    let traces = |recipe: &Recipe| {
        let parts = phase(recipe, 1, Phase::Train).parts;
        bytes_of(&parts, "traces")
    };
    assert!((traces(&recipe) / traces(&self::recipe()) - 1.2).abs() < 1e-9);
}

#[test]
fn a_player_that_does_not_fit_is_named() {
    let mut recipe = recipe();
    recipe.collect.search.player = "models/player".into();
    let all = estimate(&recipe);
    let room = |memory: f64| Room {
        memory: Some(memory),
        disk: None,
        dir: "runs/x".into(),
    };
    let collected = all.phases.iter().find(|p| p.phase == Phase::Collect);
    let only = Estimate {
        phases: vec![collected.unwrap().clone()],
        ..all.clone()
    };
    room(only.phases[0].memory * 1.01).admits(&only).unwrap();
    let refusal = room(0.6 * only.phases[0].memory).admits(&only).unwrap_err();
    let help = miette::Diagnostic::help(&refusal).unwrap().to_string();
    let told = format!("{refusal}; {help}");
    for part in [
        "the collection of iteration 1",
        "weights of the player models/player",
        "collect.search.player",
        "--no-estimate",
    ] {
        assert!(told.contains(part), "{told}");
    }
}
