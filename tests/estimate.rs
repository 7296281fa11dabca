//! What `check` and `run` expect of a run, against what the run then takes, on the real binary.

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

/// A quickstart of a few seconds.
const SMALL: [&str; 5] = [
    "loop.iterations=1",
    "collect.questions=160",
    "collect.workers=64",
    "joint.steps=12",
    "evaluate.questions=48",
];

fn tokenzero(verb: &str, sets: &[&str]) -> Command {
    let mut command = Command::cargo_bin("tokenzero").unwrap();
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args([verb, "recipes/quickstart.toml"]);
    for set in sets {
        command.args(["--set", set]);
    }
    command
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn size(path: &Path) -> f64 {
    if path.is_file() {
        return path.metadata().unwrap().len() as f64;
    }
    let entries = std::fs::read_dir(path).unwrap();
    entries.map(|entry| size(&entry.unwrap().path())).sum()
}

/// Forward tokens that the phases of iteration `i` in `dir` report.
fn tokens(dir: &Path, i: u32) -> f64 {
    let dir = dir.join(format!("iter-{i:04}"));
    let mut sum = 0.0;
    if i > 0 {
        sum += json(&dir.join("collect.json"))["forward_tokens"]
            .as_f64()
            .unwrap();
        sum += json(&dir.join("train.json"))["joint"]["tokens"]
            .as_f64()
            .unwrap();
    }
    // The three methods that vote share their draws.
    for method in ["greedy", "weighted_vote", "searched"] {
        let ledger = &json(&dir.join("evaluation.json"))["methods"][method]["ledger"];
        let parts = ledger.as_object().unwrap().values();
        sum += parts.map(|n| n.as_f64().unwrap()).sum::<f64>();
    }
    sum
}

/// Bytes of a phase before that the allocator may keep or give back.
const LEFT_OVER: f64 = 60e6;

#[track_caller]
fn assert_near(what: &str, estimated: f64, measured: f64, band: f64) {
    let ratio = estimated / measured;
    assert!(
        ratio > 1.0 / (1.0 + band) && ratio < 1.0 + band,
        "{what}: {estimated:.4e} were expected and {measured:.4e} measured"
    );
}

/// Makes a run in `dir` and holds what it took against what `check` expected of it.
fn assert_expected(sets: &[&str], run: &Path) {
    let checked = tokenzero("check", sets).arg("--json").output().unwrap();
    assert!(checked.status.success());
    let estimate: Value = serde_json::from_slice(&checked.stdout).unwrap();
    tokenzero("run", sets)
        .arg("--run-dir")
        .arg(run)
        .assert()
        .success()
        .stderr(contains("expected: "));

    let expected = |key: &str| estimate[key].as_f64().unwrap();
    assert_near(
        "tokens",
        expected("tokens"),
        tokens(run, 0) + tokens(run, 1),
        0.25,
    );
    assert_near("disk", expected("disk"), size(run), 0.25);

    let mut events: BTreeMap<(String, u64), f64> = BTreeMap::new();
    for line in std::fs::read_to_string(run.join("events.jsonl"))
        .unwrap()
        .lines()
    {
        let event: Value = serde_json::from_str(line).unwrap();
        if let Some(value) = event["value"].as_f64() {
            let tag = event["tag"].as_str().unwrap().to_owned();
            events.insert((tag, event["step"].as_u64().unwrap()), value);
        }
    }
    let at = |tag: &str, step: u64| events[&(tag.to_owned(), step)];
    let phases = estimate["phases"].as_array().unwrap();
    assert_eq!(phases.len(), 4);
    let near = |memory: f64, measured: f64| (memory - measured).abs() < 0.25 * measured + LEFT_OVER;
    let mut highest = 0.0f64;
    for (step, phase) in phases.iter().enumerate() {
        let measured = at("perf/rss_peak", step as u64);
        highest = highest.max(measured);
        // The allocator keeps some of what a phase before has left, now more, now less.
        let memory = phase["memory"].as_f64().unwrap();
        assert!(
            near(memory, measured),
            "{}: {memory:.4e} were expected and {measured:.4e} measured",
            phase["phase"]
        );
        assert_near(
            "the run's own estimate",
            at("perf/estimate_rss_peak", step as u64),
            memory,
            0.1,
        );
        let parts = phase["parts"].as_array().unwrap();
        let sum: f64 = parts
            .iter()
            .map(|part| part["bytes"].as_f64().unwrap())
            .sum();
        assert_near("the parts", sum, memory, 1e-6);
    }
    let memory = expected("memory");
    assert!(near(memory, highest), "{memory:.4e} and {highest:.4e}");
}

#[test]
fn a_small_run_takes_what_was_expected() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    assert_expected(&SMALL, &run);
    // The same with what it made as a player and as a judge, and texts drawn anew.
    let other = run.join("iter-0001/checkpoint");
    let judges = format!(
        r#"collect.search.judges=[{{ kind = "rollout" }}, {{ kind = "reward", path = "{}" }}]"#,
        other.display()
    );
    let player = format!("collect.search.player={}", other.display());
    let helped = [&judges, &player, "collect.search.redraw.texts=2"];
    assert_expected(&[&SMALL[..], &helped].concat(), &dir.path().join("helped"));
    let options = [
        r#"collect.search.actions={ kind = "step", stop = ["\n"], max_tokens = 16 }"#,
        r#"evaluate.search.searched.actions={ kind = "span", tokens = 6 }"#,
    ];
    assert_expected(
        &[&SMALL[..], &options].concat(),
        &dir.path().join("options"),
    );
}

