//! The loop: collect, train, evaluate, again. It sequences and computes nothing.
//!
//! Every phase reads folders and leaves a folder that is complete or absent; `state.json`, which
//! names the phase to go on at, is written last. Killing the process and running the same command
//! again goes on there.

mod announce;
mod folder;
mod imagined;
pub mod inspect;
mod learn;
mod prospect;
mod state;

pub use learn::TrainReport;
pub use prospect::{Ground, Prospect, phases};
pub use state::{IterationState, Phase};

use crate::collect::{self, Summary};
use crate::engine::{self, Engine};
use crate::evaluate::frontier::{Frontier, frontier};
use crate::evaluate::gate::{self, Ruling};
use crate::evaluate::{self, Evaluation, Sizes, SplitName};
use crate::memory::{self, Watch};
use crate::model::{self, Checkpoint, StoredType, Tokenizer, Value, ValueHead};
use crate::monitor::Monitor;
use crate::recipe::Recipe;
use crate::search::Policy;
use crate::stop::{Stop, Stopped};
use crate::task::reward::{self, Rewards};
use crate::task::{self, Task};
use crate::trace;
use crate::train;
use burn::tensor::Device;
use folder::Folder;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// Why the loop stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Task(#[from] task::Error),
    #[error(transparent)]
    Reward(#[from] reward::Fault),
    #[error(transparent)]
    Model(#[from] model::CheckpointError),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Collect(#[from] collect::Error),
    #[error(transparent)]
    Evaluate(#[from] evaluate::Error),
    #[error(transparent)]
    Train(#[from] train::Error),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error(transparent)]
    File(#[from] trace::fs::Error),
    #[error(transparent)]
    Monitor(#[from] crate::monitor::Error),
    #[error(
        "{path} was written by a newer tokenzero (version {version} of the state); go on with that \
         one, or choose another folder with --run-dir"
    )]
    Newer { path: PathBuf, version: u32 },
    #[error("{path} is damaged ({cause}); delete it and run the same command again")]
    Json { path: PathBuf, cause: String },
    #[error(
        "{dir} holds a run of another recipe:\n  {changes}\n\
         choose another folder with --run-dir, start over with --fresh, or go on with the new values \
         with --accept-changes"
    )]
    OtherRecipe { dir: PathBuf, changes: String },
    #[error(
        "{path} is no TOML, so the recipe of the run there is not known; start over with --fresh, or \
         choose another folder with --run-dir"
    )]
    Recipe { path: PathBuf },
    #[error(
        "another process (number {process}) is working on {dir}; wait for it, stop it, or choose \
         another folder with --run-dir"
    )]
    Taken { dir: PathBuf, process: String },
    #[error("{path} is a file; a run needs a folder: choose one with --run-dir")]
    NoFolder { path: PathBuf },
    #[error(
        "the data has no questions for evaluate.split = {split:?}; add some, or choose the other split"
    )]
    NoHeldOut { split: SplitName },
    #[error("{dir} holds no run; name a folder that `tokenzero run` printed")]
    NoRun { dir: PathBuf },
    #[error(transparent)]
    Stopped(#[from] Stopped),
    #[error(
        "{iterations} iterations of {questions} questions need {wanted} train questions and the data \
         has {present}: lower loop.iterations or collect.questions"
    )]
    TooFewQuestions {
        iterations: u32,
        questions: usize,
        wanted: usize,
        present: usize,
    },
}

/// A run: its recipe, its folder and what it works with.
pub struct Run {
    recipe: Recipe,
    folder: Folder,
    device: Device,
    monitor: Monitor,
    stop: Stop,
    dashboard: bool,
    task: Arc<dyn Task>,
    rewards: Arc<Rewards>,
    base: Checkpoint,
    tokenizer: Arc<Tokenizer>,
}

/// What an iteration came to.
#[derive(Debug, Clone)]
pub struct Outcome {
    pub iteration: u32,
    pub collected: Option<Summary>,
    pub trained: Option<TrainReport>,
    pub evaluation: Evaluation,
}

/// What to do with a run folder that holds something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Reuse {
    /// Go on with the run of this recipe; that of another is left alone.
    #[default]
    Resume,
    /// Go on with these settings whatever it was begun with.
    AcceptChanges,
    /// Delete it and start over.
    Fresh,
}

