//! Rows of JSONL and Parquet files as texts, by the columns that a recipe names.

use super::super::{Error, grade::choice::LETTERS};
use crate::trace::table::{read_text_columns, read_text_lists};
use serde_json::Value;
use std::path::Path;

/// The names of the columns.
#[derive(Clone, Copy, Debug)]
pub(in crate::task) struct Columns<'a> {
    pub question: &'a str,
    pub answer: &'a str,
    /// The options of a multiple choice: one column with a list, or one column an option; none where the
    /// question has them.
    pub choices: &'a [String],
    /// The name of the question, for traces and reports.
    pub id: Option<&'a str>,
}

/// The texts of one row.
#[derive(Debug)]
pub(super) struct Texts {
    /// Line or row in its file, from 1.
    pub line: usize,
    pub question: String,
    pub answer: String,
    pub choices: Vec<String>,
    pub id: Option<String>,
}

/// All rows of a file.
pub(super) fn read(path: &Path, columns: Columns<'_>) -> Result<Vec<Texts>, Error> {
    let rows = match path.extension().and_then(|e| e.to_str()) {
        Some("jsonl" | "ndjson") => read_jsonl(path, columns)?,
        Some("parquet") => read_parquet(path, columns)?,
        _ => return Err(Error::UnknownFormat { path: path.into() }),
    };
    for row in &rows {
        check(path, row, columns)?;
    }
    Ok(rows)
}

fn check(path: &Path, row: &Texts, columns: Columns<'_>) -> Result<(), Error> {
    let bad = |problem: String, remedy: &str| Error::Row {
        path: path.to_owned(),
        row: row.line,
        problem,
        remedy: remedy.into(),
    };
    if row.question.trim().is_empty() {
        return Err(bad(
            format!("column {:?} is empty", columns.question),
            "write the question there or remove the row",
        ));
    }
    if columns.choices.is_empty() {
        return Ok(());
    }
    if !(2..=LETTERS.len()).contains(&row.choices.len()) {
        return Err(bad(
            format!(
                "{:?} has {} options",
                columns.choices.join(", "),
                row.choices.len()
            ),
            &format!("write 2 to {} options", LETTERS.len()),
        ));
    }
    if let Some(empty) = row.choices.iter().position(|text| text.trim().is_empty()) {
        let name = match columns.choices {
            [list] => format!("option {} in column {list:?}", empty + 1),
            names => format!("column {:?}", names[empty]),
        };
        return Err(bad(
            format!("{name} is empty"),
            "write the option's text there",
        ));
    }
    Ok(())
}

fn read_jsonl(path: &Path, columns: Columns<'_>) -> Result<Vec<Texts>, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let bad = |problem: String, remedy: &str| Error::Row {
            path: path.to_owned(),
            row: i + 1,
            problem,
            remedy: remedy.into(),
        };
        let value: Value = serde_json::from_str(line)
            .map_err(|e| bad(format!("not JSON: {e}"), "write one JSON object a line"))?;
        let find = |key: &str, setting: &str| {
            value.get(key).ok_or_else(|| {
                let found: Vec<&String> = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|f| f.0)
                    .collect();
                let remedy = format!("set task.{setting} to the field that holds the {setting}");
                bad(format!("no field {key:?}, only {found:?}"), &remedy)
            })
        };
        let field = |key: &str, setting: &str| {
            text_of(find(key, setting)?).ok_or_else(|| {
                bad(
                    format!("{key:?} is neither text nor a number"),
                    "write a string or a number there",
                )
            })
        };
        let choices = match columns.choices {
            [] => Vec::new(),
            [list] => {
                let found = find(list, "choices")?.as_array();
                let texts = found.and_then(|all| all.iter().map(text_of).collect());
                texts.ok_or_else(|| {
                    bad(
                        format!("{list:?} is not a list of texts or numbers"),
                        "write the options as a JSON list, or name one column for each in task.choices",
                    )
                })?
            }
            names => {
                let texts = names.iter().map(|name| field(name, "choices"));
                texts.collect::<Result<_, _>>()?
            }
        };
        rows.push(Texts {
            line: i + 1,
            question: field(columns.question, "question")?,
            answer: field(columns.answer, "answer")?,
            choices,
            id: columns.id.map(|id| field(id, "id")).transpose()?,
        });
    }
    Ok(rows)
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn read_parquet(path: &Path, columns: Columns<'_>) -> Result<Vec<Texts>, Error> {
    let error = |source| Error::Table {
        path: path.to_owned(),
        question: columns.question.into(),
        answer: columns.answer.into(),
        source: Box::new(source),
    };
    let mut names = vec![columns.question, columns.answer];
    names.extend(columns.id);
    let several = columns.choices.len() > 1;
    if several {
        names.extend(columns.choices.iter().map(String::as_str));
    }
    let table = read_text_columns(path, &names).map_err(error)?;
    let mut lists = match columns.choices {
        [list] => read_text_lists(path, list).map_err(error)?.into_iter(),
        _ => Vec::new().into_iter(),
    };
    let mut table = table.into_iter();
    let mut next = || table.next().unwrap_or_default().into_iter();
    let (questions, mut answers) = (next(), next());
    let mut ids = columns.id.map(|_| next());
    let mut options: Vec<_> = match several {
        true => columns.choices.iter().map(|_| next()).collect(),
        false => Vec::new(),
    };
    let rows = questions.enumerate().map(|(row, question)| Texts {
        line: row + 1,
        question,
        answer: answers.next().unwrap_or_default(),
        choices: match several {
            true => options.iter_mut().filter_map(Iterator::next).collect(),
            false => lists.next().unwrap_or_default(),
        },
        id: ids.as_mut().and_then(Iterator::next),
    });
    Ok(rows.collect())
}
