//! Where a run stands, on disk.

use super::{Error, iteration_dir};
use crate::recipe::Recipe;
use crate::trace::fs;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const VERSION: u32 = 1;

/// A phase of an iteration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Collect,
    Train,
    Evaluate,
    Done,
}

impl Phase {
    /// As in tags and in `state.json`.
    pub fn name(self) -> &'static str {
        match self {
            Phase::Collect => "collect",
            Phase::Train => "train",
            Phase::Evaluate => "evaluate",
            Phase::Done => "done",
        }
    }
}

/// The phase to go on at, and what the finished ones left. Only the loop writes it, and last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IterationState {
    pub version: u32,
    /// Fingerprint of the recipe that the run was started with.
    pub fingerprint: String,
    pub iteration: u32,
    pub phase: Phase,
    /// SHA-256 of the files of finished phases, by path within the run folder.
    pub files: BTreeMap<String, String>,
    /// SHA-256 of this state without it.
    #[serde(default)]
    pub(super) checksum: String,
}

impl IterationState {
    /// A new run: it starts by evaluating the model as it comes.
    pub fn new(recipe: &Recipe) -> IterationState {
        IterationState {
            version: VERSION,
            fingerprint: recipe.fingerprint(),
            iteration: 0,
            phase: Phase::Evaluate,
            files: BTreeMap::new(),
            checksum: String::new(),
        }
    }

    /// The state of the run in `dir`. One that is damaged is kept aside, with a warning, and found
    /// again from what the phases left.
    ///
    /// # Errors
    /// A file that cannot be read, or that a newer version wrote.
    pub fn read(dir: &Path, recipe: &Recipe) -> Result<IterationState, Error> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let path = dir.join("state.json");
        let bytes = match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Self::find(dir, recipe),
            read => read.map_err(fs::Error::at("read", &path))?,
        };
        // The version comes first: another version has other fields.
        if let Ok(Version { version }) = serde_json::from_slice(&bytes)
            && version > VERSION
        {
            return Err(Error::Newer { path, version });
        }
        let state = serde_json::from_slice::<IterationState>(&bytes)
            .ok()
            .filter(|state| state.checksum == state.sum());
        match state {
            Some(state) => Ok(state),
            None => {
                let kept = fs::quarantine(&path)?;
                tracing::warn!(
                    "{} is torn or was changed: it is kept as {}, and the run goes on from what its phases left",
                    path.display(),
                    kept.display()
                );
                Self::find(dir, recipe)
            }
        }
    }

    /// The state that the last files of the phases in `dir` tell of.
    fn find(dir: &Path, recipe: &Recipe) -> Result<IterationState, Error> {
        let mut state = Self::new(recipe);
        while state.phase != Phase::Done {
            let last = iteration_dir(dir, state.iteration).join(state.phase.last_file());
            if !last.exists() {
                break;
            }
            state.record_files(dir)?;
            state = state.next(recipe.rounds.iterations);
        }
        Ok(state)
    }

    /// Takes down the checksums of what the phase in hand has left.
    pub(super) fn record_files(&mut self, dir: &Path) -> Result<(), Error> {
        for path in self.phase.files(&iteration_dir(dir, self.iteration))? {
            let name = path.strip_prefix(dir).unwrap_or(&path);
            let name = name.to_string_lossy().into_owned();
            self.files.insert(name, fs::sha256_file(&path)?);
        }
        Ok(())
    }

    /// Finished phases some of whose files are missing or have changed, in their order, with these
    /// files. Checkpoints that no coming phase needs are not looked at.
    pub(super) fn damaged(&self, dir: &Path) -> Result<Vec<(u32, Phase, PathBuf)>, Error> {
        let mut damaged = Vec::new();
        for (name, sum) in &self.files {
            let Some((iteration, phase)) = maker(name) else {
                continue;
            };
            if name.contains("/checkpoint/") && iteration + 1 < self.iteration {
                continue;
            }
            let path = dir.join(name);
            let sound = path.exists() && fs::sha256_file(&path)? == *sum;
            if !sound {
                damaged.push((iteration, phase, path));
            }
        }
        damaged.sort_by_key(|(iteration, phase, _)| (*iteration, *phase as u8));
        Ok(damaged)
    }

    /// SHA-256 of the state without its checksum.
    fn sum(&self) -> String {
        let bare = IterationState {
            checksum: String::new(),
            ..self.clone()
        };
        fs::sha256(&serde_json::to_vec(&bare).unwrap_or_default())
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

    /// The phases that are still to come, in their order.
    pub(super) fn remaining(self, iterations: u32) -> Vec<(u32, Phase)> {
        let first = self.reopen(iterations);
        std::iter::successors(Some(first), |state| Some(state.clone().next(iterations)))
            .take_while(|state| state.phase != Phase::Done)
            .map(|state| (state.iteration, state.phase))
            .collect()
    }

    /// Goes on behind the last iteration where there are to be more than when it ended.
    pub(super) fn reopen(self, iterations: u32) -> IterationState {
        match self.phase {
            Phase::Done if self.iteration < iterations => IterationState {
                phase: Phase::Evaluate,
                ..self
            }
            .next(iterations),
            _ => self,
        }
    }

    /// Writes `state.json`.
    pub(super) fn write(&self, dir: &Path) -> Result<(), Error> {
        let summed = IterationState {
            checksum: self.sum(),
            ..self.clone()
        };
        write_json(&dir.join("state.json"), &summed)
    }
}

