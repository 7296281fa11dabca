//! Any JSONL or Parquet data with a question column and an answer column.

use super::rows::{FileTask, Splits, split_files};
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
    let files = match metadata.is_dir() {
        true => [
            split_files(path, "train")?,
            split_files(path, "dev")?,
            split_files(path, "test")?,
        ],
        false => [vec![path.clone()], Vec::new(), Vec::new()],
    };
    if files[0].is_empty() && files[2].is_empty() {
        return Err(Error::NoData { path: path.clone() });
    }
    let splits = Splits::read(files, params.columns(), params.answers)?;
    FileTask::new("jsonl", path, splits, params.answers, params.dev_size)
}
