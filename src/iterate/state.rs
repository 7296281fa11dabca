//! Where a run stands, on disk.

use super::Error;
use crate::recipe::Recipe;
use crate::trace::fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::path::Path;

const VERSION: u32 = 1;

/// A phase of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Collect,
    Train,
    Evaluate,
    Done,
}

/// The phase to go on at. Only the loop writes it, and last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IterationState {
    pub version: u32,
    /// Fingerprint of the recipe that the run was started with.
    pub fingerprint: String,
    pub iteration: u32,
    pub phase: Phase,
}

impl IterationState {
    /// The state of the run in `dir`; a new run starts by evaluating the model as it comes.
    ///
    /// # Errors
    /// A file that cannot be read, or that another recipe or version wrote.
    pub fn read(dir: &Path, recipe: &Recipe) -> Result<IterationState, Error> {
        let path = dir.join("state.json");
        let fingerprint = recipe.fingerprint();
        if !path.exists() {
            return Ok(IterationState {
                version: VERSION,
                fingerprint,
                iteration: 0,
                phase: Phase::Evaluate,
            });
        }
        let state: IterationState =
            read_json(&path)?.ok_or_else(|| broken(&path, "it is empty".into()))?;
        if state.version != VERSION {
            return Err(broken(&path, format!("version {}", state.version)));
        }
        if state.fingerprint != fingerprint {
            return Err(Error::OtherRecipe { dir: dir.into() });
        }
        Ok(state)
    }

    /// The state after this one's phase.
    pub fn next(self, iterations: u32) -> IterationState {
        let (iteration, phase) = match self.phase {
            Phase::Collect => (self.iteration, Phase::Train),
            Phase::Train => (self.iteration, Phase::Evaluate),
            Phase::Evaluate if self.iteration < iterations => (self.iteration + 1, Phase::Collect),
            Phase::Evaluate | Phase::Done => (self.iteration, Phase::Done),
        };
        IterationState {
            iteration,
            phase,
            ..self
        }
    }

    /// Writes `state.json`.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        write_json(&dir.join("state.json"), self)
    }
}

/// Makes the run folder and leaves the resolved recipe in it.
pub(super) fn prepare(dir: &Path, recipe: &Recipe) -> Result<(), Error> {
    std::fs::create_dir_all(dir).map_err(fs::Error::at("create", dir))?;
    IterationState::read(dir, recipe)?;
    let text = format!(
        "# fingerprint {}\n{}",
        recipe.fingerprint(),
        recipe.render()
    );
    fs::write_atomic_bytes(&dir.join("recipe.toml"), text.as_bytes())?;
    Ok(())
}

/// Reads a JSON file; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(fs::Error::at("read", path))?,
    };
    match serde_json::from_str(&text) {
        Ok(value) => Ok(Some(value)),
        Err(cause) => Err(broken(path, cause.to_string())),
    }
}

/// Writes a JSON file, complete or not at all.
pub(super) fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<(), Error> {
    fs::write_atomic(path, |file| {
        serde_json::to_writer_pretty(&mut *file, value)?;
        std::io::Write::write_all(file, b"\n")
    })?;
    Ok(())
}

fn broken(path: &Path, cause: String) -> Error {
    Error::State {
        path: path.into(),
        cause,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_to_the_last_iteration() {
        let mut state = IterationState {
            version: VERSION,
            fingerprint: String::new(),
            iteration: 0,
            phase: Phase::Evaluate,
        };
        let mut seen = Vec::new();
        while state.phase != Phase::Done {
            seen.push((state.iteration, state.phase));
            state = state.next(2);
        }
        use Phase::{Collect, Evaluate, Train};
        let round = |i| [(i, Collect), (i, Train), (i, Evaluate)];
        let expected: Vec<_> = std::iter::once((0, Evaluate))
            .chain(round(1))
            .chain(round(2))
            .collect();
        assert_eq!(seen, expected);
    }

    #[test]
    fn a_state_survives_the_disk_and_another_recipe_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = Recipe::default();
        let state = IterationState::read(dir.path(), &recipe).unwrap().next(3);
        state.write(dir.path()).unwrap();
        assert_eq!(IterationState::read(dir.path(), &recipe).unwrap(), state);
        let other = Recipe {
            seed: 1,
            ..Recipe::default()
        };
        assert!(matches!(
            IterationState::read(dir.path(), &other),
            Err(Error::OtherRecipe { .. })
        ));
        std::fs::write(dir.path().join("state.json"), "{").unwrap();
        assert!(matches!(
            IterationState::read(dir.path(), &recipe),
            Err(Error::State { .. })
        ));
    }
}
