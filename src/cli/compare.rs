//! `tokenzero compare`.

use super::common::{self, Open, RecipeArgs};
use super::table;
use crate::evaluate::frontier::Frontier;
use crate::iterate;
use crate::stop::Stop;
use miette::{IntoDiagnostic, Result};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Recipes, TOML files: their models, tasks, votes and searches.
    #[arg(required = true)]
    recipes: Vec<PathBuf>,
    /// Set a key of every recipe, for example `--set evaluate.questions=200`.
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Where to compute: cpu, cuda, cuda:N or wgpu.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Checkpoint instead of the recipe's model, one for each recipe in their order; a recipe may be
    /// named several times, with a checkpoint each.
    #[arg(long)]
    model: Vec<PathBuf>,
    /// Tokens that a method may take, in units of what greedy decoding takes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    budgets: Vec<usize>,
    /// Folder for frontier.json and frontier.svg.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, stop: &Stop) -> Result<()> {
    if !args.model.is_empty() && args.model.len() != args.recipes.len() {
        return Err(miette::miette!(
            "{} recipes and {} checkpoints: name one --model for each recipe, in their order",
            args.recipes.len(),
            args.model.len()
        ));
    }
    if args.budgets.contains(&0) {
        return Err(miette::miette!(
            "a budget of 0 tokens: give --budgets of 1 or more"
        ));
    }
    if let Some(out) = &args.out {
        common::fresh_dir(out)?;
    }
    let mut all: Option<Frontier> = None;
    for (index, path) in args.recipes.iter().enumerate() {
        let model = args.model.get(index);
        let recipe = RecipeArgs::new(path.clone(), args.set.clone(), args.device.clone());
        let open = Open::new(&recipe, model.map(PathBuf::as_path), |_| true)?;
        let setting = open.setting(stop);
        let again = args.recipes.iter().filter(|other| *other == path).count() > 1;
        let source = match model {
            Some(model) if again => model.display().to_string(),
            _ => open.recipe.name.clone(),
        };
        let own = iterate::frontier_of_split(
            &source,
            &setting,
            &open.recipe.evaluate,
            &args.budgets,
            open.parameters,
        )
        .into_diagnostic()?;
        match &mut all {
            None => all = Some(own),
            Some(all) => all.join(own).into_diagnostic()?,
        }
    }
    let Some(frontier) = all else {
        return Ok(());
    };
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).into_diagnostic()?;
        let json = serde_json::to_string_pretty(&frontier).into_diagnostic()?;
        for (name, text) in [("frontier.json", json), ("frontier.svg", frontier.svg())] {
            common::write(&out.join(name), &text)?;
        }
    }
    match args.json {
        true => common::print(&serde_json::to_string(&frontier).into_diagnostic()?),
        false => common::print(&table::frontier(&frontier)),
    }
}
