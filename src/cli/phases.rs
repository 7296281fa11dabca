//! `tokenzero collect`, `train-joint`, `train-value` and `train-policy`: single phases of the loop.

use super::common::{self, Open, RecipeArgs};
use crate::model::{Checkpoint, StoredType, Value};
use crate::monitor::Monitor;
use crate::recipe::Recipe;
use crate::stop::Stop;
use crate::task::reward::Rewards;
use crate::train::fit_value::Kind;
use crate::train::from_traces::policy_examples;
use crate::train::{
    Context, FitReport, PolicyExample, ValueExample, fit_joint, fit_policy, fit_value,
};
use crate::{collect, trace};
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

pub(super) fn collect(args: CollectArgs, stop: &Stop) -> Result<()> {
    common::fresh_dir(&args.out)?;
    let open = Open::new(&args.recipe, args.model.as_deref(), |recipe| {
        recipe.collect.search.tree.lambda < 1.0
    })?;
    let params = &open.recipe.collect;
    let from = (args.iteration as usize - 1) * params.questions;
    let mut problems = open
        .task
        .train(from..from + params.questions)
        .into_diagnostic()?;
    if problems.is_empty() {
        return Err(miette!(
            help = "lower --iteration or collect.questions",
            "the train split has no question number {from}"
        ));
    }
    let rewards = Rewards::open(&open.recipe.reward, &open.task).into_diagnostic()?;
    let setting = collect::Setting {
        policy: &open.policy,
        tokenizer: &open.tokenizer,
        task: &open.task,
        rewards: &Arc::new(rewards),
        monitor: &open.monitor,
        iteration: args.iteration,
        seed: open.recipe.seed,
        stop,
    };
    let used = params.questions * open.recipe.rounds.iterations as usize;
    let imagined = collect::imagined(&setting, &problems, params, used).into_diagnostic()?;
    problems.extend(imagined.iter().flat_map(|all| all.problems(args.iteration)));
    let mut summary = collect::collect(&setting, &problems, params, &args.out).into_diagnostic()?;
    if let Some(imagined) = imagined {
        summary = summary.with_imagined(imagined.report, &open.monitor, args.iteration);
    }
    common::print(&serde_json::to_string_pretty(&summary).into_diagnostic()?)
}

/// What a fit by itself starts from.
struct Start {
    recipe: Recipe,
    checkpoint: Checkpoint,
    trees: Vec<trace::TreeRecord>,
    monitor: Monitor,
    stop: Stop,
}

impl Start {
    fn new(args: &TrainArgs, stop: &Stop) -> Result<Start> {
        let recipe = args.recipe.read()?;
        let device = args.recipe.open_device()?;
        common::fresh_dir(&args.out)?;
        let mut trees = Vec::new();
        for dir in &args.traces {
            trees.extend(trace::read_dir(dir).into_diagnostic()?);
        }
        Ok(Start {
            checkpoint: common::checkpoint(&recipe, args.model.as_deref(), &device)?,
            recipe,
            trees,
            monitor: common::monitor()?,
            stop: stop.clone(),
        })
    }

    fn context(&self) -> Context<'_> {
        Context {
            stop: self.stop.clone(),
            ..Context::new(&self.monitor)
        }
    }

    fn values(&self) -> Vec<ValueExample> {
        self.recipe.value_examples(&self.trees)
    }

    fn solutions(&self) -> Vec<PolicyExample> {
        let tokenizer = &self.checkpoint.tokenizer;
        let (solutions, out) = policy_examples(&self.trees, &self.recipe.traces, tokenizer);
        if out.total() > 0 {
            let (left, all) = (out.total(), out.solutions);
            let line = format!("{left} of {all} right solutions are not sound and left out");
            self.monitor.line(&line);
        }
        solutions
    }
}

fn finish(checkpoint: &Checkpoint, report: &FitReport, args: &TrainArgs) -> Result<()> {
    checkpoint
        .save(&args.out, StoredType::F32)
        .into_diagnostic()?;
    common::print(&serde_json::to_string_pretty(report).into_diagnostic()?)
}

pub(super) fn train_joint(args: TrainArgs, stop: &Stop) -> Result<()> {
    let mut start = Start::new(&args, stop)?;
    let Some(value) = &start.checkpoint.value else {
        return Err(miette!("the checkpoint has no value head"));
    };
    let (policy, head, report) = fit_joint::fit_joint(
        &start.checkpoint.policy,
        value.head(),
        &start.values(),
        &start.solutions(),
        &start.recipe.joint,
        &start.context(),
    )
    .into_diagnostic()?;
    start.checkpoint.policy = policy;
    start.checkpoint.value = Some(Value::Shared(head));
    finish(&start.checkpoint, &report, &args)
}

pub(super) fn train_value(args: TrainArgs, stop: &Stop) -> Result<()> {
    let mut start = Start::new(&args, stop)?;
    let (trunk, head) = match start.checkpoint.value.take() {
        Some(Value::Separate { trunk, head }) => (trunk, head),
        Some(Value::Shared(head)) => (start.checkpoint.policy.clone(), head),
        None => return Err(miette!("the checkpoint has no value head")),
    };
    let (trunk, head, report) = fit_value::fit_value(
        &trunk,
        &head,
        &start.values(),
        &start.recipe.value,
        &start.context(),
    )
    .into_diagnostic()?;
    start.checkpoint.value = Some(match start.recipe.value.kind {
        Kind::Head => Value::Shared(head),
        Kind::Trunk => Value::Separate { trunk, head },
    });
    finish(&start.checkpoint, &report, &args)
}

pub(super) fn train_policy(args: TrainArgs, stop: &Stop) -> Result<()> {
    let mut start = Start::new(&args, stop)?;
    let (policy, report) = fit_policy::fit_policy(
        &start.checkpoint.policy,
        &start.solutions(),
        &start.recipe.policy,
        &start.context(),
    )
    .into_diagnostic()?;
    start.checkpoint.policy = policy;
    if let Some(Value::Shared(_)) = start.checkpoint.value {
        let hint = "the value head was fitted to the old policy: fit it again with train-value";
        start.monitor.line(hint);
    }
    finish(&start.checkpoint, &report, &args)
}
