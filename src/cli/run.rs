//! `tokenzero run`.

use super::common::{self, RecipeArgs};
use super::expect::{self, Expect};
use super::table;
use crate::iterate::{Outcome, Prospect, Reuse};
use crate::monitor::Monitor;
use crate::stop::Stop;
use miette::{IntoDiagnostic, Result, miette};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Folder of the run. Default: checkpoints/<name of the recipe>.
    #[arg(long)]
    run_dir: Option<PathBuf>,
    /// Start over: delete what an earlier run left in the folder, after saying what that is.
    #[arg(long, conflicts_with = "accept_changes")]
    fresh: bool,
    /// Print every event as a line of JSON on stdout, and no tables.
    #[arg(long)]
    json: bool,
    /// Show no progress and no table rows on stderr; warnings and the summary stay.
    #[arg(long)]
    quiet: bool,
    /// Show burn-train's dashboard while the networks train; `q` there stops the run.
    #[arg(long, conflicts_with_all = ["json", "quiet"])]
    tui: bool,
    /// Go on with a run that was begun with other settings.
    #[arg(long)]
    accept_changes: bool,
    #[command(flatten)]
    expect: Expect,
}

pub(super) fn run(args: Args, stop: &Stop) -> Result<()> {
    let start = Instant::now();
    if args.tui && !std::io::stdout().is_terminal() {
        return Err(miette!(
            help =
                "leave it out here: progress is printed on stderr, and TensorBoard has the curves",
            "--tui draws on a terminal, and stdout is none"
        ));
    }
    let recipe = args.recipe.read()?;
    let device = args.recipe.open_device()?;
    let dir = args.run_dir.unwrap_or_else(|| recipe.run_dir());
    // The folder is checked before event files are put into it.
    let reuse = match (args.fresh, args.accept_changes) {
        (true, _) => Reuse::Fresh,
        (_, true) => Reuse::AcceptChanges,
        _ => Reuse::Resume,
    };
    let prospect = Prospect::open(&recipe, &dir, &device, reuse).into_diagnostic()?;
    // What cannot fit is refused while the folder is as it was.
    let (ground, phases) = (&prospect.ground, &prospect.remaining);
    let estimate = args.expect.measured(&recipe, ground, phases);
    args.expect.admit(estimate.as_ref(), &dir)?;
    if reuse == Reuse::Fresh {
        for path in prospect.remains().into_diagnostic()? {
            eprintln!("deleting {}", path.display());
        }
    }
    let run = prospect.begin().into_diagnostic()?;
    let mut builder = Monitor::builder()
        .tensorboard(dir.join("tensorboard"))
        .json_lines(dir.join("events.jsonl"));
    if !args.quiet {
        builder = builder.console();
    }
    if args.json {
        builder = builder.json_stdout();
    }
    let monitor = builder.build().into_diagnostic()?;
    let mut run = run
        .watched_by(monitor.clone())
        .stopped_by(stop.clone())
        .with_dashboard(args.tui);
    monitor.line(&format!(
        "{}: {} on {}, {} iterations, results in {}",
        recipe.name,
        recipe.task.kind,
        args.recipe.device,
        recipe.rounds.iterations,
        dir.display()
    ));
    if let Some(estimate) = &estimate {
        monitor.line(&expect::line(estimate));
        expect::report(estimate, &monitor);
    }
    let outcomes = common::run_to_end(&mut run, &monitor, stop)?;
    if args.json {
        return Ok(());
    }
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
