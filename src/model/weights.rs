//! Tensors in safetensors files: one file, or shards under an index.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors};
use serde::Deserialize;

mod write;

pub use write::{StoredType, save, save_file};

/// The file that holds all tensors of a small model.
pub const SINGLE_FILE: &str = "model.safetensors";
/// The file that says which shard holds which tensor of a large one.
pub const INDEX_FILE: &str = "model.safetensors.index.json";

/// Why weights could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum WeightsError {
    #[error(
        "{}: no weights here: expected {SINGLE_FILE} or {INDEX_FILE}; point the path at a Hugging Face model directory with safetensors weights", .0.display()
    )]
    NotFound(PathBuf),
    #[error("{}: {source}", .path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{}: not a complete safetensors file ({reason}); it is truncated or damaged: fetch or write it again", .path.display()
    )]
    Corrupt { path: PathBuf, reason: String },
    #[error(
        "{}: not a valid index ({reason}); expected an object `weight_map` from tensor names to file names: fetch it again", .path.display()
    )]
    Index { path: PathBuf, reason: String },
    #[error(
        "{}: the index lists the shard {shard} ({tensors} tensors), but the file is not there; fetch the missing shard", .index.display()
    )]
    MissingShard {
        index: PathBuf,
        shard: String,
        tensors: usize,
    },
    #[error(
        "{}: tensor `{tensor}` is missing (expected shape {expected:?}); config.json and the weights do not belong together, or the weights are incomplete", .path.display()
    )]
    MissingTensor {
        path: PathBuf,
        tensor: String,
        expected: Vec<usize>,
    },
    #[error(
        "{}: tensor `{tensor}` has shape {found:?}, expected {expected:?} from config.json; use the config.json that came with these weights", .path.display()
    )]
    Shape {
        path: PathBuf,
        tensor: String,
        expected: Vec<usize>,
        found: Vec<usize>,
    },
    #[error(
        "{}: tensor `{tensor}` has dtype {found}, expected F32, F16 or BF16; convert the weights to one of these", .path.display()
    )]
    UnsupportedDtype {
        path: PathBuf,
        tensor: String,
        found: String,
    },
    #[error("tensor `{tensor}` has {found} numbers for shape {shape:?}; nothing was written")]
    Length {
        tensor: String,
        shape: Vec<usize>,
        found: usize,
    },
}

/// One mapped safetensors file, its header checked against its length.
struct Shard {
    path: PathBuf,
    map: Mmap,
    metadata: Metadata,
    /// Where the tensors' bytes begin.
    data: usize,
}

/// Named tensors of a model directory, read on demand from mapped files.
pub struct Weights {
    dir: PathBuf,
    shards: Vec<Shard>,
    /// Tensor name to its shard.
    owner: BTreeMap<String, usize>,
}

impl Weights {
    /// Opens `dir/model.safetensors`, or the shards that `dir/model.safetensors.index.json` lists.
    ///
    /// # Errors
    /// Neither file, a listed shard that is absent, or a damaged file; nothing is read lazily that
    /// could fail later except a tensor's name, shape and dtype.
    pub fn open(dir: &Path) -> Result<Weights, WeightsError> {
        let single = dir.join(SINGLE_FILE);
        if single.exists() {
            return Weights::open_file(&single);
        }
        let index = dir.join(INDEX_FILE);
        if !index.exists() {
            return Err(WeightsError::NotFound(dir.to_path_buf()));
        }
        Weights::open_index(&index, dir)
    }

    /// Opens one safetensors file.
    ///
    /// # Errors
    /// A file that is absent or damaged.
    pub fn open_file(path: &Path) -> Result<Weights, WeightsError> {
        let shard = Shard::open(path)?;
        let owner = (shard.metadata.tensors().into_keys())
            .map(|name| (name, 0))
            .collect();
        Ok(Weights {
            dir: path.to_path_buf(),
            shards: vec![shard],
            owner,
        })
    }

