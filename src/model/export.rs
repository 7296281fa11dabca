//! Directories that transformers opens, with a model card.

use std::path::{Path, PathBuf};

use super::card::{Card, Subject};
use super::checkpoint::{Checkpoint, CheckpointError, io, write_folder, write_value};
use super::value::Value;
use super::weights::StoredType;

/// Why a model could not be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{}: already there and not empty; name another --out, or remove it first", .0.display())]
    Occupied(PathBuf),
    #[error("this checkpoint has no value net; train one first, or export the policy")]
    NoValue,
    #[error("the model card cannot be written: {0}")]
    Card(#[from] minijinja::Error),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
}

/// Writes the policy with its tokenizer: `Qwen2ForCausalLM` or `LlamaForCausalLM`.
///
/// # Errors
/// An output directory that is in use, or a failing disk; then `out` is as it was.
pub fn export_policy(
    checkpoint: &Checkpoint,
    out: &Path,
    card: &Card,
    stored: StoredType,
) -> Result<(), ExportError> {
    let card = card.render(Subject::Policy)?;
    write_export(out, &card, |dir| checkpoint.write_policy(dir, stored))
}

/// Writes the value net with its trunk and the tokenizer. A linear head gives
/// `Qwen2ForTokenClassification` (or Llama's) with one label for each of the head's logits; an MLP head
/// gives the bare decoder and `head.safetensors`, which the card explains.
/// [`load_value`](super::checkpoint::load_value) reads either back.
///
/// # Errors
/// No value net, an output directory that is in use, or a failing disk; then `out` is as it was.
pub fn export_value(
    checkpoint: &Checkpoint,
    out: &Path,
    card: &Card,
    stored: StoredType,
) -> Result<(), ExportError> {
    let (trunk, head) = match &checkpoint.value {
        None => return Err(ExportError::NoValue),
        Some(Value::Shared(head)) => (&checkpoint.policy, head),
        Some(Value::Separate { trunk, head }) => (trunk, head),
    };
    let card = card.render(Subject::Value(head.kind(), &head.readout))?;
    write_export(out, &card, |dir| {
        write_value(dir, trunk, head, stored)?;
        Ok(checkpoint.tokenizer.save(dir)?)
    })
}

fn write_export(
    out: &Path,
    card: &str,
    fill: impl FnOnce(&Path) -> Result<(), CheckpointError>,
) -> Result<(), ExportError> {
    if out.exists() && std::fs::read_dir(out).map_err(io(out))?.next().is_some() {
        return Err(ExportError::Occupied(out.to_path_buf()));
    }
    write_folder(out, |dir| {
        fill(dir)?;
        let readme = dir.join("README.md");
        Ok(std::fs::write(&readme, card).map_err(io(&readme))?)
    })
}
