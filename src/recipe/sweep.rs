//! Sweeps: one recipe run many times, with some of its keys varied.

use super::Recipe;
use super::toml_source::{Error, Source};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// How the varied keys are combined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Combine {
    /// The recipe as it is, and then each value of each key by itself.
    #[default]
    OneByOne,
    /// Every combination.
    Grid,
}

/// A sweep.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sweep {
    /// The recipe that is varied; its path is taken from where the sweep's file lies.
    pub recipe: PathBuf,
    /// Seeds that each setting runs with; `seed` and `task.seed` are set to them. Default 0 alone.
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// `one_by_one` or `grid`. Default `one_by_one`.
    #[serde(default)]
    pub combine: Combine,
    /// The setting that the others are judged by. Default: the first one, `base` where settings are varied
    /// one by one.
    #[serde(default)]
    pub control: Option<String>,
    /// Keys that every run has another value of than the recipe.
    #[serde(default)]
    pub set: BTreeMap<String, toml::Value>,
    /// Values of the keys that are varied.
    #[serde(default)]
    pub vary: BTreeMap<String, Vec<toml::Value>>,
    /// What takes several keys at once, by its name: keys and their values. Each is one setting more
    /// (`one_by_one`), or every combination is run with each (`grid`).
    #[serde(default)]
    pub methods: BTreeMap<String, BTreeMap<String, toml::Value>>,
}

fn one_seed() -> Vec<u64> {
    vec![0]
}

/// One run of a sweep.
#[derive(Debug, Clone, PartialEq)]
pub struct Variant {
    /// Folder of the run: what is varied, and the seed.
    pub name: String,
    /// The varied keys with their values; empty for the recipe as it is.
    pub values: BTreeMap<String, String>,
    pub seed: u64,
    /// Everything to set.
    pub sets: Vec<String>,
}

impl Variant {
    /// What is varied, without the seed.
    pub fn setting(&self) -> &str {
        setting_of(&self.name)
    }
}

/// The name of a run without its seed.
pub fn setting_of(run: &str) -> &str {
    run.rsplit_once("-seed-").map_or(run, |parts| parts.0)
}

impl Sweep {
    /// Reads a sweep, and checks that its recipe takes every value.
    ///
    /// # Errors
    /// Anything about the sweep, its recipe or a value that cannot be used.
    pub fn read(path: &Path) -> Result<Sweep, Error> {
        let source = Source::read(path)?;
        let mut sweep: Sweep = source.parse()?;
        if let Some(folder) = path.parent() {
            sweep.recipe = folder.join(&sweep.recipe);
        }
        if let Some((key, _)) = sweep.vary.iter().find(|(_, values)| values.is_empty()) {
            return Err(source.invalid(
                "vary",
                format!("`{key}` has no values"),
                "give it at least one",
            ));
        }
        if sweep.seeds.is_empty() {
            return Err(source.invalid("seeds", "there are no seeds", "give at least one"));
        }
        let variants = sweep.variants();
        if let Some(control) = &sweep.control
            && !variants.iter().any(|variant| variant.setting() == control)
        {
            let mut names: Vec<&str> = variants.iter().map(Variant::setting).collect();
            names.dedup();
            return Err(source.invalid(
                "control",
                format!("no setting is called `{control}`"),
                format!("the settings are {}", names.join(", ")),
            ));
        }
        for variant in variants {
            Recipe::read(&sweep.recipe, &variant.sets)?;
        }
        Ok(sweep)
    }

    /// The keys that runs differ in.
    pub fn keys(&self) -> BTreeSet<&String> {
        let together = self.methods.values().flat_map(BTreeMap::keys);
        self.vary.keys().chain(together).collect()
    }

    /// The name of the setting that the others are judged by.
    pub fn control(&self) -> String {
        let first = || self.variants().first().map(|first| first.setting().into());
        self.control.clone().or_else(first).unwrap_or_default()
    }

