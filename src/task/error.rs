//! What can be wrong with a task's parameters or data.

use super::{Answers, Kind};
use std::path::PathBuf;

/// Why a task cannot be opened or a split cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file or folder cannot be read.
    #[error("cannot read {}: {source}; check that it exists and is readable", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The folder has no data of the expected names.
    #[error(
        "{} holds no data: expected train and test files such as train.jsonl and test.jsonl, \
         train.parquet, or main/train-*.parquet; point task.path at the folder that has them",
        path.display()
    )]
    NoData {
        /// The folder.
        path: PathBuf,
    },
    /// The split that was asked for has no file.
    #[error(
        "{} has no {split} split: expected a file named {split}.jsonl, {split}.parquet or \
         {split}-*.parquet; put one beside the others and point task.path at their folder",
        path.display()
    )]
    NoSplit {
        /// The file or folder of the task.
        path: PathBuf,
        /// The split's name.
        split: &'static str,
    },
    /// The task needs local data and got none.
    #[error(
        "task.path is not set: kind = \"{kind}\" needs a JSONL or Parquet file, \
         or a folder with train and test files"
    )]
    NoPath {
        /// The task.
        kind: Kind,
    },
    /// The task makes its own questions.
    #[error(
        "task.path is {}, but kind = \"{kind}\" generates its questions; \
         remove task.path or set task.kind to \"gsm8k\" or \"jsonl\"",
        path.display()
    )]
    UselessPath {
        /// The task.
        kind: Kind,
        /// The path that was given.
        path: PathBuf,
    },
    /// A key that the task does not heed.
    #[error("task.{key} is set, and kind = \"{kind}\" has no use for it here; {remedy}")]
    UselessKey {
        /// The task.
        kind: Kind,
        /// The key.
        key: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A data file of an unknown kind.
    #[error(
        "{}: expected a name that ends in .jsonl or .parquet; convert the file or rename it",
        path.display()
    )]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A data file without rows.
    #[error("{}: no rows; write one JSON object or row a question", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A row that is not what the columns promise.
    #[error("{}, row {row}: {problem}; {remedy}", path.display())]
    Row {
        /// The file.
        path: PathBuf,
        /// The row or line, from 1.
        row: usize,
        /// What is wrong.
        problem: String,
        /// What to do.
        remedy: String,
    },
    /// A gold answer that is not of its kind.
    #[error(
        "{}, row {row}: no {} can be read from column {column:?}, which holds {text:?}; \
         {}; or set task.answer to the column that holds the answer",
        path.display(), answers.name(), answers.remedy()
    )]
    Gold {
        /// The file.
        path: PathBuf,
        /// The row or line, from 1.
        row: usize,
        /// The answer column.
        column: String,
        /// What it should hold.
        answers: Answers,
        /// The start of what it holds.
        text: String,
    },
    /// A question in both the train and the test file.
    #[error(
        "{}, row {row}: the question is also in {}; a test question must not be trained on: \
         remove it from one of the files",
        train.display(),
        test.display()
    )]
    Leak {
        /// The train file.
        train: PathBuf,
        /// Its row, from 1.
        row: usize,
        /// The test file.
        test: PathBuf,
    },
    /// The dev split would eat the whole train file.
    #[error(
        "task.dev_size is {dev_size}, but {} has only {rows} train rows; \
         set task.dev_size below that",
        path.display()
    )]
    DevSize {
        /// The file or folder of the task.
        path: PathBuf,
        /// Train rows found.
        rows: usize,
        /// Rows to hold out.
        dev_size: usize,
    },
    /// A Parquet file that cannot be read.
    #[error(
        "{source}; check {}: task.question is {question:?} and task.answer is {answer:?}, \
         which must be columns of text or numbers in every row",
        path.display()
    )]
    Table {
        /// The file.
        path: PathBuf,
        /// The question column.
        question: String,
        /// The answer column.
        answer: String,
        /// The reader's reason.
        source: Box<crate::trace::Error>,
    },
    /// The Hub did not give a file.
    #[error(
        "cannot get {file} of data set {repo} at revision {revision} from the Hub: {source}; \
         check the network, the names and the access token (HF_TOKEN or `hf auth login`), \
         or set task.path to a local copy"
    )]
    Hub {
        /// The data set.
        repo: String,
        /// Branch, tag or commit.
        revision: String,
        /// The file inside the data set.
        file: String,
        /// The client's reason.
        source: Box<hf_hub::api::sync::ApiError>,
    },
}
