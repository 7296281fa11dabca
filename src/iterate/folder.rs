//! The folder of a run: whose it is, and that one process at a time works on it.

use super::Error;
use crate::recipe::Recipe;
use crate::trace::fs;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Keys of a recipe that do not change what a run computes.
const HARMLESS: [&str; 12] = [
    "name",
    "loop.iterations",
    "collect.workers",
    "reward.processes",
    "evaluate.workers",
    "engine.kv_slots",
    "engine.linger_us",
    "engine.queued_steps",
    "engine.graphs",
    "joint.checkpoint_every",
    "value.checkpoint_every",
    "policy.checkpoint_every",
];

/// What a run leaves in its folder.
const OURS: [&str; 4] = ["state.json", "recipe.toml", "events.jsonl", "tensorboard"];

/// A run's folder, held by this process. The operating system lets go of it when the process ends,
/// however it ends.
pub(super) struct Folder {
    pub dir: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder where it is missing, and takes it.
    pub fn open(dir: &Path) -> Result<Folder, Error> {
        if dir.is_file() {
            return Err(Error::NoFolder { path: dir.into() });
        }
        std::fs::create_dir_all(dir).map_err(fs::Error::at("create", dir))?;
        let lock = File::open(dir).map_err(fs::Error::at("open", dir))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(Error::Taken {
                    dir: dir.to_owned(),
                    process: holder(&lock).unwrap_or_else(|| "unknown".to_owned()),
                });
            }
            Err(TryLockError::Error(error)) => {
                return Err(fs::Error::at("lock", dir)(error).into());
            }
        }
        Ok(Folder {
            dir: dir.to_owned(),
            _lock: lock,
        })
    }

    /// What of an earlier run lies here.
    pub fn remains(&self) -> Result<Vec<PathBuf>, Error> {
        let mut found = Vec::new();
        let error = |e| Error::File(fs::Error::at("read", &self.dir)(e));
        for entry in std::fs::read_dir(&self.dir).map_err(error)? {
            let path = entry.map_err(error)?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let ours = OURS.iter().any(|our| name == *our)
                || name.starts_with("iter-")
                || name.contains(".damaged");
            if ours {
                found.push(path);
            }
        }
        found.sort();
        Ok(found)
    }

    /// Deletes what of an earlier run lies here; other files stay.
    pub fn clear(&self) -> Result<(), Error> {
        // The state goes first: without it, what is left of the rest is taken for a run that stopped
        // early, never for a finished one.
        let mut remains = self.remains()?;
        remains.sort_by_key(|path| !path.ends_with("state.json"));
        for path in remains {
            let deleted = match path.is_dir() {
                true => std::fs::remove_dir_all(&path),
                false => std::fs::remove_file(&path),
            };
            deleted.map_err(fs::Error::at("delete", &path))?;
        }
        Ok(())
    }

    /// Leaves the resolved recipe here, unless the run here is another recipe's.
    pub fn claim(&self, recipe: &Recipe, accept_changes: bool) -> Result<(), Error> {
        self.compare(recipe, accept_changes)?;
        let text = format!(
            "# fingerprint {}\n{}",
            recipe.fingerprint(),
            recipe.render()
        );
        fs::write_atomic_bytes(&self.dir.join("recipe.toml"), text.as_bytes())?;
        Ok(())
    }

    /// Finds out whether the run here is another recipe's; nothing is written.
    pub fn compare(&self, recipe: &Recipe, accept_changes: bool) -> Result<(), Error> {
        let path = self.dir.join("recipe.toml");
        let found = match std::fs::read_to_string(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            read => read.map_err(fs::Error::at("read", &path))?,
        };
        let mut shown = changes(&found, &recipe.render(), ["in the run", "now"])
            .ok_or_else(|| Error::Recipe { path: path.clone() })?;
        if shown.is_empty() || accept_changes {
            return Ok(());
        }
        let more = shown.len().saturating_sub(SHOWN);
        shown.truncate(SHOWN);
        if more > 0 {
            shown.push(format!("and {more} more"));
        }
        Err(Error::OtherRecipe {
            dir: self.dir.clone(),
            changes: shown.join("\n  "),
        })
    }
}