impl Run {
    /// Reports to `monitor` from here on; without it the run is silent.
    pub fn watched_by(self, monitor: Monitor) -> Run {
        Run { monitor, ..self }
    }

    /// Ends early, with [`Error::Stopped`], once `stop` asks for it.
    pub fn stopped_by(self, stop: Stop) -> Run {
        Run { stop, ..self }
    }

    /// Gives the terminal to burn-train's dashboard while the networks train.
    pub fn with_dashboard(self, dashboard: bool) -> Run {
        Run { dashboard, ..self }
    }

    /// Runs every unfinished phase; `each` sees an iteration as soon as it is evaluated, those
    /// that an earlier process finished first.
    ///
    /// # Errors
    /// Whatever ends a phase; what was finished stays.
    pub fn run(&mut self, mut each: impl FnMut(&Outcome)) -> Result<Vec<Outcome>, Error> {
        let dir = self.folder.dir.clone();
        let iterations = self.recipe.rounds.iterations;
        let mut state = IterationState::read(&dir, &self.recipe)?.reopen(iterations);
        announce::start(&self.recipe, &dir, &self.monitor);
        self.repair(&mut state)?;
        let mut outcomes = Vec::new();
        let evaluated = match state.phase {
            Phase::Done => state.iteration + 1,
            _ => state.iteration,
        };
        for iteration in 0..evaluated {
            outcomes.push(self.outcome(iteration)?);
            each(&outcomes[outcomes.len() - 1]);
        }
        while state.phase != Phase::Done {
            self.stop.check()?;
            let iteration = state.iteration;
            let start = Instant::now();
            self.phase(iteration, state.phase)?;
            let tag = format!("time/{}_s", state.phase.name());
            let seconds = start.elapsed().as_secs_f64();
            self.monitor.scalar(&tag, u64::from(iteration), seconds);
            if state.phase == Phase::Evaluate && iteration == iterations {
                announce::end(&self.monitor);
            }
            self.monitor.flush()?;
            if state.phase == Phase::Evaluate {
                outcomes.push(self.outcome(iteration)?);
                each(&outcomes[outcomes.len() - 1]);
            }
            state.record_files(&dir)?;
            state = state.next(iterations);
            state.write(&dir)?;
        }
        Ok(outcomes)
    }

    fn phase(&self, iteration: u32, phase: Phase) -> Result<(), Error> {
        memory::trim();
        let watch = Watch::start();
        match phase {
            Phase::Collect => self.collect(iteration),
            Phase::Train => self.train(iteration),
            Phase::Evaluate => self.evaluate(iteration),
            Phase::Done => return Ok(()),
        }?;
        if let Some(peak) = watch.end() {
            let step = phase.number(iteration);
            self.monitor.scalar("perf/rss_peak", step, peak as f64);
        }
        Ok(())
    }

    /// Runs those finished phases again whose files are damaged. A phase depends on the recipe and
    /// on earlier files alone, so that it makes what it made before.
    fn repair(&self, state: &mut IterationState) -> Result<(), Error> {
        let mut again = Vec::new();
        for (iteration, phase, path) in state.damaged(&self.folder.dir)? {
            // A checkpoint is replaced as a whole.
            let aside = match path.parent() {
                Some(parent) if parent.ends_with("checkpoint") => parent,
                _ => &path,
            };
            let what = if !path.exists() {
                "missing".to_owned()
            } else {
                let kept = trace::fs::quarantine(aside)?;
                format!("torn or changed, and kept as {}", kept.display())
            };
            tracing::warn!("{} is {what}; it is made again", path.display());
            if !again.contains(&(iteration, phase)) {
                again.push((iteration, phase));
            }
        }
        for (iteration, phase) in again {
            self.phase(iteration, phase)?;
            let mut done = IterationState {
                iteration,
                phase,
                ..state.clone()
            };
            done.record_files(&self.folder.dir)?;
            state.files = done.files;
            state.write(&self.folder.dir)?;
        }
        Ok(())
    }

    /// Folder of an iteration.
    pub fn iteration_dir(&self, iteration: u32) -> PathBuf {
        iteration_dir(&self.folder.dir, iteration)
    }

