//! `tokenzero pretrain`.

use super::common;
use crate::model::{Checkpoint, Decoder, StoredType, Tokenizer, make_tokenizer};
use crate::recipe::{Pretrain, Stage};
use crate::stop::Stop;
use crate::task::{Kind, Worked, arithmetic, countdown};
use crate::train::{Context, PolicyExample, fit_policy};
use miette::{IntoDiagnostic, Result};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The recipe, a TOML file.
    recipe: PathBuf,
    /// Set a key of the recipe, for example `--set seed=1`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    sets: Vec<String>,
    /// Folder for the checkpoint instead of the recipe's.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where to compute: cpu, cuda, cuda:N or wgpu.
    #[arg(long, default_value = "cpu")]
    device: String,
}

pub(super) fn run(args: Args, stop: &Stop) -> Result<()> {
    let recipe = Pretrain::read(&args.recipe, &args.sets)?;
    let device = crate::model::device::open(&args.device).into_diagnostic()?;
    let out = args.out.unwrap_or_else(|| recipe.out.clone());
    common::fresh_dir(&out)?;
    let tokenizer = tokenizer(&recipe)?;
    let config = recipe.model.config(tokenizer.vocab_size(), tokenizer.eos());
    let monitor = common::monitor()?;
    monitor.line(&format!(
        "{} parameters, vocabulary of {}",
        config.parameters(),
        config.vocab_size
    ));
    let mut policy = Decoder::init(&config, recipe.seed, &device);
    let mut first_step = 0;
    for (index, stage) in recipe.stages.iter().enumerate() {
        let texts = texts(&recipe, index, stage);
        let examples: Vec<PolicyExample> = texts
            .iter()
            .enumerate()
            .map(|(id, text)| example(&tokenizer, id as u64, text))
            .collect::<Result<_>>()?;
        let context = Context {
            first_step,
            stop: stop.clone(),
            ..Context::new(&monitor)
        };
        let (fitted, report) =
            fit_policy::fit_policy(&policy, &examples, &stage.fit, &context).into_diagnostic()?;
        monitor.line(&format!(
            "stage {}: {} steps, loss {:.4}, {:.0} s",
            index + 1,
            report.steps,
            report.train_loss,
            report.seconds
        ));
        first_step += report.steps as u64;
        policy = fitted;
    }
    let checkpoint = Checkpoint {
        policy,
        value: None,
        tokenizer,
    };
    checkpoint.save(&out, StoredType::F32).into_diagnostic()?;
    common::print(&out.display().to_string())
}

fn tokenizer(recipe: &Pretrain) -> Result<Tokenizer> {
    match recipe.task {
        Kind::Arithmetic => {
            let texts = arithmetic::tokenizer_text(recipe.seed, 5000);
            make_tokenizer::byte_level(texts, &arithmetic::RARE_WORDS)
        }
        _ => make_tokenizer::word_level(&countdown::vocabulary()),
    }
    .into_diagnostic()
}

fn texts(recipe: &Pretrain, index: usize, stage: &Stage) -> Vec<Worked> {
    let seed = crate::search::seed_of(recipe.seed, &[index as u64]);
    match recipe.task {
        Kind::Arithmetic => arithmetic::pretraining(seed, stage.texts, &stage.arithmetic),
        _ => countdown::pretraining(seed, stage.texts, &stage.countdown),
    }
}

fn example(tokenizer: &Tokenizer, question: u64, text: &Worked) -> Result<PolicyExample> {
    let prompt = format!("{}\n", text.question);
    let first = tokenizer.encode(&prompt).into_diagnostic()?.len();
    let mut tokens = tokenizer
        .encode(&format!("{prompt}{}", text.solution))
        .into_diagnostic()?;
    tokens.push(tokenizer.eos());
    Ok(PolicyExample {
        tokens,
        first,
        weight: 1.0,
        question,
        aims: Vec::new(),
    })
}
