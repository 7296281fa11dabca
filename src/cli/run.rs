//! `tokenzero run`.

use super::common::{self, RecipeArgs};
use super::table;
use crate::iterate::{Outcome, Run};
use miette::{IntoDiagnostic, Result};
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Folder of the run. Default: checkpoints/<name of the recipe>.
    #[arg(long)]
    run_dir: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<()> {
    let start = Instant::now();
    let recipe = args.recipe.read()?;
    let device = args.recipe.open_device()?;
    let dir = args.run_dir.unwrap_or_else(|| recipe.run_dir());
    // The folder is checked before event files are put into it.
    let run = Run::open(&recipe, &dir, &device).into_diagnostic()?;
    let monitor = common::monitor(Some(&dir))?;
    let mut run = run.watched_by(monitor.clone());
    monitor.line(&format!(
        "{}: {} on {}, {} iterations, results in {}",
        recipe.name,
        recipe.task.kind,
        args.recipe.device,
        recipe.rounds.iterations,
        dir.display()
    ));
    monitor.line(&table::head());
    let outcomes = run
        .run(|outcome| monitor.line(&table::row(outcome)))
        .into_diagnostic()?;
    monitor.flush().into_diagnostic()?;
    summary(&outcomes, &dir, start)
}

/// What the run came to, and what to type next.
fn summary(outcomes: &[Outcome], dir: &Path, start: Instant) -> Result<()> {
    let (Some(first), Some(last)) = (outcomes.first(), outcomes.last()) else {
        return Ok(());
    };
    common::print("")?;
    common::print(&table::methods(&last.evaluation, &first.evaluation))?;
    let dir = dir.display();
    common::print(&format!(
        "{} s. Everything is in {dir}: iter-{:04}/evaluation.json and .parquet, traces, checkpoints.",
        start.elapsed().as_secs(),
        last.iteration
    ))?;
    common::print(&format!("  tensorboard --logdir {dir}/tensorboard"))?;
    common::print(&format!("  tokenzero export value {dir} --out value-net"))?;
    common::print(&format!("  tokenzero export policy {dir} --out policy"))
}
