//! Tensors in safetensors files: one file, or shards under an index.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use safetensors::tensor::{Dtype, Metadata, SafeTensors, View};
use serde::Deserialize;

use super::layout::Weight;

/// The file that holds all tensors of a small model.
pub const SINGLE_FILE: &str = "model.safetensors";
/// The file that says which shard holds which tensor of a large one.
pub const INDEX_FILE: &str = "model.safetensors.index.json";
/// Bytes of tensors after which [`save`] starts another file, as transformers does.
const SHARD_BYTES: usize = 5_000_000_000;

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

/// How numbers are stored on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum StoredType {
    /// 32-bit floats: what was computed, exactly.
    #[default]
    F32,
    /// bfloat16: half the size, 8 bits of mantissa.
    Bf16,
}

impl StoredType {
    /// The spelling of `torch_dtype` in config.json.
    pub fn torch_name(self) -> &'static str {
        match self {
            StoredType::F32 => "float32",
            StoredType::Bf16 => "bfloat16",
        }
    }

    fn bytes(self) -> usize {
        match self {
            StoredType::F32 => 4,
            StoredType::Bf16 => 2,
        }
    }
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

/// Writes tensors to `dir/model.safetensors`, or beyond 5 GB to shards and an index. The same
/// tensors give the same bytes. Each file is complete or absent.
///
/// # Errors
/// A tensor whose length does not fit its shape, or a failing disk.
pub fn save(dir: &Path, weights: &[Weight], stored: StoredType) -> Result<(), WeightsError> {
    save_sharded(dir, weights, stored, SHARD_BYTES)
}

fn save_sharded(
    dir: &Path,
    weights: &[Weight],
    stored: StoredType,
    shard_bytes: usize,
) -> Result<(), WeightsError> {
    let mut shards: Vec<&[Weight]> = Vec::new();
    let (mut start, mut size) = (0, 0);
    for (i, weight) in weights.iter().enumerate() {
        let bytes = weight.data.len() * stored.bytes();
        if size > 0 && size + bytes > shard_bytes {
            shards.push(&weights[start..i]);
            (start, size) = (i, 0);
        }
        size += bytes;
    }
    shards.push(&weights[start..]);
    if let [all] = shards.as_slice() {
        return save_file(&dir.join(SINGLE_FILE), all, stored);
    }
    let mut map = BTreeMap::new();
    let mut total = 0;
    for (i, shard) in shards.iter().enumerate() {
        let name = format!("model-{:05}-of-{:05}.safetensors", i + 1, shards.len());
        save_file(&dir.join(&name), shard, stored)?;
        for weight in *shard {
            map.insert(weight.name.clone(), name.clone());
            total += weight.data.len() * stored.bytes();
        }
    }
    // The index comes last: a reader that finds it finds all shards.
    let index = serde_json::json!({ "metadata": { "total_size": total }, "weight_map": map });
    let path = dir.join(INDEX_FILE);
    let text = format!("{index:#}\n");
    let partial = partial(&path);
    std::fs::write(&partial, text).map_err(io(&partial))?;
    publish(&partial, &path)
}

/// Writes tensors to one safetensors file: a temporary name, fsync, rename.
///
/// # Errors
/// A tensor whose length does not fit its shape, or a failing disk.
pub fn save_file(path: &Path, weights: &[Weight], stored: StoredType) -> Result<(), WeightsError> {
    for weight in weights {
        if weight.shape.iter().product::<usize>() != weight.data.len() {
            return Err(WeightsError::Length {
                tensor: weight.name.clone(),
                shape: weight.shape.clone(),
                found: weight.data.len(),
            });
        }
    }
    // One key only: the crate keeps metadata in a hash map, so two would be written in random order.
    let metadata = HashMap::from([("format".to_string(), "pt".to_string())]);
    let views = weights
        .iter()
        .map(|weight| (weight.name.as_str(), Stored { weight, stored }));
    let partial = partial(path);
    safetensors::serialize_to_file(views, Some(metadata), &partial).map_err(|e| {
        WeightsError::Io {
            path: path.to_path_buf(),
            source: match e {
                safetensors::SafeTensorError::IoError(source) => source,
                other => std::io::Error::other(other.to_string()),
            },
        }
    })?;
    publish(&partial, path)
}

