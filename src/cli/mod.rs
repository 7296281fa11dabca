//! The command line: one file a verb. stdout is data, stderr is logs.

mod bench;
mod bug;
mod check;
mod common;
mod compare;
mod evaluate;
mod expect;
mod export;
mod follow;
mod generate;
mod grade;
mod judged;
mod phases;
mod pretrain;
mod rank;
mod run;
mod show;
mod signals;
mod summary;
mod sweep;
mod table;
mod view;

use clap::{Parser, Subcommand};
use signals::Signals;
use std::process::ExitCode;

/// AlphaZero's loop for language models.
#[derive(Debug, Parser)]
#[command(name = "tokenzero", version, about, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// More log lines on stderr; twice for still more.
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    verbose: u8,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Run a recipe: collect, train, evaluate, again. Goes on where it stopped.
    Run(run::Args),
    /// Check a recipe without running it and print it with every default written out.
    Check(check::Args),
    /// Search train questions and leave the trees as Parquet traces.
    Collect(phases::CollectArgs),
    /// Fit policy and value on one trunk to traces.
    TrainJoint(phases::TrainArgs),
    /// Fit a value net to traces.
    TrainValue(phases::TrainArgs),
    /// Fine-tune the policy on the right solutions in traces.
    TrainPolicy(phases::TrainArgs),
    /// Compare greedy decoding, votes, best-of-n and value-guided search on held-out questions.
    Evaluate(evaluate::Args),
    /// Put the methods of one recipe or several on one plot of accuracy against tokens, with verdicts.
    Compare(compare::Args),
    /// Judge a value: how often it prefers right to wrong texts of a question, beside log-probability.
    Rank(rank::Args),
    /// Make a small model from nothing on generated text.
    Pretrain(pretrain::Args),
    /// Answer a question, or a file of prompts.
    Generate(generate::Args),
    /// Grade completions in a JSONL file.
    Grade(grade::Args),
    /// Print where a run stands, while it runs or after.
    Show(show::ShowArgs),
    /// Compare two runs: their recipes, and their answers question by question.
    Diff(show::DiffArgs),
    /// Make one HTML page of a run: curves, evaluations, the value's reliability, search trees.
    View(view::Args),
    /// Run a recipe many times with some of its keys varied, and leave a table of the results.
    Sweep(sweep::Args),
    /// Export the policy or the value net of a run as a Hugging Face directory.
    Export(export::Args),
    /// Measure decoding, searching and training, beside what the machine can do.
    Bench(bench::Args),
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    crate::memory::keep_freed_pages();
    common::start_logs(cli.verbose);
    common::set_report_style();
    let signals = match &cli.verb {
        Verb::Bench(_)
        | Verb::Check(_)
        | Verb::Generate(_)
        | Verb::Grade(_)
        | Verb::Show(_)
        | Verb::Diff(_)
        | Verb::View(_)
        | Verb::Export(_) => Signals::default(),
        _ => Signals::catch(),
    };
    let stop = &signals.stop;
    let result = bug::caught(|| match cli.verb {
        Verb::Run(args) => run::run(args, stop),
        Verb::Check(args) => check::run(args),
        Verb::Collect(args) => phases::collect(args, stop),
        Verb::TrainJoint(args) => phases::train_joint(args, stop),
        Verb::TrainValue(args) => phases::train_value(args, stop),
        Verb::TrainPolicy(args) => phases::train_policy(args, stop),
        Verb::Evaluate(args) => evaluate::run(args, stop),
        Verb::Compare(args) => compare::run(args, stop),
        Verb::Rank(args) => rank::run(args, stop),
        Verb::Pretrain(args) => pretrain::run(args, stop),
        Verb::Generate(args) => generate::run(args),
        Verb::Grade(args) => grade::run(args),
        Verb::Show(args) => show::show(args),
        Verb::Diff(args) => show::diff(args),
        Verb::View(args) => view::run(args),
        Verb::Sweep(args) => sweep::run(args, stop),
        Verb::Export(args) => export::run(args),
        Verb::Bench(args) => bench::run(args),
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(report) => {
            // What failed because the work was told to stop is no failure of its own.
            if let Some(code) = signals.exit_code() {
                eprintln!("{report}");
                return code;
            }
            eprintln!("{report:?}");
            ExitCode::FAILURE
        }
    }
}