/// The process that is working on the run in `dir`.
pub(super) fn at_work(dir: &Path) -> Option<String> {
    holder(&File::open(dir).ok()?)
}

/// The process that holds the lock on a file, by /proc/locks.
fn holder(file: &File) -> Option<String> {
    use std::os::unix::fs::MetadataExt;
    let inode = format!(":{}", file.metadata().ok()?.ino());
    let locks = std::fs::read_to_string("/proc/locks").ok()?;
    locks.lines().find_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [_, _, _, _, process, place, ..] = fields[..] else {
            return None;
        };
        place.ends_with(&inode).then(|| process.to_owned())
    })
}

/// Differences that a message lists.
const SHOWN: usize = 12;

/// The differences that matter, one line each; `None` where `found` is no TOML.
pub(super) fn changes(found: &str, wanted: &str, names: [&str; 2]) -> Option<Vec<String>> {
    let parse = |text: &str| text.parse::<toml::Table>().ok();
    let (mut was, mut is) = (BTreeMap::new(), BTreeMap::new());
    flatten("", &toml::Value::Table(parse(found)?), &mut was);
    flatten("", &toml::Value::Table(parse(wanted)?), &mut is);
    let keys: std::collections::BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let show = |value: Option<&String>| value.map_or("nothing".to_owned(), Clone::clone);
    let lines = keys
        .into_iter()
        .filter(|key| !HARMLESS.contains(&key.as_str()) && was.get(*key) != is.get(*key))
        .map(|key| {
            format!(
                "{key}: {} {}, {} {}",
                show(was.get(key)),
                names[0],
                show(is.get(key)),
                names[1]
            )
        });
    Some(lines.collect())
}

fn flatten(prefix: &str, value: &toml::Value, into: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = match prefix {
                    "" => key.clone(),
                    prefix => format!("{prefix}.{key}"),
                };
                flatten(&key, value, into);
            }
        }
        leaf => {
            into.insert(prefix.to_owned(), leaf.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = Folder::open(dir.path()).unwrap();
        let refused = Folder::open(dir.path()).err().unwrap().to_string();
        assert!(
            refused.contains(&std::process::id().to_string()),
            "{refused}"
        );
        drop(held);
        Folder::open(dir.path()).unwrap();
    }

    #[test]
    fn another_recipe_is_refused_field_by_field_unless_the_change_is_harmless() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let recipe = Recipe::default();
        folder.claim(&recipe, false).unwrap();
        let mut other = recipe.clone();
        other.collect.workers = 3;
        other.rounds.iterations += 1;
        folder.claim(&other, false).unwrap();
        other.seed = 7;
        other.collect.search.simulations = 9;
        let error = folder.claim(&other, false).unwrap_err().to_string();
        for line in [
            "\n  collect.search.simulations: 40 in the run, 9 now",
            "\n  seed: 0 in the run, 7 now",
            "--accept-changes",
        ] {
            assert!(error.contains(line), "{error}");
        }
        assert!(!error.contains("workers"), "{error}");
        folder.claim(&other, true).unwrap();
        folder.claim(&other, false).unwrap();
    }

    #[test]
    fn starting_over_deletes_what_a_run_left_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.claim(&Recipe::default(), false).unwrap();
        for name in ["state.json", "notes.txt", "events.jsonl.damaged"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        std::fs::create_dir_all(dir.path().join("iter-0003/checkpoint")).unwrap();
        assert_eq!(folder.remains().unwrap().len(), 4);
        folder.clear().unwrap();
        assert!(folder.remains().unwrap().is_empty());
        assert!(dir.path().join("notes.txt").exists());
    }
}
