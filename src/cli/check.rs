//! `tokenzero check`.

use super::common::{self, RecipeArgs};
use super::expect::Expect;
use crate::iterate::{Ground, phases};
use miette::{IntoDiagnostic, Result, miette};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Check the recipe alone: do not read its weights, and estimate from its limits, without a
    /// measured step, where the model's configuration and the data lie on this machine.
    #[arg(long)]
    offline: bool,
    /// Print what the run will take as JSON on stdout, instead of the recipe.
    #[arg(long, conflicts_with = "no_estimate")]
    json: bool,
    #[command(flatten)]
    expect: Expect,
}

pub(super) fn run(args: Args) -> Result<()> {
    let recipe = args.recipe.read()?;
    let device = args.recipe.open_device()?;
    let phases = phases(&recipe);
    let estimate = match args.offline {
        true => args.expect.unmeasured(&recipe, &phases),
        false => {
            let ground = Ground::open(&recipe, &device).into_diagnostic()?;
            let config = ground.base.config();
            tracing::info!(
                parameters = config.parameters(),
                layers = config.num_hidden_layers,
                "the model loads"
            );
            args.expect.measured(&recipe, &ground, &phases)
        }
    };
    eprintln!(
        "{} is a valid recipe; fingerprint {}",
        args.recipe.recipe.display(),
        recipe.fingerprint()
    );
    if let Some(estimate) = &estimate {
        eprintln!("{}", super::expect::table(estimate));
    }
    match (args.json, &estimate) {
        (false, _) => common::print(recipe.render().trim_end())?,
        (true, Some(estimate)) => {
            common::print(&serde_json::to_string_pretty(estimate).into_diagnostic()?)?;
        }
        (true, None) => return Err(miette!("there is no estimate to print")),
    }
    args.expect.admit(estimate.as_ref(), &recipe.run_dir())
}
