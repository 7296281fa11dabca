//! The real binary, as a user types it.

mod small;

use assert_cmd::Command;
use predicates::prelude::*;
use predicates::str::contains;
use serde_json::Value;

fn tokenzero() -> Command {
    let mut command = Command::cargo_bin("tokenzero").unwrap();
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

#[test]
fn every_recipe_checks() {
    for folder in ["recipes", "recipes/family"] {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("pretrain") || !name.ends_with(".toml") {
                continue;
            }
            if text.contains("[vary]") || text.contains("[methods.") {
                // A sweep: reading it checks its recipe with every value.
                let sweep = tokenzero::recipe::sweep::Sweep::read(&path).unwrap();
                assert!(sweep.variants().len() > 1, "{name}");
                continue;
            }
            tokenzero()
                .args(["check", "--offline"])
                .arg(&path)
                .assert()
                .success()
                .stdout(contains("[collect.search.tree]"))
                .stderr(contains("fingerprint"));
        }
    }
}

#[test]
fn bad_recipes_get_one_message_with_place_and_remedy() {
    let check = |sets: &[&str]| {
        let mut command = tokenzero();
        command.args(["check", "--offline", "recipes/quickstart.toml"]);
        for set in sets {
            command.args(["--set", set]);
        }
        command.assert().failure().code(1).stdout("")
    };
    check(&["collect.serch.simulations=3"]).stderr(contains("search"));
    check(&["loop.iteration=3"]).stderr(contains("iterations"));
    check(&["collect.questions=many"]).stderr(contains("collect.questions=many"));
    check(&["collect.search.tree.lambda=1.5"]).stderr(contains("lambda"));
    check(&["evaluate.sampling.temperature=0"]).stderr(contains("temperature"));
    check(&["joint.lr=-1"]).stderr(contains("lr"));
    tokenzero()
        .args(["run", "recipes/quikstart.toml"])
        .assert()
        .failure()
        .stderr(contains("recipes/quikstart.toml"));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("typo.toml");
    std::fs::write(&path, "[loop]\niterations = 2\n\n[colect]\nquestions = 3\n").unwrap();
    tokenzero()
        .arg("check")
        .arg(&path)
        .assert()
        .failure()
        .stderr(
            contains("colect")
                .and(contains("collect"))
                .and(contains(":4:")),
        );
}

#[test]
fn devices_that_are_not_there_are_refused() {
    for (device, words) in [("tpu", "unknown device"), ("cuda:x", "unknown device")] {
        tokenzero()
            .args(["check", "recipes/quickstart.toml", "--device", device])
            .assert()
            .failure()
            .stderr(contains(words));
    }
    #[cfg(not(feature = "cuda"))]
    tokenzero()
        .args(["check", "recipes/quickstart.toml", "--device", "cuda"])
        .assert()
        .failure()
        .stderr(contains("--features cuda"));
}

#[test]
fn grade_reads_lines_and_prints_verdicts() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.jsonl");
    let rows = [
        (
            r"She has 5*200=1,000 apples. #### 1,000",
            "so the total is\n#### 1000",
            true,
        ),
        ("#### 18", r"thus \boxed{18}.", true),
        ("#### 18", "The answer is 17.", false),
        ("#### 3", "no idea", false),
    ];
    let text: String = rows
        .iter()
        .map(|(answer, completion, _)| {
            format!(
                "{}\n",
                serde_json::json!({"answer": answer, "completion": completion})
            )
        })
        .collect();
    std::fs::write(&path, text).unwrap();
    let output = tokenzero()
        .args(["grade", "--task", "gsm8k", "--json"])
        .arg(&path)
        .assert()
        .success();
    let stdout = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let lines: Vec<Value> = stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), rows.len());
    for (line, (_, _, correct)) in lines.iter().zip(rows) {
        assert_eq!(line["correct"], correct);
        assert!(line.get("parsed").is_some());
    }
    std::fs::write(&path, "{\"answer\": \"1\"}\n").unwrap();
    tokenzero()
        .arg("grade")
        .arg(&path)
        .assert()
        .failure()
        .stderr(contains("rows.jsonl:1").and(contains("completion")));
    tokenzero()
        .args(["grade", "--task", "gsm9k"])
        .arg(&path)
        .assert()
        .failure()
        .stderr(contains("did you mean `gsm8k`"));
}

#[test]
fn generate_answers_prompts_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prompts.jsonl");
    let prompts = ["1 4 9 11 make 35\n", "2 3 7 make 42\n", "5 5 10 make 50\n"];
    let text: String = prompts
        .iter()
        .map(|p| format!("{}\n", serde_json::json!({ "prompt": p })))
        .collect();
    std::fs::write(&path, text).unwrap();
    let output = tokenzero()
        .args([
            "generate",
            "--model",
            "checkpoints/countdown-tiny",
            "--raw",
            "--json",
        ])
        .args(["--max-new-tokens", "38", "--prompts"])
        .arg(&path)
        .assert()
        .success();
    let stdout = String::from_utf8(output.get_output().stdout.clone()).unwrap();
    let lines: Vec<Value> = stdout
        .lines()
        .map(|l| serde_json::from_str(l).unwrap())
        .collect();
    assert_eq!(lines.len(), 3);
    for (line, prompt) in lines.iter().zip(prompts) {
        let text = line["text"].as_str().unwrap();
        assert!(line["tokens"].as_array().unwrap().len() > 5);
        let first: Vec<&str> = text.split_whitespace().take(4).collect();
        assert_eq!(first[3], "=", "an equation comes first: {text}");
        assert!(prompt.split_whitespace().any(|n| n == first[0]), "{text}");
    }
    tokenzero()
        .args([
            "generate",
            "--model",
            "checkpoints/countdown-tiny",
            "1 2 3 make 6",
        ])
        .assert()
        .success()
        .stdout(contains("####"));
    tokenzero()
        .args([
            "generate",
            "--model",
            "checkpoints/countdown-tiny",
            "--simulations",
            "8",
        ])
        .arg("1 2 3 make 6")
        .assert()
        .failure()
        .stderr(contains("value net"));
}

