//! Questions that are imagined, questions from files, and sweeps.

use super::*;

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

    // What was finished before stays in the table, and a run that was cut is not judged.
    let cut = out.path().join("runs/base-seed-3/state.json");
    let state = fs::read_to_string(&cut).unwrap();
    let again = |more: &[&str]| {
        let mut command = tokenzero();
        command.arg("sweep").arg(&file).args(more);
        command.arg("--out").arg(out.path().join("runs"));
        let done = command.assert().success();
        String::from_utf8(done.get_output().stdout.clone()).unwrap()
    };
    let rows = |text: &str| text.matches("c_puct-0.5-seed-3").count();
    assert_eq!(rows(&again(&["--only", "base"])), 1);
    assert!(again(&["--summary"]).contains("c_puct-0.5, greedy"));
    fs::write(&cut, state.replace("\"done\"", "\"evaluate\"")).unwrap();
    assert!(!again(&["--summary"]).contains("c_puct-0.5, greedy"));
    fs::write(&cut, state).unwrap();
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
