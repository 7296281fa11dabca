//! `tokenzero generate`.

use super::{common, follow};
use crate::engine::{Choose, Draft, Engine, Generate, Params, Request};
use crate::model::{Checkpoint, Config, Tokenizer, Value, load_value};
use crate::search::{GuidedParams, Policy};
use crate::task::Message;
use burn::tensor::Device;
use miette::{IntoDiagnostic, Result, miette};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::JoinSet;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The question. Models with a chat template get it as the user's turn.
    #[arg(required_unless_present_any = ["prompts", "follow"], conflicts_with = "prompts")]
    question: Option<String>,
    /// Model directory in Hugging Face layout, or a checkpoint of a run.
    #[arg(long)]
    model: PathBuf,
    /// JSONL with the field `prompt`; one answer a line, in the order of the file.
    #[arg(long)]
    prompts: Option<PathBuf>,
    /// JSONL with `tokens` and `follow`, lists of token ids: print for each token of `follow` what the
    /// model finds most probable in its place, a JSON object a line, and generate nothing.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["question", "prompts", "simulations"])]
    follow: Option<PathBuf>,
    /// Tokens that are printed for each place of `--follow`.
    #[arg(long, requires = "follow", default_value_t = 5,
          value_parser = clap::value_parser!(u16).range(1..))]
    top: u16,
    /// Take prompts as they are, without a chat template.
    #[arg(long)]
    raw: bool,
    /// Print a JSON object a line with `tokens` and `text`.
    #[arg(long)]
    json: bool,
    /// Tokens of an answer at most.
    #[arg(long, default_value_t = 256, value_parser = clap::value_parser!(u32).range(1..))]
    max_new_tokens: u32,
    /// Softmax temperature; 0 is greedy.
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    /// Mass of the most probable tokens that draws are cut to.
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// Seed of the draws.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Checkpoint whose value net guides the search; default: the model's own.
    #[arg(long, requires = "simulations")]
    value: Option<PathBuf>,
    /// Search with this many simulations under the value net instead of decoding greedily.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    simulations: Option<u32>,
    /// Forward up to this many tokens along that followed the same words before; the answer is the same.
    #[arg(long, default_value_t = 0, conflicts_with = "simulations")]
    draft_tokens: usize,
    /// How weights are held: auto is bf16 on an accelerator that computes in it, else f32.
    #[arg(long, value_enum, default_value_t = common::Stored::Auto)]
    weights: common::Stored,
    /// Where to compute: cpu, cuda, cuda:N or wgpu.
    #[arg(long, default_value = "cpu")]
    device: String,
}

#[derive(Deserialize)]
struct Row {
    prompt: String,
}

/// What became of a prompt.
struct Answer {
    tokens: Vec<u32>,
    text: String,
}

pub(super) fn run(args: Args) -> Result<()> {
    let drawable =
        (0.0..=100.0).contains(&args.temperature) && args.top_p > 0.0 && args.top_p <= 1.0;
    if !drawable {
        return Err(miette!(
            help = "temperature is 0 or more, top_p above 0 and at most 1",
            "temperature {} with top_p {} is no way to draw",
            args.temperature,
            args.top_p
        ));
    }
    let prompts = prompts(&args)?;
    let texts = args.follow.as_deref().map(follow::read).transpose()?;
    let device = crate::model::device::open(&args.device).into_diagnostic()?;
    let checkpoint = Checkpoint::load(&args.model, &device).into_diagnostic()?;
    let mut value = checkpoint.value;
    if let Some(path) = &args.value {
        value = Some(value_net(path, checkpoint.policy.config(), &device)?);
    }
    if args.simulations.is_some() && value.is_none() {
        return Err(miette!(
            help = "give a checkpoint of a run with --model or --value, \
                    such as checkpoints/quickstart/iter-0003/checkpoint",
            "a search needs a value net and {} has none",
            args.value.as_ref().unwrap_or(&args.model).display()
        ));
    }
    let tokenizer = Arc::new(checkpoint.tokenizer);
    let value: Option<Value> = value.filter(|_| args.simulations.is_some());
    let params = Params {
        weights: args.weights.into(),
        ..Params::default()
    };
    let engine = Engine::start(checkpoint.policy, value, params).into_diagnostic()?;
    let policy = common::policy(&engine, &tokenizer);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .into_diagnostic()?;
    if let Some(texts) = texts {
        return runtime.block_on(follow::run(engine.handle(), texts, args.top.into()));
    }
    let mut tokens = Vec::with_capacity(prompts.len());
    for prompt in &prompts {
        tokens.push(encode(&tokenizer, prompt, args.raw)?);
    }
    let answers = runtime.block_on(answer_all(&policy, &tokenizer, tokens, &args))?;
    for answer in answers {
        match args.json {
            true => {
                let line = serde_json::json!({"tokens": answer.tokens, "text": answer.text});
                common::print(&line.to_string())?;
            }
            false => common::print(&answer.text)?,
        }
    }
    Ok(())
}

