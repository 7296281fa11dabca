//! Recipes: what a run does, typed. A recipe is made of the modules' own parameters; a module never
//! sees it.

mod pretrain;
pub mod sweep;
pub mod toml_source;
mod validate;

pub use pretrain::{Pretrain, Shape, Stage};

use crate::evaluate::gate;
use crate::model::{HeadKind, HeadShape, Source as ModelSource};
use crate::trace::TreeRecord;
use crate::train::calibrate::Calibrate;
use crate::train::{ValueExample, fit_joint, fit_policy, fit_value, from_traces};
use crate::{collect, engine, evaluate, task};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use toml_source::{Error, Source};

/// A run of the loop.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Recipe {
    /// Name of the run; without `--run-dir` its folder is `checkpoints/<name>`. Default: the
    /// recipe's file name.
    pub name: String,
    /// Seed of everything random in the run. Default 0.
    pub seed: u64,
    /// The loop.
    #[serde(rename = "loop")]
    pub rounds: Loop,
    /// The policy to start from.
    pub model: Model,
    /// The questions.
    pub task: task::Params,
    /// What texts are worth to the search and to what learns from it.
    pub reward: task::reward::Params,
    /// Batching and the pool of keys and values.
    pub engine: engine::Params,
    /// Collection of traces.
    pub collect: collect::Params,
    /// Which traces are learned from.
    pub traces: from_traces::Params,
    /// How policy and value are learned.
    pub learn: Learn,
    /// The fit of policy and value on one trunk, with `learn.mode = "joint"`.
    pub joint: fit_joint::Params,
    /// The fit of the value, with `learn.mode = "separate"`.
    pub value: fit_value::Params,
    /// The fit of the policy, with `learn.mode = "separate"`.
    pub policy: fit_policy::Params,
    /// Whether an iteration's networks replace those before.
    pub gate: gate::Params,
    /// The evaluation after each iteration.
    pub evaluate: evaluate::Params,
}

/// The loop itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Loop {
    /// Rounds of collect, train, evaluate. Default 3.
    pub iterations: u32,
}

impl Default for Loop {
    fn default() -> Self {
        Loop { iterations: 3 }
    }
}

/// Where the policy comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Model {
    /// A local directory in Hugging Face layout; it wins over `repo`. Default: none.
    pub path: Option<PathBuf>,
    /// A model on the Hub. Default `Qwen/Qwen2.5-0.5B-Instruct`.
    pub repo: String,
    /// Branch, tag or commit on the Hub. Default `main`.
    pub revision: String,
}

impl Default for Model {
    fn default() -> Self {
        Model {
            path: None,
            repo: "Qwen/Qwen2.5-0.5B-Instruct".into(),
            revision: "main".into(),
        }
    }
}

impl Model {
    /// As the model loader takes it.
    pub fn source(&self) -> ModelSource {
        match &self.path {
            Some(path) => ModelSource::Path(path.clone()),
            None => ModelSource::Hub {
                repo: self.repo.clone(),
                revision: self.revision.clone(),
            },
        }
    }
}

/// How policy and value share their trunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// Policy and value on one trunk, fitted together.
    #[default]
    Joint,
    /// The value first, then the policy, each by its own fit.
    Separate,
}

/// How policy and value are learned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Learn {
    /// `joint` or `separate`. Default `joint`.
    pub mode: Mode,
    /// Form of the value head: `linear` or `mlp`. Default `linear`.
    pub head: HeadKind,
    /// Width of an MLP head. Default 96.
    pub head_width: usize,
    /// Bins of a distribution over returns in [-1, 1] that the head has a logit for each, with the loss
    /// `hl_gauss`; 1 for one logit, with `bce` or `mse`. Some 51 are usual. Default 1.
    pub bins: usize,
    /// Heads of an ensemble on one trunk, each trained on its own bootstrap resample of the questions.
    /// Searches take their mean, or a lower bound with `pessimism`. Default 1.
    pub heads: usize,
}

impl Default for Learn {
    fn default() -> Self {
        Learn {
            mode: Mode::Joint,
            head: HeadKind::Linear,
            head_width: 96,
            bins: 1,
            heads: 1,
        }
    }
}

impl Learn {
    /// The shape of the value head.
    pub fn head_shape(&self) -> HeadShape {
        HeadShape {
            kind: self.head,
            width: self.head_width,
            bins: self.bins,
            members: self.heads,
        }
    }
}

impl Recipe {
    /// What the value learns from `trees`, with the policy's probabilities where its calibration asks for
    /// them.
    pub fn value_examples(&self, trees: &[TreeRecord]) -> Vec<ValueExample> {
        let maps = [self.joint.calibrate, self.value.calibrate];
        let examples = match maps.contains(&Calibrate::Features) {
            true => from_traces::value_examples_with_probabilities,
            false => from_traces::value_examples,
        };
        examples(trees, &self.traces, self.seed)
    }

    /// Reads a recipe file, applies `--set` arguments and checks every value.
    ///
    /// # Errors
    /// Anything about the text or a value that cannot be used, with its place and a remedy.
    pub fn read(path: &Path, sets: &[String]) -> Result<Recipe, Error> {
        let mut source = Source::read(path)?;
        source.apply_sets(sets)?;
        let mut recipe: Recipe = source.parse()?;
        if recipe.name.is_empty() {
            recipe.name = path
                .file_stem()
                .map_or_else(|| "run".into(), |s| s.to_string_lossy().into_owned());
        }
        validate::recipe(&recipe, &source)?;
        Ok(recipe)
    }

    /// Where the run lies unless told otherwise.
    pub fn run_dir(&self) -> PathBuf {
        Path::new("checkpoints").join(&self.name)
    }

    /// The whole recipe with every default written out.
    pub fn render(&self) -> String {
        toml_source::render(self)
    }

    /// SHA-256 of what decides the run's results: all but its name.
    pub fn fingerprint(&self) -> String {
        let mut core = self.clone();
        core.name = String::new();
        toml_source::fingerprint(&core)
    }
}
