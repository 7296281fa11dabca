//! Questions with numeric gold answers from files: the task behind `gsm8k` and `jsonl`.

use super::{Dev, Error, Gold, Grade, Problem, Prompt, Split, Task, Test, Train, grade};
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How much of a bad gold answer an error shows. Characters.
const SHOWN: usize = 60;

/// The names of the question and the answer column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns<'a> {
    pub question: &'a str,
    pub answer: &'a str,
}

/// One row: its position in all files of the split, and its texts.
#[derive(Clone, Debug)]
struct Row {
    id: u64,
    question: String,
    gold: Gold,
    file: usize,
    line: usize,
}

/// The rows of one split and the files they came from.
#[derive(Debug)]
pub(super) struct Rows {
    files: Vec<PathBuf>,
    rows: Vec<Row>,
}

impl Rows {
    /// Reads files one after another.
    pub fn read(files: Vec<PathBuf>, columns: Columns<'_>) -> Result<Self, Error> {
        let mut rows = Vec::new();
        for (file, path) in files.iter().enumerate() {
            let extension = path.extension().and_then(|e| e.to_str());
            let texts = match extension {
                Some("jsonl" | "ndjson") => read_jsonl(path, columns)?,
                Some("parquet") => read_parquet(path, columns)?,
                _ => return Err(Error::UnknownFormat { path: path.clone() }),
            };
            for (line, question, answer) in texts {
                if question.trim().is_empty() {
                    return Err(Error::Row {
                        path: path.clone(),
                        row: line,
                        problem: format!("column {:?} is empty", columns.question),
                        remedy: "write the question there or remove the row".into(),
                    });
                }
                let gold = Gold::parse(&answer).ok_or_else(|| Error::Gold {
                    path: path.clone(),
                    row: line,
                    column: columns.answer.into(),
                    text: tail(&answer),
                })?;
                rows.push(Row {
                    id: rows.len() as u64,
                    question,
                    gold,
                    file,
                    line,
                });
            }
        }
        match files.first() {
            Some(path) if rows.is_empty() => Err(Error::Empty { path: path.clone() }),
            _ => Ok(Self { files, rows }),
        }
    }
}

/// The end of a long answer, where the number should be.
fn tail(text: &str) -> String {
    match text.char_indices().rev().nth(SHOWN) {
        Some((at, _)) => format!("...{}", &text[at..]),
        None => text.to_owned(),
    }
}

/// Line number from 1, question, answer.
type Texts = Vec<(usize, String, String)>;

fn read_jsonl(path: &Path, columns: Columns<'_>) -> Result<Texts, Error> {
    let text = std::fs::read_to_string(path).map_err(|source| Error::Read {
        path: path.to_owned(),
        source,
    })?;
    let mut texts = Vec::new();
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
        let field = |key: &str, setting: &str| match value.get(key) {
            Some(Value::String(text)) => Ok(text.clone()),
            Some(Value::Number(number)) => Ok(number.to_string()),
            Some(_) => Err(bad(
                format!("{key:?} is neither text nor a number"),
                "write a string or a number there",
            )),
            None => {
                let found: Vec<&String> = value
                    .as_object()
                    .into_iter()
                    .flatten()
                    .map(|f| f.0)
                    .collect();
                let remedy = format!("set task.{setting} to the field that holds the {setting}");
                Err(bad(format!("no field {key:?}, only {found:?}"), &remedy))
            }
        };
        let question = field(columns.question, "question")?;
        texts.push((i + 1, question, field(columns.answer, "answer")?));
    }
    Ok(texts)
}

fn read_parquet(path: &Path, columns: Columns<'_>) -> Result<Texts, Error> {
    let error = |source| Error::Table {
        path: path.to_owned(),
        question: columns.question.into(),
        answer: columns.answer.into(),
        source: Box::new(source),
    };
    let table = crate::trace::table::read_text_columns(path, &[columns.question, columns.answer])
        .map_err(error)?;
    let mut table = table.into_iter();
    let questions = table.next().unwrap_or_default();
    let answers = table.next().unwrap_or_default();
    Ok((1..)
        .zip(questions.into_iter().zip(answers))
        .map(|(row, (question, answer))| (row, question, answer))
        .collect())
}

