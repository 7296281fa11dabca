//! Other checkpoints that the searches of a recipe ask: players and judges. Each has its own weights,
//! engine and pool of keys and values.

use super::accounts::{GROWTH, Part, part, step_bytes};
use super::plan::Plan;
use super::shape::{FLOAT, slot_bytes};
use crate::engine::Params as EngineParams;
use crate::iterate::Phase;
use crate::model::Config;
use crate::model::checkpoint::{CheckpointError, VALUE, read_config};
use crate::recipe::Recipe;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A checkpoint beside the policy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Helper {
    pub config: Config,
    /// Numbers of its networks.
    pub numbers: f64,
    /// Networks that forward each of its tokens.
    pub nets: f64,
    /// What one of its tokens costs, in tokens of the policy.
    pub cost: f64,
    /// Bytes of its weights on the disk.
    pub files: f64,
}

/// By the paths that the recipe names.
pub(super) type Helpers = BTreeMap<String, Helper>;

impl Helper {
    /// With this trunk for its value net, if it has one of its own, beside a policy of shape `policy`.
    pub fn of(config: &Config, own_trunk: Option<&Config>, policy: &Config) -> Helper {
        let parameters = |config: &Config| config.parameters() as f64;
        let nets = 1.0 + f64::from(u8::from(own_trunk.is_some()));
        Helper {
            numbers: parameters(config) + own_trunk.map_or(0.0, parameters),
            nets,
            cost: nets * parameters(config) / parameters(policy),
            files: 0.0,
            config: config.clone(),
        }
    }

    fn read(dir: &Path, policy: &Config) -> Result<Helper, CheckpointError> {
        let value = dir.join(VALUE);
        let own_trunk = match value.join("config.json").exists() {
            true => Some(read_config(&value)?),
            false => None,
        };
        Ok(Helper {
            files: stored(dir) + stored(&value),
            ..Helper::of(&read_config(dir)?, own_trunk.as_ref(), policy)
        })
    }
}

/// Bytes of the weights in `dir`; 0 where they cannot be listed, as nothing hangs on them.
fn stored(dir: &Path) -> f64 {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let weights = files.filter(|file| {
        let path = file.path();
        path.extension().is_some_and(|end| end == "safetensors")
    });
    let sizes = weights.filter_map(|file| std::fs::metadata(file.path()).ok());
    sizes.map(|meta| meta.len() as f64).sum()
}

/// The checkpoints that the searches of a phase name, search by search, each with whether it judges.
fn aides(recipe: &Recipe, phase: Phase) -> Vec<Vec<(String, bool)>> {
    match phase {
        Phase::Collect if recipe.collect.draws == 0 => vec![recipe.collect.search.aides()],
        Phase::Evaluate => {
            let searches = recipe.evaluate.search.values();
            searches.map(|search| search.aides()).collect()
        }
        _ => Vec::new(),
    }
}

/// All that `recipe` names, by their configurations; no weights are read. `policy` is the shape of its
/// policy.
///
/// # Errors
/// A configuration that cannot be read.
pub(super) fn read(recipe: &Recipe, policy: &Config) -> Result<Helpers, CheckpointError> {
    let searches = [Phase::Collect, Phase::Evaluate].map(|phase| aides(recipe, phase));
    let paths: BTreeSet<String> = searches
        .into_iter()
        .flatten()
        .flatten()
        .map(|a| a.0)
        .collect();
    let read = |path: String| Ok((path.clone(), Helper::read(Path::new(&path), policy)?));
    paths.into_iter().map(read).collect()
}

/// Bytes of the weights of all that are in memory at once.
pub(super) fn heaviest(recipe: &Recipe, helpers: &Helpers) -> f64 {
    let searches = [Phase::Collect, Phase::Evaluate].map(|phase| aides(recipe, phase));
    let weights = |aides: Vec<(String, bool)>| {
        let paths: BTreeSet<String> = aides.into_iter().map(|aide| aide.0).collect();
        let known = paths.iter().filter_map(|path| helpers.get(path));
        known.map(|helper| helper.numbers * FLOAT).sum::<f64>()
    };
    searches
        .into_iter()
        .flatten()
        .map(weights)
        .fold(0.0, f64::max)
}

impl Plan<'_> {
    /// What the checkpoints `aides` of a search hold that works on `trees` questions at once with `leaves`
    /// leaves each. `judges` is the key that names those which judge.
    pub fn help(
        &self,
        aides: &[(String, bool)],
        trees: f64,
        leaves: usize,
        judges: &'static str,
    ) -> Vec<Part> {
        let mut parts = Vec::new();
        let (mut left, mut keys, mut steps) = (0.0, 0.0, 0.0);
        let mut seen = BTreeSet::new();
        for (path, _) in aides {
            let Some(helper) = self.helpers.get(path).filter(|_| seen.insert(path)) else {
                continue;
            };
            let (role, knob) = match *path == self.recipe.collect.search.player {
                true => ("player", "collect.search.player (a smaller checkpoint)"),
                false => ("judge", judges),
            };
            let weights = self.on_host(helper.numbers * FLOAT);
            parts.push(part(format!("weights of the {role} {path}"), weights, knob));
            left += weights;
            // The prompt stays; of the texts only those are there that are in work.
            let prompt = self.sample.prompt.mean;
            let text = (self.sample.values.tokens.mean - prompt).max(0.0);
            let slots = trees * (prompt + leaves.max(1) as f64 * text) * GROWTH;
            keys += slots * helper.nets * slot_bytes(&helper.config);
            let rows = trees * leaves.max(1) as f64;
            steps += step_bytes(&helper.config, &EngineParams::default(), rows, 1, prompt);
        }
        if parts.is_empty() {
            return parts;
        }
        // They are packed while the work begins, and the allocator keeps the pages that they were read
        // into: with a player of 27 million parameters its weights were there twice.
        parts.push(part("what reading them leaves", left, ""));
        let knobs = "collect.workers, evaluate.workers or search leaves";
        parts.push(part("their keys and values", self.on_host(keys), knobs));
        parts.push(part("steps of their engines", self.on_host(steps), ""));
        parts
    }

    /// Bytes of the checkpoints that a phase reads beside its own.
    pub fn helpers_read(&self, phase: Phase) -> f64 {
        let searches = aides(self.recipe, phase).into_iter().flatten();
        let files = searches.filter_map(|(path, _)| self.helpers.get(&path));
        files.map(|helper| helper.files).sum()
    }
}
