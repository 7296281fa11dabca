//! From a recipe and its model to the estimate: prompts are read, a few steps are timed, and where they
//! are quick a few questions are searched, answered and learned from.

use super::Estimate;
use super::helpers::{self, Helpers};
use super::plan::Plan;
use super::sample::{Sample, Spread};
use super::shape::{Fit, Shape, fits};
use super::trial::{Bench, FIT_STEPS, Pace};
use crate::evaluate::SplitName;
use crate::iterate::{Ground, Phase};
use crate::model::checkpoint::read_config;
use crate::model::{Tokenizer, device};
use crate::recipe::Recipe;
use crate::task::{self, Task};
use crate::{collect, engine, evaluate, memory, model, search, trace, train};
use std::path::Path;
use std::sync::Arc;

/// Questions whose prompts are measured.
const PROMPTS: usize = 64;

/// Multiplications that the searched questions may take by what the recipe's limits let expect, those of
/// the evaluated ones, and of the steps of a fit: about a second each on two cores. Not seconds: what is
/// measured must not hang on what else the machine does.
const WORK: f64 = 2e10;
const FIT_WORK: f64 = 1e11;

/// Fewest questions that say something, and as many as say enough.
const FEW: f64 = 8.0;
const MANY: f64 = 48.0;

/// Share of the run's questions that is enough as well: a short run is not held up for long.
const SHARE: f64 = 0.1;