/// A weight as safetensors asks for it.
struct Stored<'a> {
    weight: &'a Weight,
    stored: StoredType,
}

impl View for Stored<'_> {
    fn dtype(&self) -> Dtype {
        match self.stored {
            StoredType::F32 => Dtype::F32,
            StoredType::Bf16 => Dtype::BF16,
        }
    }

    fn shape(&self) -> &[usize] {
        &self.weight.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let data = &self.weight.data;
        match self.stored {
            StoredType::F32 => data.iter().flat_map(|x| x.to_le_bytes()).collect(),
            StoredType::Bf16 => (data.iter())
                .flat_map(|&x| bf16::from_f32(x).to_le_bytes())
                .collect(),
        }
    }

    fn data_len(&self) -> usize {
        self.weight.data.len() * self.stored.bytes()
    }
}

fn floats<const N: usize>(bytes: &[u8], read: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    bytes.as_chunks().0.iter().map(|&b| read(b)).collect()
}

/// The name under which a file is written until it is complete.
fn partial(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".partial");
    path.with_file_name(name)
}

/// Syncs a finished file and gives it its name.
fn publish(partial: &Path, path: &Path) -> Result<(), WeightsError> {
    let file = File::open(partial).map_err(io(partial))?;
    file.sync_all().map_err(io(partial))?;
    std::fs::rename(partial, path).map_err(io(path))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> WeightsError {
    let path = path.to_path_buf();
    move |source| WeightsError::Io { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(name: &str, shape: &[usize], scale: f32) -> Weight {
        let n: usize = shape.iter().product();
        Weight {
            name: name.into(),
            shape: shape.into(),
            data: (0..n).map(|i| (i as f32 - 1.5) * scale).collect(),
        }
    }

    #[test]
    fn f32_comes_back_exactly_and_the_bytes_repeat() {
        let dir = tempfile::tempdir().unwrap();
        let all = [weight("b", &[2, 3], 0.1), weight("a", &[4], 1e-30)];
        save(dir.path(), &all, StoredType::F32).unwrap();
        let first = std::fs::read(dir.path().join(SINGLE_FILE)).unwrap();
        save(dir.path(), &all, StoredType::F32).unwrap();
        assert_eq!(
            first,
            std::fs::read(dir.path().join(SINGLE_FILE)).unwrap()
        );
        let read = Weights::open(dir.path()).unwrap();
        assert_eq!(read.names().collect::<Vec<_>>(), ["a", "b"]);
        for w in &all {
            assert_eq!(read.get(&w.name, &w.shape).unwrap(), w.data);
        }
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn half_types_widen_exactly() {
        let dir = tempfile::tempdir().unwrap();
        let w = weight("x", &[5], 0.25);
        save(dir.path(), std::slice::from_ref(&w), StoredType::Bf16).unwrap();
        let read = Weights::open(dir.path()).unwrap();
        assert_eq!(read.get("x", &[5]).unwrap(), w.data);

        let halves: Vec<u8> = (w.data.iter())
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect();
        let view = safetensors::tensor::TensorView::new(Dtype::F16, vec![5], &halves).unwrap();
        let path = dir.path().join("half.safetensors");
        safetensors::serialize_to_file([("x", view)], None, &path).unwrap();
        let read = Weights::open_file(&path).unwrap();
        assert_eq!(read.get("x", &[5]).unwrap(), w.data);
    }

    #[test]
    fn shards_come_back_and_a_lost_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let all = [
            weight("a", &[10], 1.0),
            weight("b", &[10], 2.0),
            weight("c", &[30], 3.0),
        ];
        save_sharded(dir.path(), &all, StoredType::F32, 80).unwrap();
        let read = Weights::open(dir.path()).unwrap();
        for w in &all {
            assert_eq!(read.get(&w.name, &w.shape).unwrap(), w.data);
        }
        let lost = "model-00002-of-00002.safetensors";
        std::fs::remove_file(dir.path().join(lost)).unwrap();
        match Weights::open(dir.path()) {
            Err(WeightsError::MissingShard { shard, tensors, .. }) => {
                assert_eq!((shard.as_str(), tensors), (lost, 1));
            }
            other => panic!("{:?}", other.err()),
        }
    }

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
