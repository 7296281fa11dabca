use super::*;
use crate::task::{Kind, Params, open};
use std::fs::write;

const TRAIN: &str = r#####"{"question": "q0", "answer": "so 1 + 1 = 2\n#### 2"}
{"question": "q1", "answer": "#### 1,000"}

{"question": "q2", "answer": 2.5}
{"question": "q3", "answer": "$4"}
{"question": "q1 ", "answer": "5"}
"#####;

fn params(path: &Path, dev_size: usize) -> Params {
    Params {
        kind: Kind::Jsonl,
        path: Some(path.to_owned()),
        dev_size,
        ..Params::default()
    }
}

fn message(params: &Params) -> String {
    match open(params) {
        Ok(_) => panic!("expected an error"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn a_folder_gives_three_splits() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("train.jsonl"), TRAIN).unwrap();
    write(
        folder.path().join("test.jsonl"),
        r#"{"question": "t", "answer": "1/2"}"#,
    )
    .unwrap();
    for kind in [Kind::Jsonl, Kind::Gsm8k] {
        let task = open(&Params {
            kind,
            ..params(folder.path(), 2)
        })
        .unwrap();
        assert_eq!(task.name(), kind.name());
        let train = task.train(0..10).unwrap();
        // q1 is held out: the dev split has it with a space behind.
        let texts: Vec<_> = train
            .iter()
            .map(|p| (p.id, &*p.question, &*p.gold))
            .collect();
        assert_eq!(texts, [(0, "q0", "2"), (2, "q2", "2.5")]);
        let dev = task.dev(10).unwrap();
        assert_eq!(dev.iter().map(|p| &*p.gold).collect::<Vec<_>>(), ["4", "5"]);
        assert_eq!(task.dev(1).unwrap().len(), 1);
        assert_eq!(task.test(10).unwrap()[0].gold, "0.5");
        assert!(task.train(2..9).unwrap().is_empty());
        assert!(task.train(7..9).unwrap().is_empty());
        assert!(task.grade("q0", "2", "It is 2.").correct);
    }
}

#[test]
fn one_file_has_no_test_split() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("mine.jsonl");
    write(&file, TRAIN.replace("question", "q").replace("answer", "a")).unwrap();
    let renamed = Params {
        question: "q".into(),
        answer: "a".into(),
        ..params(&file, 1)
    };
    let task = open(&renamed).unwrap();
    assert_eq!(task.train(0..9).unwrap().len(), 3);
    let error = task.test(1).unwrap_err().to_string();
    assert!(
        error.contains("no test split") && error.contains("test.jsonl"),
        "{error}"
    );
}

#[test]
fn a_folder_with_test_files_only_can_be_evaluated() {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path().join("test.jsonl"), TRAIN).unwrap();
    let task = open(&params(folder.path(), 500)).unwrap();
    assert_eq!(task.test(9).unwrap().len(), 5);
    for error in [task.train(0..1).unwrap_err(), task.dev(1).unwrap_err()] {
        assert!(error.to_string().contains("no train split"), "{error}");
    }
}

#[test]
fn errors_name_the_place_and_the_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("train.jsonl");
    let failed = |line: &str, expected: &[&str]| {
        write(&file, format!("{}\n{line}\n", TRAIN.trim_end())).unwrap();
        let message = message(&params(&file, 1));
        for part in ["train.jsonl, row 7", expected[0], expected[1]] {
            assert!(message.contains(part), "{message}");
        }
    };
    failed(
        r#"{"question": "q", "answer": "none"}"#,
        &["\"none\"", "#### 18"],
    );
    failed(
        r#"{"question": "q", "answer": "5 or 6"}"#,
        &["\"5 or 6\"", "#### 18"],
    );
    failed(
        r#"{"question": "q", "answer": [1]}"#,
        &["neither text nor a number", "write a string"],
    );
    failed(
        r#"{"question": "q", "gold": "1"}"#,
        &["only [\"question\", \"gold\"]", "task.answer"],
    );
    failed(
        r#"{"question": " ", "answer": "1"}"#,
        &["is empty", "remove the row"],
    );
    failed(
        r#"{"question": "q", "#,
        &["not JSON", "one JSON object a line"],
    );
    failed("3", &["no field", "task.question"]);
}

