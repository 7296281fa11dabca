//! `tokenzero evaluate`.

use super::common::{self, RecipeArgs};
use super::table;
use crate::engine::Engine;
use crate::{evaluate, iterate, task};
use miette::{IntoDiagnostic, Result};
use std::path::PathBuf;
use std::sync::Arc;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Checkpoint to evaluate instead of the recipe's model, such as
    /// checkpoints/quickstart/iter-0003/checkpoint.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Folder for evaluation.json and evaluation.parquet.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args) -> Result<()> {
    let recipe = args.recipe.read()?;
    let device = args.recipe.open_device()?;
    if let Some(out) = &args.out {
        common::fresh_dir(out)?;
    }
    let task = task::open(&recipe.task).into_diagnostic()?;
    let checkpoint = common::checkpoint(&recipe, args.model.as_deref(), &device)?;
    let tokenizer = Arc::new(checkpoint.tokenizer);
    let engine = Engine::start(checkpoint.policy, checkpoint.value, recipe.engine.clone())
        .into_diagnostic()?;
    let setting = evaluate::Setting {
        policy: &common::policy(&engine, &tokenizer),
        tokenizer: &tokenizer,
        task: &task,
        monitor: &common::monitor(None)?,
        iteration: 0,
        seed: recipe.seed,
    };
    let evaluation = iterate::evaluate_split(&setting, &recipe.evaluate).into_diagnostic()?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).into_diagnostic()?;
        evaluation.write(out).into_diagnostic()?;
    }
    match args.json {
        true => common::print(&serde_json::to_string(&evaluation).into_diagnostic()?),
        false => common::print(&table::methods(&evaluation, &evaluation)),
    }
}
