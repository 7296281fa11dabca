//! Ways of searching and learning through the command line: the frontier, sweeps, and every way to
//! learn in a run of its own, small but whole.

use assert_cmd::Command;
use predicates::str::contains;
use serde_json::Value;
use std::fs;
use std::path::Path;

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
    ] {
        let (small, large) = (tokens(method, 2), tokens(method, 8));
        assert!(small <= large, "{method}: {small} and {large}");
        // The answer's end and what the last simulation began come on top.
        assert!(large < 32.0 * 8.0 + 250.0, "{method}: {large}");
    }
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
    fs::write(&file, text).unwrap();
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

    fs::write(&file, "recipe = \"x.toml\"\n[vary]\n\"a.b\" = []\n").unwrap();
    tokenzero()
        .arg("sweep")
        .arg(&file)
        .assert()
        .failure()
        .stderr(contains("has no values"));
}