#[test]
fn bad_paths_and_sizes() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    assert!(message(&params(path, 1)).contains("holds no data"));
    assert!(
        message(&Params {
            kind: Kind::Gsm8k,
            ..params(path, 1)
        })
        .contains("no train split")
    );
    assert!(message(&params(&path.join("absent"), 1)).contains("cannot read"));
    let absent = Params {
        kind: Kind::Gsm8k,
        ..params(&path.join("absent"), 1)
    };
    assert!(message(&absent).contains("cannot read"));
    assert!(
        message(&Params {
            path: None,
            ..params(path, 1)
        })
        .contains("task.path is not set")
    );
    let useless = Params {
        kind: Kind::Countdown,
        ..params(path, 1)
    };
    assert!(message(&useless).contains("remove task.path"));
    write(path.join("x.csv"), "a").unwrap();
    assert!(message(&params(&path.join("x.csv"), 1)).contains(".jsonl or .parquet"));
    write(path.join("train.jsonl"), "\n").unwrap();
    assert!(message(&params(path, 5)).contains("train.jsonl: no rows"));
    write(path.join("train.jsonl"), TRAIN).unwrap();
    assert!(message(&params(path, 5)).contains("task.dev_size is 5"));
    write(
        path.join("test.jsonl"),
        r#"{"question": "q2", "answer": "1"}"#,
    )
    .unwrap();
    let leak = message(&params(path, 1));
    assert!(
        leak.contains("train.jsonl, row 4") && leak.contains("test.jsonl"),
        "{leak}"
    );
}

#[test]
fn parquet_reads_like_jsonl() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main");
    std::fs::create_dir(&main).unwrap();
    for (name, questions) in [("train", ["a", "b"]), ("test", ["c", "d"])] {
        crate::trace::table::Table::new()
            .column_str("question", questions.to_vec())
            .column_str("answer", vec!["so\n#### 1,000", "2"])
            .write(&main.join(format!("{name}-00000-of-00001.parquet")))
            .unwrap();
    }
    let gsm8k = Params {
        kind: Kind::Gsm8k,
        ..params(folder.path(), 1)
    };
    let task = open(&gsm8k).unwrap();
    assert_eq!(task.train(0..9).unwrap(), [Problem::new(0, "a", "1000")]);
    assert_eq!(task.dev(9).unwrap(), [Problem::new(1, "b", "2")]);
    assert_eq!(task.test(9).unwrap()[1], Problem::new(1, "d", "2"));
    let renamed = message(&Params {
        answer: "gold".into(),
        ..gsm8k
    });
    assert!(renamed.contains("task.answer is \"gold\""), "{renamed}");
}

#[test]
fn shards_are_found_in_order() {
    let folder = tempfile::tempdir().unwrap();
    let main = folder.path().join("main");
    std::fs::create_dir(&main).unwrap();
    for name in [
        "train-00001-of-00002.parquet",
        "train-00000-of-00002.parquet",
        "test-0.parquet",
    ] {
        write(main.join(name), "").unwrap();
    }
    let files = split_files(folder.path(), "train").unwrap();
    assert_eq!(files.len(), 2);
    assert!(files[0].ends_with("main/train-00000-of-00002.parquet"));
    assert!(split_files(&main, "test").unwrap()[0].ends_with("test-0.parquet"));
    assert!(split_files(folder.path(), "dev").unwrap().is_empty());
}

fn choice(path: &Path, choices: &[&str]) -> Params {
    Params {
        answers: Answers::Choice,
        choices: choices.iter().map(|&name| name.to_owned()).collect(),
        ..params(path, 1)
    }
}

#[test]
fn options_come_from_a_list_from_columns_or_from_the_question() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("train.jsonl");
    let list = r#"{"question": "Capital?", "answer": "B", "choices": ["London", "Paris"]}"#;
    let by_text = r#"{"question": "Sum?", "answer": "4", "choices": [3, 4, 5]}"#;
    write(&file, format!("{list}\n{by_text}\n")).unwrap();
    let task = open(&choice(&file, &["choices"])).unwrap();
    let train = &task.train(0..1).unwrap()[0];
    assert_eq!(train.question, "Capital?\nA. London\nB. Paris");
    assert_eq!((&*train.gold, &*task.dev(1).unwrap()[0].gold), ("B", "B"));
    let prompt = task.prompt(&train.question);
    assert!(prompt.messages[0].content.contains("Answer: <letter>"));
    for (completion, right) in [
        ("Answer: B", true),
        ("The answer is Paris.", true),
        ("\\boxed{A}", false),
        ("Answer: 7", false),
    ] {
        let grade = task.grade(&train.question, "B", completion);
        assert_eq!(grade.correct, right, "{completion}");
    }

    let columns = r#"{"question": "Capital?", "answer": "Paris", "A": "London", "B": "Paris"}"#;
    let other = columns.replace("Capital", "City");
    write(&file, format!("{columns}\n{other}\n")).unwrap();
    let task = open(&choice(&file, &["A", "B"])).unwrap();
    assert_eq!(task.train(0..1).unwrap()[0].gold, "B");

    let inside = r#"{"question": "Capital? (A) London (B) Paris", "answer": "(B)"}"#;
    let other = inside.replace("Capital", "City");
    write(&file, format!("{inside}\n{other}\n")).unwrap();
    assert_eq!(
        open(&choice(&file, &[])).unwrap().train(0..1).unwrap()[0].gold,
        "B"
    );
}