#[test]
fn what_cannot_fit_is_refused_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    let refused = |sets: &[&str], parts: &[&str]| {
        let mut command = tokenzero("run", sets);
        let assert = command
            .arg("--run-dir")
            .arg(&run)
            .assert()
            .failure()
            .code(1)
            .stdout("");
        // Messages are broken into lines anywhere in a path.
        let close = |text: &str| text.replace(|c: char| c.is_whitespace() || c == '│', "");
        let message = close(&String::from_utf8_lossy(&assert.get_output().stderr));
        for part in parts {
            assert!(message.contains(&close(part)), "{part}: {message}");
        }
        assert!(!run.exists());
    };
    refused(
        &["collect.search.simulations=1000000"],
        &[
            "the collection of iteration 1",
            "GB",
            "collect.search.simulations",
            "--no-estimate",
        ],
    );
    refused(
        &["engine.kv_slots=100"],
        &["the evaluation of iteration 0", "engine.kv_slots"],
    );
    // A player as large as none, of which nothing but its configuration is looked at.
    let player = dir.path().join("player");
    std::fs::create_dir(&player).unwrap();
    let mut config = json(Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/checkpoints/countdown-tiny/config.json"
    )));
    config["num_hidden_layers"] = 10_000_000.into();
    std::fs::write(player.join("config.json"), config.to_string()).unwrap();
    let named = format!("weights of the player {}", player.display());
    refused(
        &[&format!("collect.search.player={}", player.display())],
        &[
            "the collection of iteration 1",
            &named,
            "collect.search.player",
        ],
    );
    // An earlier run's folder stays as it is.
    std::fs::create_dir(&run).unwrap();
    std::fs::write(run.join("notes.txt"), "mine").unwrap();
    tokenzero("run", &["engine.kv_slots=100"])
        .arg("--fresh")
        .arg("--run-dir")
        .arg(&run)
        .assert()
        .failure();
    assert_eq!(std::fs::read_dir(&run).unwrap().count(), 1);
}

#[test]
fn check_shows_the_table_and_refuses_too() {
    tokenzero("check", &SMALL)
        .assert()
        .success()
        .stdout(contains("[collect.search.tree]"))
        .stderr(
            contains("most of it")
                .and(contains("collect"))
                .and(contains("disk at the")),
        );
    let narrow = ["engine.kv_slots=100"];
    tokenzero("check", &narrow)
        .assert()
        .failure()
        .stderr(contains("engine.kv_slots"));
    tokenzero("check", &narrow)
        .arg("--no-estimate")
        .assert()
        .success()
        .stderr(contains("most of it").not());
    let offline = tokenzero("check", &SMALL)
        .args(["--offline", "--json"])
        .output()
        .unwrap();
    assert!(offline.status.success());
    let estimate: Value = serde_json::from_slice(&offline.stdout).unwrap();
    assert!(estimate["seconds"].is_null());
    assert_eq!(estimate["sample"]["searched"], 0);
    assert!(estimate["memory"].as_f64().unwrap() > 5e7);
}
