//! Policy, value net and tokenizer, saved and loaded as a set.
//!
//! ```text
//! DIR/config.json  model.safetensors  tokenizer.json ...   the policy, as transformers opens it
//! DIR/value/value.json                                     the head's kind and whose trunk it is on
//! DIR/value/head.safetensors                               a head on the policy's trunk, or an MLP
//! DIR/value/config.json  model.safetensors                 a trunk of its own, a linear head in it
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use burn::tensor::Device;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::calibration::Calibration;
use super::config::{Config, ConfigError};
use super::decoder::Decoder;
use super::hub::{self, HubError};
use super::layout::Weight;
use super::tokenizer::{Tokenizer, TokenizerError};
use super::value::{HeadKind, HeadShape, Value, ValueHead};
use super::weights::{self, StoredType, Weights, WeightsError};

/// The subfolder of the value net.
pub const VALUE: &str = "value";
const CONFIG: &str = "config.json";
const HEAD: &str = "head.safetensors";
const VALUE_JSON: &str = "value.json";

/// Why a checkpoint could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(
        "{}: no such directory; expected a Hugging Face model directory with config.json, tokenizer.json and safetensors weights", .0.display()
    )]
    NotFound(PathBuf),
    #[error(
        "{} has no config.json; expected a Hugging Face model directory with config.json, tokenizer.json and safetensors weights", .0.display()
    )]
    NoConfig(PathBuf),
    #[error("cannot read {}: {source}", .path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {source}", .dir.display())]
    Config { dir: PathBuf, source: ConfigError },
    #[error(
        "{}: {reason}; expected `kind` linear or mlp, its `width`, and `trunk` shared or own, as tokenzero writes them", .path.display()
    )]
    ValueJson { path: PathBuf, reason: String },
    #[error(
        "{}: the tokenizer has ids up to {highest}, but the model has only {vocab} embeddings; tokenizer.json and config.json do not belong together", .dir.display()
    )]
    Vocabulary {
        dir: PathBuf,
        highest: u64,
        vocab: usize,
    },
    #[error(
        "{}: the value net knows {found} tokens, the policy {expected}; use a value net that was trained with this policy's tokenizer", .dir.display()
    )]
    ValueVocabulary {
        dir: PathBuf,
        expected: usize,
        found: usize,
    },
    #[error(transparent)]
    Weights(#[from] WeightsError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Hub(#[from] HubError),
}

/// Where a checkpoint comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A local directory.
    Path(PathBuf),
    /// A repository of the Hugging Face Hub at a branch, tag or commit.
    Hub { repo: String, revision: String },
}

impl Source {
    /// The local directory, fetched from the Hub if it has to be.
    ///
    /// # Errors
    /// A directory that is not there, or a failed download.
    pub fn directory(&self) -> Result<PathBuf, CheckpointError> {
        match self {
            Source::Path(dir) if dir.is_dir() => Ok(dir.clone()),
            Source::Path(dir) => Err(CheckpointError::NotFound(dir.clone())),
            Source::Hub { repo, revision } => Ok(hub::fetch_model(repo, revision)?),
        }
    }

    /// The local directory if it is there already; nothing is fetched.
    pub fn local(&self) -> Option<PathBuf> {
        match self {
            Source::Path(dir) => Some(dir.clone()).filter(|dir| dir.is_dir()),
            Source::Hub { repo, revision } => hub::cached_model(repo, revision),
        }
    }
}

/// A policy, its tokenizer, and a value net if there is one.
#[derive(Debug, Clone)]
pub struct Checkpoint {
    pub policy: Decoder,
    pub value: Option<Value>,
    pub tokenizer: Tokenizer,
}

impl Checkpoint {
    /// The policy's shape.
    pub fn config(&self) -> &Config {
        self.policy.config()
    }

    /// Reads a checkpoint, or any Hugging Face directory of a supported model.
    ///
    /// # Errors
    /// A missing or damaged file, or files that do not belong together; each error names the file.
    pub fn load(dir: &Path, device: &Device) -> Result<Checkpoint, CheckpointError> {
        if !dir.is_dir() {
            return Err(CheckpointError::NotFound(dir.to_path_buf()));
        }
        // The small files first: what is wrong is found before gigabytes are read.
        let config = read_config(dir)?;
        let tokenizer = Tokenizer::load(dir)?;
        let highest = (tokenizer.stop_tokens().iter())
            .map(|&id| u64::from(id))
            .chain((tokenizer.vocab_size() as u64).checked_sub(1))
            .max()
            .unwrap_or(0);
        if highest >= config.vocab_size as u64 {
            return Err(CheckpointError::Vocabulary {
                dir: dir.to_path_buf(),
                highest,
                vocab: config.vocab_size,
            });
        }
        let weights = Weights::open(dir)?;
        let policy =
            Decoder::from_weights(&config, device, &mut |name, shape| weights.get(name, shape))?;
        let value_dir = dir.join(VALUE);
        let value = match value_dir.is_dir() {
            true => Some(load_value(&value_dir, &config, device)?),
            false => None,
        };
        Ok(Checkpoint {
            policy,
            value,
            tokenizer,
        })
    }