#[test]
fn bad_options_name_row_and_column() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("train.jsonl");
    let good = r#"{"question": "q", "answer": "B", "choices": ["x", "y"], "A": "x", "B": "y"}"#;
    for (line, choices, parts) in [
        (
            r#"{"question": "r", "answer": "C", "choices": ["x", "y"]}"#,
            &["choices"][..],
            &["\"C\"", "letter of an option"][..],
        ),
        (
            r#"{"question": "r", "answer": "A", "choices": ["x"]}"#,
            &["choices"],
            &["1 options", "2 to 10"],
        ),
        (
            r#"{"question": "r", "answer": "A", "choices": ["x", " "]}"#,
            &["choices"],
            &["option 2", "\"choices\"", "is empty"],
        ),
        (
            r#"{"question": "r", "answer": "A", "choices": "x"}"#,
            &["choices"],
            &["not a list", "JSON list"],
        ),
        (
            r#"{"question": "r", "answer": "A"}"#,
            &["choices"],
            &["no field \"choices\"", "task.choices"],
        ),
        (
            r#"{"question": "r", "answer": "A", "A": "x", "B": ""}"#,
            &["A", "B"],
            &["column \"B\" is empty"],
        ),
        (
            r#"{"question": "r", "answer": "A", "A": "x"}"#,
            &["A", "B"],
            &["no field \"B\""],
        ),
    ] {
        write(&file, format!("{good}\n{line}\n")).unwrap();
        let message = message(&choice(&file, choices));
        for part in [&["train.jsonl, row 2"], parts].concat() {
            assert!(message.contains(part), "{part}: {message}");
        }
    }
    let numbers = Params {
        answers: Answers::Number,
        ..choice(&file, &["choices"])
    };
    assert!(message(&numbers).contains("task.answers to \"choice\""));
    let generated = Params {
        kind: Kind::Countdown,
        path: None,
        answers: Answers::Expression,
        ..params(&file, 1)
    };
    assert!(message(&generated).contains("task.answers is set"));
}

#[test]
fn ids_are_kept_and_a_dev_file_is_the_dev_split() {
    let folder = tempfile::tempdir().unwrap();
    let row = |id: &str, question: &str| {
        format!(r#"{{"name": {id}, "question": "{question}", "answer": "x+1"}}"#) + "\n"
    };
    write(
        folder.path().join("train.jsonl"),
        row("70", "a") + &row("\"b-7\"", "b") + &row("\"c\"", "held"),
    )
    .unwrap();
    write(
        folder.path().join("dev.jsonl"),
        row("1", "held") + &row("2", "dev alone"),
    )
    .unwrap();
    let named = Params {
        id: Some("name".into()),
        answers: Answers::Expression,
        ..params(folder.path(), 500)
    };
    let task = open(&named).unwrap();
    let train = task.train(0..9).unwrap();
    let ids: Vec<u64> = train.iter().map(|problem| problem.id).collect();
    assert_eq!(
        ids,
        [70, stable_hash("b-7")],
        "the question of the dev file is held out"
    );
    assert_eq!(task.dev(1).unwrap(), [Problem::new(1, "held", "x+1")]);
    assert_eq!(task.dev(9).unwrap().len(), 2);
    assert!(task.grade("a", "x+1", "\\boxed{1+x}").correct);

    write(folder.path().join("test.jsonl"), row("1", "dev alone")).unwrap();
    assert!(
        message(&named).contains("dev.jsonl, row 2"),
        "a test question in the dev split"
    );
    std::fs::remove_file(folder.path().join("test.jsonl")).unwrap();
    write(
        folder.path().join("train.jsonl"),
        row("70", "a") + &row("70", "b"),
    )
    .unwrap();
    let twice = message(&named);
    assert!(
        twice.contains("row 2") && twice.contains("\"name\"") && twice.contains("row 1 holds too"),
        "{twice}"
    );
}

#[test]
fn parquet_has_lists_of_options() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("train.parquet");
    let lists = [
        vec!["x".to_owned(), "y".into()],
        vec!["x".into(), "y".into(), "z".into()],
    ];
    let table = || {
        crate::trace::table::Table::new()
            .column_str("question", vec!["q", "r"])
            .column_str("answer", vec!["B", "z"])
            .column_str("A", vec!["x", "z"])
            .column_str("B", vec!["y", "w"])
            .column_u64("key", vec![5, 9])
    };
    table()
        .column_list_str("choices", &lists)
        .write(&file)
        .unwrap();
    let task = open(&Params {
        id: Some("key".into()),
        ..choice(&file, &["choices"])
    })
    .unwrap();
    assert_eq!(
        task.train(0..1).unwrap(),
        [Problem::new(5, "q\nA. x\nB. y", "B")]
    );
    assert_eq!(
        task.dev(1).unwrap(),
        [Problem::new(9, "r\nA. x\nB. y\nC. z", "C")]
    );
    let task = open(&choice(&file, &["A", "B"])).unwrap();
    assert_eq!(task.dev(1).unwrap()[0].gold, "A");
    let wrong = message(&choice(&file, &["key"]));
    assert!(
        wrong.contains("lists of text") && wrong.contains("`key`"),
        "{wrong}"
    );
}
