//! Recipes that make the bundled checkpoints from nothing.

use super::toml_source::{Error, Source};
use super::validate;
use crate::model::{Architecture, Config};
use crate::{task, train::fit_policy};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Pretraining of a small model on generated text.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pretrain {
    /// Folder that the checkpoint is written to.
    pub out: PathBuf,
    /// Seed of weights, data and their order.
    #[serde(default)]
    pub seed: u64,
    /// `countdown` or `arithmetic`.
    pub task: task::Kind,
    /// Size of the model.
    pub model: Shape,
    /// Stages, one after the other.
    #[serde(rename = "stage")]
    pub stages: Vec<Stage>,
}

/// Size of a model made from nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Shape {
    pub layers: usize,
    pub hidden: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub intermediate: usize,
    /// Longest sequence. Default 512.
    #[serde(default = "context")]
    pub context: usize,
}

fn context() -> usize {
    512
}

impl Shape {
    /// A Qwen2 configuration of this size with tied embeddings.
    pub fn config(&self, vocab_size: usize, eos: u32) -> Config {
        Config {
            architecture: Architecture::Qwen2,
            vocab_size,
            hidden_size: self.hidden,
            intermediate_size: self.intermediate,
            num_hidden_layers: self.layers,
            num_attention_heads: self.heads,
            num_key_value_heads: self.kv_heads,
            head_dim: self.hidden / self.heads.max(1),
            max_position_embeddings: self.context,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            tie_word_embeddings: true,
            attention_bias: true,
            bos_token_id: None,
            eos_token_ids: vec![eos],
        }
    }
}

/// One stage of pretraining: a set of texts and a fit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Texts generated for the stage.
    pub texts: usize,
    /// Settings of the countdown generator.
    #[serde(default)]
    pub countdown: task::countdown::Pretraining,
    /// Settings of the arithmetic generator.
    #[serde(default)]
    pub arithmetic: task::arithmetic::Pretraining,
    /// The fit.
    #[serde(default)]
    pub fit: fit_policy::Params,
}

impl Pretrain {
    /// Reads a pretraining recipe and applies `--set` arguments.
    ///
    /// # Errors
    /// Anything about the text or a value that cannot be used, with its place and a remedy.
    pub fn read(path: &Path, sets: &[String]) -> Result<Pretrain, Error> {
        let mut source = Source::read(path)?;
        source.apply_sets(sets)?;
        let recipe: Pretrain = source.parse()?;
        validate::pretrain(&recipe, &source)?;
        Ok(recipe)
    }
}