impl Phase {
    /// How many phases of a run come before this one of `iteration`; the evaluation of iteration 0 is
    /// the first.
    pub fn number(self, iteration: u32) -> u64 {
        let within = match self {
            Phase::Collect => 1,
            Phase::Train => 2,
            Phase::Evaluate | Phase::Done => 3,
        };
        (3 * u64::from(iteration) + within).saturating_sub(3)
    }

    /// The file that the phase writes last.
    fn last_file(self) -> &'static str {
        match self {
            Phase::Collect => "collect.json",
            Phase::Train => "train.json",
            Phase::Evaluate | Phase::Done => "evaluation.json",
        }
    }

    /// The files that the phase leaves in the folder of its iteration.
    fn files(self, iteration: &Path) -> Result<Vec<PathBuf>, Error> {
        let mut files = match self {
            Phase::Collect => {
                let imagined = iteration.join("imagined.json");
                let mut files = list(&iteration.join("traces"))?;
                files.extend(imagined.exists().then_some(imagined));
                files
            }
            Phase::Train => list(&iteration.join("checkpoint"))?,
            Phase::Evaluate => vec![iteration.join("evaluation.parquet")],
            Phase::Done => Vec::new(),
        };
        files.push(iteration.join(self.last_file()));
        Ok(files)
    }
}

/// The phase that made a file of a run.
fn maker(name: &str) -> Option<(u32, Phase)> {
    let (iteration, rest) = name.strip_prefix("iter-")?.split_once('/')?;
    let phase = match rest.split('/').next()? {
        "traces" | "imagined.json" | "collect.json" => Phase::Collect,
        "checkpoint" | "train.json" => Phase::Train,
        _ => Phase::Evaluate,
    };
    Some((iteration.parse().ok()?, phase))
}

/// The files in `dir` and below, those set aside as damaged left out.
fn list(dir: &Path) -> Result<Vec<PathBuf>, Error> {
    let mut files = Vec::new();
    let error = |e| Error::File(fs::Error::at("read", dir)(e));
    for entry in std::fs::read_dir(dir).map_err(error)? {
        let path = entry.map_err(error)?.path();
        if path.is_dir() {
            files.extend(list(&path)?);
        } else if !path.to_string_lossy().contains(".damaged") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Reads a JSON file; `None` where there is none.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<Option<T>, Error> {
    let text = match std::fs::read_to_string(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.map_err(fs::Error::at("read", path))?,
    };
    match serde_json::from_str(&text) {
        Ok(value) => Ok(Some(value)),
        Err(cause) => Err(Error::Json {
            path: path.into(),
            cause: cause.to_string(),
        }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_follow_each_other_to_the_last_iteration() {
        let mut state = IterationState::new(&Recipe::default());
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
    fn a_state_survives_the_disk_and_a_damaged_one_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let recipe = Recipe::default();
        let evaluated = dir.path().join("iter-0000");
        std::fs::create_dir(&evaluated).unwrap();
        std::fs::write(evaluated.join("evaluation.parquet"), "rows").unwrap();
        std::fs::write(evaluated.join("evaluation.json"), "{}").unwrap();
        let mut state = IterationState::new(&recipe);
        state.record_files(dir.path()).unwrap();
        assert_eq!(state.files.len(), 2);
        let state = state.next(3);
        state.write(dir.path()).unwrap();
        let read = IterationState::read(dir.path(), &recipe).unwrap();
        assert_eq!((read.iteration, read.phase), (1, Phase::Collect));
        assert_eq!(read.files, state.files);
        assert!(read.damaged(dir.path()).unwrap().is_empty());

        let path = dir.path().join("state.json");
        let text = std::fs::read_to_string(&path).unwrap();
        for damaged in [
            text.replace("\"iteration\": 1", "\"iteration\": 2"),
            text[..40].into(),
        ] {
            std::fs::write(&path, &damaged).unwrap();
            let found = IterationState::read(dir.path(), &recipe).unwrap();
            assert_eq!((found.iteration, found.phase), (1, Phase::Collect));
            assert!(!path.exists());
        }

        std::fs::write(evaluated.join("evaluation.json"), "[]").unwrap();
        let damaged = read.damaged(dir.path()).unwrap();
        assert_eq!(
            damaged,
            [(0, Phase::Evaluate, evaluated.join("evaluation.json"))]
        );
        let newer = text.replace("\"version\": 1", "\"version\": 7");
        std::fs::write(&path, newer).unwrap();
        assert!(matches!(
            IterationState::read(dir.path(), &recipe),
            Err(Error::Newer { version: 7, .. })
        ));
    }

    #[test]
    fn a_finished_run_goes_on_when_more_iterations_are_wanted() {
        let done = IterationState {
            iteration: 2,
            phase: Phase::Done,
            ..IterationState::new(&Recipe::default())
        };
        assert_eq!(done.clone().reopen(2), done);
        let more = done.reopen(4);
        assert_eq!((more.iteration, more.phase), (3, Phase::Collect));
    }
}