    /// Writes the set to `dir`, which afterwards holds exactly this checkpoint; a checkpoint that
    /// was there is replaced. It is complete or absent.
    ///
    /// # Errors
    /// A failing disk.
    pub fn save(&self, dir: &Path, stored: StoredType) -> Result<(), CheckpointError> {
        write_folder(dir, |partial| {
            self.write_policy(partial, stored)?;
            match &self.value {
                None => Ok(()),
                Some(value) => {
                    let dir = partial.join(VALUE);
                    std::fs::create_dir(&dir).map_err(io(&dir))?;
                    match value {
                        Value::Shared(head) => write_head(&dir, head, stored),
                        Value::Separate { trunk, head } => write_value(&dir, trunk, head, stored),
                    }
                }
            }
        })
    }

    /// The policy's and the tokenizer's files.
    pub(super) fn write_policy(
        &self,
        dir: &Path,
        stored: StoredType,
    ) -> Result<(), CheckpointError> {
        let config = self.config().to_json(stored.torch_name());
        write_json(&dir.join(CONFIG), &config)?;
        self.tokenizer.save(dir)?;
        Ok(weights::save(dir, &self.policy.weights(), stored)?)
    }
}

/// `value.json`.
#[derive(Debug, Serialize, Deserialize)]
struct ValueDescription {
    kind: HeadKind,
    /// Width of an MLP's hidden layer; 0 for a linear head.
    width: usize,
    trunk: Trunk,
    /// Logits of a member, absent where there is one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    bins: usize,
    /// Heads of an ensemble, absent where there is one.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    heads: usize,
    /// What the heads' mean value goes through, absent where that is nothing.
    #[serde(default, skip_serializing_if = "is_none")]
    calibration: Calibration,
}

fn one() -> usize {
    1
}

fn is_one(n: &usize) -> bool {
    *n == 1
}

fn is_none(calibration: &Calibration) -> bool {
    *calibration == Calibration::None
}

