//! Collection: searches train questions in parallel and leaves the trees as traces.

mod record;
mod summary;

pub use summary::Summary;

use crate::model::{Tokenizer, TokenizerError};
use crate::monitor::Monitor;
use crate::search::{self, Grader, Policy, Searched, search_problem};
use crate::task::{Problem, Task, Train};
use crate::trace::{self, Manifest, ShardEntry};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use tokio::task::JoinSet;

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
    /// The search of one question.
    pub search: search::Params,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            questions: 500,
            workers: 256,
            shard: 256,
            search: search::Params::default(),
        }
    }
}

/// Why a collection ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Search(#[from] search::Error),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error("a worker panicked or was cancelled: {0}")]
    Worker(#[from] tokio::task::JoinError),
    #[error("the worker threads could not be started: {0}")]
    Runtime(#[source] std::io::Error),
}

/// Everything that workers share.
#[derive(Clone)]
pub struct Setting<'a> {
    pub policy: &'a Policy,
    pub tokenizer: &'a Arc<Tokenizer>,
    pub task: &'a Arc<dyn Task>,
    pub monitor: &'a Monitor,
    /// Iteration of the loop; part of every random stream.
    pub iteration: u32,
    /// Seed of the run.
    pub seed: u64,
}

/// Searches `problems` and writes their trees to `dir`, in the order of the problems whatever the
/// number of workers. Shards that `dir` holds already are kept; the manifest comes last.
///
/// # Errors
/// A prompt that the model cannot take, an engine that stopped, a folder that cannot be written.
pub fn collect(
    setting: &Setting<'_>,
    problems: &[Problem<Train>],
    params: &Params,
    dir: &Path,
) -> Result<Summary, Error> {
    std::fs::create_dir_all(dir)
        .map_err(trace::fs::Error::at("create", dir))
        .map_err(trace::Error::from)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .map_err(Error::Runtime)?;
    let bar = setting.monitor.progress("collect", problems.len() as u64);
    let start = std::time::Instant::now();
    let mut shards = Vec::new();
    let mut summary = Summary::default();
    for (index, part) in problems.chunks(params.shard.max(1)).enumerate() {
        let index = index as u32;
        if let Some(entry) = trace::find_shard(dir, index)? {
            let trees = trace::read_shard(&dir.join(&entry.name))?;
            trees.iter().for_each(|tree| summary.count(tree));
            bar.inc(part.len() as u64);
            shards.push(entry);
            continue;
        }
        let trees = runtime.block_on(search_all(setting, part, params, &bar))?;
        let mut records = Vec::with_capacity(trees.len());
        for tree in trees {
            let record = record::of(&tree, setting.iteration);
            summary.count(&record);
            records.push(record);
        }
        shards.push(write(dir, index, &records)?);
        summary.seconds = start.elapsed().as_secs_f64();
        summary.report(setting.monitor, setting.iteration, shards.len());
    }
    Manifest::new(shards).write(dir)?;
    summary.seconds = start.elapsed().as_secs_f64();
    Ok(summary)
}

fn write(dir: &Path, index: u32, records: &[trace::TreeRecord]) -> Result<ShardEntry, Error> {
    Ok(trace::write_shard(dir, index, records)?)
}

/// Searches `problems`, `params.workers` at a time; results in their order.
async fn search_all(
    setting: &Setting<'_>,
    problems: &[Problem<Train>],
    params: &Params,
    bar: &crate::monitor::Progress,
) -> Result<Vec<Searched>, Error> {
    let seed = search::seed_of(setting.seed, &[u64::from(setting.iteration)]);
    let params_of_search = Arc::new(params.search.clone());
    let mut todo = problems.iter().enumerate();
    let mut tasks = JoinSet::new();
    let mut done = BTreeMap::new();
    loop {
        while tasks.len() < params.workers.max(1) {
            let Some((index, problem)) = todo.next() else {
                break;
            };
            let prompt = setting.task.prompt(&problem.question);
            let prompt = setting.tokenizer.prompt(&prompt.plain, &prompt.messages)?;
            let grader = Grader::new(setting.tokenizer.clone(), setting.task.clone(), problem);
            let policy = setting.policy.clone();
            let problem = problem.clone();
            let params = params_of_search.clone();
            tasks.spawn(async move {
                let searched =
                    search_problem(&policy, &grader, &problem, &prompt, &params, seed).await;
                (index, searched)
            });
        }
        let Some(result) = tasks.join_next().await else {
            break;
        };
        let (index, searched) = result?;
        done.insert(index, searched?);
        bar.inc(1);
    }
    Ok(done.into_values().collect())
}
