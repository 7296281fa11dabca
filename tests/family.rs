//! Ways of searching and learning through the command line: the frontier, sweeps, and every way to
//! learn in a run of its own, small but whole; its statistics beside those of scipy and statsmodels, its
//! losses beside TRL's.

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::Value;
use std::fs;
use std::path::Path;
use tokenzero::evaluate::bootstrap::{RESAMPLES, percentiles, resampled_means};
use tokenzero::evaluate::statistics::{McNemar, holm, sign_flip, student};
use tokenzero::train::group_advantages;
use tokenzero::train::pull::{Pull, Want};

mod python;

fn tokenzero() -> Command {
    let mut command = Command::cargo_bin("tokenzero").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

const SMALL: [&str; 9] = [
    "loop.iterations=1",
    "collect.questions=24",
    "collect.search.simulations=12",
    "joint.steps=4",
    "evaluate.questions=8",
    "evaluate.samples=2",
    "evaluate.search.searched.simulations=5",
    "joint.checkpoint_every=0",
    "joint.policy_batch=8",
];

fn sets(command: &mut Command, sets: &[&str]) {
    for set in sets {
        command.args(["--set", set]);
    }
}

#[test]
fn a_frontier_has_every_method_at_every_budget_and_a_verdict_on_each() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("frontier");
    let mut command = tokenzero();
    command.args([
        "compare",
        "recipes/family/search.toml",
        "--budgets",
        "1,3",
        "--json",
    ]);
    command
        .args(["--set", "evaluate.questions=12", "--out"])
        .arg(&folder);
    let found = command.assert().success().get_output().stdout.clone();
    let frontier: Value = serde_json::from_slice(&found).unwrap();
    let points = frontier["points"].as_array().unwrap();
    let named =
        |method: &str| -> Vec<&Value> { points.iter().filter(|p| p["method"] == method).collect() };
    for method in ["searched", "alpha_zero", "uct", "gumbel", "per_token"] {
        let [small, large] = named(method)[..] else {
            panic!("{method} has not two points");
        };
        let tokens = |point: &Value| point["forward_tokens"].as_f64().unwrap();
        assert!(tokens(small) < tokens(large), "{method}");
    }
    for method in [
        "vote",
        "weighted_vote",
        "best_of_n",
        "most_probable",
        "beam",
    ] {
        assert_eq!(named(method).len(), 1, "{method}");
    }
    assert_eq!(named("greedy").len(), 1);
    for point in points {
        assert_eq!(point["total"], 12);
        let (low, high) = (&point["low"], &point["high"]);
        assert!(low.as_f64() <= point["accuracy"].as_f64());
        assert!(point["accuracy"].as_f64() <= high.as_f64());
        assert!(point["flops"].as_f64().unwrap() > 0.0);
    }
    let verdicts = frontier["verdicts"].as_array().unwrap();
    assert_eq!(
        verdicts.len(),
        points.len() - 2,
        "all but greedy and the vote"
    );
    for verdict in verdicts {
        let text = verdict["text"].as_str().unwrap();
        assert!(
            text.contains("better than") || text.contains("worse than"),
            "{text}"
        );
    }
    let svg = fs::read_to_string(folder.join("frontier.svg")).unwrap();
    assert_eq!(svg.matches("<circle").count(), points.len());
}

/// Compares the bundled model's methods on eight questions, with `model` for it.
fn compare(model: &str, out: &Path) -> Value {
    let mut command = tokenzero();
    command.args(["compare", "recipes/quickstart.toml", "--budgets", "1,2"]);
    command.args(["--json", "--model", model, "--out"]).arg(out);
    sets(
        &mut command,
        &["evaluate.questions=8", "evaluate.split=dev"],
    );
    let found = command.assert().success().get_output().stdout.clone();
    serde_json::from_slice(&found).unwrap()
}

