//! Checkpoints inside a fit: burn-train's three records and the steps so far, each a file that is
//! complete or absent and carries its checksum.

use super::report::{StepReport, lock};
use crate::trace::fs;
use burn_train::checkpoint::{Checkpoint, Checkpointer, CheckpointerError};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// The parts of a checkpoint.
const PARTS: [&str; 4] = ["model", "optim", "scheduler", "steps"];

/// Bytes of the SHA-256 at the end of a file.
const SUM: usize = 32;

/// What a fit has done so far.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct History {
    /// Finished optimiser steps.
    pub steps: Vec<StepReport>,
    /// Losses on held-out questions, each after a number of steps.
    pub valid: Vec<(usize, f64)>,
    /// Steps that were finished at the end of an epoch.
    #[serde(skip)]
    pub ends: BTreeMap<usize, usize>,
}

impl History {
    /// The part up to the end of `epoch`. Epochs that came later do not change it.
    fn until(&self, epoch: usize) -> History {
        let end = self.ends.get(&epoch).copied().unwrap_or(self.steps.len());
        History {
            steps: self.steps[..end.min(self.steps.len())].to_vec(),
            valid: self.valid.iter().filter(|v| v.0 <= end).copied().collect(),
            ends: BTreeMap::new(),
        }
    }
}

/// Saves one part.
pub(crate) struct PartFile {
    folder: PathBuf,
    name: &'static str,
    /// Saved beside this part.
    history: Option<Arc<Mutex<History>>>,
}

impl PartFile {
    /// The model and the history; the optimiser; the learning rate.
    pub fn all(folder: &Path, history: &Arc<Mutex<History>>) -> [PartFile; 3] {
        let part = |name, history| PartFile {
            folder: folder.to_path_buf(),
            name,
            history,
        };
        [
            part(PARTS[0], Some(history.clone())),
            part(PARTS[1], None),
            part(PARTS[2], None),
        ]
    }
}

impl<R: Checkpoint> Checkpointer<R> for PartFile {
    fn save(&self, epoch: usize, record: R) -> Result<(), CheckpointerError> {
        let history = self.history.as_ref().map(|h| lock(h).until(epoch));
        let bytes = record
            .checkpoint_into_bytes()
            .map_err(CheckpointerError::Record)?;
        write(&path(&self.folder, self.name, epoch), &bytes).map_err(unknown)?;
        if let Some(history) = history {
            let bytes = postcard::to_stdvec(&history).map_err(unknown)?;
            write(&path(&self.folder, PARTS[3], epoch), &bytes).map_err(unknown)?;
        }
        Ok(())
    }

    fn delete(&self, epoch: usize) -> Result<(), CheckpointerError> {
        let history = self.history.as_ref().map(|_| PARTS[3]);
        for name in [self.name].into_iter().chain(history) {
            match std::fs::remove_file(path(&self.folder, name, epoch)) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(CheckpointerError::IOError(e));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn restore(&self, epoch: usize) -> Result<R, CheckpointerError> {
        let bytes = read(&path(&self.folder, self.name, epoch)).map_err(unknown)?;
        R::checkpoint_from_bytes(burn::tensor::Bytes::from_bytes_vec(bytes))
            .map_err(CheckpointerError::Record)
    }
}

fn unknown(error: impl std::fmt::Display) -> CheckpointerError {
    CheckpointerError::Unknown(error.to_string())
}

/// The file of a part.
pub(crate) fn path(folder: &Path, name: &str, epoch: usize) -> PathBuf {
    folder.join(format!("{name}-{epoch}.bpk"))
}

/// The last epoch with a checkpoint that is whole, and what had been done by then. Damaged parts are
/// kept aside with a warning that names them.
pub(crate) fn last(folder: &Path) -> Result<Option<(usize, History)>, fs::Error> {
    let mut epochs = epochs(folder)?;
    epochs.dedup();
    for epoch in epochs.into_iter().rev() {
        let mut whole = true;
        let mut history = History::default();
        for name in PARTS {
            let path = path(folder, name, epoch);
            if !path.exists() {
                whole = false;
                continue;
            }
            let good = read(&path).is_ok_and(|bytes| {
                name != PARTS[3] || postcard::from_bytes(&bytes).map(|h| history = h).is_ok()
            });
            if !good {
                whole = false;
                let kept = fs::quarantine(&path)?;
                tracing::warn!(
                    "{} is torn or was changed: it is kept as {}, and the fit goes on from an earlier checkpoint",
                    path.display(),
                    kept.display()
                );
            }
        }
        if whole {
            return Ok(Some((epoch, history)));
        }
    }
    Ok(None)
}

/// Deletes the parts of all epochs but `kept`, so that a checkpoint never joins parts of two attempts: an
/// optimiser knows its parameters by names that each attempt draws anew.
pub(crate) fn forget_others(folder: &Path, kept: usize) -> Result<(), fs::Error> {
    for epoch in epochs(folder)?.into_iter().filter(|epoch| *epoch != kept) {
        for name in PARTS {
            let path = path(folder, name, epoch);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                    return Err(fs::Error::at("delete", &path)(e));
                }
                _ => {}
            }
        }
    }
    Ok(())
}