impl ValueDescription {
    fn problem(&self) -> Option<&'static str> {
        match self.bins == 0 || self.heads == 0 {
            true => Some("it has no logits"),
            false => self.calibration.problem(),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Trunk {
    /// The policy's.
    Shared,
    /// The one beside the head.
    Own,
}

/// Reads the value net of `dir`: a checkpoint's `value` folder or an exported value net. `policy` is
/// the shape of the policy that it is to serve.
///
/// # Errors
/// A missing or damaged file, or a net for another vocabulary.
pub fn load_value(dir: &Path, policy: &Config, device: &Device) -> Result<Value, CheckpointError> {
    let path = dir.join(VALUE_JSON);
    let text = std::fs::read_to_string(&path).map_err(io(&path))?;
    let refused = |reason: String| CheckpointError::ValueJson {
        path: path.clone(),
        reason,
    };
    let description: ValueDescription =
        serde_json::from_str(&text).map_err(|e| refused(e.to_string()))?;
    if let Some(problem) = description.problem() {
        return Err(refused(problem.into()));
    }
    let head = |file: &Weights, hidden| {
        let shape = HeadShape {
            kind: description.kind,
            width: description.width,
            bins: description.bins,
            members: description.heads,
        };
        let mut head = ValueHead::from_weights(shape, hidden, device, &mut |name, shape| {
            file.get(name, shape)
        })?;
        head.readout.calibration = description.calibration.clone();
        Ok::<_, WeightsError>(head)
    };
    if description.trunk == Trunk::Shared {
        let file = Weights::open_file(&dir.join(HEAD))?;
        return Ok(Value::Shared(head(&file, policy.hidden_size)?));
    }
    let config = trunk_config(&read_config(dir)?);
    if config.vocab_size != policy.vocab_size {
        return Err(CheckpointError::ValueVocabulary {
            dir: dir.to_path_buf(),
            expected: policy.vocab_size,
            found: config.vocab_size,
        });
    }
    let file = Weights::open(dir)?;
    let trunk = Decoder::from_weights(&config, device, &mut |name, shape| file.get(name, shape))?;
    let head = match description.kind {
        HeadKind::Linear => head(&file, config.hidden_size)?,
        HeadKind::Mlp => head(&Weights::open_file(&dir.join(HEAD))?, config.hidden_size)?,
    };
    Ok(Value::Separate { trunk, head })
}

/// A head alone, for the policy's trunk.
fn write_head(dir: &Path, head: &ValueHead, stored: StoredType) -> Result<(), CheckpointError> {
    describe(dir, head, Trunk::Shared)?;
    Ok(weights::save_file(
        &dir.join(HEAD),
        &head.weights(),
        stored,
    )?)
}

/// A head with its trunk: what transformers opens as token classification with one label a logit if the
/// head is linear, and as the bare decoder with `head.safetensors` beside it if it is an MLP.
pub(super) fn write_value(
    dir: &Path,
    trunk: &Decoder,
    head: &ValueHead,
    stored: StoredType,
) -> Result<(), CheckpointError> {
    describe(dir, head, Trunk::Own)?;
    let config = trunk_config(trunk.config());
    let prefix = config.architecture.class_prefix();
    let mut json = config.to_json(stored.torch_name());
    let mut tensors: Vec<Weight> = trunk.weights();
    tensors.retain(|weight| weight.name != "lm_head.weight");
    match head.kind() {
        HeadKind::Linear => {
            json["architectures"] = json!([format!("{prefix}ForTokenClassification")]);
            let names = label_names(head);
            let numbered = || names.iter().enumerate();
            json["id2label"] = numbered().map(|(i, n)| (i.to_string(), json!(n))).collect();
            json["label2id"] = numbered().map(|(i, n)| (n.clone(), json!(i))).collect();
            json["classifier_dropout"] = json!(0.0);
            tensors.extend(head.weights());
        }
        HeadKind::Mlp => {
            json["architectures"] = json!([format!("{prefix}Model")]);
            weights::save_file(&dir.join(HEAD), &head.weights(), stored)?;
        }
    }
    write_json(&dir.join(CONFIG), &json)?;
    Ok(weights::save(dir, &tensors, stored)?)
}

/// `value` for a head's only logit, else `value_MEMBER_BIN`.
fn label_names(head: &ValueHead) -> Vec<String> {
    let bins = head.readout.bins;
    match head.readout.outputs() {
        1 => vec!["value".into()],
        outputs => (0..outputs)
            .map(|i| format!("value_{}_{}", i / bins, i % bins))
            .collect(),
    }
}

fn describe(dir: &Path, head: &ValueHead, trunk: Trunk) -> Result<(), CheckpointError> {
    let shape = head.shape();
    let description = ValueDescription {
        kind: shape.kind,
        width: shape.width,
        trunk,
        bins: shape.bins,
        heads: shape.members,
        calibration: head.readout.calibration.clone(),
    };
    write_json(&dir.join(VALUE_JSON), &json!(description))
}

/// A value net's trunk has no vocabulary projection; "tied" is how a configuration says so.
fn trunk_config(config: &Config) -> Config {
    Config {
        tie_word_embeddings: true,
        ..config.clone()
    }
}

/// Reads `config.json` of a model directory.
///
/// # Errors
/// No such file, or a configuration that tokenzero cannot use.
pub fn read_config(dir: &Path) -> Result<Config, CheckpointError> {
    let path = dir.join(CONFIG);
    if dir.is_dir() && !path.exists() {
        return Err(CheckpointError::NoConfig(dir.to_path_buf()));
    }
    let text = std::fs::read_to_string(&path).map_err(io(&path))?;
    Config::from_json(&text).map_err(|source| CheckpointError::Config {
        dir: dir.to_path_buf(),
        source,
    })
}

/// Makes `dir` hold what `fill` writes, all or nothing: a temporary folder beside it, fsync of every
/// file, rename.
pub(super) fn write_folder<E: From<CheckpointError>>(
    dir: &Path,
    fill: impl FnOnce(&Path) -> Result<(), E>,
) -> Result<(), E> {
    // A name such as `.` has no folder beside it.
    let dir = &std::path::absolute(dir).map_err(io(dir))?;
    let beside = |suffix: &str| {
        let name = dir.file_name().unwrap_or_default().to_string_lossy();
        dir.with_file_name(format!(".{name}.{suffix}"))
    };
    let (partial, old) = (beside("partial"), beside("old"));
    // What an interrupted run has left.
    remove(&partial)?;
    std::fs::create_dir_all(&partial).map_err(io(&partial))?;
    let filled = fill(&partial);
    if filled.is_err() {
        remove(&partial)?;
        return filled;
    }
    sync(&partial)?;
    remove(&old)?;
    if dir.exists() {
        std::fs::rename(dir, &old).map_err(io(dir))?;
    }
    std::fs::rename(&partial, dir).map_err(io(dir))?;
    if let Some(parent) = dir.parent().filter(|p| !p.as_os_str().is_empty()) {
        (File::open(parent).and_then(|f| f.sync_all())).map_err(io(parent))?;
    }
    Ok(remove(&old)?)
}

fn sync(dir: &Path) -> Result<(), CheckpointError> {
    for entry in std::fs::read_dir(dir).map_err(io(dir))? {
        let path = entry.map_err(io(dir))?.path();
        if path.is_dir() {
            sync(&path)?;
        } else {
            (File::open(&path).and_then(|f| f.sync_all())).map_err(io(&path))?;
        }
    }
    (File::open(dir).and_then(|f| f.sync_all())).map_err(io(dir))
}

fn remove(dir: &Path) -> Result<(), CheckpointError> {
    match std::fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io(dir)(e)),
        _ => Ok(()),
    }
}

fn write_json(path: &Path, json: &serde_json::Value) -> Result<(), CheckpointError> {
    std::fs::write(path, format!("{json:#}\n")).map_err(io(path))
}

pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> CheckpointError {
    let path = path.to_path_buf();
    move |source| CheckpointError::Io { path, source }
}
