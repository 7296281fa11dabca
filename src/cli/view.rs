//! `tokenzero view`.

use super::common;
use crate::trace;
use crate::view::{self, Params};
use miette::{IntoDiagnostic, Result, miette};
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Folder of a run, finished or at work.
    run: PathBuf,
    /// HTML file to write; one that is there is replaced.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Search trees to show at most; default: 600, fewer if they are large.
    #[arg(long, value_name = "N")]
    trees: Option<usize>,
    /// Show the trees of this question only; may be repeated.
    #[arg(long, value_name = "ID")]
    question: Vec<u64>,
    /// Folder with the model's tokenizer.json, where the run has no checkpoint yet and its model is
    /// elsewhere.
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
}

pub(super) fn run(args: Args) -> Result<()> {
    check_place(&args.out)?;
    let params = Params {
        trees: args.trees,
        questions: args.question,
        tokenizer: args.tokenizer,
    };
    let page = view::view(&args.run, &params).into_diagnostic()?;
    trace::fs::write_atomic_bytes(&args.out, page.html.as_bytes()).into_diagnostic()?;
    eprintln!(
        "{:.1} MB, with {} of {} recorded trees",
        page.html.len() as f64 / 1e6,
        page.shown,
        page.recorded
    );
    common::print(&args.out.display().to_string())
}

/// Before any work: a page can be written there.
fn check_place(out: &Path) -> Result<()> {
    if out.is_dir() {
        let file = out.join("run.html");
        return Err(miette!(
            help = format!("name a file in it, for example {}", file.display()),
            "{} is a folder",
            out.display()
        ));
    }
    match out.parent() {
        Some(dir) if !dir.as_os_str().is_empty() && !dir.is_dir() => Err(miette!(
            help = "create it, or name a file in a folder that exists",
            "{} is no folder, so {} cannot be written",
            dir.display(),
            out.display()
        )),
        _ => Ok(()),
    }
}
