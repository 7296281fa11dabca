//! Methods on one frontier, and how well texts of a question are ranked.

use super::*;

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
    assert_eq!(svg.matches("<title>").count(), points.len());
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
