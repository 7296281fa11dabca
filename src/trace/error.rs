//! One variant per way to fail.

use std::path::PathBuf;

use polars::prelude::PolarsError;

use super::schema::OLDEST;
use super::{SCHEMA_VERSION, fs};

/// Traces or a table could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The file system.
    #[error(transparent)]
    File(#[from] fs::Error),

    /// Bytes that are not Parquet, or Parquet that polars cannot read or write.
    #[error("{path} cannot be read or written as Parquet: {source}")]
    Parquet { path: PathBuf, source: PolarsError },

    /// The folder's collection has not finished, or this is not such a folder.
    #[error(
        "{dir} has no complete manifest.json, so the collection that writes there has not \
         finished; run its command again to go on with it"
    )]
    Unfinished { dir: PathBuf },

    /// A manifest that is not one.
    #[error("{path} is not a manifest of traces ({source})")]
    Manifest {
        path: PathBuf,
        source: serde_json::Error,
    },

    /// A shard in the manifest and not in the folder.
    #[error("{path} is missing, though manifest.json lists it")]
    NoShard { path: PathBuf },

    /// A shard whose bytes have changed.
    #[error("{path} is torn or was changed: its SHA-256 is {found}, manifest.json says {expected}")]
    Checksum {
        path: PathBuf,
        expected: String,
        found: String,
    },

    /// A version of the schema that this program does not know.
    #[error(
        "{path} has traces of schema version {found} and this program reads versions \
         {OLDEST} to {SCHEMA_VERSION}; use the version of tokenzero that wrote them, or collect again"
    )]
    SchemaVersion { path: PathBuf, found: u64 },

    /// A column that is not there.
    #[error("{path} has no column `{column}`; its columns are {present}")]
    NoColumn {
        path: PathBuf,
        column: String,
        present: String,
    },

    /// A column of another type.
    #[error("column `{column}` of {path} is of type {found}; expected {expected}")]
    ColumnType {
        path: PathBuf,
        column: String,
        expected: String,
        found: String,
    },

    /// A missing value where one is needed.
    #[error(
        "column `{column}` of {path} has no value in row {row} (counted from 0); remove the row \
         or fill it in"
    )]
    Null {
        path: PathBuf,
        column: String,
        row: usize,
    },

    /// A tree that could not be rebuilt.
    #[error("{path}: tree {tree} of problem {problem}, node {node}: {what}")]
    Tree {
        path: PathBuf,
        problem: u64,
        tree: u32,
        node: usize,
        what: &'static str,
    },
}
