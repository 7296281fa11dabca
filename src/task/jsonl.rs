//! Any JSONL or Parquet data with a question column and a numeric answer column.

use super::rows::{Columns, FileTask, Rows, split_files};
use super::{Error, Params};

/// Opens the file or the folder at `task.path`. One file gives train and dev questions; a folder
/// gives the splits that it has files for.
pub(super) fn open(params: &Params) -> Result<FileTask, Error> {
    let path = params
        .path
        .as_ref()
        .ok_or(Error::NoPath { kind: params.kind })?;
    let metadata = std::fs::metadata(path).map_err(|source| Error::Read {
        path: path.clone(),
        source,
    })?;
    let (train, test) = if metadata.is_dir() {
        (split_files(path, "train")?, split_files(path, "test")?)
    } else {
        (vec![path.clone()], Vec::new())
    };
    if train.is_empty() && test.is_empty() {
        return Err(Error::NoData { path: path.clone() });
    }
    let columns = Columns {
        question: &params.question,
        answer: &params.answer,
    };
    let read = |files: Vec<_>| {
        (!files.is_empty())
            .then(|| Rows::read(files, columns))
            .transpose()
    };
    FileTask::new("jsonl", path, read(train)?, read(test)?, params.dev_size)
}
