//! How fast a model runs here, beside what the machine itself can do.
//!
//! Every figure is the median of several repeats, with the lowest and the highest. A share of the
//! roofline (Williams et al., 2009) compares it with the time that its memory traffic and its
//! arithmetic need at least, at the rates that [`Machine`] measured in the same run.

mod fits;
mod report;
mod searches;
mod shapes;
mod steps;
mod subject;

pub use crate::engine::Machine;
pub use report::{Figure, Report};
pub use shapes::{names, shape};
pub use subject::{Prompted, Subject};

use crate::memory::{self, Watch};
use crate::{collect, engine, search, train};
use serde::Serialize;

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    /// One token for each of `rows` sequences, step after step.
    Decode,
    /// Prompts of `context` tokens, `rows` at once.
    Prefill,
    /// A new leaf for each of `rows` trees, its answer awaited each time.
    Expansion,
    /// Searching train questions, as a collection does.
    Collect,
    /// Answering questions by value-guided search.
    Search,
    /// Fitting a value net, trunk and head.
    TrainValue,
    /// Fine-tuning the policy.
    TrainPolicy,
}

/// How it is measured.
#[derive(Debug, Clone)]
pub struct Params {
    /// Sequences at once: rows of a step, prompts, trees; for the fits, sequences of a batch.
    pub rows: usize,
    /// Tokens of each sequence before the measured ones; of a prompt; of a training sequence.
    pub context: usize,
    /// Training sequences of a question, which have their first half in common; they are drawn into a
    /// step together.
    pub siblings: usize,
    /// Times that everything is measured.
    pub repeats: usize,
    /// Questions of a collection or of value-guided answers.
    pub questions: usize,
    /// Simulations of a tree.
    pub simulations: u32,
    /// Tokens of a solution at most.
    pub max_new_tokens: usize,
}

/// Why a measurement failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Engine(#[from] engine::Error),
    #[error(transparent)]
    Search(#[from] search::Error),
    #[error(transparent)]
    Collect(#[from] collect::Error),
    #[error(transparent)]
    Train(#[from] train::Error),
    #[error(transparent)]
    Model(#[from] crate::model::CheckpointError),
    #[error(transparent)]
    Tokenizer(#[from] crate::model::TokenizerError),
    #[error(transparent)]
    Task(#[from] crate::task::Error),
    #[error("no runtime for the clients of the engine: {0}")]
    Runtime(#[from] std::io::Error),
    #[error(
        "the model has no value head, which value-guided search needs: name a checkpoint of a run"
    )]
    NoValue,
}

/// Measures `what` on `subject`.
///
/// # Errors
/// A sequence that is longer than the model takes, too few slots, and whatever the engine, a
/// search or a fit refuses.
pub fn measure(subject: &Subject, what: &[What], params: &Params) -> Result<Report, Error> {
    let machine = Machine::measure(subject.device());
    let mut figures = Vec::new();
    for &what in what {
        // What the measurement before it left must not count.
        memory::trim();
        let watch = Watch::start();
        let figure = match what {
            What::Decode => steps::decode(subject, params, &machine)?,
            What::Prefill => steps::prefill(subject, params, &machine)?,
            What::Expansion => steps::expansion(subject, params, &machine)?,
            What::Collect => searches::collect(subject, params)?,
            What::Search => searches::guided(subject, params)?,
            What::TrainValue => fits::value(subject, params, &machine)?,
            What::TrainPolicy => fits::policy(subject, params, &machine)?,
        };
        figures.push(Figure {
            peak_bytes: watch.end(),
            ..figure
        });
    }
    Ok(Report {
        model: subject.name().to_string(),
        device: subject.device_name().to_string(),
        weights: subject.weights()?,
        parameters: subject.config().parameters(),
        machine,
        figures,
    })
}
