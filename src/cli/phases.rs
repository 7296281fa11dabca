//! `tokenzero collect`, `train-joint`, `train-value` and `train-policy`: single phases of the loop.

use super::common::{self, RecipeArgs};
use crate::engine::Engine;
use crate::model::{Checkpoint, StoredType, Value};
use crate::train::fit_value::Kind;
use crate::train::from_traces::{policy_examples, value_examples};
use crate::train::{Context, FitReport, fit_joint, fit_policy, fit_value};
use crate::{collect, task, trace};
use miette::{IntoDiagnostic, Result, miette};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct CollectArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Checkpoint to search with instead of the recipe's model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Iteration: which train questions are taken, and part of every random stream.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    iteration: u32,
    /// Folder for the traces.
    #[arg(long)]
    out: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Checkpoint to start from instead of the recipe's model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folders of traces, as `collect` leaves them.
    #[arg(long, required = true, num_args = 1..)]
    traces: Vec<PathBuf>,
    /// Folder for the checkpoint.
    #[arg(long)]
    out: PathBuf,
}

pub(super) fn collect(args: CollectArgs) -> Result<()> {
    let recipe = args.recipe.read()?;
    let device = args.recipe.open_device()?;
    common::fresh_dir(&args.out)?;
    let task = task::open(&recipe.task).into_diagnostic()?;
    let from = (args.iteration as usize - 1) * recipe.collect.questions;
    let problems = task
        .train(from..from + recipe.collect.questions)
        .into_diagnostic()?;
    if problems.is_empty() {
        return Err(miette!(
            help = "lower --iteration or collect.questions",
            "the train split has no question number {from}"
        ));
    }
    let checkpoint = common::checkpoint(&recipe, args.model.as_deref(), &device)?;
    let tokenizer = Arc::new(checkpoint.tokenizer);
    let value = checkpoint
        .value
        .filter(|_| recipe.collect.search.tree.lambda < 1.0);
    let engine =
        Engine::start(checkpoint.policy, value, recipe.engine.clone()).into_diagnostic()?;
    let setting = collect::Setting {
        policy: &common::policy(&engine, &tokenizer),
        tokenizer: &tokenizer,
        task: &task,
        monitor: &common::monitor(None)?,
        iteration: args.iteration,
        seed: recipe.seed,
    };
    let summary =
        collect::collect(&setting, &problems, &recipe.collect, &args.out).into_diagnostic()?;
    common::print(&serde_json::to_string_pretty(&summary).into_diagnostic()?)
}

/// What both fits start from.
struct Start {
    checkpoint: Checkpoint,
    trees: Vec<trace::TreeRecord>,
}

fn start(args: &TrainArgs, recipe: &crate::recipe::Recipe) -> Result<Start> {
    let device = args.recipe.open_device()?;
    common::fresh_dir(&args.out)?;
    let mut trees = Vec::new();
    for dir in &args.traces {
        trees.extend(trace::read_dir(dir).into_diagnostic()?);
    }
    Ok(Start {
        checkpoint: common::checkpoint(recipe, args.model.as_deref(), &device)?,
        trees,
    })
}

fn finish(checkpoint: &Checkpoint, report: &FitReport, args: &TrainArgs) -> Result<()> {
    checkpoint
        .save(&args.out, StoredType::F32)
        .into_diagnostic()?;
    common::print(&serde_json::to_string_pretty(report).into_diagnostic()?)
}

pub(super) fn train_joint(args: TrainArgs) -> Result<()> {
    let recipe = args.recipe.read()?;
    let Start {
        mut checkpoint,
        trees,
    } = start(&args, &recipe)?;
    let monitor = common::monitor(None)?;
    let Some(value) = &checkpoint.value else {
        return Err(miette!("the checkpoint has no value head"));
    };
    let (policy, head, report) = fit_joint::fit_joint(
        &checkpoint.policy,
        value.head(),
        &value_examples(&trees, &recipe.traces, recipe.seed),
        &policy_examples(&trees, &recipe.traces),
        &recipe.joint,
        &Context::new(&monitor),
    )
    .into_diagnostic()?;
    checkpoint.policy = policy;
    checkpoint.value = Some(Value::Shared(head));
    finish(&checkpoint, &report, &args)
}

pub(super) fn train_value(args: TrainArgs) -> Result<()> {
    let recipe = args.recipe.read()?;
    let Start {
        mut checkpoint,
        trees,
    } = start(&args, &recipe)?;
    let monitor = common::monitor(None)?;
    let (trunk, head) = match checkpoint.value.take() {
        Some(Value::Separate { trunk, head }) => (trunk, head),
        Some(Value::Shared(head)) => (checkpoint.policy.clone(), head),
        None => return Err(miette!("the checkpoint has no value head")),
    };
    let examples = value_examples(&trees, &recipe.traces, recipe.seed);
    let (trunk, head, report) = fit_value::fit_value(
        &trunk,
        &head,
        &examples,
        &recipe.value,
        &Context::new(&monitor),
    )
    .into_diagnostic()?;
    checkpoint.value = Some(match recipe.value.kind {
        Kind::Head => Value::Shared(head),
        Kind::Trunk => Value::Separate { trunk, head },
    });
    finish(&checkpoint, &report, &args)
}

pub(super) fn train_policy(args: TrainArgs) -> Result<()> {
    let recipe = args.recipe.read()?;
    let Start {
        mut checkpoint,
        trees,
    } = start(&args, &recipe)?;
    let monitor = common::monitor(None)?;
    let examples = policy_examples(&trees, &recipe.traces);
    let (policy, report) = fit_policy::fit_policy(
        &checkpoint.policy,
        &examples,
        &recipe.policy,
        &Context::new(&monitor),
    )
    .into_diagnostic()?;
    checkpoint.policy = policy;
    if let Some(Value::Shared(_)) = checkpoint.value {
        monitor.line("the value head was fitted to the old policy: fit it again with train-value");
    }
    finish(&checkpoint, &report, &args)
}
