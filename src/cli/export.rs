//! `tokenzero export`.

use super::common;
use crate::evaluate::Evaluation;
use crate::iterate::iteration_dir;
use crate::model::{Card, Checkpoint, Metric, StoredType, export_policy, export_value};
use crate::recipe::Recipe;
use crate::task::Kind;
use clap::ValueEnum;
use miette::{IntoDiagnostic, Result, miette};
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    /// The value net, as a token-classification model with one label.
    Value,
    /// The fine-tuned policy, as a causal language model.
    Policy,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Type {
    F32,
    Bf16,
}

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The value net or the policy.
    what: What,
    /// Folder of a run.
    run: PathBuf,
    /// Folder to write.
    #[arg(long)]
    out: PathBuf,
    /// Iteration to export; default: the last one that was evaluated.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    iteration: Option<u32>,
    /// Type of the stored numbers.
    #[arg(long, value_enum, default_value = "f32")]
    dtype: Type,
}

pub(super) fn run(args: Args) -> Result<()> {
    let recipe = Recipe::read(&args.run.join("recipe.toml"), &[]).map_err(|e| {
        miette!(
            help = "name the folder of a run, as `tokenzero run` printed it",
            "{} is not the folder of a run: {e}",
            args.run.display()
        )
    })?;
    let iteration = match args.iteration {
        Some(iteration) => iteration,
        None => last_iteration(&args.run, &recipe)?,
    };
    let dir = iteration_dir(&args.run, iteration);
    let evaluation = Evaluation::read(&dir.join("evaluation.json")).into_diagnostic()?;
    let device = crate::model::device::open("cpu").into_diagnostic()?;
    let checkpoint = Checkpoint::load(&dir.join("checkpoint"), &device).into_diagnostic()?;
    let blended = checkpoint.value.as_ref().is_some_and(|value| {
        let calibration = &value.head().readout.calibration;
        calibration.blend().is_some()
    });
    if blended && matches!(args.what, What::Value) {
        tracing::warn!(
            "searches blend this value with the policy's log-probabilities, which the exported net does not \
             do: the weights lie beside it, in value.json"
        );
    }
    let card = card(&recipe, iteration, &evaluation);
    let stored = match args.dtype {
        Type::F32 => StoredType::F32,
        Type::Bf16 => StoredType::Bf16,
    };
    match args.what {
        What::Value => export_value(&checkpoint, &args.out, &card, stored),
        What::Policy => export_policy(&checkpoint, &args.out, &card, stored),
    }
    .into_diagnostic()?;
    common::print(&args.out.display().to_string())
}

fn last_iteration(run: &Path, recipe: &Recipe) -> Result<u32> {
    (1..=recipe.rounds.iterations)
        .rev()
        .find(|&i| iteration_dir(run, i).join("evaluation.json").exists())
        .ok_or_else(|| {
            miette!(
                help = "let `tokenzero run` finish an iteration first",
                "{} holds no finished iteration",
                run.display()
            )
        })
}

fn card(recipe: &Recipe, iteration: u32, evaluation: &Evaluation) -> Card {
    let base = match &recipe.model.path {
        Some(path) => path.display().to_string(),
        None => recipe.model.repo.clone(),
    };
    let name = recipe.task.kind.name();
    let (datasets, data) = match recipe.task.kind {
        Kind::Gsm8k => (vec![recipe.task.repo.clone()], "GSM8K".to_string()),
        Kind::Jsonl => (Vec::new(), "Local data".to_string()),
        Kind::Countdown | Kind::Arithmetic => (Vec::new(), format!("Generated `{name}` questions")),
    };
    let bundled = matches!(recipe.task.kind, Kind::Countdown | Kind::Arithmetic);
    let searched = u64::from(iteration) * recipe.collect.questions as u64;
    Card {
        title: format!("{} after {iteration} iterations", recipe.name),
        base_model: Some(base),
        // The bundled models have this licence; any other base keeps its own.
        licence: bundled.then(|| "apache-2.0".into()),
        datasets,
        data: format!(
            "{data}: traces of {searched} train questions; evaluated on {} questions of the \
             {:?} split.",
            evaluation.questions, evaluation.split
        ),
        recipe: recipe.render(),
        metrics: evaluation
            .methods
            .iter()
            .map(|(method, report)| Metric {
                method: method.clone(),
                accuracy: report.accuracy,
                low: report.low,
                high: report.high,
                total: report.total,
                forward_tokens: report.forward_tokens,
            })
            .collect(),
    }
}