    fn outcome(&self, iteration: u32) -> Result<Outcome, Error> {
        inspect::outcome(&self.folder.dir, iteration)
    }

    /// The networks at the end of `iteration`; 0 is the model that the run started from, with a
    /// value head that says 0.
    fn checkpoint(&self, iteration: u32) -> Result<Checkpoint, Error> {
        if iteration == 0 {
            let mut base = self.base.clone();
            if base.value.is_none() {
                base.value = Some(Value::Shared(self.fresh_head()));
            }
            return Ok(base);
        }
        let dir = self.iteration_dir(iteration).join("checkpoint");
        Ok(Checkpoint::load(&dir, &self.device)?)
    }

    fn fresh_head(&self) -> ValueHead {
        let hidden = self.base.policy.config().hidden_size;
        let shape = self.recipe.learn.head_shape();
        ValueHead::shaped(shape, hidden, self.recipe.seed, &self.device)
    }

    fn collect(&self, iteration: u32) -> Result<(), Error> {
        let params = &self.recipe.collect;
        let from = (iteration as usize - 1) * params.questions;
        let mut problems = self.task.train(from..from + params.questions)?;
        let checkpoint = self.checkpoint(iteration - 1)?;
        let value = checkpoint.value.filter(|_| params.search.tree.lambda < 1.0);
        let engine = Engine::start(checkpoint.policy, value, self.recipe.engine.clone())?;
        let policy = self.policy(&engine);
        let setting = collect::Setting {
            policy: &policy,
            tokenizer: &self.tokenizer,
            task: &self.task,
            rewards: &self.rewards,
            monitor: &self.monitor,
            iteration,
            seed: self.recipe.seed,
            stop: &self.stop,
        };
        let dir = self.iteration_dir(iteration);
        let imagined = imagined::of_iteration(&setting, &problems, &self.recipe, &dir)?;
        problems.extend(imagined.iter().flat_map(|all| all.problems(iteration)));
        let mut summary = collect::collect(&setting, &problems, params, &dir.join("traces"))?;
        if let Some(imagined) = imagined {
            summary = summary.with_imagined(imagined.report, &self.monitor, iteration);
        }
        state::write_json(&dir.join("collect.json"), &summary)
    }

