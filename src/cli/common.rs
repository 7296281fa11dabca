//! What several verbs share.

use super::table;
use crate::engine::{Engine, Graphs, Weights};
use crate::evaluate::{self, Sizes};
use crate::iterate::{Outcome, Run};
use crate::model::{self, Checkpoint, Source, Tokenizer, Value, ValueHead};
use crate::monitor::Monitor;
use crate::recipe::{Learn, Recipe};
use crate::search::Policy;
use crate::stop::Stop;
use crate::task::{self, Task};
use burn::module::Module;
use burn::tensor::Device;
use miette::{IntoDiagnostic, Result, miette};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// A recipe, amendments to it, and a device.
#[derive(Debug, clap::Args)]
pub(super) struct RecipeArgs {
    /// The recipe, a TOML file.
    pub recipe: PathBuf,
    /// Set a key of the recipe, for example `--set loop.iterations=1`.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub sets: Vec<String>,
    /// Where to compute: cpu, cuda, cuda:N or wgpu.
    #[arg(long, default_value = "cpu")]
    pub device: String,
}

impl RecipeArgs {
    pub fn new(recipe: PathBuf, sets: Vec<String>, device: String) -> RecipeArgs {
        RecipeArgs {
            recipe,
            sets,
            device,
        }
    }

    pub fn read(&self) -> Result<Recipe> {
        Ok(Recipe::read(&self.recipe, &self.sets)?)
    }

    pub fn open_device(&self) -> Result<Device> {
        model::device::open(&self.device).into_diagnostic()
    }
}

/// How weights are held, as an argument.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Stored {
    Auto,
    F32,
    Bf16,
}

impl From<Stored> for Weights {
    fn from(stored: Stored) -> Weights {
        match stored {
            Stored::Auto => Weights::Auto,
            Stored::F32 => Weights::F32,
            Stored::Bf16 => Weights::Bf16,
        }
    }
}

/// Whether steps are captured and replayed, as an argument.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum Replayed {
    Off,
    Auto,
    Always,
}

impl From<Replayed> for Graphs {
    fn from(replayed: Replayed) -> Graphs {
        match replayed {
            Replayed::Off => Graphs::Off,
            Replayed::Auto => Graphs::Auto,
            Replayed::Always => Graphs::Always,
        }
    }
}

/// Logs go to stderr; `RUST_LOG` wins over `verbose`.
pub(super) fn start_logs(verbose: u8) {
    let level = match verbose {
        0 => "tokenzero=warn",
        1 => "tokenzero=info",
        _ => "tokenzero=debug",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .without_time()
        .init();
}

/// How errors are printed.
pub(super) fn set_report_style() {
    // Every message of this crate has its causes in it already.
    let _ = miette::set_hook(Box::new(|_| {
        Box::new(
            miette::MietteHandlerOpts::new()
                .without_cause_chain()
                .build(),
        )
    }));
}

/// One line of data on stdout. A reader that went away ends the output, not the program.
pub(super) fn print(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{line}").and_then(|()| out.flush()) {
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => std::process::exit(0),
        written => written.into_diagnostic(),
    }
}

/// Progress on stderr.
pub(super) fn monitor() -> Result<Monitor> {
    Monitor::builder().console().build().into_diagnostic()
}

/// The checkpoint in `path`, or the one that the recipe names.
pub(super) fn checkpoint(
    recipe: &Recipe,
    path: Option<&Path>,
    device: &Device,
) -> Result<Checkpoint> {
    let source = match path {
        Some(path) => Source::Path(path.into()),
        None => recipe.model.source(),
    };
    let dir = source.directory().into_diagnostic()?;
    let mut checkpoint = Checkpoint::load(&dir, device).into_diagnostic()?;
    if checkpoint.value.is_none() {
        checkpoint.value = Some(Value::Shared(fresh_head(
            &recipe.learn,
            &checkpoint,
            device,
        )));
    }
    Ok(checkpoint)
}

