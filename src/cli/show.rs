//! `tokenzero show` and `tokenzero diff`: runs seen from outside.

use super::{common, table};
use crate::evaluate::statistics::McNemar;
use crate::iterate::inspect::{self, Inspection};
use miette::{IntoDiagnostic, Result, miette};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Debug, clap::Args)]
pub(super) struct ShowArgs {
    /// Folder of a run.
    run: PathBuf,
}

#[derive(Debug, clap::Args)]
pub(super) struct DiffArgs {
    /// Folder of a run.
    one: PathBuf,
    /// Folder of another.
    other: PathBuf,
}

pub(super) fn show(args: ShowArgs) -> Result<()> {
    let run = inspect::inspect(&args.run).into_diagnostic()?;
    common::print(&format!("{}: {}", args.run.display(), run.standing()))?;
    if let Some(last) = &run.last {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_or(0.0, |d| d.as_secs_f64());
        common::print(&format!(
            "last event {:.0} s ago: {} at step {}",
            (now - last.time).max(0.0),
            last.tag,
            last.step
        ))?;
    }
    let disk: Vec<String> = run
        .disk
        .iter()
        .map(|(kind, bytes)| format!("{kind} {:.1} MB", *bytes as f64 / 1e6))
        .collect();
    common::print(&format!("disk: {}", disk.join(", ")))?;
    let (Some(first), Some(last)) = (run.outcomes.first(), run.outcomes.last()) else {
        return Ok(());
    };
    common::print("")?;
    common::print(&table::head())?;
    for outcome in &run.outcomes {
        common::print(&table::row(outcome))?;
    }
    common::print("")?;
    common::print(&table::methods(&last.evaluation, &first.evaluation))
}

pub(super) fn diff(args: DiffArgs) -> Result<()> {
    let (one, other) = (look(&args.one)?, look(&args.other)?);
    let differences = inspect::recipe_differences(&one.0.recipe, &other.0.recipe)
        .ok_or_else(|| miette!("the recipe.toml of one of the runs is no TOML"))?;
    common::print(&match differences.is_empty() {
        true => "the recipes are the same".to_owned(),
        false => format!("recipes:\n  {}", differences.join("\n  ")),
    })?;
    let ours = inspect::graded(&args.one, one.1).into_diagnostic()?;
    let theirs = inspect::graded(&args.other, other.1).into_diagnostic()?;
    common::print(&format!(
        "\nafter iteration {} of {} and {} of {}, on the questions that both were asked:",
        one.1,
        args.one.display(),
        other.1,
        args.other.display()
    ))?;
    let mut rows = Vec::new();
    for (method, answers) in &ours {
        let Some(others) = theirs.get(method) else {
            continue;
        };
        let pairs: Vec<(bool, bool)> = answers
            .iter()
            .filter_map(|(question, right)| Some((*right, *others.get(question)?)))
            .collect();
        let test = McNemar::of(pairs.iter().copied());
        let share = |right: usize| 100.0 * right as f64 / pairs.len().max(1) as f64;
        rows.push([
            method.clone(),
            pairs.len().to_string(),
            format!("{:.1}", share(pairs.iter().filter(|p| p.0).count())),
            format!("{:.1}", share(pairs.iter().filter(|p| p.1).count())),
            test.b.to_string(),
            test.c.to_string(),
            table::p(test.p),
        ]);
    }
    common::print(&table::plain(
        [
            "method",
            "questions",
            "first %",
            "second %",
            "only first",
            "only second",
            "p",
        ],
        rows,
    ))
}

/// A run and its last evaluated iteration.
fn look(dir: &Path) -> Result<(Inspection, u32)> {
    let run = inspect::inspect(dir).into_diagnostic()?;
    match run.outcomes.last().map(|outcome| outcome.iteration) {
        Some(iteration) => Ok((run, iteration)),
        None => Err(miette!(
            help = "let `tokenzero run` finish its first evaluation",
            "{} has not been evaluated yet",
            dir.display()
        )),
    }
}
