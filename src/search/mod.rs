//! Where tree, engine and grader meet: simulations, rollouts, value-guided decoding.

mod actions;
mod aide;
mod beam;
mod crowd;
mod decode;
mod draws;
mod driver;
mod grader;
mod guided;
mod judge;
mod ledger;
mod lookup;
mod options;
mod params;
mod pressure;
mod random;
mod reading;
mod redraw;
mod revise;
mod rewrite;
mod rollout;
mod rubric;
mod sample;
mod train_tree;

pub use actions::{Actions, Options, Prior};
pub use aide::{Aide, Aides};
pub use beam::Params as BeamParams;
pub use crowd::crowd;
pub use decode::{Completion, Policy, Spell};
pub use draws::{Drafts, Draw, draw_problem};
pub use grader::Grader;
pub use guided::{Guided, GuidedForm, Params as GuidedParams};
pub use judge::{Judge, check_judges};
pub use ledger::Ledger;
pub use params::{Noise, Params, PlayoutCap, RandomRoot, Rollout, Stop};
pub use random::{seed_of, stream};
pub use redraw::Params as RedrawParams;
pub use revise::{Params as ReviseParams, When};
pub use rubric::{RUBRIC, Rubric};
pub use sample::{Drawn, Params as SampleParams, Traced, sample, trace};
pub use train_tree::{Searched, search_problem};

/// Why a search could not be carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Engine(#[from] crate::engine::Error),
    #[error(transparent)]
    Reward(#[from] crate::task::reward::Fault),
    #[error("a task in the search was cancelled: {0}")]
    Join(#[from] tokio::task::JoinError),
    #[error("{path}: this checkpoint cannot help a search: {reason}")]
    Aide { path: String, reason: String },
    #[error("the rubric that is judge {place}, counted from 0, cannot be asked: {reason}")]
    Rubric { place: usize, reason: String },
    #[error("the phrase {phrase:?} cannot be put behind a solution: {reason}")]
    Phrase { phrase: String, reason: String },
}
