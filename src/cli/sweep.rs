//! `tokenzero sweep`.

use super::{common, judged, summary, table};
use crate::evaluate::ranking::Place;
use crate::iterate::{Outcome, Prospect, Reuse, TrainReport, inspect};
use crate::model;
use crate::monitor::Monitor;
use crate::recipe::Recipe;
use crate::recipe::sweep::{Sweep, Variant};
use crate::stop::Stop;
use crate::trace::table::Table;
use miette::{IntoDiagnostic, Result, miette};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// The sweep, a TOML file: a recipe, the keys to vary and their values.
    sweep: PathBuf,
    /// Folder of the runs and of sweep.parquet. Default: checkpoints/<name of the sweep>.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Where to compute: cpu, cuda, cuda:N or wgpu.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Only these settings, by the names of their folders without the seed, and the control.
    #[arg(long, value_name = "SETTING", value_delimiter = ',')]
    only: Vec<String>,
    /// Run nothing: print means over the seeds of each setting, from sweep.parquet, and draw curves over the
    /// values of the key where only one is varied.
    #[arg(long)]
    summary: bool,
    /// With --summary: print JSON instead of a table.
    #[arg(long, requires = "summary")]
    json: bool,
}

/// A run of a sweep and what its iterations came to.
type Run = (Variant, Vec<Outcome>);

pub(super) fn run(args: Args, stop: &Stop) -> Result<()> {
    let sweep = Sweep::read(&args.sweep)?;
    let variants = chosen(&sweep, &args.only)?;
    let out = args.out.unwrap_or_else(|| {
        let name = args.sweep.file_stem().unwrap_or_default();
        Path::new("checkpoints").join(name)
    });
    let table = out.join("sweep.parquet");
    if args.summary {
        let summaries = summary::read(&table, &sweep)?;
        summary::draw(&sweep, &summaries, &out)?;
        let judged = judged::read(&sweep, &out)?;
        judged.write(&out)?;
        return match args.json {
            true => {
                let all = serde_json::json!({ "settings": summaries, "verdicts": judged.rulings });
                common::print(&all.to_string())
            }
            false => tell(&summaries, &judged),
        };
    }
    let device = model::device::open(&args.device).into_diagnostic()?;
    std::fs::create_dir_all(&out).into_diagnostic()?;
    // What an earlier call has finished stays in the table.
    let mut done: BTreeMap<usize, Run> = BTreeMap::new();
    let all = sweep.variants();
    for (place, variant) in all.iter().enumerate() {
        let dir = out.join(&variant.name);
        if !variants.contains(variant) && inspect::is_finished(&dir).into_diagnostic()? {
            let outcomes = inspect::outcomes(&dir).into_diagnostic()?;
            done.insert(place, (variant.clone(), outcomes));
        }
    }
    let chosen = all.iter().enumerate();
    let chosen = chosen.filter(|(_, variant)| variants.contains(variant));
    for (index, (place, variant)) in chosen.enumerate() {
        let dir = out.join(&variant.name);
        let recipe = Recipe::read(&sweep.recipe, &variant.sets)?;
        eprintln!("{} of {}: {}", index + 1, variants.len(), variant.name);
        // A run that is finished says so and costs nothing; one that was cut goes on.
        let prospect = Prospect::open(&recipe, &dir, &device, Reuse::Resume).into_diagnostic()?;
        let monitor = Monitor::builder()
            .tensorboard(dir.join("tensorboard"))
            .json_lines(dir.join("events.jsonl"))
            .console()
            .build()
            .into_diagnostic()?;
        let mut run = prospect
            .begin()
            .into_diagnostic()?
            .watched_by(monitor.clone())
            .stopped_by(stop.clone());
        let outcomes = common::run_to_end(&mut run, &monitor, stop)?;
        done.insert(place, (variant.clone(), outcomes));
        // After every run, so that a sweep that is cut has its table too.
        write(&sweep, &done.values().collect::<Vec<_>>(), &table)?;
    }
    common::print(&table::sweep(done.values()))?;
    let summaries = summary::read(&table, &sweep)?;
    let judged = judged::read(&sweep, &out)?;
    tell(&summaries, &judged)?;
    summary::draw(&sweep, &summaries, &out)?;
    judged.write(&out)?;
    common::print(&format!(
        "All in {}: sweep.parquet has a row for each run, verdicts.json the verdicts, greedy.svg and \
         searched.svg accuracy against the tokens collected.",
        out.display()
    ))?;
    common::print(&format!("  tensorboard --logdir {}", out.display()))
}

