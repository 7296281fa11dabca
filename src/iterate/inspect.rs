//! A look at a run from outside, while it runs or after; nothing is changed.

use super::{Error, IterationState, Outcome, Phase, folder, iteration_dir, state};
use crate::evaluate::Evaluation;
use crate::trace::{fs, table};
use std::collections::BTreeMap;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// What there is to see of a run.
#[derive(Debug)]
pub struct Inspection {
    /// The resolved recipe, as `recipe.toml` has it.
    pub recipe: String,
    /// The state, or `None` before the first phase has ended.
    pub state: Option<IterationState>,
    /// Evaluated iterations.
    pub outcomes: Vec<Outcome>,
    /// The process that is working on it.
    pub process: Option<String>,
    /// The last event that it reported.
    pub last: Option<LastEvent>,
    /// Bytes on the disk by kind: `traces`, `checkpoints`, `tensorboard`, `other`.
    pub disk: BTreeMap<&'static str, u64>,
}

/// A line of `events.jsonl`.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
pub struct LastEvent {
    /// Seconds since the Unix epoch.
    pub time: f64,
    pub tag: String,
    pub step: u64,
}

impl Inspection {
    /// Where the run stands, in a phrase.
    pub fn standing(&self) -> String {
        let (iteration, phase) = self
            .state
            .as_ref()
            .map_or((0, Phase::Evaluate), |s| (s.iteration, s.phase));
        let doing = match phase {
            Phase::Collect => "collecting",
            Phase::Train => "training",
            Phase::Evaluate => "evaluating",
            Phase::Done => return format!("finished after iteration {iteration}"),
        };
        match &self.process {
            Some(process) => format!("{doing} in iteration {iteration}, process {process}"),
            None => format!(
                "stopped while {doing} in iteration {iteration}; `tokenzero run` with its recipe goes on"
            ),
        }
    }
}

/// Looks at the run in `dir`.
///
/// # Errors
/// [`Error::NoRun`] where no run lies; files that cannot be read.
pub fn inspect(dir: &Path) -> Result<Inspection, Error> {
    let recipe = dir.join("recipe.toml");
    let recipe = match std::fs::read_to_string(&recipe) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Error::NoRun { dir: dir.into() });
        }
        read => read.map_err(fs::Error::at("read", &recipe))?,
    };
    let outcomes = outcomes(dir)?;
    let mut disk = BTreeMap::new();
    sizes(dir, dir, &mut disk)?;
    Ok(Inspection {
        recipe,
        state: state::read_json(&dir.join("state.json"))?,
        outcomes,
        process: folder::at_work(dir),
        last: last_event(&dir.join("events.jsonl")),
        disk,
    })
}

/// Whether a run lies in `dir` that has nothing left to do.
///
/// # Errors
/// A state that cannot be read.
pub fn is_finished(dir: &Path) -> Result<bool, Error> {
    let state: Option<IterationState> = state::read_json(&dir.join("state.json"))?;
    Ok(state.is_some_and(|state| state.phase == Phase::Done))
}

/// What the evaluated iterations of the run in `dir` came to, from 0 on.
///
/// # Errors
/// A file that cannot be read.
pub fn outcomes(dir: &Path) -> Result<Vec<Outcome>, Error> {
    let evaluated = |iteration: &u32| {
        let file = iteration_dir(dir, *iteration).join("evaluation.json");
        file.exists()
    };
    let iterations = (0..).take_while(evaluated);
    iterations
        .map(|iteration| outcome(dir, iteration))
        .collect()
}

/// What an evaluated iteration came to.
pub(super) fn outcome(dir: &Path, iteration: u32) -> Result<Outcome, Error> {
    let dir = iteration_dir(dir, iteration);
    Ok(Outcome {
        iteration,
        collected: state::read_json(&dir.join("collect.json"))?,
        trained: state::read_json(&dir.join("train.json"))?,
        evaluation: Evaluation::read(&dir.join("evaluation.json"))?,
    })
}

/// The lines in which two resolved recipes differ, harmless keys left out.
pub fn recipe_differences(one: &str, other: &str) -> Option<Vec<String>> {
    folder::changes(one, other, ["in the first", "in the second"])
}

/// Which questions each method got right in an iteration: `[method][question]`.
///
/// # Errors
/// A table that is missing or of other columns.
pub fn graded(
    dir: &Path,
    iteration: u32,
) -> Result<BTreeMap<String, BTreeMap<String, bool>>, Error> {
    let path = iteration_dir(dir, iteration).join("evaluation.parquet");
    let columns = table::read_text_columns(&path, &["method", "question", "correct"])?;
    let mut graded: BTreeMap<String, BTreeMap<String, bool>> = BTreeMap::new();
    if let [methods, questions, correct] = &columns[..] {
        for ((method, question), correct) in methods.iter().zip(questions).zip(correct) {
            let of_method = graded.entry(method.clone()).or_default();
            of_method.insert(question.clone(), correct == "true");
        }
    }
    Ok(graded)
}

fn sizes(root: &Path, dir: &Path, disk: &mut BTreeMap<&'static str, u64>) -> Result<(), Error> {
    let error = |e| Error::File(fs::Error::at("read", dir)(e));
    for entry in std::fs::read_dir(dir).map_err(error)? {
        let path: PathBuf = entry.map_err(error)?.path();
        if path.is_dir() {
            sizes(root, &path, disk)?;
            continue;
        }
        // A file that the run removes in this moment counts for nothing.
        let Ok(meta) = path.metadata() else {
            continue;
        };
        let within = path.strip_prefix(root).unwrap_or(&path).to_string_lossy();
        let kind = if within.contains("/traces/") {
            "traces"
        } else if within.contains("/checkpoint/") || within.contains("/fits/") {
            "checkpoints"
        } else if within.starts_with("tensorboard/") {
            "tensorboard"
        } else {
            "other"
        };
        *disk.entry(kind).or_default() += meta.len();
    }
    Ok(())
}

/// The last whole line that is an event.
fn last_event(path: &Path) -> Option<LastEvent> {
    const TAIL: u64 = 1 << 16;
    let mut file = std::fs::File::open(path).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL)))
        .ok()?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail).ok()?;
    let mut lines = tail.split(|&byte| byte == b'\n').rev();
    lines.find_map(|line| serde_json::from_slice(line).ok())
}
