//! Writing safetensors files.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::path::{Path, PathBuf};

use half::bf16;
use safetensors::tensor::{Dtype, View};

use super::{INDEX_FILE, SINGLE_FILE, WeightsError, io};
use crate::model::layout::Weight;

/// Bytes of tensors after which [`save`] starts another file, as transformers does.
const SHARD_BYTES: usize = 5_000_000_000;

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
    share(&partial)?;
    publish(&partial, path)
}

/// Lets others read the file: the safetensors crate creates it for its owner alone.
#[cfg(unix)]
fn share(path: &Path) -> Result<(), WeightsError> {
    use std::os::unix::fs::PermissionsExt;
    let readable = std::fs::Permissions::from_mode(0o644);
    std::fs::set_permissions(path, readable).map_err(io(path))
}

#[cfg(not(unix))]
fn share(_: &Path) -> Result<(), WeightsError> {
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::super::Weights;
    use super::*;
    use half::f16;

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
        assert_eq!(first, std::fs::read(dir.path().join(SINGLE_FILE)).unwrap());
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
}
