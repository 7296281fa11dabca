//! `tokenzero check`.

use super::common::{self, RecipeArgs};
use crate::{model::Checkpoint, task};
use miette::{IntoDiagnostic, Result};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Check the recipe alone; do not open its model and data.
    #[arg(long)]
    offline: bool,
}

pub(super) fn run(args: Args) -> Result<()> {
    let recipe = args.recipe.read()?;
    let device = args.recipe.open_device()?;
    if !args.offline {
        task::open(&recipe.task).into_diagnostic()?;
        let dir = recipe.model.source().directory().into_diagnostic()?;
        let checkpoint = Checkpoint::load(&dir, &device).into_diagnostic()?;
        let config = checkpoint.policy.config();
        tracing::info!(
            parameters = config.parameters(),
            layers = config.num_hidden_layers,
            "the model loads"
        );
    }
    eprintln!(
        "{} is a valid recipe; fingerprint {}",
        args.recipe.recipe.display(),
        recipe.fingerprint()
    );
    common::print(recipe.render().trim_end())
}
