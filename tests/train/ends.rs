//! Fits that repeat themselves, stop and go on.

use super::*;

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
