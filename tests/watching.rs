//! What a run shows in TensorBoard, read back by TensorBoard's own Python package.

mod python;

use std::collections::BTreeSet;
use std::path::Path;

use assert_cmd::Command;
use serde_json::{Value, json};

const SETTINGS: [&str; 12] = [
    "loop.iterations=2",
    "collect.questions=24",
    "collect.shard=12",
    "collect.search.simulations=12",
    "joint.steps=6",
    "joint.policy_batch=8",
    "joint.value_batch=8",
    "joint.validation=0.3",
    "evaluate.questions=16",
    "evaluate.samples=2",
    "evaluate.search.searched.simulations=10",
    "evaluate.split=dev",
];

fn run(dir: &Path, more: &[&str]) {
    let mut command = Command::cargo_bin("tokenzero").unwrap();
    command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .args(["run", "recipes/quickstart.toml", "--quiet", "--run-dir"])
        .arg(dir);
    for set in SETTINGS.iter().chain(more) {
        command.args(["--set", set]);
    }
    command.assert().success();
}

fn tags(found: &Value, plugin: &str) -> BTreeSet<String> {
    let tags = found["plugins"][plugin].as_array().unwrap();
    tags.iter().map(|t| t.as_str().unwrap().into()).collect()
}

fn set(tags: &[&str]) -> BTreeSet<String> {
    tags.iter().map(|&tag| tag.into()).collect()
}

#[test]
fn every_tag_of_a_run_is_there_and_steps_go_up() {
    let Some(python) = python::with("tensorboard") else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().join("small");
    run(&dir, &[]);
    let found = python::json(
        &python,
        "read_events.py",
        &[dir.join("tensorboard").as_os_str()],
    );

    let mut scalars = set(&[
        "collect/solve_rate",
        "collect/true_step_rate",
        "collect/memo_hit_rate",
        "collect/simulations_per_s",
        "collect/forward_tokens_per_s",
        "collect/greedy",
        "collect/failed",
        "collect/texts_per_question",
        "collect/correct_share_of_texts",
        "collect/nodes_per_question",
        "collect/forward_tokens_per_question",
        "collect/tree_depth",
        "collect/branching",
        "collect/visit_entropy",
        "value/loss",
        "value/valid_loss",
        "value/held_out_loss",
        "value/brier",
        "value/auc",
        "value/ece",
        "value/explained_variance",
        "value/same_question_ranking",
        "value/ranking_question",
        "value/ranking_third",
        "value/ranking_two_thirds",
        "policy/loss",
        "policy/kl_to_base",
        "policy/entropy",
        "policy/grad_norm",
        "policy/lr",
        "policy/skipped",
        "perf/step_ms",
        "perf/rows",
        "perf/slots_live",
        "perf/rss",
        "perf/rss_peak",
        "perf/estimate_rss_peak",
        "perf/estimate_seconds",
        "perf/train_step_ms",
        "time/collect_s",
        "time/train_s",
        "time/evaluate_s",
    ]);
    for method in [
        "greedy",
        "vote",
        "weighted_vote",
        "best_of_n",
        "most_probable",
        "searched",
    ] {
        for end in ["", "_low", "_high", "_tokens"] {
            scalars.insert(format!("eval/{method}{end}"));
        }
    }
    assert_eq!(tags(&found, "scalars"), scalars);
    assert_eq!(
        tags(&found, "histograms"),
        set(&[
            "collect/root_value_solved",
            "collect/root_value_unsolved",
            "collect/trace_length",
            "collect/depth",
        ])
    );
    assert_eq!(
        tags(&found, "text"),
        set(&[
            "run/recipe",
            "eval/solutions",
            "value/false_positives",
            "value/false_negatives",
        ])
    );
    assert_eq!(
        tags(&found, "images"),
        set(&["value/reliability", "collect/tree"])
    );
    for (tag, events) in found["tensors"].as_object().unwrap() {
        let steps: Vec<u64> = events
            .as_array()
            .unwrap()
            .iter()
            .map(|e| e["step"].as_u64().unwrap())
            .collect();
        assert!(!steps.is_empty(), "{tag}");
        assert!(steps.windows(2).all(|w| w[0] < w[1]), "{tag}: {steps:?}");
    }
    let solutions = &found["tensors"]["eval/solutions"];
    assert_eq!(
        solutions.as_array().unwrap().len(),
        3,
        "base and two iterations"
    );
    assert_eq!(
        found["tensors"]["collect/tree"].as_array().unwrap().len(),
        2
    );

    let layout = &found["tensors"]["custom_scalars__config__"][0]["value"]["category"];
    assert_eq!(layout[0]["title"], "results");
    let series = &layout[0]["chart"][5]["margin"]["series"];
    assert_eq!(
        series[0],
        json!({
            "value": "eval/searched", "lower": "eval/searched_low", "upper": "eval/searched_high"
        })
    );
    // Every chart shows something that is there.
    for category in layout.as_array().unwrap() {
        for chart in category["chart"].as_array().unwrap() {
            let Some(wanted) = chart["multiline"]["tag"].as_array() else {
                continue;
            };
            let there = |tag: &Value| scalars.contains(tag.as_str().unwrap());
            assert!(wanted.iter().any(there), "{chart}");
        }
    }
    let start = &found["tensors"]["_hparams_/session_start_info"][0]["value"]["sessionStartInfo"];
    assert_eq!(start["groupName"], "small");
    assert_eq!(start["hparams"]["joint.steps"], 6.0);
    assert_eq!(start["hparams"]["learn.mode"], "joint");
    let experiment = &found["tensors"]["_hparams_/experiment"][0]["value"]["experiment"];
    let metrics = experiment["metricInfos"].as_array().unwrap();
    assert!(metrics.contains(&json!({"name": {"tag": "eval/searched"}})));
    let end = &found["tensors"]["_hparams_/session_end_info"][0]["value"]["sessionEndInfo"];
    assert_eq!(end["status"], "STATUS_SUCCESS");
}

#[test]
fn separate_fits_report_under_the_same_tags() {
    let dir = tempfile::tempdir().unwrap();
    run(
        dir.path(),
        &[
            "loop.iterations=1",
            "learn.mode=separate",
            "value.steps=4",
            "policy.steps=4",
            "policy.validation=0.3",
            "value.validation=0.3",
        ],
    );
    let text = std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
    let tags: BTreeSet<String> = text
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["tag"].clone())
        .map(|tag| tag.as_str().unwrap().into())
        .collect();
    for tag in [
        "value/loss",
        "value/lr",
        "value/valid_loss",
        "policy/loss",
        "policy/valid_loss",
        "policy/lr",
        "policy/skipped",
        "policy/kl_to_base",
    ] {
        assert!(tags.contains(tag), "{tag} is not among {tags:?}");
    }
}