#[test]
fn checkpoints_with_commas_between_are_seeds_of_one_method() {
    const MODEL: &str = "checkpoints/countdown-tiny";
    let out = tempfile::tempdir().unwrap();
    let one = compare(MODEL, &out.path().join("one"));
    let three = compare(&[MODEL; 3].join(","), &out.path().join("three"));
    let pairs = one["points"].as_array().unwrap().iter();
    let pairs = pairs.zip(three["points"].as_array().unwrap());
    let mut methods = Vec::new();
    for (alone, pooled) in pairs {
        methods.push(alone["method"].as_str().unwrap());
        assert!(alone["seeds"].is_null());
        let seeds = pooled["seeds"].as_array().unwrap();
        assert_eq!((seeds.len(), &pooled["total"]), (3, &Value::from(24)));
        // The first has the draws that it has alone.
        assert_eq!(seeds[0]["correct"], alone["correct"]);
        assert_eq!(seeds[0]["forward_tokens"], alone["forward_tokens"]);
        let accuracy = |of: &Value| of["accuracy"].as_f64().unwrap();
        let mean = seeds.iter().map(accuracy).sum::<f64>() / 3.0;
        assert!((accuracy(pooled) - mean).abs() < 1e-12);
        assert!(pooled["low"].as_f64() <= pooled["accuracy"].as_f64());
        for time in ["ms_per_question", "us_per_token"] {
            assert!(pooled[time].as_f64().unwrap() > 0.0, "{time}");
        }
        // The same model decodes the same greedily, whatever the seed of the draws.
        if pooled["method"] == "greedy" {
            assert!(seeds.iter().all(|seed| seed["correct"] == alone["correct"]));
        }
    }
    assert_eq!(three["workers"], 256);
    for verdict in three["verdicts"].as_array().unwrap() {
        let text = verdict["text"].as_str().unwrap();
        assert!(text.contains("mean of 3 checkpoints"), "{text}");
        assert!(verdict["difference"]["low"].as_f64() <= verdict["difference"]["mean"].as_f64());
    }
    let files = out.path().join("three");
    let svg = fs::read_to_string(files.join("frontier.svg")).unwrap();
    assert!(svg.contains("mean of 3 checkpoints") && svg.contains("<polygon"));
    let svg = fs::read_to_string(out.path().join("one/frontier.svg")).unwrap();
    assert!(!svg.contains("<polygon"));
    for method in methods {
        let board = files.join("tensorboard").join(method);
        assert_eq!(fs::read_dir(board).unwrap().count(), 1, "{method}");
    }
    tokenzero()
        .args(["compare", "recipes/quickstart.toml", "--model", "a,,b"])
        .assert()
        .failure()
        .stderr(contains("without a name"));
}

#[test]
fn texts_of_a_question_are_ranked_alike_by_the_verb_and_in_an_evaluation() {
    let out = tempfile::tempdir().unwrap();
    let folder = out.path().join("ranking");
    let json = |command: &mut Command| -> Value {
        let found = command.assert().success().get_output().stdout.clone();
        serde_json::from_slice(&found).unwrap()
    };
    let mut rank = tokenzero();
    rank.args([
        "rank",
        "recipes/quickstart.toml",
        "--draws",
        "4",
        "--json",
        "--out",
    ]);
    rank.arg(&folder).args(["--set", "evaluate.questions=40"]);
    let ranking = json(&mut rank);
    let mut evaluate = tokenzero();
    evaluate.args(["evaluate", "recipes/quickstart.toml", "--json"]);
    let more = [
        "evaluate.questions=40",
        "evaluate.split=dev",
        "evaluate.rank=4",
    ];
    sets(&mut evaluate, &more);
    sets(&mut evaluate, &["evaluate.search.searched.simulations=2"]);
    assert_eq!(json(&mut evaluate)["ranking"], ranking);

    assert!(ranking["mixed"].as_u64().unwrap() > 5);
    let places = ranking["by_fraction"].as_array().unwrap();
    assert_eq!(places.len(), 9);
    for place in places {
        // The bundled model has no value head yet: all its values are 0.
        assert_eq!(place["value"]["mean"], 0.5);
    }
    assert_eq!(
        (&places[0]["apart"], &places[0]["log_prob_sum"]["mean"]),
        (&0.0.into(), &0.5.into())
    );
    assert_ne!(places[8]["log_prob_sum"]["mean"], 0.5);
    for score in ["value", "log_prob_sum", "log_prob_mean"] {
        assert!(folder.join("tensorboard").join(score).is_dir());
    }
    assert!(folder.join("ranking.json").exists() && folder.join("ranking.svg").exists());
    tokenzero()
        .args([
            "check",
            "recipes/quickstart.toml",
            "--set",
            "evaluate.rank=1",
        ])
        .assert()
        .failure()
        .stderr(contains("no other to be ranked against"));
}