/// The runs of the settings in `only`, and of the control; all where it is empty.
fn chosen(sweep: &Sweep, only: &[String]) -> Result<Vec<Variant>> {
    let all = sweep.variants();
    let known = |name: &String| all.iter().any(|variant| variant.setting() == name);
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        let mut names: Vec<&str> = all.iter().map(Variant::setting).collect();
        names.dedup();
        return Err(miette!(
            help = format!("the settings are {}", names.join(", ")),
            "no setting is called `{unknown}`"
        ));
    }
    let control = sweep.control();
    let wanted = |variant: &Variant| {
        let setting = variant.setting();
        only.is_empty() || setting == control || only.iter().any(|name| name == setting)
    };
    Ok(all.into_iter().filter(wanted).collect())
}

/// Means over seeds, and what they say beside the control.
fn tell(summaries: &[summary::Summary], judged: &judged::Judged) -> Result<()> {
    common::print(&summary::show(summaries))?;
    common::print(&judged.text())
}

/// How whole texts rank, where the last evaluation ranked them.
fn whole_texts(outcome: &Outcome) -> Option<&Place> {
    outcome.evaluation.ranking.as_ref()?.by_fraction.last()
}

/// One row a run: the varied keys, the seed, every method's accuracy and tokens before and after, the tokens
/// that all collections and all fits forwarded, and the value's ranking of texts of the same question beside that by their log-probability.
fn write(sweep: &Sweep, done: &[&Run], path: &Path) -> Result<()> {
    let mut columns = Table::new()
        .column_str("run", done.iter().map(|d| d.0.name.clone()).collect())
        .column_u64("seed", done.iter().map(|d| d.0.seed).collect());
    for key in sweep.keys() {
        let value = |d: &&Run| d.0.values.get(key).cloned().unwrap_or_default();
        columns = columns.column_str(key, done.iter().map(value).collect());
    }
    let mut methods: Vec<&String> = Vec::new();
    for (_, outcomes) in done {
        if let Some(last) = outcomes.last() {
            methods.extend(last.evaluation.methods.keys());
        }
    }
    methods.sort();
    methods.dedup();
    for method in methods {
        let of = |outcome: Option<&Outcome>| {
            let report = outcome.and_then(|o| o.evaluation.methods.get(method));
            report.map_or((f64::NAN, f64::NAN), |r| (r.accuracy, r.forward_tokens))
        };
        let before = done.iter().map(|d| of(d.1.first()).0).collect();
        let (after, tokens) = done.iter().map(|d| of(d.1.last())).unzip();
        columns = columns
            .column_f64(&format!("{method}_before"), before)
            .column_f64(method, after)
            .column_f64(&format!("{method}_tokens"), tokens);
    }
    let all = |of: fn(&Outcome) -> u64| {
        let sum = |d: &&Run| d.1.iter().map(of).sum();
        done.iter().map(sum).collect()
    };
    columns = columns
        .column_u64(
            "collected_tokens",
            all(|o| o.collected.as_ref().map_or(0, |c| c.forward_tokens)),
        )
        .column_u64(
            "trained_tokens",
            all(|o| o.trained.as_ref().map_or(0, TrainReport::tokens)),
        );
    // A run that measured no ranking has no number for it.
    let mut of_last = |name: &str, of: fn(&Outcome) -> Option<f64>| {
        let last = |d: &&Run| d.1.last().and_then(of).unwrap_or(f64::NAN);
        columns = std::mem::take(&mut columns).column_f64(name, done.iter().map(last).collect());
    };
    of_last("ranking", table::ranked);
    of_last("ranking_log_prob_sum", |o| {
        Some(whole_texts(o)?.log_prob_sum.mean)
    });
    of_last("ranking_log_prob_mean", |o| {
        Some(whole_texts(o)?.log_prob_mean.mean)
    });
    columns.write(path).into_diagnostic()
}
