//! `tokenzero compare`.

use super::common::{self, Open, RecipeArgs};
use super::table;
use crate::evaluate::frontier::Frontier;
use crate::monitor::{self, Monitor};
use crate::stop::Stop;
use crate::{evaluate, iterate};
use miette::{IntoDiagnostic, Result};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

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
    /// named several times, with a checkpoint each. Checkpoints of several runs of one recipe, with commas
    /// between, are seeds of its methods: means over them, with intervals over checkpoints and questions.
    #[arg(long, value_name = "DIR[,DIR...]")]
    model: Vec<Seeds>,
    /// Tokens that a method may take, in units of what greedy decoding takes.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16])]
    budgets: Vec<usize>,
    /// Folder for frontier.json, frontier.svg and tensorboard/, in which tokens take the place of steps.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(args: Args, stop: &Stop) -> Result<()> {
    if !args.model.is_empty() && args.model.len() != args.recipes.len() {
        return Err(miette::miette!(
            "{} recipes and {} checkpoints: name one --model for each recipe, in their order, \
             with commas between checkpoints that are seeds of one method",
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
    let mut names: Vec<String> = Vec::new();
    for (index, path) in args.recipes.iter().enumerate() {
        let recipe = RecipeArgs::new(path.clone(), args.set.clone(), args.device.clone());
        let models = args.model.get(index);
        let again = args.recipes.iter().filter(|other| *other == path).count() > 1;
        let mut source = match models {
            Some(models) if again => models.to_string(),
            _ => recipe.read()?.name,
        };
        if names.contains(&source) {
            source = format!("{source} ({})", names.len() + 1);
        }
        names.push(source.clone());
        let own = of_recipe(&recipe, &source, models, &args.budgets, stop)?;
        match &mut all {
            None => all = Some(own),
            Some(all) => all.join(own).into_diagnostic()?,
        }
    }
    let Some(mut frontier) = all else {
        return Ok(());
    };
    frontier.judge();
    if let Some(out) = &args.out {
        write(&frontier, out)?;
    }
    match args.json {
        true => common::print(&serde_json::to_string(&frontier).into_diagnostic()?),
        false => common::print(&table::frontier(&frontier)),
    }
}

/// The methods of a recipe with its model, or with each of `models` as a seed of them.
fn of_recipe(
    recipe: &RecipeArgs,
    source: &str,
    models: Option<&Seeds>,
    budgets: &[usize],
    stop: &Stop,
) -> Result<Frontier> {
    let models: Vec<Option<&Path>> = match models {
        None => vec![None],
        Some(Seeds(models)) => models.iter().map(|model| Some(model.as_path())).collect(),
    };
    let mut seeds = Vec::new();
    for (index, model) in models.into_iter().enumerate() {
        let open = Open::new(recipe, model, |_| true)?;
        let setting = evaluate::Setting {
            // Draws of their own for each checkpoint; the first has those of the recipe.
            seed: open.recipe.seed.wrapping_add(index as u64),
            ..open.setting(stop)
        };
        let params = &open.recipe.evaluate;
        let own = iterate::frontier_of_split(source, &setting, params, budgets, open.sizes)
            .into_diagnostic()?;
        let name = model.map_or_else(String::new, |model| model.display().to_string());
        seeds.push((name, own));
    }
    Frontier::pool(source, seeds).into_diagnostic()
}

fn write(frontier: &Frontier, out: &Path) -> Result<()> {
    std::fs::create_dir_all(out).into_diagnostic()?;
    let json = serde_json::to_string_pretty(frontier).into_diagnostic()?;
    let plot = frontier.plot();
    for (name, text) in [("frontier.json", json), ("frontier.svg", plot.svg())] {
        common::write(&out.join(name), &text)?;
    }
    let board = out.join("tensorboard");
    let whole = Monitor::builder().tensorboard(&board).build();
    let whole = whole.into_diagnostic()?;
    frontier.report(&whole);
    whole.flush().into_diagnostic()?;
    monitor::board(&board, "frontier/accuracy", 1.0, &plot.lines).into_diagnostic()
}

/// Checkpoints that are seeds of one method.
#[derive(Debug, Clone)]
struct Seeds(Vec<PathBuf>);

impl FromStr for Seeds {
    type Err = String;

    fn from_str(text: &str) -> Result<Seeds, String> {
        if Path::new(text).exists() {
            return Ok(Seeds(vec![text.into()]));
        }
        match text.split(',').any(str::is_empty) {
            true => Err("a checkpoint without a name".into()),
            false => Ok(Seeds(text.split(',').map(PathBuf::from).collect())),
        }
    }
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0[0].display())?;
        match self.0.len() {
            1 => Ok(()),
            all => write!(f, " and {} more", all - 1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_with_commas_between_are_seeds() {
        let seeds = |text: &str| text.parse::<Seeds>().map(|seeds| seeds.0.len());
        assert_eq!((seeds("a/b"), seeds("a,b,c")), (Ok(1), Ok(3)));
        assert!(seeds("a,,b").is_err() && seeds("").is_err());
        assert_eq!(
            "a/b,c,d".parse::<Seeds>().unwrap().to_string(),
            "a/b and 2 more"
        );
        let dir = tempfile::tempdir().unwrap();
        let odd = dir.path().join("x,y");
        std::fs::create_dir(&odd).unwrap();
        assert_eq!(seeds(odd.to_str().unwrap()), Ok(1));
    }
}