#[test]
fn every_way_to_move_and_to_judge_is_on_the_frontier() {
    let mut command = tokenzero();
    command.args(["compare", "recipes/family/actions.toml", "--json"]);
    command.args(["--budgets", "2,8", "--set", "evaluate.questions=12"]);
    let found = command.assert().success().get_output().stdout.clone();
    let frontier: Value = serde_json::from_slice(&found).unwrap();
    let tokens = |method: &str, budget: u64| {
        let points = frontier["points"].as_array().unwrap().iter();
        let mut own = points.filter(|p| p["method"] == method && p["budget"] == budget);
        let point = own.next().unwrap_or_else(|| panic!("{method} at {budget}"));
        point["forward_tokens"].as_f64().unwrap()
    };
    for method in [
        "span",
        "step",
        "diverse",
        "embedded",
        "solution",
        "lookahead",
        "unsure",
        "entropy",
        "nth",
        "spread",
        "progressive",
        "calm",
        "confidence",
        "mixture",
        "rubric",
    ] {
        let (small, large) = (tokens(method, 2), tokens(method, 8));
        assert!(small <= large, "{method}: {small} and {large}");
        // The answer's end and what the last simulation began come on top.
        assert!(large < 32.0 * 8.0 + 250.0, "{method}: {large}");
    }
}

#[test]
fn solutions_are_revised_on_the_frontier_and_in_a_run() {
    let mut command = tokenzero();
    command.args(["compare", "recipes/family/refine.toml", "--json"]);
    command.args(["--budgets", "3,8", "--set", "evaluate.questions=8"]);
    let found = command.assert().success().get_output().stdout.clone();
    let frontier: Value = serde_json::from_slice(&found).unwrap();
    let points = frontier["points"].as_array().unwrap();
    for method in ["solution", "reflection", "self_refine", "doubtful"] {
        let own: Vec<f64> = points
            .iter()
            .filter(|point| point["method"] == method)
            .map(|point| point["forward_tokens"].as_f64().unwrap())
            .collect();
        assert!(own.len() == 2 && own[0] <= own[1], "{method}: {own:?}");
    }
    // What is revised while traces are collected is learned from.
    let out = tempfile::tempdir().unwrap();
    let revised = [
        "collect.search.max_new_tokens=100",
        "collect.search.actions={ kind = \"step\" }",
        "collect.search.revise={ phrases = [\"\\nmake\\n\"], when = \"wrong\" }",
        "traces.policy.teach={ kind = \"visits\" }",
        "traces.sound.equations=true",
    ];
    let dir = out.path().join("revised");
    run(&dir, &revised);
    let trees = tokenzero::trace::read_dir(&dir.join("iter-0001/traces")).unwrap();
    let mut nodes = trees.iter().flat_map(|tree| &tree.nodes);
    assert!(nodes.any(|node| node.given));

    let mut refused = tokenzero();
    refused.args([
        "run",
        "recipes/quickstart.toml",
        "--no-estimate",
        "--run-dir",
    ]);
    refused.arg(out.path().join("refused"));
    crate::sets(
        &mut refused,
        &["collect.search.actions={ kind = \"step\" }"],
    );
    crate::sets(&mut refused, &["collect.search.revise.phrases=[\"Wait\"]"]);
    crate::sets(
        &mut refused,
        &["evaluate.questions=2", "evaluate.samples=2"],
    );
    let told = refused.assert().failure();
    told.stderr(contains("cannot be put behind a solution"));
}

#[test]
fn recipes_that_ask_different_questions_are_not_compared() {
    let mut command = tokenzero();
    command.args([
        "compare",
        "recipes/quickstart.toml",
        "recipes/arithmetic.toml",
    ]);
    command.args(["--budgets", "1", "--set", "evaluate.questions=4"]);
    command.args(["--set", "evaluate.max_new_tokens=40"]);
    command
        .assert()
        .failure()
        .stderr(contains("ask different questions"));
    tokenzero()
        .args(["compare", "recipes/quickstart.toml", "--budgets", "0"])
        .assert()
        .failure()
        .stderr(contains("budget of 0"));
}

