//! `tokenzero rank`.

use super::common::{self, Open, RecipeArgs};
use super::table;
use crate::evaluate::{self, SplitName, ranking};
use crate::monitor;
use crate::stop::Stop;
use miette::{IntoDiagnostic, Result};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Checkpoint whose value is judged instead of the recipe's model, such as
    /// checkpoints/quickstart/iter-0003/checkpoint.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Texts to draw for each of the recipe's number of dev questions.
    #[arg(long, default_value_t = 16, value_parser = clap::value_parser!(u16).range(2..))]
    draws: u16,
    /// Folder for ranking.json, ranking.svg and tensorboard/, in which tokens and eighths of a text take the
    /// place of steps.
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
    let params = evaluate::Params {
        split: SplitName::Dev,
        rank: args.draws.into(),
        ..open.recipe.evaluate.clone()
    };
    let chosen = params.choose(|limit| open.task.dev(limit));
    let problems = chosen.into_diagnostic()?;
    let ranking = evaluate::rank(&open.setting(stop), &problems, &params).into_diagnostic()?;
    if let Some(out) = &args.out {
        write(&ranking, out)?;
    }
    match args.json {
        true => common::print(&serde_json::to_string(&ranking).into_diagnostic()?),
        false => common::print(&table::ranking(&ranking)),
    }
}

fn write(found: &evaluate::Ranking, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).into_diagnostic()?;
    let json = serde_json::to_string_pretty(found).into_diagnostic()?;
    for (name, text) in [("ranking.json", json), ("ranking.svg", found.plot().svg())] {
        common::write(&out.join(name), &text)?;
    }
    let board = out.join("tensorboard");
    for (tag, unit, places) in [
        ("ranking/by_depth", 1.0, &found.by_depth),
        ("ranking/by_eighth", 8.0, &found.by_fraction),
    ] {
        monitor::board(&board, tag, unit, &ranking::lines(places)).into_diagnostic()?;
    }
    Ok(())
}
