//! Collection: searches train questions in parallel and leaves the trees as traces.

mod gallery;
pub mod imagine;
mod question;
mod record;
mod shards;
mod summary;

pub use summary::Summary;

use crate::model::Tokenizer;
use crate::monitor::Monitor;
use crate::search::{self, Grader, Policy, SampleParams};
use crate::stop::{Stop, Stopped};
use crate::task::reward::Rewards;
use crate::task::{Problem, Task, Train};
use crate::trace::{self, TreeRecord};
use question::Question;
use serde::{Deserialize, Serialize};
use shards::Shards;
use std::path::Path;
use std::sync::Arc;

/// What is collected in an iteration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Train questions searched in an iteration; the next iteration takes the next ones.
    /// Default 500.
    pub questions: usize,
    /// Trees that advance at once. More fill the batch; the traces do not depend on it.
    /// Default 256.
    pub workers: usize,
    /// Questions in one file of traces. Default 256.
    pub shard: usize,
    /// Share of the questions that may fail (too long a prompt, for one) before the collection
    /// stops. Default 0.05.
    pub max_failures: f64,
    /// Texts drawn for a question instead of searching a tree: rejection sampling, the control of every
    /// search. 0 searches. Default 0.
    pub draws: usize,
    /// Texts drawn from a question's prompt beside its tree, so that the value also sees what the policy
    /// writes by itself: a search visits good places. The value learns from all of them, each counting one
    /// visit (`traces.trajectories` does not limit them); the policy learns nothing of them. Their tokens,
    /// the prompt's too, are charged. 0 draws none. Default 0.
    pub samples: usize,
    /// How texts are drawn, with `draws` or `samples`; those beside a tree are no longer than
    /// `search.max_new_tokens`.
    pub sampling: SampleParams,
    /// Questions that the policy writes for itself.
    pub imagine: imagine::Params,
    /// The search of one question.
    pub search: search::Params,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            questions: 500,
            workers: 256,
            shard: 256,
            max_failures: 0.05,
            draws: 0,
            samples: 0,
            sampling: SampleParams::default(),
            imagine: imagine::Params::default(),
            search: search::Params::default(),
        }
    }
}

impl Params {
    /// Records of a question: its tree, and the texts drawn beside it.
    fn records(&self) -> usize {
        1 + usize::from(self.samples > 0)
    }
}

/// Why a collection ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Search(#[from] search::Error),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error("a worker panicked or was cancelled: {0}")]
    Worker(#[from] tokio::task::JoinError),
    #[error("the worker threads could not be started: {0}")]
    Runtime(#[source] std::io::Error),
    #[error(
        "{failed} of {total} questions could not be searched, more than collect.max_failures \
         ({limit}) allows; the last one, {question}: {reason}"
    )]
    Failures {
        failed: usize,
        total: usize,
        limit: f64,
        question: u64,
        reason: String,
    },
    #[error(transparent)]
    Task(#[from] crate::task::Error),
    #[error(
        "the policy cannot write questions of the task {task}; set collect.imagine.share to 0, or use a \
         task of word problems"
    )]
    NoImagination { task: String },
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Everything that workers share.
#[derive(Clone)]
pub struct Setting<'a> {
    pub policy: &'a Policy,
    pub tokenizer: &'a Arc<Tokenizer>,
    pub task: &'a Arc<dyn Task>,
    /// What texts are worth.
    pub rewards: &'a Arc<Rewards>,
    pub monitor: &'a Monitor,
    /// Iteration of the loop; part of every random stream.
    pub iteration: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Ends the collection early, with [`Error::Stopped`].
    pub stop: &'a Stop,
}

/// Adds the questions that the policy writes for itself to `problems`, the train questions of an iteration,
/// where `params` ask for any. `used` is the number of train questions that the run takes.
///
/// # Errors
/// As [`imagine::imagine`], and data that cannot be read.
pub fn imagined(
    setting: &Setting<'_>,
    problems: &[Problem<Train>],
    params: &Params,
    used: usize,
) -> Result<Option<imagine::Imagined>, Error> {
    if params.imagine.share <= 0.0 {
        return Ok(None);
    }
    let mut known = imagine::known_questions(&**setting.task, used)?;
    imagine::imagine(setting, problems, &mut known, params).map(Some)
}

/// Searches `problems` and writes their trees to `dir`, in the order of the problems whatever the
/// number of workers. Trees that `dir` holds already are kept; the manifest comes last.
///
/// # Errors
/// Too many questions that fail, an engine that stopped, a folder that cannot be written, and a
/// request to stop. All finished trees are on the disk then, and another call goes on from them.
pub fn collect(
    setting: &Setting<'_>,
    problems: &[Problem<Train>],
    params: &Params,
    dir: &Path,
) -> Result<Summary, Error> {
    std::fs::create_dir_all(dir)
        .map_err(trace::fs::Error::at("create", dir))
        .map_err(trace::Error::from)?;
    let bar = setting.monitor.progress("collect", problems.len() as u64);
    let mut shards = Shards::open(setting, dir, params, problems.len())?;
    let todo: Vec<usize> = (0..problems.len()).filter(|&i| !shards.has(i)).collect();
    bar.inc((problems.len() - todo.len()) as u64);
    let missing: Vec<&Problem<Train>> = todo.iter().map(|&index| &problems[index]).collect();
    search_each(setting, &missing, params, |job, tree| {
        bar.inc(u64::from(!tree.is_samples()));
        shards.add(todo[job], tree)
    })?;
    shards.finish()
}

/// Searches `problems` and hands over each tree as soon as it is there, with the position of its
/// problem, and behind it the texts drawn beside it; nothing is written.
///
/// # Errors
/// As [`collect`], and the first error of `keep`.
pub fn search_each(
    setting: &Setting<'_>,
    problems: &[&Problem<Train>],
    params: &Params,
    mut keep: impl FnMut(usize, TreeRecord) -> Result<(), Error>,
) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(Error::Runtime)?;
    let seed = search::seed_of(setting.seed, &[u64::from(setting.iteration)]);
    let params_of_jobs = Arc::new(params.clone());
    let ready = match params.draws {
        0 => setting
            .policy
            .with_aides(params.search.aides(), setting.tokenizer)?
            .with_rubrics(&params.search.judges)?
            .with_phrases(&params.search.revise.phrases, setting.tokenizer)?,
        _ => setting.policy.clone(),
    };
    let jobs = problems.iter().map(|&problem| {
        let prompt = setting.task.prompt(&problem.question);
        let prompt = setting.tokenizer.prompt(&prompt.plain, &prompt.messages);
        let question = Question {
            policy: ready.clone(),
            grader: Grader::new(setting.tokenizer.clone(), setting.rewards.clone(), problem),
            problem: problem.clone(),
            prompt: prompt.map_err(|error| error.to_string()),
            params: params_of_jobs.clone(),
            iteration: setting.iteration,
            seed,
        };
        Ok(question.records())
    });
    let each = |job, records: Vec<TreeRecord>| {
        let mut records = records.into_iter();
        records.try_for_each(|record| keep(job, record))
    };
    runtime.block_on(search::crowd(jobs, params.workers, setting.stop, each))
}
