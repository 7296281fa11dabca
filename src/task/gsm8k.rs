//! GSM8K (Cobbe et al., 2021): grade-school word problems, from the Hub or a local folder.

use super::rows::{FileTask, Splits, split_files};
use super::{Error, Params};
use hf_hub::api::sync::{ApiBuilder, ApiError};
use hf_hub::{Repo, RepoType};
use std::path::{Path, PathBuf};

/// How often a download that breaks off is taken up again.
const RETRIES: usize = 3;

/// Opens the data set; without a local path it is downloaded once into the Hub's cache.
pub(super) fn open(params: &Params) -> Result<FileTask, Error> {
    let (path, files) = match &params.path {
        Some(path) => {
            let train = local(path, "train")?;
            let files = [train, split_files(path, "dev")?, local(path, "test")?];
            (path.clone(), files)
        }
        None => {
            let file = |split| download(params, &format!("main/{split}-00000-of-00001.parquet"));
            let files = [vec![file("train")?], Vec::new(), vec![file("test")?]];
            (PathBuf::from(&params.repo), files)
        }
    };
    let splits = Splits::read(files, params.columns(), params.answers)?;
    FileTask::new("gsm8k", &path, splits, params.answers, params.dev_size)
}

fn local(folder: &Path, split: &'static str) -> Result<Vec<PathBuf>, Error> {
    // A folder that cannot be read is named as such, not as one without data.
    std::fs::read_dir(folder).map_err(|source| Error::Read {
        path: folder.to_owned(),
        source,
    })?;
    let files = split_files(folder, split)?;
    if files.is_empty() {
        return Err(Error::NoSplit {
            path: folder.to_owned(),
            split,
        });
    }
    Ok(files)
}

/// One file of the data set at the pinned revision, from the cache where it is there.
fn download(params: &Params, file: &str) -> Result<PathBuf, Error> {
    let get = || -> Result<PathBuf, ApiError> {
        let mut builder = ApiBuilder::from_env().with_retries(RETRIES);
        if let Some(token) = std::env::var("HF_TOKEN")
            .ok()
            .filter(|t| !t.trim().is_empty())
        {
            builder = builder.with_token(Some(token.trim().to_owned()));
        }
        let repo = Repo::with_revision(
            params.repo.clone(),
            RepoType::Dataset,
            params.revision.clone(),
        );
        builder.build()?.repo(repo).get(file)
    };
    get().map_err(|source| Error::Hub {
        repo: params.repo.clone(),
        revision: params.revision.clone(),
        file: file.into(),
        source: Box::new(source),
    })
}