/// Why nothing could be estimated.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Task(#[from] task::Error),
    #[error(transparent)]
    Model(#[from] model::CheckpointError),
    #[error(transparent)]
    Tokenizer(#[from] model::TokenizerError),
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Search(#[from] search::Error),
    #[error(transparent)]
    Collect(#[from] collect::Error),
    #[error(transparent)]
    Evaluate(#[from] evaluate::Error),
    #[error(transparent)]
    Train(#[from] train::Error),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error("the measured steps could not be started: {0}")]
    Runtime(#[source] std::io::Error),
}

/// What `phases` of a run on `ground` will take, with measured steps: a few seconds for the bundled
/// models, some ten seconds for half a billion parameters on two cores.
///
/// # Errors
/// A prompt that the model's template refuses, an engine or a fit that fails.
pub fn measured(
    recipe: &Recipe,
    ground: &Ground,
    phases: &[(u32, Phase)],
) -> Result<Estimate, Error> {
    let config = ground.base.config();
    let at_device = ground.base.policy.embedding.val().device();
    let resident = memory::resident();
    let first = phases
        .iter()
        .find_map(|(iteration, phase)| (*phase == Phase::Collect).then_some(*iteration))
        .unwrap_or(1);
    let positions = spread(recipe, first, PROMPTS);
    let tokenizer = Arc::new(ground.base.tokenizer.clone());
    let (prompt, sample_prompt) = prompts(&*ground.task, &tokenizer, &positions)?;
    let helpers = helpers::read(recipe, config)?;
    let mut sample = Sample::assumed(recipe, prompt, &helpers);
    let held_out = held_out(&*ground.task, recipe)?;
    let shape = Shape::of(config, recipe);
    let assumed = Plan {
        helpers: helpers.clone(),
        ..Plan::new(recipe, config, &sample)
    };
    let assumed = assumed.estimate(phases);
    let room = memory::available().map_or(f64::INFINITY, |bytes| bytes as f64);
    if assumed.slots.is_some() || helpers::heaviest(recipe, &helpers) > room {
        // No question of a trial would find its slots, or the trial itself would not fit.
        return Ok(assumed);
    }
    let bench = Bench::start(recipe, ground, tokenizer, &helpers, first)?;
    if let Some(prompt) = sample_prompt {
        let rows = recipe.collect.workers.min(recipe.engine.max_rows).min(64);
        let pace = bench.pace(&prompt, rows)?;
        try_out(&bench, &mut sample, &shape, pace, held_out)?;
    }
    drop(bench);
    memory::trim();
    let plan = Plan {
        held_out,
        base: resident.map_or(Plan::new(recipe, config, &sample).base, |bytes| {
            bytes as f64
        }),
        tokenizer_files: small_files(recipe),
        available: memory::available().map_or(f64::INFINITY, |bytes| bytes as f64),
        host: device::is_cpu(&at_device),
        helpers,
        ..Plan::new(recipe, config, &sample)
    };
    Ok(plan.estimate(phases))
}

/// What `phases` will take by the limits of the recipe and the configuration of the model in `dir`
/// alone; no weights are read.
///
/// # Errors
/// A configuration, a tokenizer or data that cannot be read.
pub fn unmeasured(recipe: &Recipe, dir: &Path, phases: &[(u32, Phase)]) -> Result<Estimate, Error> {
    let config = read_config(dir)?;
    let tokenizer = Tokenizer::load(dir)?;
    let task = task::open(&recipe.task)?;
    let (prompt, _) = prompts(&*task, &tokenizer, &spread(recipe, 1, PROMPTS))?;
    let helpers: Helpers = helpers::read(recipe, &config)?;
    let sample = Sample::assumed(recipe, prompt, &helpers);
    let plan = Plan {
        helpers,
        held_out: held_out(&*task, recipe)?,
        tokenizer_files: small_files(recipe),
        available: memory::available().map_or(f64::INFINITY, |bytes| bytes as f64),
        ..Plan::new(recipe, &config, &sample)
    };
    Ok(plan.estimate(phases))
}

/// Searches, answers and learns from as many questions as the pace allows.
fn try_out(
    bench: &Bench<'_>,
    sample: &mut Sample,
    shape: &Shape,
    pace: Pace,
    held_out: f64,
) -> Result<(), Error> {
    let recipe = bench.recipe;
    let enough = |of_all: f64| (SHARE * of_all).clamp(FEW, MANY);
    let iterations = f64::from(recipe.rounds.iterations);
    let affordable = |tokens: f64| WORK / (tokens * shape.policy).max(1.0);
    let trees =
        affordable(sample.tree_tokens()).min(enough(iterations * recipe.collect.questions as f64));
    let questions = affordable(sample.question_tokens() + sample.question_helped())
        .min(enough((iterations + 1.0) * held_out));
    if trees.min(questions) < FEW {
        sample.timed(recipe, shape, pace);
        return Ok(());
    }
    let tree = bench.search(sample, trees as usize)?;
    let question = bench.answer(sample, questions as usize)?;
    sample.timed(recipe, shape, pace);
    let quick: Vec<Fit> = fits(recipe)
        .into_iter()
        .filter(|fit| {
            // Twice as much goes back as forth.
            let work = 3.0 * shape.policy * sample.step_tokens(*fit, recipe);
            FIT_STEPS as f64 * work < FIT_WORK
        })
        .collect();
    let measured = bench.learn(&quick)?;
    if let Some(timed) = &mut sample.seconds {
        timed.tree = tree;
        timed.question = question;
        timed
            .fits
            .retain(|(fit, _)| !measured.iter().any(|(known, _)| known == fit));
        timed.fits.extend(measured);
    }
    Ok(())
}

/// Up to `count` positions in the train sequence, evenly spread over those that iterations from `first`
/// on take: questions may become harder along it.
pub(super) fn spread(recipe: &Recipe, first: u32, count: usize) -> Vec<usize> {
    let questions = recipe.collect.questions;
    let from = (first.saturating_sub(1)) as usize * questions;
    let to = recipe.rounds.iterations.max(first) as usize * questions;
    let count = count.min(to - from);
    (0..count)
        .map(|i| from + (to - from) * (2 * i + 1) / (2 * count))
        .collect()
}

/// Lengths of the prompts at `positions`, and one of middling length.
fn prompts(
    task: &dyn Task,
    tokenizer: &Tokenizer,
    positions: &[usize],
) -> Result<(Spread, Option<Vec<u32>>), Error> {
    let mut all = Vec::with_capacity(positions.len());
    for &at in positions {
        for problem in task.train(at..at + 1)? {
            let prompt = task.prompt(&problem.question);
            // One that cannot be rendered fails by itself when its turn comes.
            all.extend(tokenizer.prompt(&prompt.plain, &prompt.messages));
        }
    }
    all.sort_by_key(Vec::len);
    let lengths = Spread::of(all.iter().map(|prompt| prompt.len() as f64));
    let middle = all.len() / 2;
    Ok((lengths, all.into_iter().nth(middle)))
}

/// Questions of an evaluation.
fn held_out(task: &dyn Task, recipe: &Recipe) -> Result<f64, Error> {
    let limit = recipe.evaluate.limit();
    Ok(match recipe.evaluate.split {
        SplitName::Dev => task.dev(limit)?.len(),
        SplitName::Test => task.test(limit)?.len(),
    } as f64)
}

/// Bytes of the model's files that are no weights; each checkpoint has a copy. 0 where they cannot be
/// listed, as nothing hangs on them.
fn small_files(recipe: &Recipe) -> f64 {
    let Some(dir) = &recipe.model.path else {
        return 0.0;
    };
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .filter(|file| file.path().extension().is_some_and(|end| end == "json"))
        .filter_map(|file| file.metadata().ok())
        .map(|meta| meta.len() as f64)
        .sum()
}
