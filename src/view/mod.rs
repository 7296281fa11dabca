//! A run as one HTML page: its curves, its evaluations, how far the value head is to be believed,
//! and search trees to walk through. A look from outside: nothing of the run is changed.

mod curves;
mod forest;
mod page;
mod reliability;
mod sample;
mod trees;
mod vocabulary;

pub use curves::{Axis, Chart, POINTS, Series};
pub use forest::{Nodes, Tree};
pub use reliability::Reliability;
pub use sample::{Limit, Outcome, Sample};
pub use vocabulary::{Texts, Vocabulary};

use crate::evaluate::Evaluation;
use crate::iterate::inspect;
use crate::model::{Source, Tokenizer, TokenizerError};
use crate::recipe::Recipe;
use crate::{iterate, monitor, trace};
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Trees of a page when no number is given.
const TREES: usize = 600;
/// Their nodes: about 12 MB.
const NODES: usize = 150_000;

/// Why there is no page.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Run(#[from] iterate::Error),
    #[error(transparent)]
    Events(#[from] monitor::Error),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(
        "the tokens in the traces of {run} cannot be read: the run has no checkpoint yet, and the \
         model of its recipe is not here ({cause}); name a folder with its tokenizer.json with \
         --tokenizer"
    )]
    NoModel { run: PathBuf, cause: String },
    #[error("{run} has no recorded tree of question {question}; {recorded}")]
    NoQuestion {
        run: PathBuf,
        question: u64,
        recorded: String,
    },
    #[error("the page cannot be written as JSON: {0}")]
    Json(#[from] serde_json::Error),
}

/// What the page shows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Params {
    /// Trees at most; default 600, or fewer large ones.
    pub trees: Option<usize>,
    /// Only trees of these questions, all of them unless `trees` says how many.
    pub questions: Vec<u64>,
    /// Folder of the tokenizer; default: that of the run.
    pub tokenizer: Option<PathBuf>,
}

impl Params {
    fn limit(&self) -> Limit {
        let all = Limit {
            trees: usize::MAX,
            nodes: usize::MAX,
        };
        match self.trees {
            Some(trees) => Limit { trees, ..all },
            None if !self.questions.is_empty() => all,
            None => Limit {
                trees: TREES,
                nodes: NODES,
            },
        }
    }
}

/// A finished page.
#[derive(Debug)]
pub struct Page {
    pub html: String,
    /// Trees in it.
    pub shown: usize,
    /// Trees that the run has recorded.
    pub recorded: u64,
}

/// Everything that the page's script gets.
#[derive(Serialize)]
struct Data {
    run: String,
    standing: String,
    charts: Vec<Chart>,
    evaluations: Vec<Evaluation>,
    reliability: Vec<Reliability>,
    iterations: Vec<trees::Recorded>,
    trees: Vec<Tree>,
    /// Only some questions were asked for.
    chosen: bool,
    vocabulary: Texts,
}

/// The page of the run in `dir`, finished or not.
///
/// # Errors
/// No run there, files of it that cannot be read, no tokenizer, or no tree of a wanted question.
pub fn view(dir: &Path, params: &Params) -> Result<Page, Error> {
    let run = inspect::inspect(dir)?;
    let charts = curves::charts(&monitor::scalars(&dir.join("events.jsonl"))?);
    let mut reliability = Vec::new();
    for outcome in &run.outcomes {
        reliability.extend(reliability::of_answers(dir, outcome.iteration)?);
    }
    let found = trees::read(dir, params)?;
    reliability.extend(found.reliability);
    let mut vocabulary = Vocabulary::default();
    let trees: Vec<Tree> = (found.trees.iter())
        .map(|tree| Tree::of(tree, &mut vocabulary))
        .collect();
    let vocabulary = match trees.is_empty() {
        true => Texts::default(),
        false => vocabulary.texts(&tokenizer(dir, params)?),
    };
    let path = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = path.file_name().unwrap_or(path.as_os_str());
    let name = name.to_string_lossy().into_owned();
    let shown = trees.len();
    let recorded = found.iterations.iter().map(trees::Recorded::total).sum();
    let data = Data {
        standing: run.standing(),
        charts,
        evaluations: run.outcomes.into_iter().map(|o| o.evaluation).collect(),
        reliability,
        iterations: found.iterations,
        trees,
        chosen: !params.questions.is_empty(),
        vocabulary,
        run: name.clone(),
    };
    Ok(Page {
        html: page::render(&name, &data)?,
        shown,
        recorded,
    })
}

/// The tokenizer of the run: of its first checkpoint, else of the model that it started from.
fn tokenizer(dir: &Path, params: &Params) -> Result<Tokenizer, Error> {
    let of_run = || {
        let iterations = (1..).map(|i| iterate::iteration_dir(dir, i));
        let mut checkpoints = iterations
            .take_while(|i| i.is_dir())
            .map(|i| i.join("checkpoint"));
        checkpoints.find(|checkpoint| checkpoint.join("tokenizer.json").exists())
    };
    if let Some(place) = params.tokenizer.clone().or_else(of_run) {
        return Ok(Tokenizer::load(&place)?);
    }
    // A look at a run is no reason to fetch a model.
    let recipe = Recipe::read(&dir.join("recipe.toml"), &[]);
    let (model, cause) = match &recipe {
        Ok(recipe) => (recipe.model.source().local(), name(&recipe.model.source())),
        Err(error) => (None, error.to_string()),
    };
    let model = model.ok_or_else(|| Error::NoModel {
        run: dir.to_owned(),
        cause,
    })?;
    Ok(Tokenizer::load(&model)?)
}

fn name(source: &Source) -> String {
    match source {
        Source::Path(path) => path.display().to_string(),
        Source::Hub { repo, .. } => repo.clone(),
    }
}