    fn train(&self, iteration: u32) -> Result<(), Error> {
        let dir = self.iteration_dir(iteration);
        let first = match self.recipe.traces.window as u32 {
            0 => 1,
            window => iteration.saturating_sub(window - 1).max(1),
        };
        let mut trees = Vec::new();
        for past in first..=iteration {
            if past < iteration && !self.recipe.gate.learn_from_refused && self.refused(past)? {
                continue;
            }
            trees.extend(trace::read_dir(&self.iteration_dir(past).join("traces"))?);
        }
        let mut first_step = 0;
        for past in 1..iteration {
            let report: Option<TrainReport> =
                state::read_json(&self.iteration_dir(past).join("train.json"))?;
            first_step += report.map_or(0, |report| report.steps());
        }
        let old = self.checkpoint(iteration - 1)?;
        let (checkpoint, mut report) = learn::learn(
            old.clone(),
            &trees,
            &self.recipe,
            learn::Place {
                iteration: u64::from(iteration),
                first_step,
                base: &self.base.policy,
                monitor: &self.monitor,
                folder: &dir.join("fits"),
                stop: &self.stop,
                dashboard: self.dashboard,
            },
        )?;
        report.gate = self.gate(iteration, &old, &checkpoint)?;
        let refused = report.gate.is_some_and(|ruling| !ruling.accepted);
        let kept = if refused { old } else { checkpoint };
        kept.save(&dir.join("checkpoint"), StoredType::F32)?;
        state::write_json(&dir.join("train.json"), &report)?;
        let fits = dir.join("fits");
        match std::fs::remove_dir_all(&fits) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                Err(trace::fs::Error::at("delete", &fits)(e).into())
            }
            _ => Ok(()),
        }
    }

    /// Whether the networks that `iteration` made were refused.
    fn refused(&self, iteration: u32) -> Result<bool, Error> {
        let path = self.iteration_dir(iteration).join("train.json");
        let report: Option<TrainReport> = state::read_json(&path)?;
        let ruling = report.and_then(|report| report.gate);
        Ok(ruling.is_some_and(|ruling| !ruling.accepted))
    }

    /// The gate's ruling, where the recipe has one.
    fn gate(
        &self,
        iteration: u32,
        old: &Checkpoint,
        new: &Checkpoint,
    ) -> Result<Option<Ruling>, Error> {
        let params = &self.recipe.gate;
        if params.questions == 0 {
            return Ok(None);
        }
        let problems = self.task.dev(params.questions)?;
        let right = |checkpoint: &Checkpoint| -> Result<Vec<bool>, Error> {
            let Checkpoint { policy, value, .. } = checkpoint.clone();
            let engine = Engine::start(policy, value, self.recipe.engine.clone())?;
            let policy = self.policy(&engine);
            let setting = self.setting(&policy, iteration);
            let how = &self.recipe.evaluate;
            Ok(gate::right_answers(&setting, &problems, params, how)?)
        };
        let ruling = params.rule(&right(old)?, &right(new)?);
        let verdict = if ruling.accepted { "kept" } else { "refused" };
        self.monitor.line(&format!(
            "gate: the networks of iteration {iteration} are {verdict} ({} questions won, {} lost, p = \
             {:.3})",
            ruling.gains, ruling.losses, ruling.p
        ));
        let step = u64::from(iteration);
        let figures = [
            ("gate/accepted", f64::from(u8::from(ruling.accepted))),
            ("gate/p", ruling.p),
        ];
        self.monitor.scalars(&figures, step);
        Ok(Some(ruling))
    }

    fn setting<'a>(&'a self, policy: &'a Policy, iteration: u32) -> evaluate::Setting<'a> {
        evaluate::Setting {
            policy,
            tokenizer: &self.tokenizer,
            task: &self.task,
            monitor: &self.monitor,
            iteration,
            seed: self.recipe.seed,
            stop: &self.stop,
        }
    }

    fn evaluate(&self, iteration: u32) -> Result<(), Error> {
        let dir = self.iteration_dir(iteration);
        std::fs::create_dir_all(&dir).map_err(trace::fs::Error::at("create", &dir))?;
        let checkpoint = self.checkpoint(iteration)?;
        let engine = Engine::start(
            checkpoint.policy,
            checkpoint.value,
            self.recipe.engine.clone(),
        )?;
        let policy = self.policy(&engine);
        let setting = self.setting(&policy, iteration);
        evaluate_split(&setting, &self.recipe.evaluate)?.write(&dir)?;
        Ok(())
    }

    fn policy(&self, engine: &Engine) -> Policy {
        Policy::new(engine.handle(), &self.tokenizer)
    }
}

/// Folder of an iteration of the run in `dir`.
pub fn iteration_dir(dir: &Path, iteration: u32) -> PathBuf {
    dir.join(format!("iter-{iteration:04}"))
}

/// Evaluates on the split that `params` name.
///
/// # Errors
/// As [`evaluate::evaluate`], and data that cannot be read.
pub fn evaluate_split(
    setting: &evaluate::Setting<'_>,
    params: &evaluate::Params,
) -> Result<Evaluation, Error> {
    let task = setting.task;
    Ok(match params.split {
        SplitName::Dev => {
            let problems = params.choose(|limit| task.dev(limit))?;
            evaluate::evaluate(setting, &problems, params)?
        }
        SplitName::Test => {
            let problems = params.choose(|limit| task.test(limit))?;
            evaluate::evaluate(setting, &problems, params)?
        }
    })
}

/// Puts the methods that `params` name on one frontier, on the split that they name.
///
/// # Errors
/// As [`evaluate::frontier::frontier`], and data that cannot be read.
pub fn frontier_of_split(
    source: &str,
    setting: &evaluate::Setting<'_>,
    params: &evaluate::Params,
    budgets: &[usize],
    sizes: Sizes,
) -> Result<Frontier, Error> {
    let task = setting.task;
    Ok(match params.split {
        SplitName::Dev => {
            let problems = params.choose(|limit| task.dev(limit))?;
            frontier(source, setting, &problems, params, budgets, sizes)?
        }
        SplitName::Test => {
            let problems = params.choose(|limit| task.test(limit))?;
            frontier(source, setting, &problems, params, budgets, sizes)?
        }
    })
}
