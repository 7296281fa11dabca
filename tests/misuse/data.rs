//! Questions that cannot be read.

use super::*;

pub(super) fn data(b: &mut Bench) {
    b.data("an empty folder of data", &[("notes.txt", "nothing")]);
    b.data(
        "a line that is no JSON",
        &[("train.jsonl", "{\"question\": \n")],
    );
    b.data(
        "a row without its answer",
        &[("train.jsonl", "{\"question\": \"1 + 1?\"}\n")],
    );
    b.data(
        "fewer rows than are held out",
        &[(
            "train.jsonl",
            "{\"question\": \"3?\", \"answer\": \"#### 2\"}\n",
        )],
    );
    b.data(
        "an answer without a number",
        &[(
            "train.jsonl",
            "{\"question\": \"1 + 1?\", \"answer\": \"two\"}\n",
        )],
    );
    b.data(
        "an empty split",
        &[("train.jsonl", ""), ("test.jsonl", ROW)],
    );
    let rows: String = (0..600)
        .map(|i| {
            format!(
                "{{\"question\": \"{i} + 1?\", \"answer\": \"{}\"}}\n",
                i + 1
            )
        })
        .collect();
    b.data(
        "fewer questions than the recipe wants",
        &[("train.jsonl", &rows)],
    );
    let folder = b.path(&format!("data-{}", b.count - 1));
    let path = format!("task.path={}", folder.display());
    b.set(
        "data without a test split",
        &["task.kind=jsonl", &path, "collect.questions=20"],
    );
    b.data(
        "the same question in two splits",
        &[("train.jsonl", ROW), ("test.jsonl", ROW)],
    );
    b.data(
        "Parquet that is none",
        &[("train.parquet", "PAR1 but not really")],
    );
    let folder = b.path(&format!("data-{}", b.count));
    std::fs::create_dir_all(&folder).unwrap();
    Table::new()
        .column_str("problem", vec!["1 + 1?".to_owned()])
        .column_u64("solution", vec![2])
        .write(&folder.join("train.parquet"))
        .unwrap();
    let path = format!("task.path={}", folder.display());
    b.set("Parquet with other columns", &["task.kind=jsonl", &path]);
    let nowhere = format!("task.path={}", b.path("nowhere").display());
    b.set("no such folder of data", &["task.kind=gsm8k", &nowhere]);
    let file = b.write("grade.jsonl", "{\"answer\": \"#### 2\"}\n");
    b.case("grading a row without a completion", &["grade", &file]);
    let file = b.write(
        "gold.jsonl",
        "{\"answer\": \"two\", \"completion\": \"2\"}\n",
    );
    b.case("grading against no number", &["grade", &file]);
    b.case(
        "an unknown task to grade",
        &["grade", "--task", "gsm8", &file],
    );
    let file = b.write("prompts.jsonl", "{\"question\": \"1 2 3 make 6\"}\n");
    b.case(
        "prompts without the field",
        &[
            "generate",
            "--model",
            "checkpoints/countdown-tiny",
            "--prompts",
            &file,
        ],
    );
}