/// The epochs that any part is there of, ascending; once for each part.
fn epochs(folder: &Path) -> Result<Vec<usize>, fs::Error> {
    let entries = match std::fs::read_dir(folder) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(fs::Error::at("read", folder))?,
    };
    let mut epochs: Vec<usize> = entries
        .filter_map(|entry| {
            let name = entry.ok()?.file_name().into_string().ok()?;
            let (part, epoch) = name.strip_suffix(".bpk")?.split_once('-')?;
            PARTS.contains(&part).then(|| epoch.parse().ok())?
        })
        .collect();
    epochs.sort_unstable();
    Ok(epochs)
}

fn write(path: &Path, bytes: &[u8]) -> Result<(), fs::Error> {
    fs::write_atomic(path, |file| {
        use std::io::Write;
        file.write_all(bytes)?;
        file.write_all(&Sha256::digest(bytes))
    })
}

/// The content of a file whose checksum is right.
fn read(path: &Path) -> Result<Vec<u8>, fs::Error> {
    let mut bytes = std::fs::read(path).map_err(fs::Error::at("read", path))?;
    let length = bytes.len().saturating_sub(SUM);
    let sum = bytes.split_off(length);
    if sum[..] != Sha256::digest(&bytes)[..] {
        let torn = std::io::Error::new(std::io::ErrorKind::InvalidData, "its checksum is wrong");
        return Err(fs::Error::at("read", path)(torn));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(n: usize) -> Vec<StepReport> {
        let report = |i| StepReport {
            loss: 1.0 / (i as f64 + 3.0),
            ..StepReport::default()
        };
        (0..n).map(report).collect()
    }

    #[test]
    fn the_last_whole_checkpoint_counts() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(last(dir.path()).unwrap(), None);
        let history = Arc::new(Mutex::new(History {
            steps: steps(9),
            valid: vec![(4, 0.5), (8, 0.25)],
            ends: [(1, 4), (2, 8)].into(),
        }));
        let parts = PartFile::all(dir.path(), &history);
        for epoch in [1, 2] {
            for part in &parts {
                part.save(epoch, ()).unwrap();
            }
        }
        let until = |n, valid| History {
            steps: steps(n),
            valid,
            ..History::default()
        };
        let second = until(8, vec![(4, 0.5), (8, 0.25)]);
        assert_eq!(last(dir.path()).unwrap(), Some((2, second)));

        let torn = path(dir.path(), "optim", 2);
        let mut bytes = std::fs::read(&torn).unwrap();
        bytes[0] ^= 4;
        std::fs::write(&torn, bytes).unwrap();
        let first = until(4, vec![(4, 0.5)]);
        assert_eq!(last(dir.path()).unwrap(), Some((1, first)));
        assert!(!torn.exists() && dir.path().join("optim-2.bpk.damaged").exists());

        Checkpointer::<()>::delete(&parts[0], 1).unwrap();
        assert_eq!(last(dir.path()).unwrap(), None);
    }

    #[test]
    fn parts_of_another_attempt_are_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        forget_others(&dir.path().join("none"), 1).unwrap();
        let parts = PartFile::all(dir.path(), &Arc::default());
        for (epoch, of) in [(1, &parts[..]), (2, &parts[1..]), (13, &parts[..1])] {
            for part in of {
                part.save(epoch, ()).unwrap();
            }
        }
        forget_others(dir.path(), 1).unwrap();
        let mut left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        let kept = [
            "model-1.bpk",
            "optim-1.bpk",
            "scheduler-1.bpk",
            "steps-1.bpk",
        ];
        assert_eq!(left, kept);
        assert_eq!(last(dir.path()).unwrap().map(|(epoch, _)| epoch), Some(1));
    }
}
