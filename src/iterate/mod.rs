//! The loop: collect, train, evaluate, again. It sequences and computes nothing.
//!
//! Every phase reads folders and leaves a folder that is complete or absent; `state.json`, which
//! names the phase to go on at, is written last. Killing the process and running the same command
//! again goes on there.

mod learn;
mod state;

pub use learn::TrainReport;
pub use state::{IterationState, Phase};

use crate::collect::{self, Summary};
use crate::engine::{self, Engine};
use crate::evaluate::{self, Evaluation, SplitName};
use crate::model::{self, Checkpoint, StoredType, Tokenizer, Value, ValueHead};
use crate::monitor::Monitor;
use crate::recipe::Recipe;
use crate::search::Policy;
use crate::task::{self, Task};
use crate::trace;
use crate::train;
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Why the loop stopped.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Task(#[from] task::Error),
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
        "{path} is not a state that this version wrote: {cause}; \
         move the folder away or choose another with --run-dir"
    )]
    State { path: PathBuf, cause: String },
    #[error(
        "{dir} holds a run of another recipe; \
         choose another folder with --run-dir, or move that one away"
    )]
    OtherRecipe { dir: PathBuf },
    #[error(
        "iteration {iteration} needs train questions from {from} on and the data has none left: \
         lower loop.iterations or collect.questions"
    )]
    NoQuestions { iteration: u32, from: usize },
}

/// A run: its recipe, its folder and what it works with.
pub struct Run {
    recipe: Recipe,
    dir: PathBuf,
    device: Device,
    monitor: Monitor,
    task: Arc<dyn Task>,
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

impl Run {
    /// Opens data and model, and the run folder with its state.
    ///
    /// # Errors
    /// Data or a model that cannot be read, a folder that belongs to another recipe.
    pub fn open(recipe: &Recipe, dir: &Path, device: &Device) -> Result<Run, Error> {
        let task = task::open(&recipe.task)?;
        let base = Checkpoint::load(&recipe.model.source().directory()?, device)?;
        state::prepare(dir, recipe)?;
        Ok(Run {
            recipe: recipe.clone(),
            dir: dir.to_path_buf(),
            device: device.clone(),
            monitor: Monitor::silent(),
            task,
            tokenizer: Arc::new(base.tokenizer.clone()),
            base,
        })
    }

    /// Reports to `monitor` from here on; without it the run is silent.
    pub fn watched_by(mut self, monitor: Monitor) -> Run {
        self.monitor = monitor;
        self
    }

    /// Runs every unfinished phase; `each` sees an iteration as soon as it is evaluated, those
    /// that an earlier process finished first.
    ///
    /// # Errors
    /// Whatever ends a phase; all finished phases stay.
    pub fn run(&mut self, mut each: impl FnMut(&Outcome)) -> Result<Vec<Outcome>, Error> {
        let mut state = IterationState::read(&self.dir, &self.recipe)?;
        let mut outcomes = Vec::new();
        for iteration in 0..state.iteration {
            outcomes.push(self.outcome(iteration)?);
            each(&outcomes[outcomes.len() - 1]);
        }
        while state.phase != Phase::Done {
            let iteration = state.iteration;
            match state.phase {
                Phase::Collect => self.collect(iteration)?,
                Phase::Train => self.train(iteration)?,
                Phase::Evaluate => self.evaluate(iteration)?,
                Phase::Done => {}
            }
            self.monitor.flush()?;
            if state.phase == Phase::Evaluate {
                outcomes.push(self.outcome(iteration)?);
                each(&outcomes[outcomes.len() - 1]);
            }
            state = state.next(self.recipe.rounds.iterations);
            state.write(&self.dir)?;
        }
        if outcomes.len() as u32 <= state.iteration {
            outcomes.push(self.outcome(state.iteration)?);
            each(&outcomes[outcomes.len() - 1]);
        }
        Ok(outcomes)
    }

    /// Folder of an iteration.
    pub fn iteration_dir(&self, iteration: u32) -> PathBuf {
        iteration_dir(&self.dir, iteration)
    }

    fn outcome(&self, iteration: u32) -> Result<Outcome, Error> {
        let dir = self.iteration_dir(iteration);
        Ok(Outcome {
            iteration,
            collected: state::read_json(&dir.join("collect.json"))?,
            trained: state::read_json(&dir.join("train.json"))?,
            evaluation: Evaluation::read(&dir.join("evaluation.json"))?,
        })
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
        let learn = &self.recipe.learn;
        let hidden = self.base.policy.config().hidden_size;
        ValueHead::init(
            learn.head,
            hidden,
            learn.head_width,
            self.recipe.seed,
            &self.device,
        )
    }

    fn collect(&self, iteration: u32) -> Result<(), Error> {
        let params = &self.recipe.collect;
        let from = (iteration as usize - 1) * params.questions;
        let problems = self.task.train(from..from + params.questions)?;
        if problems.is_empty() {
            return Err(Error::NoQuestions { iteration, from });
        }
        let checkpoint = self.checkpoint(iteration - 1)?;
        let value = checkpoint.value.filter(|_| params.search.tree.lambda < 1.0);
        let engine = Engine::start(checkpoint.policy, value, self.recipe.engine.clone())?;
        let policy = self.policy(&engine);
        let setting = collect::Setting {
            policy: &policy,
            tokenizer: &self.tokenizer,
            task: &self.task,
            monitor: &self.monitor,
            iteration,
            seed: self.recipe.seed,
        };
        let dir = self.iteration_dir(iteration);
        let summary = collect::collect(&setting, &problems, params, &dir.join("traces"))?;
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
            trees.extend(trace::read_dir(&self.iteration_dir(past).join("traces"))?);
        }
        let mut first_steps = learn::Steps::default();
        for past in 1..iteration {
            let report = state::read_json(&self.iteration_dir(past).join("train.json"))?;
            first_steps.add(report.as_ref());
        }
        let (checkpoint, report) = learn::learn(
            self.checkpoint(iteration - 1)?,
            &trees,
            &self.recipe,
            u64::from(iteration),
            first_steps,
            &self.monitor,
        )?;
        checkpoint.save(&dir.join("checkpoint"), StoredType::F32)?;
        state::write_json(&dir.join("train.json"), &report)
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
        let setting = evaluate::Setting {
            policy: &policy,
            tokenizer: &self.tokenizer,
            task: &self.task,
            monitor: &self.monitor,
            iteration,
            seed: self.recipe.seed,
        };
        evaluate_split(&setting, &self.recipe.evaluate)?.write(&dir)?;
        Ok(())
    }

    fn policy(&self, engine: &Engine) -> Policy {
        Policy {
            engine: engine.handle(),
            stop: self.tokenizer.stop_tokens().into(),
        }
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
    let limit = match params.questions {
        0 => usize::MAX,
        n => n,
    };
    Ok(match params.split {
        SplitName::Dev => evaluate::evaluate(setting, &setting.task.dev(limit)?, params)?,
        SplitName::Test => evaluate::evaluate(setting, &setting.task.test(limit)?, params)?,
    })
}