    /// All runs, in order.
    pub fn variants(&self) -> Vec<Variant> {
        // Each with the name of its method, where it has one.
        let mut settings: Vec<(Option<&str>, BTreeMap<&str, &toml::Value>)> =
            vec![(None, BTreeMap::new())];
        let methods = || {
            self.methods.iter().map(|(name, keys)| {
                let keys = keys.iter().map(|(key, value)| (key.as_str(), value));
                (Some(name.as_str()), keys.collect::<BTreeMap<_, _>>())
            })
        };
        match self.combine {
            Combine::OneByOne => {
                for (key, values) in &self.vary {
                    let one = |value| (None, BTreeMap::from([(key.as_str(), value)]));
                    settings.extend(values.iter().map(one));
                }
                settings.extend(methods());
            }
            Combine::Grid => {
                if !self.methods.is_empty() {
                    settings = methods().collect();
                }
                for (key, values) in &self.vary {
                    let with = |(name, setting): &(_, BTreeMap<_, _>), value| {
                        let mut setting = setting.clone();
                        setting.insert(key.as_str(), value);
                        (*name, setting)
                    };
                    settings = settings
                        .iter()
                        .flat_map(|setting| values.iter().map(move |value| with(setting, value)))
                        .collect();
                }
            }
        }
        let mut variants = Vec::new();
        for (method, setting) in settings {
            for &seed in &self.seeds {
                variants.push(self.variant(method, &setting, seed));
            }
        }
        variants
    }

    fn variant(
        &self,
        method: Option<&str>,
        setting: &BTreeMap<&str, &toml::Value>,
        seed: u64,
    ) -> Variant {
        let values: BTreeMap<String, String> = setting
            .iter()
            .map(|(key, value)| (key.to_string(), value.to_string()))
            .collect();
        let mut sets: Vec<String> = self
            .set
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        sets.extend(values.iter().map(|(key, value)| format!("{key}={value}")));
        sets.extend([format!("seed={seed}"), format!("task.seed={seed}")]);
        // A method's name stands for its keys.
        let named = |key: &str| {
            let keys = method.and_then(|method| self.methods.get(method));
            keys.is_none_or(|keys| !keys.contains_key(key))
        };
        let mut name: Vec<String> = method.map(str::to_string).into_iter().collect();
        name.extend(
            values
                .iter()
                .filter(|(key, _)| named(key))
                .map(|(key, value)| {
                    let short = key.rsplit('.').next().unwrap_or(key);
                    let words = value.split(|c: char| !c.is_alphanumeric() && c != '.');
                    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
                    format!("{short}-{}", words.join("-"))
                }),
        );
        if name.is_empty() {
            name.push("base".into());
        }
        name.push(format!("seed-{seed}"));
        Variant {
            name: name.join("-"),
            values,
            seed,
            sets,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sweep(combine: &str) -> Sweep {
        toml::from_str(&format!(
            "recipe = \"quickstart.toml\"\nseeds = [0, 1]\ncombine = \"{combine}\"\n\
             [vary]\n\"collect.questions\" = [10, 20]\n\"collect.search.tree.c_puct\" = [1.0, 2.0]\n"
        ))
        .unwrap()
    }

    #[test]
    fn a_method_sets_several_keys_at_once() {
        let with_method = |combine: &str| {
            let mut sweep = sweep(combine);
            let keys = toml::toml! {
                "learn.bins" = 51
                "joint.loss" = "hl_gauss"
            };
            sweep.seeds = vec![4];
            sweep
                .methods
                .insert("binned".into(), keys.into_iter().collect());
            sweep
        };
        let sweep = with_method("one_by_one");
        let variants = sweep.variants();
        let last = variants.last().unwrap();
        assert_eq!((variants.len(), last.name.as_str()), (6, "binned-seed-4"));
        let sets = [
            "joint.loss=\"hl_gauss\"",
            "learn.bins=51",
            "seed=4",
            "task.seed=4",
        ];
        assert_eq!(last.sets, sets);
        assert_eq!(sweep.keys().len(), 4);
        let grid = with_method("grid").variants();
        assert_eq!(grid.len(), 4);
        assert_eq!(grid[0].name, "binned-questions-10-c_puct-1.0-seed-4");
    }

    #[test]
    fn one_by_one_and_grid() {
        let names = |combine| -> Vec<String> {
            sweep(combine)
                .variants()
                .into_iter()
                .map(|v| v.name)
                .collect()
        };
        let alone = names("one_by_one");
        assert_eq!(alone.len(), 10);
        assert_eq!(
            alone[..3],
            ["base-seed-0", "base-seed-1", "questions-10-seed-0"]
        );
        let grid = names("grid");
        assert_eq!(grid.len(), 8);
        assert_eq!(grid[0], "questions-10-c_puct-1.0-seed-0");
        let variant = &sweep("grid").variants()[1];
        assert_eq!(
            variant.sets,
            [
                "collect.questions=10",
                "collect.search.tree.c_puct=1.0",
                "seed=1",
                "task.seed=1"
            ]
        );
    }
}