#[test]
fn a_small_run_leaves_everything_and_a_second_one_finds_it_done() {
    let dir = tempfile::tempdir().unwrap();
    let run = dir.path().join("run");
    small::run(&run)
        .assert()
        .success()
        .stdout(contains("searched").and(contains("tensorboard --logdir")))
        .stderr(contains("iteration"));
    for file in [
        "recipe.toml",
        "state.json",
        "events.jsonl",
        "iter-0000/evaluation.json",
        "iter-0001/traces/manifest.json",
        "iter-0001/checkpoint/model.safetensors",
        "iter-0001/checkpoint/value/value.json",
        "iter-0001/evaluation.json",
        "iter-0001/evaluation.parquet",
    ] {
        assert!(run.join(file).exists(), "{file} is missing");
    }
    let text = std::fs::read_to_string(run.join("iter-0001/evaluation.json")).unwrap();
    let evaluation: Value = serde_json::from_str(&text).unwrap();
    for method in ["greedy", "vote", "weighted_vote", "best_of_n", "searched"] {
        let report = &evaluation["methods"][method];
        assert_eq!(report["total"], 16);
        for field in ["correct", "accuracy", "low", "high", "forward_tokens"] {
            assert!(report[field].is_number(), "{method}.{field}");
        }
    }
    let before = std::fs::metadata(run.join("iter-0001/checkpoint/model.safetensors")).unwrap();
    small::run(&run)
        .assert()
        .success()
        .stdout(contains("searched"));
    let after = std::fs::metadata(run.join("iter-0001/checkpoint/model.safetensors")).unwrap();
    assert_eq!(before.modified().unwrap(), after.modified().unwrap());
    small::run(&run)
        .args(["--set", "seed=9"])
        .assert()
        .failure()
        .stderr(contains("another recipe"));

    let out = dir.path().join("value-net");
    tokenzero()
        .args(["export", "value"])
        .arg(&run)
        .arg("--out")
        .arg(&out)
        .assert()
        .success();
    assert!(out.join("README.md").exists());
    tokenzero()
        .args([
            "generate",
            "--simulations",
            "8",
            "--max-new-tokens",
            "38",
            "--model",
        ])
        .arg(run.join("iter-0001/checkpoint"))
        .arg("1 2 3 make 6")
        .assert()
        .success();
    tokenzero()
        .args(["export", "policy"])
        .arg(dir.path())
        .arg("--out")
        .arg(dir.path().join("p"))
        .assert()
        .failure()
        .stderr(contains("not the folder of a run"));
}

#[test]
fn the_readmes_table_of_grades_is_what_the_grader_does() {
    let readme = include_str!("../README.md");
    let section = readme.split("## Grading").nth(1).unwrap();
    let mut rows = Vec::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split(" | ");
        let completion = cells
            .next()
            .unwrap()
            .trim()
            .trim_matches('`')
            .replace("\\n", "\n");
        rows.push((completion, cells.next().unwrap().trim().to_owned()));
    }
    assert!(rows.len() >= 20, "{rows:?}");
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("table.jsonl");
    let lines: String = rows
        .iter()
        .map(|(completion, _)| {
            serde_json::json!({"answer": "1", "completion": completion}).to_string() + "\n"
        })
        .collect();
    std::fs::write(&path, lines).unwrap();
    let output = tokenzero()
        .arg("grade")
        .arg(&path)
        .arg("--json")
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.lines().count(), rows.len());
    for (line, (completion, expected)) in output.lines().zip(&rows) {
        let found: Value = serde_json::from_str(line).unwrap();
        let parsed = found["parsed"].as_str().unwrap_or("none");
        assert_eq!(parsed, expected, "{completion}");
    }
}

#[test]
fn expressions_and_choices_are_graded_from_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("rows.jsonl");
    let grade = |answers: &str, rows: &[(&str, &str, &str)]| -> Vec<Value> {
        let line = |(question, answer, completion): &(&str, &str, &str)| {
            serde_json::json!({"question": question, "answer": answer, "completion": completion})
                .to_string()
                + "\n"
        };
        std::fs::write(&path, rows.iter().map(line).collect::<String>()).unwrap();
        let output = tokenzero()
            .arg("grade")
            .arg(&path)
            .args(["--json", "--answers", answers])
            .output()
            .unwrap();
        let output = String::from_utf8(output.stdout).unwrap();
        output
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let found = grade(
        "expression",
        &[
            (
                "",
                "\\frac{\\sqrt{2}}{2}",
                "So \\boxed{\\frac{1}{\\sqrt{2}}}",
            ),
            ("", "(-\\infty, 2]", "\\boxed{(-\\infty, 2)}"),
        ],
    );
    assert_eq!(
        found[0],
        serde_json::json!({"correct": true, "parsed": "1/2*sqrt(2)"})
    );
    assert_eq!(found[1]["correct"], false);
    let question = "Capital of France?\nA. London\nB. Paris";
    let found = grade("choice", &[(question, "B", "The answer is Paris.")]);
    assert_eq!(
        found[0],
        serde_json::json!({"correct": true, "parsed": "B"})
    );
    tokenzero()
        .arg("grade")
        .arg(&path)
        .args(["--answers", "essay"])
        .assert()
        .failure()
        .stderr(contains("number, expression or choice"));
}
