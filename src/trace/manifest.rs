//! `manifest.json`: which shards a folder of traces has, and whether these are all.

use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::schema::OLDEST;
use super::shard::{ShardEntry, read_checked};
use super::{Error, SCHEMA_VERSION, TreeRecord, fs};

const NAME: &str = "manifest.json";

/// The shards of a folder, in the order in which they are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    schema_version: u32,
    /// Whether the collection that writes here has finished.
    complete: bool,
    /// What [`write_shard`](super::write_shard) returned.
    pub shards: Vec<ShardEntry>,
}

impl Manifest {
    /// Of a folder that is complete with `shards`.
    pub fn new(shards: Vec<ShardEntry>) -> Self {
        Self {
            schema_version: SCHEMA_VERSION,
            complete: true,
            shards,
        }
    }

    /// Of a folder that has `shards` so far.
    pub fn unfinished(shards: Vec<ShardEntry>) -> Self {
        Self {
            complete: false,
            ..Self::new(shards)
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

    /// Puts the manifest into the folder, after the shards that it lists.
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
    /// No manifest, one that is not complete, one that cannot be read, or one of another schema
    /// version.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        match Self::find(dir)? {
            Some(manifest) if manifest.complete => Ok(manifest),
            _ => Err(Error::Unfinished {
                dir: dir.to_owned(),
            }),
        }
    }

    /// The manifest of a folder, complete or not; `None` where there is none. Nothing is changed.
    ///
    /// # Errors
    ///
    /// One that cannot be read, or one of another schema version.
    pub fn find(dir: &Path) -> Result<Option<Self>, Error> {
        #[derive(Deserialize)]
        struct Version {
            schema_version: u64,
        }

        let path = dir.join(NAME);
        let text = match std::fs::read_to_string(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(None);
            }
            read => read.map_err(fs::Error::at("read", &path))?,
        };
        let manifest = |source| Error::Manifest {
            path: path.clone(),
            source,
        };
        // The version comes first: another version has other fields.
        let found = serde_json::from_str::<Version>(&text)
            .map_err(manifest)?
            .schema_version;
        if !(u64::from(OLDEST)..=u64::from(SCHEMA_VERSION)).contains(&found) {
            return Err(Error::SchemaVersion { path, found });
        }
        serde_json::from_str(&text).map(Some).map_err(manifest)
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

/// A shard that a manifest lists, with its trees unless it is damaged.
pub type WrittenShard = (ShardEntry, Option<Vec<TreeRecord>>);

/// The shards that a collection, finished or not, has written to `dir`, in order, with their trees.
/// What is damaged is kept aside with a warning that names it: a shard is then `None`, and without its
/// manifest no shard is trusted.
///
/// # Errors
///
/// A file system that cannot be read, or traces of another schema version.
pub fn written_shards(dir: &Path) -> Result<Vec<WrittenShard>, Error> {
    let manifest = match Manifest::find(dir) {
        Err(Error::Manifest { path, source, .. }) => {
            aside(&path, &source)?;
            None
        }
        found => found?,
    };
    let mut shards = Vec::new();
    for entry in manifest.map(|m| m.shards).unwrap_or_default() {
        let trees = match read_checked(dir, &entry) {
            Err(error @ (Error::File(_) | Error::SchemaVersion { .. })) => return Err(error),
            Err(error @ Error::NoShard { .. }) => {
                tracing::warn!("{error}");
                None
            }
            Err(error) => {
                aside(&dir.join(&entry.name), &error)?;
                None
            }
            Ok(trees) => Some(trees),
        };
        shards.push((entry, trees));
    }
    Ok(shards)
}

fn aside(path: &Path, why: &dyn std::fmt::Display) -> Result<(), Error> {
    let kept = fs::quarantine(path)?;
    tracing::warn!("{why}; it is kept as {} and made again", kept.display());
    Ok(())
}