/// A value head that says 0 everywhere.
fn fresh_head(learn: &Learn, checkpoint: &Checkpoint, device: &Device) -> ValueHead {
    let hidden = checkpoint.policy.config().hidden_size;
    ValueHead::shaped(learn.head_shape(), hidden, 0, device)
}

/// The policy of a running engine.
pub(super) fn policy(engine: &Engine, tokenizer: &Arc<Tokenizer>) -> Policy {
    Policy::new(engine.handle(), tokenizer)
}

/// What a phase that uses the model works with.
pub(super) struct Open {
    pub recipe: Recipe,
    pub task: Arc<dyn Task>,
    pub tokenizer: Arc<Tokenizer>,
    pub policy: Policy,
    pub monitor: Monitor,
    pub sizes: Sizes,
    /// Serves `policy` as long as it lives.
    _engine: Engine,
}

impl Open {
    /// Opens data and model, the one in `model` or the recipe's, and starts the engine; with
    /// `valued`, with the value head.
    pub fn new(
        args: &RecipeArgs,
        model: Option<&Path>,
        valued: impl FnOnce(&Recipe) -> bool,
    ) -> Result<Open> {
        let recipe = args.read()?;
        let device = args.open_device()?;
        let task = task::open(&recipe.task).into_diagnostic()?;
        let checkpoint = checkpoint(&recipe, model, &device)?;
        let tokenizer = Arc::new(checkpoint.tokenizer);
        let value = checkpoint.value.filter(|_| valued(&recipe));
        let sizes = Sizes {
            policy: checkpoint.policy.config().parameters(),
            trunk: match &value {
                Some(Value::Separate { trunk, .. }) => trunk.config().parameters(),
                _ => 0,
            },
            head: value.as_ref().map_or(0, |value| value.head().num_params()),
        };
        let engine =
            Engine::start(checkpoint.policy, value, recipe.engine.clone()).into_diagnostic()?;
        Ok(Open {
            task,
            policy: policy(&engine, &tokenizer),
            tokenizer,
            monitor: monitor()?,
            sizes,
            recipe,
            _engine: engine,
        })
    }
}

impl Open {
    /// What an evaluation runs on.
    pub fn setting<'a>(&'a self, stop: &'a Stop) -> evaluate::Setting<'a> {
        evaluate::Setting {
            policy: &self.policy,
            tokenizer: &self.tokenizer,
            task: &self.task,
            monitor: &self.monitor,
            iteration: 0,
            seed: self.recipe.seed,
            stop,
        }
    }
}

/// Runs every unfinished phase, with a row of the table for each iteration.
pub(super) fn run_to_end(run: &mut Run, monitor: &Monitor, stop: &Stop) -> Result<Vec<Outcome>> {
    monitor.line(&table::head());
    let outcomes = run
        .run(|outcome| monitor.line(&table::row(outcome)))
        .map_err(|error| match stop.asked() {
            true => miette!("stopped; the same command goes on from here"),
            false => miette::Report::from_err(error),
        })?;
    monitor.flush().into_diagnostic()?;
    Ok(outcomes)
}

/// Writes a file whole or not at all.
pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    crate::trace::fs::write_atomic(path, |file| file.write_all(text.as_bytes())).into_diagnostic()
}

/// Deletes what an earlier call has left for TensorBoard: a sweep with more seeds has other means at the same
/// steps.
pub(super) fn clear_board(board: &Path) -> Result<()> {
    match board.exists() {
        true => std::fs::remove_dir_all(board).into_diagnostic(),
        false => Ok(()),
    }
}

/// Refuses to write into a folder that holds something.
pub(super) fn fresh_dir(dir: &Path) -> Result<()> {
    let taken = std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some());
    if taken || dir.is_file() {
        return Err(miette!(
            help = "name a folder that does not exist yet, or empty it",
            "{} exists already",
            dir.display()
        ));
    }
    Ok(())
}