fn run(dir: &Path, more: &[&str]) -> Value {
    let mut command = tokenzero();
    command.args([
        "run",
        "recipes/quickstart.toml",
        "--quiet",
        "--no-estimate",
        "--run-dir",
    ]);
    command.arg(dir);
    sets(&mut command, &SMALL);
    sets(&mut command, more);
    command.assert().success();
    let text = fs::read_to_string(dir.join("iter-0001/train.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

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

#[test]
fn questions_are_imagined_kept_or_refused_and_marked() {
    let out = tempfile::tempdir().unwrap();
    let run = |name: &str, sets: &[&str]| -> (Value, Value) {
        let dir = out.path().join(name);
        let mut command = tokenzero();
        command.args([
            "run",
            "recipes/family/imagine.toml",
            "--quiet",
            "--no-estimate",
            "--run-dir",
        ]);
        command.arg(&dir);
        let small = [
            "loop.iterations=1",
            "collect.questions=16",
            "collect.search.simulations=6",
            "collect.imagine.share=0.5",
            "collect.imagine.votes=4",
            "evaluate.questions=4",
            "evaluate.samples=2",
            "evaluate.search.searched.simulations=3",
            "policy.epochs=1",
        ];
        crate::sets(&mut command, &small);
        crate::sets(&mut command, sets);
        command.assert().success();
        let json = |file: &str| -> Value {
            let text =
                fs::read_to_string(dir.join("iter-0001").join(file)).unwrap_or("null".into());
            serde_json::from_str(&text).unwrap()
        };
        (json("collect.json"), json("imagined.json"))
    };
    // Whatever a model that never wrote a question writes is looked at; then all that can be kept is kept.
    let lax = [
        "collect.imagine.agreement=0.0",
        "collect.imagine.resemblance=1.0",
    ];
    let (strict, _) = run("strict", &[]);
    let (collected, imagined) = run("lax", &[&lax[..], &["collect.workers=1"]].concat());
    let (again, same) = run("again", &lax);
    assert_eq!(imagined, same);
    assert_eq!(collected["imagined"], again["imagined"]);
    for summary in [&strict, &collected] {
        let report = &summary["imagined"];
        let refused: u64 = report["refused"]
            .as_object()
            .unwrap()
            .values()
            .map(|n| n.as_u64().unwrap())
            .sum();
        let number = |key: &str| report[key].as_u64().unwrap();
        assert_eq!(number("wanted"), 8);
        assert!(
            number("written") >= 8 && number("written") <= 32,
            "{report}"
        );
        assert_eq!(number("kept") + refused, number("written"), "{report}");
        assert!(number("forward_tokens") > 0);
        assert_eq!(summary["questions"].as_u64().unwrap(), 16 + number("kept"));
        assert!(summary["forward_tokens"].as_u64().unwrap() > number("forward_tokens"));
    }
    let kept = collected["imagined"]["kept"].as_u64().unwrap();
    assert_eq!(imagined["questions"].as_array().unwrap().len() as u64, kept);
    let traces = out.path().join("lax/iter-0001/traces");
    let trees = tokenzero::trace::read_dir(&traces).unwrap();
    let marked = trees.iter().filter(|tree| tree.imagined).count() as u64;
    assert_eq!(marked, kept);
    assert!(trees[..16].iter().all(|tree| !tree.imagined));

    let mut refused = tokenzero();
    refused.args([
        "check",
        "--offline",
        "recipes/quickstart.toml",
        "--set",
        "collect.imagine.share=0.1",
    ]);
    refused
        .assert()
        .failure()
        .stderr(contains("collect.imagine.share"));
}

#[test]
fn a_file_of_expressions_and_one_of_choices_run() {
    let out = tempfile::tempdir().unwrap();
    let rows = |answer: &str, more: &str| -> String {
        let row = |i: u32| {
            format!(
                "{{\"question\": \"Tom has {i} coins and finds 5 more. How many coins?\", \"answer\": \"{answer}\"{more}}}\n"
            )
        };
        (2..30).map(row).collect()
    };
    let choices = ", \"choices\": [\"7\", \"8\", \"a lot\"]";
    for (kind, text, more) in [
        ("expression", rows("\\\\frac{14}{2}", ""), ""),
        ("choice", rows("B", choices), "task.choices=[\"choices\"]"),
    ] {
        let file = out.path().join(format!("{kind}.jsonl"));
        fs::write(&file, text).unwrap();
        let traces = out.path().join(kind);
        let mut command = tokenzero();
        command
            .args(["collect", "recipes/arithmetic.toml", "--out"])
            .arg(&traces);
        let path = format!("task.path={}", file.display());
        let answers = format!("task.answers={kind}");
        let small = [
            "task.kind=jsonl",
            &path,
            &answers,
            "task.dev_size=2",
            "collect.questions=6",
            "collect.search.simulations=4",
        ];
        sets(&mut command, &small);
        if !more.is_empty() {
            sets(&mut command, &[more]);
        }
        command.assert().success();
        assert_eq!(tokenzero::trace::read_dir(&traces).unwrap().len(), 6);
    }
}

#[test]
fn a_sweep_has_a_row_for_each_run_and_goes_on_where_it_stopped() {
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("small.toml");
    let recipe = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes/quickstart.toml");
    let mut text = format!(
        "recipe = {:?}\nseeds = [3]\n[set]\n",
        recipe.display().to_string()
    );
    for set in SMALL {
        let (key, value) = set.split_once('=').unwrap();
        text += &format!("\"{key}\" = {value}\n");
    }
    text += "[vary]\n\"collect.search.tree.c_puct\" = [0.5]\n";
    fs::write(&file, &text).unwrap();
    let unknown = text.replacen("seeds", "control = \"none\"\nseeds", 1);
    let sweep = || {
        let mut command = tokenzero();
        command
            .arg("sweep")
            .arg(&file)
            .arg("--out")
            .arg(out.path().join("runs"));
        let done = command.assert().success();
        String::from_utf8(done.get_output().stdout.clone()).unwrap()
    };
    let first = sweep();
    assert!(
        first.contains("base-seed-3") && first.contains("c_puct-0.5-seed-3"),
        "{first}"
    );
    let evaluated = out
        .path()
        .join("runs/base-seed-3/iter-0001/evaluation.json");
    let made = fs::metadata(&evaluated).unwrap().modified().unwrap();
    assert_eq!(sweep(), first);
    assert_eq!(fs::metadata(&evaluated).unwrap().modified().unwrap(), made);
    assert!(out.path().join("runs/sweep.parquet").exists());
    let mut summary = tokenzero();
    summary
        .arg("sweep")
        .arg(&file)
        .arg("--out")
        .arg(out.path().join("runs"));
    summary.args(["--summary", "--json"]);
    let found = summary.assert().success().get_output().stdout.clone();
    let found: Value = serde_json::from_slice(&found).unwrap();
    let rulings = found["verdicts"].as_array().unwrap();
    let names: Vec<_> = rulings
        .iter()
        .map(|r| (&r["setting"], &r["control"]))
        .collect();
    assert_eq!(names, [(&"c_puct-0.5".into(), &"base".into()); 2]);
    assert!(
        rulings
            .iter()
            .all(|ruling| ruling["tokens"].as_f64() > Some(0.0))
    );
    assert!(
        first.contains("c_puct-0.5, searched: no better than base at"),
        "{first}"
    );
    let found = &found["settings"];
    assert_eq!(found[1]["values"]["collect.search.tree.c_puct"], "0.5");
    let collected = fs::read_to_string(evaluated.with_file_name("collect.json")).unwrap();
    let collected: Value = serde_json::from_str(&collected).unwrap();
    let tokens = &found[0]["figures"]["collected_tokens"]["mean"];
    assert_eq!(tokens.as_f64(), collected["forward_tokens"].as_f64());
    for file in [
        "verdicts.json",
        "greedy.svg",
        "searched.svg",
        "verdicts/base",
    ] {
        assert!(out.path().join("runs").join(file).exists(), "{file}");
    }
    let text = fs::read_to_string(evaluated).unwrap();
    let last: Value = serde_json::from_str(&text).unwrap();
    let searched = &found[0]["figures"]["searched"];
    assert_eq!(searched["mean"], last["methods"]["searched"]["accuracy"]);
    assert!(searched["low"].is_null(), "one seed has no interval");

    let mut only = tokenzero();
    only.arg("sweep").arg(&file).args(["--only", "base,c"]);
    only.assert()
        .failure()
        .stderr(contains("no setting is called `c`"));
    fs::write(&file, unknown).unwrap();
    tokenzero()
        .arg("sweep")
        .arg(&file)
        .assert()
        .failure()
        .stderr(contains("the settings are base, c_puct-0.5"));
    fs::write(&file, "recipe = \"x.toml\"\n[vary]\n\"a.b\" = []\n").unwrap();
    tokenzero()
        .arg("sweep")
        .arg(&file)
        .assert()
        .failure()
        .stderr(contains("has no values"));
}

/// Numbers in [0, 1) that look random.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> f64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() * end as f64) as usize
    }
}

/// What `script` says of `cases`; `None`, with a line that says so, where Python lacks `package`.
fn reference(package: &str, script: &str, cases: &Value) -> Option<Value> {
    let python = python::with(package)?;
    let find = format!("import importlib.util as u, sys; sys.exit(not u.find_spec({package:?}))");
    let found = std::process::Command::new(&python)
        .args(["-c", &find])
        .status();
    if !found.is_ok_and(|status| status.success()) {
        eprintln!("skipped: {} has no {package}", python.display());
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("cases.json");
    fs::write(&file, cases.to_string()).unwrap();
    Some(python::json(&python, script, &[file.as_os_str()]))
}

fn near(found: f64, expected: &Value, tolerance: f64, what: &str) {
    let expected = expected.as_f64().unwrap();
    let apart = (found - expected).abs() / expected.abs().max(1.0);
    assert!(apart <= tolerance, "{what}: {found} instead of {expected}");
}

#[test]
fn tests_and_intervals_are_those_of_scipy_and_statsmodels() {
    let mut numbers = Numbers(7);
    let differences: Vec<Vec<i64>> = (2..15)
        .map(|n| (0..n).map(|_| numbers.below(6) as i64 - 2).collect())
        .collect();
    let counts = [[0, 3], [10, 2], [7, 7], [59, 121], [400, 340]];
    let p = [0.01, 0.04, 0.03, 0.005, 0.6];
    let values = [
        vec![0.532, 0.551, 0.498],
        vec![0.1, 0.4],
        (0..30).map(f64::from).collect(),
    ];
    let mut marks = |seeds: usize, questions: usize| -> Vec<Vec<bool>> {
        let ease: Vec<f64> = (0..questions).map(|_| numbers.next()).collect();
        let mut seed = || ease.iter().map(|e| numbers.next() < *e).collect();
        (0..seeds).map(|_| seed()).collect()
    };
    let right = [marks(1, 120), marks(3, 120), marks(5, 300)];
    let cases = serde_json::json!({
        "differences": differences, "counts": counts, "p": p, "values": values,
        "right": right.iter().map(|case| case.iter().map(|seed| {
            seed.iter().map(|&mark| u8::from(mark)).collect::<Vec<u8>>()
        }).collect::<Vec<_>>()).collect::<Vec<_>>(),
    });
    let Some(found) = reference("statsmodels", "statistics_reference.py", &cases) else {
        return;
    };
    for (index, case) in differences.iter().enumerate() {
        let what = format!("{case:?}");
        near(sign_flip(case), &found["differences"][index], 1e-9, &what);
    }
    for (index, [b, c]) in counts.into_iter().enumerate() {
        let expected = &found["counts"][index];
        near(McNemar::from_counts(b, c).p, expected, 1e-9, "McNemar");
        let all = [vec![1; b as usize], vec![-1; c as usize]].concat();
        near(sign_flip(&all), expected, 1e-9, "McNemar by flips");
    }
    for (index, p) in holm(&p).into_iter().enumerate() {
        near(p, &found["holm"][index], 1e-12, "Holm");
    }
    for (index, values) in values.iter().enumerate() {
        let interval = student(values).unwrap();
        near(
            interval.low,
            &found["values"][index][0],
            1e-6,
            "Student, low",
        );
        near(
            interval.high,
            &found["values"][index][1],
            1e-6,
            "Student, high",
        );
    }
    for (index, right) in right.iter().enumerate() {
        let means = resampled_means(std::slice::from_ref(right), RESAMPLES).remove(0);
        let interval = percentiles(means);
        // Both are draws; a percentile of 10,000 of them is sure to about a twentieth of the spread.
        near(
            interval.low,
            &found["right"][index][0],
            0.012,
            "bootstrap, low",
        );
        near(
            interval.high,
            &found["right"][index][1],
            0.012,
            "bootstrap, high",
        );
    }
}

#[test]
fn policy_losses_and_their_gradients_are_those_of_trl() {
    const VOCABULARY: usize = 9;
    let mut numbers = Numbers(3);
    let mut wants = Vec::new();
    let [mut imitate, mut prefer, mut push] = [(); 3].map(|()| Vec::new());
    for case in 0..90 {
        let logits: Vec<f32> = (0..VOCABULARY)
            .map(|_| 6.0 * numbers.next() as f32 - 3.0)
            .collect();
        let exact: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
        let token = numbers.below(VOCABULARY);
        let total: f64 = exact.iter().map(|x| x.exp()).sum();
        let log_prob = exact[token] - total.ln();
        if case % 3 == 0 {
            imitate.push(serde_json::json!({"logits": exact, "token": token}));
            wants.push((0, logits, token, Pull::Imitate));
        } else if case % 3 == 1 {
            let rival = (token + 1 + numbers.below(VOCABULARY - 1)) % VOCABULARY;
            // In 64ths, so that their difference is exact.
            let [chosen, rejected] = [(); 2].map(|()| numbers.below(320) as f32 / -64.0);
            let beta = 0.05 + 2.0 * numbers.next() as f32;
            prefer.push(serde_json::json!({
                "logits": exact, "token": token, "rival": rival, "beta": f64::from(beta),
                "reference": [chosen, rejected],
            }));
            let pull = Pull::Prefer {
                rival: rival as u32,
                reference: chosen - rejected,
                beta,
            };
            wants.push((1, logits, token, pull));
        } else {
            // Ratios from e^-1 to e, inside the clip and outside, for advantages of either sign.
            let old = (log_prob + 2.0 * numbers.next() - 1.0) as f32;
            let advantage = 4.0 * numbers.next() as f32 - 2.0;
            let clip = 0.1 + 0.2 * numbers.next() as f32;
            let kl = if case % 2 == 0 {
                0.0
            } else {
                0.2 * numbers.next() as f32
            };
            let [a, o, c, k] = [advantage, old, clip, kl].map(f64::from);
            push.push(serde_json::json!({
                "logits": exact, "token": token, "advantage": a, "old": o, "clip": c, "kl": k,
            }));
            let pull = Pull::Push {
                advantage,
                old,
                clip,
                kl,
            };
            wants.push((2, logits, token, pull));
        }
    }
    let groups: Vec<Vec<f64>> = (1..20)
        .map(|n| {
            (0..n)
                .map(|_| numbers.below(5) as f64 / 2.0 - 1.0)
                .collect()
        })
        .chain([vec![0.1; 6], vec![1.0; 3]])
        .collect();
    let cases = serde_json::json!({
        "imitate": imitate, "prefer": prefer, "push": push, "groups": groups,
    });
    let Some(found) = reference("trl", "trl_losses.py", &cases) else {
        return;
    };
    let mut seen = [0; 3];
    for (kind, mut logits, token, pull) in wants {
        let name = ["imitate", "prefer", "push"][kind];
        let expected = &found[name][seen[kind]];
        seen[kind] += 1;
        let want = Want {
            token: token as u32,
            pull,
        };
        let what = format!("{want:?}");
        near(want.apply(&mut logits, 1.0), &expected["loss"], 1e-6, &what);
        for (index, slope) in logits.iter().enumerate() {
            near(f64::from(*slope), &expected["gradient"][index], 1e-6, &what);
        }
    }
    assert_eq!(seen, [30; 3]);
    for (returns, expected) in groups.iter().zip(found["groups"].as_array().unwrap()) {
        let once: Vec<(f64, f64)> = returns.iter().map(|&of| (of, 1.0)).collect();
        let advantages = group_advantages(&once);
        assert_eq!(expected.as_array().unwrap().len(), advantages.len());
        for (index, advantage) in advantages.into_iter().enumerate() {
            near(advantage, &expected[index], 1e-9, &format!("{returns:?}"));
        }
    }
}
