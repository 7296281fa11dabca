//! `manifest.json`: the sign that a folder of traces is complete.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::shard::{ShardEntry, read_checked};
use super::{Error, SCHEMA_VERSION, TreeRecord, fs};

const NAME: &str = "manifest.json";

/// The shards of a folder, in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    schema_version: u32,
    /// What [`write_shard`](super::write_shard) and
    /// [`find_shard`](super::find_shard) returned.
    pub shards: Vec<ShardEntry>,
}

impl Manifest {
    /// Of the current schema version.
    pub fn new(shards: Vec<ShardEntry>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            shards,
        }
    }

    /// Nodes of all shards.
    pub fn rows(&self) -> u64 {
        self.shards.iter().map(|shard| shard.rows).sum()
    }

    /// Trees of all shards.
    pub fn trees(&self) -> u64 {
        self.shards.iter().map(|shard| shard.trees).sum()
    }

    /// Declares the folder complete: to be called last.
    ///
    /// # Errors
    ///
    /// The file system.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let path = dir.join(NAME);
        fs::write_atomic(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            io::Write::write_all(file, b"\n")
        })?;
        Ok(())
    }

    /// The manifest of a complete folder.
    ///
    /// # Errors
    ///
    /// No manifest, one that cannot be read, or one of another schema version.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u64,
        }

        let path = dir.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(Error::NoManifest {
                    dir: dir.to_owned(),
                });
            }
            read => read.map_err(fs::Error::at("read", &path))?,
        };
        let manifest = |source| Error::Manifest {
            path: path.clone(),
            dir: dir.to_owned(),
            source,
        };
        // The version comes first: another version has other fields.
        let found = serde_json::from_str::<Version>(&text)
            .map_err(manifest)?
            .schema_version;
        if found != u64::from(SCHEMA_VERSION) {
            return Err(Error::SchemaVersion { path, found });
        }
        serde_json::from_str(&text).map_err(manifest)
    }
}

/// All trees of a complete folder, in the order of its manifest; files that the
/// manifest does not list are left alone.
///
/// # Errors
///
/// No manifest, a shard that is missing or whose checksum differs, or one that
/// cannot be read as traces: each with the file and what to do.
pub fn read_dir(dir: &Path) -> Result<Vec<TreeRecord>, Error> {
    let mut trees = Vec::new();
    for entry in &Manifest::read(dir)?.shards {
        trees.extend(read_checked(dir, entry)?);
    }
    Ok(trees)
}