/// The value net of a checkpoint, or an exported one.
fn value_net(path: &Path, policy: &Config, device: &Device) -> Result<Value> {
    let inside = path.join("value");
    let dir = match inside.is_dir() {
        true => inside.as_path(),
        false => path,
    };
    load_value(dir, policy, device).into_diagnostic()
}

fn prompts(args: &Args) -> Result<Vec<String>> {
    let Some(path) = &args.prompts else {
        return Ok(args.question.iter().cloned().collect());
    };
    let text = std::fs::read_to_string(path)
        .map_err(|e| miette!("{} cannot be read: {e}", path.display()))?;
    let mut prompts = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let row: Row = serde_json::from_str(line).map_err(|e| {
            miette!(
                help = "every line is a JSON object with the text `prompt`",
                "{}:{}: {e}",
                path.display(),
                number + 1
            )
        })?;
        prompts.push(row.prompt);
    }
    Ok(prompts)
}

fn encode(tokenizer: &Tokenizer, prompt: &str, raw: bool) -> Result<Vec<u32>> {
    let tokens = match raw {
        true => tokenizer.encode(prompt),
        false => {
            // Models without a chat template were taught to answer after a line break.
            let messages = [Message::user(prompt)];
            tokenizer.prompt(&format!("{prompt}\n"), &messages)
        }
    }
    .into_diagnostic()?;
    match tokens.is_empty() {
        true => Err(miette!("a prompt is empty: write at least one token")),
        false => Ok(tokens),
    }
}

async fn answer_all(
    policy: &Policy,
    tokenizer: &Arc<Tokenizer>,
    prompts: Vec<Vec<u32>>,
    args: &Args,
) -> Result<Vec<Answer>> {
    let mut tasks = JoinSet::new();
    for (index, prompt) in prompts.into_iter().enumerate() {
        let policy = policy.clone();
        let (max_new_tokens, simulations) = (args.max_new_tokens as usize, args.simulations);
        let draft = (args.draft_tokens > 0).then(|| {
            Arc::new(Draft {
                tokens: args.draft_tokens,
                ..Draft::default()
            })
        });
        let seed = crate::search::seed_of(args.seed, &[index as u64]);
        let choose = match args.temperature {
            0.0 => Choose::Greedy,
            temperature => Choose::Sample {
                temperature,
                top_p: args.top_p,
                seed,
            },
        };
        tasks.spawn(async move {
            let tokens = match simulations {
                Some(simulations) => {
                    let limits = (simulations, max_new_tokens);
                    search(&policy, &prompt, limits, seed).await
                }
                None => decode(&policy, prompt, choose, max_new_tokens, draft).await,
            };
            (index, tokens)
        });
    }
    let mut done = Vec::new();
    while let Some(result) = tasks.join_next().await {
        let (index, tokens) = result.into_diagnostic()?;
        done.push((index, tokens?));
    }
    done.sort_by_key(|d| d.0);
    let answer = |(_, tokens): (usize, Vec<u32>)| Answer {
        text: tokenizer.decode(&tokens),
        tokens,
    };
    Ok(done.into_iter().map(answer).collect())
}

async fn decode(
    policy: &Policy,
    prompt: Vec<u32>,
    choose: Choose,
    max_new_tokens: usize,
    draft: Option<Arc<Draft>>,
) -> Result<Vec<u32>> {
    let slots = prompt.len() + max_new_tokens;
    let session = policy.engine.session(slots).await.into_diagnostic()?;
    let request = Request {
        context: Vec::new(),
        tokens: prompt,
        top_k: 1,
        generate: Some(Generate {
            draft,
            choose,
            max_new_tokens,
            stop: policy.stop.clone(),
            until: None,
            record: false,
        }),
        ..Request::default()
    };
    Ok(session.run(request).await.into_diagnostic()?.generated)
}

async fn search(
    policy: &Policy,
    prompt: &[u32],
    (simulations, max_new_tokens): (u32, usize),
    seed: u64,
) -> Result<Vec<u32>> {
    let params = GuidedParams {
        simulations,
        max_new_tokens,
        ..GuidedParams::default()
    };
    let guided = policy
        .guided(prompt, &params, seed)
        .await
        .into_diagnostic()?;
    Ok(guided.completion.tokens)
}
