//! What texts are worth, and which solutions are sound.

use super::*;

#[test]
fn rewards_of_a_program_push_the_policy_and_accuracy_stays_what_it_was() {
    let out = tempfile::tempdir().unwrap();
    let push = "traces.policy.teach={ kind = \"push\" }";
    let drawn = [
        "collect.draws=6",
        "collect.sampling.max_new_tokens=38",
        push,
    ];
    let plain = out.path().join("plain");
    run(&plain, &drawn);
    // Every text is worth something else: where all were wrong nothing could be pushed before.
    let script =
        "while read -r line; do n=$(( ${#line} % 9 + 1 )); echo \"{\\\"reward\\\": 0.$n}\"; done";
    let command = format!("reward.command={}", serde_json::json!(["sh", "-c", script]));
    let rewarded = out.path().join("rewarded");
    let report = run(
        &rewarded,
        &[&drawn[..], &[&command, "reward.timeout_s=120"]].concat(),
    );
    assert_eq!(report["joint"]["steps"], 4);
    let json = |dir: &Path, file: &str| -> Value {
        serde_json::from_str(&fs::read_to_string(dir.join(file)).unwrap()).unwrap()
    };
    let collected = json(&rewarded, "iter-0001/collect.json");
    assert_eq!(collected["solved"], 24, "all rewards are above 0");
    assert_ne!(json(&plain, "iter-0001/collect.json")["solved"], 24);
    let right = |dir: &Path| {
        let methods = json(dir, "iter-0000/evaluation.json")["methods"].clone();
        ["greedy", "vote", "searched"].map(|method| methods[method]["correct"].clone())
    };
    assert_eq!(
        right(&plain),
        right(&rewarded),
        "accuracy counts right answers"
    );
}

#[test]
fn programs_that_are_missing_die_hang_or_talk_nonsense_are_refused() {
    let out = tempfile::tempdir().unwrap();
    let refused = |name: &str, sets: &[&str], parts: &[&str]| {
        let dir = out.path().join(name);
        let mut command = tokenzero();
        command.args([
            "run",
            "recipes/quickstart.toml",
            "--quiet",
            "--no-estimate",
            "--run-dir",
        ]);
        command.arg(&dir);
        crate::sets(&mut command, &SMALL);
        crate::sets(
            &mut command,
            &["collect.questions=4", "evaluate.questions=2"],
        );
        crate::sets(&mut command, sets);
        let failed = command.assert().failure();
        let error = String::from_utf8_lossy(&failed.get_output().stderr).replace(['\n', '│'], " ");
        let error = error.split_whitespace().collect::<Vec<_>>().join(" ");
        for part in parts {
            assert!(error.contains(part), "{name}: {part}: {error}");
        }
        dir
    };
    let program =
        |script: &str| format!("reward.command={}", serde_json::json!(["sh", "-c", script]));
    let missing = refused(
        "missing",
        &["reward.command=[\"not-there-at-all\"]"],
        &["not-there-at-all", "cannot be started"],
    );
    assert!(!missing.exists(), "found before anything is written");
    let (dies, hangs) = (program("exit 3"), program("read x; sleep 60"));
    let nonsense = program("while read x; do echo hello; done");
    refused(
        "dies",
        &[&dies],
        &["could not be searched", "exit status: 3"],
    );
    refused(
        "hangs",
        &[&hangs, "reward.timeout_s=0.3"],
        &["has not answered within 0.3 s"],
    );
    refused(
        "nonsense",
        &[&nonsense],
        &["answered \"hello\"", "from -1 to 1"],
    );
    let bad = refused(
        "weights",
        &["reward.integer=-1"],
        &["reward.integer", "at least 0"],
    );
    assert!(!bad.exists());
}

#[test]
fn unsound_solutions_are_left_out_and_counted() {
    let out = tempfile::tempdir().unwrap();
    let dir = out.path().join("sound");
    let sound = [
        "traces.sound.equations=true",
        "traces.sound.min_agreement=0.6",
        "traces.solutions=0",
        "collect.search.redraw.texts=2",
        "collect.search.redraw.draws=3",
    ];
    let report = run(&dir, &sound);
    let count = |key: &str| report["unsound"][key].as_u64().unwrap();
    assert!(
        count("solutions") > 0 && count("disagreement") > 0,
        "{report}"
    );
    // The task's grader recomputes every step itself.
    assert_eq!(count("equation"), 0);
    assert!(count("disagreement") < count("solutions"));
    let events = fs::read_to_string(dir.join("events.jsonl")).unwrap();
    assert!(events.contains("policy/left_out_disagreement"));
    let plain = run(&out.path().join("plain"), &[]);
    assert!(
        plain.get("unsound").is_none(),
        "nothing is asked by default"
    );
}