/// The files of a split in a folder: `train.jsonl`, `train.parquet` or `train-*.parquet`, there
/// or in `main` or `data`. Empty where there are none.
pub(super) fn split_files(folder: &Path, split: &str) -> Result<Vec<PathBuf>, Error> {
    for folder in [folder.to_owned(), folder.join("main"), folder.join("data")] {
        if !folder.is_dir() {
            continue;
        }
        for extension in ["jsonl", "ndjson", "parquet"] {
            let file = folder.join(format!("{split}.{extension}"));
            if file.is_file() {
                return Ok(vec![file]);
            }
        }
        let read = |source| Error::Read {
            path: folder.clone(),
            source,
        };
        let mut shards = Vec::new();
        for entry in std::fs::read_dir(&folder).map_err(read)? {
            let path = entry.map_err(read)?.path();
            let name = path.file_name().and_then(|n| n.to_str()).unwrap_or("");
            if name.starts_with(&format!("{split}-")) && name.ends_with(".parquet") {
                shards.push(path);
            }
        }
        if !shards.is_empty() {
            shards.sort();
            return Ok(shards);
        }
    }
    Ok(Vec::new())
}

/// Word problems with numeric answers, read from files.
#[derive(Debug)]
pub(super) struct FileTask {
    name: String,
    path: PathBuf,
    train: Vec<Row>,
    dev: Vec<Row>,
    test: Option<Vec<Row>>,
}

impl FileTask {
    /// Opens the splits. The last `dev_size` train rows become the dev split; train rows that
    /// repeat a dev question are left out of train.
    pub fn new(
        name: &str,
        path: &Path,
        train: Option<Rows>,
        test: Option<Rows>,
        dev_size: usize,
    ) -> Result<Self, Error> {
        if let (Some(train), Some(test)) = (&train, &test) {
            refuse_leaks(train, test)?;
        }
        let mut train = train.map(|t| t.rows).unwrap_or_default();
        if !train.is_empty() && dev_size >= train.len() {
            return Err(Error::DevSize {
                path: path.to_owned(),
                rows: train.len(),
                dev_size,
            });
        }
        let dev = train.split_off(train.len().saturating_sub(dev_size));
        let held_out: HashSet<&str> = dev.iter().map(|row| row.question.trim()).collect();
        train.retain(|row| !held_out.contains(row.question.trim()));
        Ok(Self {
            name: name.into(),
            path: path.to_owned(),
            train,
            dev,
            test: test.map(|t| t.rows),
        })
    }

    fn require_train(&self) -> Result<(), Error> {
        if self.train.is_empty() {
            return Err(Error::NoSplit {
                path: self.path.clone(),
                split: Train::NAME,
            });
        }
        Ok(())
    }
}

fn refuse_leaks(train: &Rows, test: &Rows) -> Result<(), Error> {
    let questions: HashMap<&str, &Row> = test
        .rows
        .iter()
        .map(|row| (row.question.trim(), row))
        .collect();
    for row in &train.rows {
        if let Some(found) = questions.get(row.question.trim()) {
            return Err(Error::Leak {
                train: train.files[row.file].clone(),
                row: row.line,
                test: test.files[found.file].clone(),
            });
        }
    }
    Ok(())
}

fn problems<S: Split>(rows: &[Row], range: Range<usize>) -> Vec<Problem<S>> {
    let end = range.end.min(rows.len());
    rows.get(range.start..end)
        .unwrap_or_default()
        .iter()
        .map(|row| Problem::new(row.id, row.question.as_str(), row.gold.to_string()))
        .collect()
}

impl Task for FileTask {
    fn name(&self) -> &str {
        &self.name
    }

    fn train(&self, range: Range<usize>) -> Result<Vec<Problem<Train>>, Error> {
        self.require_train()?;
        Ok(problems(&self.train, range))
    }

    fn dev(&self, limit: usize) -> Result<Vec<Problem<Dev>>, Error> {
        // Dev rows come from the train file.
        self.require_train()?;
        Ok(problems(&self.dev, 0..limit))
    }

    fn test(&self, limit: usize) -> Result<Vec<Problem<Test>>, Error> {
        let rows = self.test.as_deref().ok_or_else(|| Error::NoSplit {
            path: self.path.clone(),
            split: Test::NAME,
        })?;
        Ok(problems(rows, 0..limit))
    }

    fn prompt(&self, question: &str) -> Prompt {
        Prompt::word_problem(question)
    }

    fn grade(&self, _question: &str, gold: &str, completion: &str) -> Grade {
        grade::numeric(gold, completion)
    }

    fn answer(&self, completion: &str) -> Option<String> {
        grade::answer(completion).map(|gold| gold.to_string())
    }
}

#[cfg(test)]
mod tests;
