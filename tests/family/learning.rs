//! Every way to learn a policy or a value, in a run of its own.

use super::*;

#[test]
fn every_way_to_learn_makes_a_run() {
    let out = tempfile::tempdir().unwrap();
    for (name, teach) in [
        ("visits", "{ kind = \"visits\" }"),
        ("completed_q", "{ kind = \"completed_q\" }"),
        ("prefer", "{ kind = \"prefer\" }"),
        ("group", "{ kind = \"push\" }"),
        ("tree", "{ kind = \"push\", advantage = \"tree\" }"),
    ] {
        let teach = format!("traces.policy.teach={teach}");
        let report = run(&out.path().join(name), &[&teach]);
        assert!(
            report["joint"]["steps"].as_u64() == Some(4),
            "{name}: {report}"
        );
        assert!(report["gate"].is_null());
    }
}

#[test]
fn the_replay_window_takes_the_latest_traces() {
    let out = tempfile::tempdir().unwrap();
    let examples = |window: &str, iteration: u32| {
        let dir = out.path().join(window.replace('=', "-"));
        if iteration == 1 {
            run(&dir, &["loop.iterations=2", "joint.validation=0", window]);
        }
        let text = fs::read_to_string(dir.join(format!("iter-000{iteration}/train.json"))).unwrap();
        let report: Value = serde_json::from_str(&text).unwrap();
        report["joint"]["examples"].as_u64().unwrap()
    };
    let (all_first, all) = (
        examples("traces.window=0", 1),
        examples("traces.window=0", 2),
    );
    let (first, latest) = (
        examples("traces.window=1", 1),
        examples("traces.window=1", 2),
    );
    assert_eq!(all_first, first);
    // What was collected in the second iteration is the same in both.
    assert!(
        latest > 0 && all == all_first + latest,
        "{all_first} {latest} {all}"
    );
}

#[test]
fn every_way_to_learn_a_value_makes_a_run() {
    let out = tempfile::tempdir().unwrap();
    let (bins, hl_gauss) = ("learn.bins=21", "joint.loss=hl_gauss");
    let held_out = "joint.validation=0.4";
    let (separate, steps) = ("learn.mode=separate", "value.steps=4");
    let pessimism = "evaluate.search.searched.pessimism=1";
    for (name, sets) in [
        ("hl_gauss", &[bins, hl_gauss][..]),
        ("ranking", &["joint.siblings=4", "joint.ranking=1"]),
        ("questions", &["joint.draw=questions"]),
        ("temperature", &[held_out, "joint.calibrate=temperature"]),
        ("pessimistic", &["learn.heads=3", pessimism]),
        ("on_policy", &["collect.samples=4"]),
        ("features", &[held_out, "joint.calibrate=features"]),
        (
            "together",
            &[
                bins,
                hl_gauss,
                held_out,
                "joint.calibrate=isotonic",
                "joint.draw=balanced",
                "joint.siblings=4",
                "joint.ranking=0.5",
                "learn.heads=3",
                "learn.head=linear",
                pessimism,
            ],
        ),
        (
            "head",
            &[
                separate,
                steps,
                bins,
                "learn.heads=2",
                "value.loss=hl_gauss",
                "value.calibrate=isotonic",
                "value.validation=0.4",
                "value.siblings=3",
                "value.ranking=1",
                "policy.steps=2",
            ],
        ),
        (
            "trunk",
            &[
                separate,
                steps,
                "value.kind=trunk",
                "learn.heads=2",
                "value.draw=balanced",
                "value.siblings=2",
                "policy.steps=2",
            ],
        ),
    ] {
        let dir = out.path().join(name);
        let report = run(&dir, sets);
        let fit = match sets.contains(&separate) {
            true => &report["value"],
            false => &report["joint"],
        };
        assert_eq!(fit["steps"], 4, "{name}: {report}");
        let calibrates = sets.iter().any(|set| set.contains("calibrate"));
        assert_eq!(fit["calibration"].is_object(), calibrates, "{name}: {fit}");
        let saved = dir.join("iter-0001/checkpoint/value/value.json");
        let saved: Value = serde_json::from_str(&fs::read_to_string(saved).unwrap()).unwrap();
        assert_eq!(saved["bins"] == 21, sets.contains(&bins), "{name}: {saved}");
        let heads = sets.iter().any(|set| set.starts_with("learn.heads"));
        assert_eq!(saved["heads"].is_u64(), heads, "{name}: {saved}");
        // A temperature lies in the weights of one logit; a table does not.
        let kept = ["calibrate=isotonic", "calibrate=features"];
        let kept = sets
            .iter()
            .any(|set| kept.iter().any(|kept| set.ends_with(kept)));
        assert_eq!(saved["calibration"].is_object(), kept, "{name}: {saved}");
    }
}

#[test]
fn values_that_cannot_be_learned_so_are_refused() {
    for (sets, message) in [
        (&["joint.loss=hl_gauss"][..], "the head has one logit"),
        (&["learn.bins=9"], "the head has 9 bins"),
        (&["joint.ranking=1"], "at least 2 for a ranking loss"),
        (&["joint.draw=question"], "`joint.draw` cannot be"),
        (
            &["joint.calibrate=isotonic", "joint.validation=0"],
            "no held-out questions",
        ),
        (&["learn.heads=0"], "learn.heads"),
        (
            &["collect.samples=2", "collect.draws=2"],
            "no tree to draw texts beside",
        ),
        (
            &[
                "joint.calibrate=features",
                "collect.search.random_root.share=1",
            ],
            "starts inside a solution",
        ),
        (
            &[
                "joint.calibrate=features",
                "collect.search.actions={ kind = \"step\" }",
                "collect.search.revise.phrases=[\"make\"]",
            ],
            "a search revises solutions",
        ),
        (&["evaluate.search.searched.pessimism=-1"], "pessimism"),
    ] {
        let mut command = tokenzero();
        command.args(["check", "recipes/quickstart.toml", "--offline"]);
        self::sets(&mut command, sets);
        command.assert().failure().stderr(contains(message));
    }
}

#[test]
fn drawn_texts_are_learned_from_and_a_gate_can_refuse() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("draws");
    let report = run(
        &dir,
        &[
            "collect.draws=6",
            "collect.sampling.max_new_tokens=38",
            "gate.questions=10",
            "gate.require=better",
        ],
    );
    // Ten questions and four steps: no difference can be significant.
    assert_eq!(report["gate"]["accepted"], false);
    assert_eq!(report["gate"]["questions"], 10);
    let kept = fs::read(dir.join("iter-0001/checkpoint/model.safetensors")).unwrap();
    let base = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/countdown-tiny");
    assert_eq!(
        kept.len(),
        fs::read(base.join("model.safetensors")).unwrap().len()
    );
    let before = fs::read_to_string(dir.join("iter-0000/evaluation.json")).unwrap();
    let after = fs::read_to_string(dir.join("iter-0001/evaluation.json")).unwrap();
    let greedy = |text: &str| -> Value {
        let all: Value = serde_json::from_str(text).unwrap();
        all["methods"]["greedy"]["correct"].clone()
    };
    assert_eq!(greedy(&before), greedy(&after), "the old networks go on");
}
