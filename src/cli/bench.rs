//! `tokenzero bench`.

use super::{common, table};
use crate::bench::{self, Figure, Params, Report, Subject, What};
use crate::engine::{self, Weights};
use crate::task::Kind;
use clap::ValueEnum;
use miette::{IntoDiagnostic, Result, miette};
use std::path::PathBuf;

#[derive(Debug, clap::Args)]
#[command(group(clap::ArgGroup::new("subject").required(true).args(["model", "shape"])))]
pub(super) struct Args {
    /// The folder of a checkpoint or of a Hugging Face model.
    #[arg(long)]
    model: Option<PathBuf>,
    /// Random weights in the shape of a published model, such as qwen2.5-0.5b.
    #[arg(long)]
    shape: Option<String>,
    /// What to measure; everything where it is left out.
    #[arg(long, value_enum, value_delimiter = ',')]
    what: Vec<What>,
    /// Sequences at once: rows of a step, trees, sequences of a training batch.
    #[arg(long, default_value_t = 8, value_parser = at_least_one)]
    rows: usize,
    /// Tokens of each sequence before the measured ones, of a prompt, of a training sequence.
    #[arg(long, default_value_t = 128)]
    context: usize,
    /// Training sequences of a question, with their first half in common.
    #[arg(long, default_value_t = 1, value_parser = at_least_one)]
    siblings: usize,
    /// Times that each figure is measured; the median counts.
    #[arg(long, default_value_t = 5, value_parser = at_least_one)]
    repeats: usize,
    /// How weights are held: auto is bf16 on an accelerator that computes in it, else f32.
    #[arg(long, value_enum, default_value_t = common::Stored::Auto)]
    weights: common::Stored,
    /// Steps that an accelerator runs before their tokens are read back.
    #[arg(long, default_value_t = engine::Params::default().queued_steps, value_parser = at_least_one)]
    queued_steps: usize,
    /// Whether an accelerator captures its steps and replays them: off, auto (where the hardware does) or
    /// always.
    #[arg(long, value_enum, default_value_t = common::Replayed::Off)]
    graphs: common::Replayed,
    /// Whose questions are searched: countdown or arithmetic.
    #[arg(long, value_enum, default_value_t = Questions::Countdown)]
    task: Questions,
    /// Questions of a collection, and of value-guided answers.
    #[arg(long, default_value_t = 32, value_parser = at_least_one)]
    questions: usize,
    /// Simulations of a tree.
    #[arg(long, default_value_t = 30)]
    simulations: u32,
    /// Tokens of a solution at most.
    #[arg(long, default_value_t = 38, value_parser = at_least_one)]
    max_new_tokens: usize,
    /// Write the questions of the collection with their tokens to this file, a JSON object a line,
    /// for a peer to search the same trees.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Where to compute: cpu, cuda, cuda:N or wgpu.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print a JSON object; with a single figure, that figure's.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Questions {
    Countdown,
    Arithmetic,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(0) => Err("at least 1 is needed".into()),
        Ok(n) => Ok(n),
        Err(error) => Err(format!("{error}")),
    }
}

pub(super) fn run(args: Args) -> Result<()> {
    let params = Params {
        rows: args.rows,
        context: args.context,
        siblings: args.siblings,
        repeats: args.repeats,
        questions: args.questions,
        simulations: args.simulations,
        max_new_tokens: args.max_new_tokens,
    };
    let what = match args.what.is_empty() {
        true => What::value_variants().to_vec(),
        false => args.what.clone(),
    };
    let subject = subject(&args)?;
    if let Some(file) = &args.prompts {
        let mut lines = String::new();
        for prompt in subject.prompts(args.questions).into_diagnostic()? {
            lines += &serde_json::to_string(&prompt).into_diagnostic()?;
            lines.push('\n');
        }
        std::fs::write(file, lines)
            .map_err(|e| miette!("{} cannot be written: {e}", file.display()))?;
    }
    let report = bench::measure(&subject, &what, &params).into_diagnostic()?;
    if !args.json {
        return common::print(&text(&report));
    }
    let mut json = serde_json::to_value(&report).into_diagnostic()?;
    if let [only] = report.figures.as_slice()
        && let Some(object) = json.as_object_mut()
        && let serde_json::Value::Object(figure) = serde_json::to_value(only).into_diagnostic()?
    {
        object.remove("figures");
        object.extend(figure);
    }
    common::print(&json.to_string())
}

fn subject(args: &Args) -> Result<Subject> {
    let device = crate::model::device::open(&args.device).into_diagnostic()?;
    let device = (args.device.as_str(), device);
    let engine = engine::Params {
        weights: args.weights.into(),
        max_rows: args.rows.max(engine::Params::default().max_rows),
        queued_steps: args.queued_steps,
        graphs: args.graphs.into(),
        ..engine::Params::default()
    };
    let kind = match args.task {
        Questions::Countdown => Kind::Countdown,
        Questions::Arithmetic => Kind::Arithmetic,
    };
    if let Some(dir) = &args.model {
        return Subject::load(dir, kind, device, engine).into_diagnostic();
    }
    let name = args.shape.as_deref().unwrap_or_default();
    let subject = Subject::random(name, kind, device, engine).into_diagnostic()?;
    subject.ok_or_else(|| {
        miette!(
            help = format!("write one of {}", bench::names().join(", ")),
            "there is no shape `{name}`"
        )
    })
}

fn text(report: &Report) -> String {
    let machine = &report.machine;
    let rows = report.figures.iter().map(line).collect();
    format!(
        "{}, {:.1} million parameters, on {}, weights in {}\n\
         the machine: {:.1} GB/s in a copy, {:.0} GFLOP/s in a matrix product\n{}",
        report.model,
        report.parameters as f64 / 1e6,
        report.device,
        match report.weights {
            Weights::Bf16 => "bf16",
            _ => "f32",
        },
        machine.bytes_per_s / 1e9,
        machine.flops_per_s / 1e9,
        table::plain(
            [
                "what",
                "rows",
                "context",
                "median",
                "range",
                "unit",
                "of the roofline"
            ],
            rows
        )
    )
}

fn line(figure: &Figure) -> [String; 7] {
    let (low, high) = figure.range();
    [
        serde_json::to_value(figure.what)
            .ok()
            .and_then(|name| name.as_str().map(str::to_string))
            .unwrap_or_default(),
        figure.rows.to_string(),
        figure.context.to_string(),
        number(figure.median()),
        format!("{} to {}", number(low), number(high)),
        figure.unit.replace("_per_s", "/s").replace('_', " "),
        figure
            .share()
            .map_or_else(String::new, |share| format!("{:.0}%", 100.0 * share)),
    ]
}

/// Three figures at least.
fn number(x: f64) -> String {
    match x {
        x if x >= 100.0 => format!("{x:.0}"),
        x if x >= 10.0 => format!("{x:.1}"),
        x => format!("{x:.3}"),
    }
}
