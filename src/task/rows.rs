//! Questions with gold answers from files: the task behind `gsm8k` and `jsonl`.

mod read;

pub(super) use read::Columns;

use super::class::stable_hash;
use super::grade::choice::{LETTERS, letter_of, options};
use super::{Answers, Dev, Error, Grade, Problem, Prompt, Split, Task, Test, Train, prompt};
use read::Texts;
use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// How much of a bad gold answer an error shows. Characters.
const SHOWN: usize = 60;

/// One row: its id (by default its position in all files of the split), and its texts.
#[derive(Clone, Debug)]
struct Row {
    id: u64,
    question: String,
    gold: String,
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
    pub fn read(
        files: Vec<PathBuf>,
        columns: Columns<'_>,
        answers: Answers,
    ) -> Result<Self, Error> {
        let mut rows: Vec<Row> = Vec::new();
        let mut named: HashMap<u64, usize> = HashMap::new();
        for (file, path) in files.iter().enumerate() {
            for texts in read::read(path, columns)? {
                let id = texts.id.as_deref().map_or(rows.len() as u64, id_of);
                if let Some(first) = named.insert(id, texts.line).filter(|_| texts.id.is_some()) {
                    return Err(Error::Row {
                        path: path.clone(),
                        row: texts.line,
                        problem: format!(
                            "column {:?} holds {:?}, which row {first} holds too",
                            columns.id.unwrap_or_default(),
                            texts.id.unwrap_or_default()
                        ),
                        remedy: "give every question of the split an id of its own".into(),
                    });
                }
                rows.push(Row {
                    id,
                    gold: gold(path, &texts, columns, answers)?,
                    line: texts.line,
                    question: with_options(texts.question, &texts.choices),
                    file,
                });
            }
        }
        match files.first() {
            Some(path) if rows.is_empty() => Err(Error::Empty { path: path.clone() }),
            _ => Ok(Self { files, rows }),
        }
    }
}

/// An id as a number: a whole number as it is, any other text by its stable hash.
fn id_of(text: &str) -> u64 {
    let text = text.trim();
    text.parse().unwrap_or_else(|_| stable_hash(text))
}

/// The question with its options behind it, a line each.
fn with_options(question: String, choices: &[String]) -> String {
    let lines = LETTERS
        .chars()
        .zip(choices)
        .map(|(letter, text)| format!("\n{letter}. {}", text.trim()));
    std::iter::once(question).chain(lines).collect()
}

/// The canonical gold answer of a row. That of a choice is a letter, or the text of an option.
fn gold(
    path: &Path,
    texts: &Texts,
    columns: Columns<'_>,
    answers: Answers,
) -> Result<String, Error> {
    let wrong = || Error::Gold {
        path: path.to_owned(),
        row: texts.line,
        column: columns.answer.into(),
        answers,
        text: tail(&texts.answer),
    };
    if answers != Answers::Choice {
        return answers.gold(&texts.answer).ok_or_else(wrong);
    }
    let shown = match texts.choices.is_empty() {
        true => options(&texts.question),
        false => texts.choices.clone(),
    };
    let named = answers.gold(&texts.answer).filter(|letter| {
        let place = LETTERS.find(letter.as_str());
        place.is_some_and(|place| shown.is_empty() || place < shown.len())
    });
    // An option that is itself a letter goes by its place.
    letter_of(&texts.answer, &shown)
        .filter(|_| named.is_none())
        .map(String::from)
        .or(named)
        .ok_or_else(wrong)
}

/// The end of a long answer, where the number should be.
fn tail(text: &str) -> String {
    match text.char_indices().rev().nth(SHOWN) {
        Some((at, _)) => format!("...{}", &text[at..]),
        None => text.to_owned(),
    }
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

/// What there is of a data set.
#[derive(Debug, Default)]
pub(super) struct Splits {
    pub train: Option<Rows>,
    /// Only where the data has a file of its own for it.
    pub dev: Option<Rows>,
    pub test: Option<Rows>,
}

impl Splits {
    /// Reads the files of each split; one without files is not there.
    pub fn read(
        files: [Vec<PathBuf>; 3],
        columns: Columns<'_>,
        answers: Answers,
    ) -> Result<Self, Error> {
        let [train, dev, test] = files.map(|files| {
            (!files.is_empty())
                .then(|| Rows::read(files, columns, answers))
                .transpose()
        });
        Ok(Self {
            train: train?,
            dev: dev?,
            test: test?,
        })
    }
}

/// Questions with gold answers, read from files.
#[derive(Debug)]
pub(super) struct FileTask {
    name: String,
    path: PathBuf,
    answers: Answers,
    train: Vec<Row>,
    dev: Vec<Row>,
    test: Option<Vec<Row>>,
}

impl FileTask {
    /// Opens the splits. Without a dev file the last `dev_size` train rows become the dev split; train
    /// rows that repeat a dev question are left out of train.
    pub fn new(
        name: &str,
        path: &Path,
        splits: Splits,
        answers: Answers,
        dev_size: usize,
    ) -> Result<Self, Error> {
        let Splits { train, dev, test } = splits;
        for held_in in [&train, &dev].into_iter().flatten() {
            if let Some(test) = &test {
                refuse_leaks(held_in, test)?;
            }
        }
        let mut train = train.map(|t| t.rows).unwrap_or_default();
        let dev = match dev {
            Some(dev) => dev.rows,
            None if !train.is_empty() && dev_size >= train.len() => {
                return Err(Error::DevSize {
                    path: path.to_owned(),
                    rows: train.len(),
                    dev_size,
                });
            }
            None => train.split_off(train.len().saturating_sub(dev_size)),
        };
        let held_out: HashSet<&str> = dev.iter().map(|row| row.question.trim()).collect();
        train.retain(|row| !held_out.contains(row.question.trim()));
        Ok(Self {
            name: name.into(),
            path: path.to_owned(),
            answers,
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
        .map(|row| Problem::new(row.id, row.question.as_str(), row.gold.as_str()))
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
        if self.dev.is_empty() {
            // Dev rows come from the train file.
            self.require_train()?;
        }
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
        Prompt::word_problem(question, self.answers)
    }

    fn imagine(&self, examples: &[&str]) -> Option<Prompt> {
        Some(Prompt::another(examples))
    }

    fn imagined(&self, completion: &str, finished: bool) -> Option<String> {
        let question = prompt::written(completion, finished)?;
        let shown = self.answers != Answers::Choice || options(&question).len() > 1;
        shown.then_some(question)
    }

    fn grade(&self, question: &str, gold: &str, completion: &str) -> Grade {
        self.answers.grade(question, gold, completion)
    }

    fn answer(&self, completion: &str) -> Option<String> {
        self.answers.answer(completion)
    }
}

#[cfg(test)]
mod tests;
