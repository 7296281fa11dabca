//! One Parquet file of trees.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::{Error, TreeRecord, decode, encode, fs, parquet};

/// What the manifest says about a shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ShardEntry {
    /// File name within the folder.
    pub name: String,
    /// Nodes.
    pub rows: u64,
    /// Trees.
    pub trees: u64,
    /// Of the file's bytes, in hexadecimal.
    pub sha256: String,
}

impl ShardEntry {
    fn of(index: u32, trees: &[TreeRecord], bytes: &[u8]) -> Self {
        Self {
            name: name(index),
            rows: trees.iter().map(|tree| tree.nodes.len() as u64).sum(),
            trees: trees.len() as u64,
            sha256: fs::sha256(bytes),
        }
    }
}

/// Writes `trees` as shard `index` of `dir`, complete or not at all. Equal trees give
/// equal bytes.
///
/// # Errors
///
/// A tree that could not be rebuilt (the first bad node is named), or the file system.
pub fn write_shard(dir: &Path, index: u32, trees: &[TreeRecord]) -> Result<ShardEntry, Error> {
    let path = dir.join(name(index));
    let bytes = encode_shard(&path, trees)?;
    fs::write_atomic_bytes(&path, &bytes)?;
    Ok(ShardEntry::of(index, trees, &bytes))
}

/// The bytes of a shard of `trees`; `path` is for messages.
///
/// # Errors
///
/// A tree that could not be rebuilt; the first bad node is named.
pub fn encode_shard(path: &Path, trees: &[TreeRecord]) -> Result<Vec<u8>, Error> {
    for tree in trees {
        decode::check(path, tree)?;
    }
    encode::frame(trees)
        .and_then(|mut frame| parquet::encode(&mut frame))
        .map_err(|source| Error::Parquet {
            path: path.to_owned(),
            source,
        })
}

/// The trees of one shard, in order, without a look at the manifest.
///
/// # Errors
///
/// A file that is missing, torn, of another schema version, or no shard at all.
pub fn read_shard(path: &Path) -> Result<Vec<TreeRecord>, Error> {
    decode::trees(path, &read(path)?)
}

/// The trees of a shard of `dir` whose bytes must be those of `entry`.
///
/// # Errors
///
/// A file that is missing, of another checksum, or no shard at all.
pub fn read_checked(dir: &Path, entry: &ShardEntry) -> Result<Vec<TreeRecord>, Error> {
    let path = dir.join(&entry.name);
    let bytes = match read(&path) {
        Err(Error::File(error)) if error.source.kind() == io::ErrorKind::NotFound => {
            return Err(Error::NoShard { path });
        }
        read => read?,
    };
    let found = fs::sha256(&bytes);
    if found != entry.sha256 {
        return Err(Error::Checksum {
            path,
            expected: entry.sha256.clone(),
            found,
        });
    }
    decode::trees(&path, &bytes)
}

fn name(index: u32) -> String {
    format!("shard-{index:05}.parquet")
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(std::fs::read(path).map_err(fs::Error::at("read", path))?)
}
