//! A run before it begins: everything is opened and checked, nothing is written.

use super::folder::Folder;
use super::{Error, IterationState, Phase, Reuse, Run};
use crate::evaluate::SplitName;
use crate::model::Checkpoint;
use crate::monitor::Monitor;
use crate::recipe::Recipe;
use crate::stop::Stop;
use crate::task::reward::Rewards;
use crate::task::{self, Task};
use burn::tensor::Device;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// All phases of a run of `recipe`, in their order.
pub fn phases(recipe: &Recipe) -> Vec<(u32, Phase)> {
    IterationState::new(recipe).remaining(recipe.rounds.iterations)
}

/// What a run stands on: its questions and its first model.
pub struct Ground {
    pub task: Arc<dyn Task>,
    pub rewards: Arc<Rewards>,
    pub base: Checkpoint,
}

impl Ground {
    /// Opens data and model.
    ///
    /// # Errors
    /// Data or a model that cannot be read, a program for rewards that cannot be started, and fewer questions than the recipe wants.
    pub fn open(recipe: &Recipe, device: &Device) -> Result<Ground, Error> {
        let task = task::open(&recipe.task)?;
        let (iterations, questions) = (recipe.rounds.iterations, recipe.collect.questions);
        let wanted = questions.saturating_mul(iterations as usize);
        let present = task.train(0..wanted)?.len();
        if present < wanted {
            return Err(Error::TooFewQuestions {
                iterations,
                questions,
                wanted,
                present,
            });
        }
        let split = recipe.evaluate.split;
        let held_out = match split {
            SplitName::Dev => task.dev(1)?.len(),
            SplitName::Test => task.test(1)?.len(),
        };
        if held_out == 0 {
            return Err(Error::NoHeldOut { split });
        }
        let rewards = Arc::new(Rewards::open(&recipe.reward, &task)?);
        let base = Checkpoint::load(&recipe.model.source().directory()?, device)?;
        Ok(Ground {
            task,
            rewards,
            base,
        })
    }
}

/// A run that could begin or go on.
pub struct Prospect {
    /// What it stands on.
    pub ground: Ground,
    /// The phases that are still to come, in their order.
    pub remaining: Vec<(u32, Phase)>,
    recipe: Recipe,
    dir: PathBuf,
    /// Held where it exists already.
    folder: Option<Folder>,
    device: Device,
    reuse: Reuse,
}

impl Prospect {
    /// Opens data and model, and the run folder with its state, where there is one.
    ///
    /// # Errors
    /// Data or a model that cannot be read, a folder that belongs to another recipe or to a process
    /// that is at work there.
    pub fn open(
        recipe: &Recipe,
        dir: &Path,
        device: &Device,
        reuse: Reuse,
    ) -> Result<Prospect, Error> {
        let ground = Ground::open(recipe, device)?;
        let folder = match dir.exists() {
            true => Some(Folder::open(dir)?),
            false => None,
        };
        let state = match &folder {
            Some(folder) if reuse != Reuse::Fresh => {
                // A newer version's folder is refused before anything is written into it.
                let state = IterationState::read(dir, recipe)?;
                folder.compare(recipe, reuse == Reuse::AcceptChanges)?;
                state
            }
            _ => IterationState::new(recipe),
        };
        Ok(Prospect {
            ground,
            remaining: state.remaining(recipe.rounds.iterations),
            recipe: recipe.clone(),
            dir: dir.to_owned(),
            folder,
            device: device.clone(),
            reuse,
        })
    }

    /// What of an earlier run lies in the folder, which [`Reuse::Fresh`] will delete.
    ///
    /// # Errors
    /// A folder that cannot be read.
    pub fn remains(&self) -> Result<Vec<PathBuf>, Error> {
        self.folder.as_ref().map_or(Ok(Vec::new()), Folder::remains)
    }

    /// Takes the folder, with [`Reuse::Fresh`] after deleting what lies there, and leaves the recipe
    /// in it.
    ///
    /// # Errors
    /// A folder that cannot be made or written, or that a process has taken meanwhile.
    pub fn begin(self) -> Result<Run, Error> {
        let folder = match self.folder {
            Some(folder) => folder,
            None => Folder::open(&self.dir)?,
        };
        if self.reuse == Reuse::Fresh {
            folder.clear()?;
        }
        folder.claim(&self.recipe, self.reuse == Reuse::AcceptChanges)?;
        let Ground {
            task,
            rewards,
            base,
        } = self.ground;
        Ok(Run {
            recipe: self.recipe,
            folder,
            device: self.device,
            monitor: Monitor::silent(),
            stop: Stop::default(),
            dashboard: false,
            task,
            rewards,
            tokenizer: Arc::new(base.tokenizer.clone()),
            base,
        })
    }
}
