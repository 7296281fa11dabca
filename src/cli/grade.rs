//! `tokenzero grade`.

use super::common;
use crate::task::{self, Answers, Kind, Params};
use miette::{IntoDiagnostic, Result, miette};
use serde::Deserialize;
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// JSONL with the fields `answer` (gold text) and `completion`; countdown needs `question` too.
    file: PathBuf,
    /// The task whose grader is used: gsm8k, arithmetic or countdown.
    #[arg(long, default_value = "gsm8k")]
    task: String,
    /// What the answers of gsm8k and jsonl are: number, expression or choice, as `task.answers`.
    #[arg(long, default_value = "number")]
    answers: String,
    /// Print a JSON object a line with `correct` and `parsed`, instead of a summary.
    #[arg(long)]
    json: bool,
}

#[derive(Deserialize)]
struct Row {
    #[serde(default)]
    question: String,
    answer: String,
    completion: String,
}

pub(super) fn run(args: Args) -> Result<()> {
    let grader = grader(&args.task, answers(&args.answers)?)?;
    let text = std::fs::read_to_string(&args.file)
        .map_err(|e| miette!("{} cannot be read: {e}", args.file.display()))?;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let row: Row = serde_json::from_str(line).map_err(|e| {
            miette!(
                help = "every line is a JSON object with the texts `answer` and `completion`",
                "{}:{}: {e}",
                args.file.display(),
                number + 1
            )
        })?;
        rows.push(row);
    }
    let mut correct = 0;
    for row in &rows {
        let grade = grader(row)?;
        correct += usize::from(grade.correct);
        if args.json {
            let line = serde_json::json!({"correct": grade.correct, "parsed": grade.parsed});
            common::print(&line.to_string())?;
        }
    }
    if args.json {
        return Ok(());
    }
    let interval = crate::evaluate::statistics::Interval::wilson(correct as u64, rows.len() as u64);
    common::print(&format!(
        "{correct} of {} correct ({:.1}%, 95% interval {:.1} to {:.1})",
        rows.len(),
        100.0 * correct as f64 / rows.len().max(1) as f64,
        100.0 * interval.low,
        100.0 * interval.high
    ))
}

fn answers(name: &str) -> Result<Answers> {
    match name {
        "number" => Ok(Answers::Number),
        "expression" => Ok(Answers::Expression),
        "choice" => Ok(Answers::Choice),
        other => Err(miette!(
            help = "write number, expression or choice",
            "there are no answers of kind `{other}`"
        )),
    }
}

type Grader = Box<dyn Fn(&Row) -> Result<task::Grade>>;

/// The grader of a task; no data is opened.
fn grader(name: &str, answers: Answers) -> Result<Grader> {
    let generated = |kind| -> Result<Grader> {
        let task = task::open(&Params {
            kind,
            ..Params::default()
        })
        .into_diagnostic()?;
        Ok(Box::new(move |row: &Row| {
            Ok(task.grade(&row.question, &row.answer, &row.completion))
        }))
    };
    match name {
        "countdown" => generated(Kind::Countdown),
        "arithmetic" => generated(Kind::Arithmetic),
        "gsm8k" | "jsonl" => Ok(Box::new(move |row: &Row| {
            if answers.gold(&row.answer).is_none() {
                return Err(miette!(
                    help = answers.remedy(),
                    "the gold answer {:?} has no {}",
                    row.answer,
                    answers.name()
                ));
            }
            Ok(answers.grade(&row.question, &row.answer, &row.completion))
        })),
        other => {
            let names = ["gsm8k", "jsonl", "arithmetic", "countdown"];
            let near = crate::recipe::toml_source::suggest(other, &names);
            Err(miette!(
                help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("write one of {}", names.join(", ")),
                },
                "there is no task `{other}`"
            ))
        }
    }
}