    fn open_index(index: &Path, dir: &Path) -> Result<Weights, WeightsError> {
        let invalid = |reason: String| WeightsError::Index {
            path: index.to_path_buf(),
            reason,
        };
        let listed = shard_map(index)?;
        let mut by_shard: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (tensor, shard) in &listed {
            by_shard.entry(shard).or_default().push(tensor);
        }
        let mut weights = Weights {
            dir: dir.to_path_buf(),
            shards: Vec::new(),
            owner: BTreeMap::new(),
        };
        for (name, tensors) in by_shard {
            let path = dir.join(name);
            if !path.exists() {
                return Err(WeightsError::MissingShard {
                    index: index.to_path_buf(),
                    shard: name.to_string(),
                    tensors: tensors.len(),
                });
            }
            let shard = Shard::open(&path)?;
            for tensor in tensors {
                if shard.metadata.info(tensor).is_none() {
                    return Err(invalid(format!(
                        "it says that {name} holds `{tensor}`, which it does not"
                    )));
                }
                weights
                    .owner
                    .insert(tensor.to_string(), weights.shards.len());
            }
            weights.shards.push(shard);
        }
        Ok(weights)
    }

    /// The names of all tensors, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.owner.keys().map(String::as_str)
    }

    /// Whether a tensor of this name is there.
    pub fn contains(&self, tensor: &str) -> bool {
        self.owner.contains_key(tensor)
    }

    /// The numbers of a tensor in row-major order, as f32 whatever they are stored as.
    ///
    /// # Errors
    /// No such tensor, another shape than `expected`, or a dtype other than F32, F16 and BF16.
    pub fn get(&self, tensor: &str, expected: &[usize]) -> Result<Vec<f32>, WeightsError> {
        let found = self
            .owner
            .get(tensor)
            .map(|&shard| &self.shards[shard])
            .and_then(|shard| Some((shard, shard.metadata.info(tensor)?)));
        let Some((shard, info)) = found else {
            return Err(WeightsError::MissingTensor {
                path: self.dir.clone(),
                tensor: tensor.to_string(),
                expected: expected.to_vec(),
            });
        };
        if info.shape != expected {
            return Err(WeightsError::Shape {
                path: shard.path.clone(),
                tensor: tensor.to_string(),
                expected: expected.to_vec(),
                found: info.shape.clone(),
            });
        }
        let (from, to) = info.data_offsets;
        let bytes = &shard.map[shard.data + from..shard.data + to];
        match info.dtype {
            Dtype::F32 => Ok(floats(bytes, f32::from_le_bytes)),
            Dtype::F16 => Ok(floats(bytes, |b| f16::from_le_bytes(b).to_f32())),
            Dtype::BF16 => Ok(floats(bytes, |b| bf16::from_le_bytes(b).to_f32())),
            other => Err(WeightsError::UnsupportedDtype {
                path: shard.path.clone(),
                tensor: tensor.to_string(),
                found: other.to_string(),
            }),
        }
    }
}

impl Shard {
    fn open(path: &Path) -> Result<Shard, WeightsError> {
        let file = File::open(path).map_err(io(path))?;
        // SAFETY: the map is read only, and the files of a model directory are replaced by rename,
        // never changed in place, by this crate and by the Hub's cache.
        let map = unsafe { Mmap::map(&file) }.map_err(io(path))?;
        let (header, metadata) =
            SafeTensors::read_metadata(&map).map_err(|reason| WeightsError::Corrupt {
                path: path.to_path_buf(),
                reason: reason.to_string(),
            })?;
        Ok(Shard {
            path: path.to_path_buf(),
            map,
            metadata,
            data: header + size_of::<u64>(),
        })
    }
}

/// Tensor name to shard file name, as an index file lists them.
pub(crate) fn shard_map(index: &Path) -> Result<BTreeMap<String, String>, WeightsError> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let invalid = |reason: String| WeightsError::Index {
        path: index.to_path_buf(),
        reason,
    };
    let text = std::fs::read_to_string(index).map_err(io(index))?;
    let parsed: Index = serde_json::from_str(&text).map_err(|e| invalid(e.to_string()))?;
    // A shard lies beside its index: a path would let an index read files elsewhere.
    for shard in parsed.weight_map.values() {
        if Path::new(shard).file_name() != Some(shard.as_ref()) {
            return Err(invalid(format!("`{shard}` is not a plain file name")));
        }
    }
    Ok(parsed.weight_map)
}

fn floats<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| read(b)).collect()
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> WeightsError {
    let path = path.to_path_buf();
    move |source| WeightsError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_cannot_point_outside() {
        let dir = tempfile::tempdir().unwrap();
        let index = r#"{"weight_map": {"a": "../secret.safetensors"}}"#;
        std::fs::write(dir.path().join(INDEX_FILE), index).unwrap();
        assert!(matches!(
            Weights::open(dir.path()),
            Err(WeightsError::Index { .. })
        ));
    }
}
