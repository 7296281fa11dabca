//! `tokenzero evaluate`.

use super::common::{self, Open, RecipeArgs};
use super::table;
use crate::iterate;
use crate::stop::Stop;
use miette::{IntoDiagnostic, Result};
use std::path::PathBuf;

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

pub(super) fn run(args: Args, stop: &Stop) -> Result<()> {
    if let Some(out) = &args.out {
        common::fresh_dir(out)?;
    }
    let open = Open::new(&args.recipe, args.model.as_deref(), |_| true)?;
    let setting = open.setting(stop);
    let evaluation = iterate::evaluate_split(&setting, &open.recipe.evaluate).into_diagnostic()?;
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).into_diagnostic()?;
        evaluation.write(out).into_diagnostic()?;
    }
    match args.json {
        true => common::print(&serde_json::to_string(&evaluation).into_diagnostic()?),
        false => common::print(&table::methods(&evaluation, &evaluation)),
    }
}
