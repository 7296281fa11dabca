//! Tasks: questions in typed splits, the prompts that ask them, and the graders that check the
//! finished text. This module knows nothing of models.

pub mod arithmetic;
mod class;
pub mod countdown;
pub mod equations;
mod error;
pub mod grade;
mod gsm8k;
mod jsonl;
mod params;
mod problem;
mod prompt;
pub mod reward;
mod rows;

pub use error::Error;
pub use grade::{Answers, Gold};
pub use params::{Kind, Params};
pub use problem::{Dev, Grade, HeldOut, Problem, Split, Test, Train, Worked};
pub use prompt::{Message, Prompt};

use std::ops::Range;
use std::sync::Arc;

/// A data set with its prompt and its grader.
///
/// Every split is a fixed sequence: the same call gives the same problems. No question is in two
/// splits.
pub trait Task: Send + Sync {
    /// The task's name, for reports.
    fn name(&self) -> &str;

    /// The train problems at these positions of the train sequence; fewer where the data ends.
    fn train(&self, range: Range<usize>) -> Result<Vec<Problem<Train>>, Error>;

    /// The first `limit` dev problems; fewer where the data ends.
    fn dev(&self, limit: usize) -> Result<Vec<Problem<Dev>>, Error>;

    /// The first `limit` test problems; fewer where the data ends.
    fn test(&self, limit: usize) -> Result<Vec<Problem<Test>>, Error>;

    /// How a policy is asked the question.
    fn prompt(&self, question: &str) -> Prompt;

    /// Grades a finished completion. It looks at the text only; a completion without an answer is
    /// wrong, never an error.
    fn grade(&self, question: &str, gold: &str, completion: &str) -> Grade;

    /// How a policy is asked to write a question like `examples`; none where the task cannot use one.
    fn imagine(&self, _examples: &[&str]) -> Option<Prompt> {
        None
    }

    /// The question that a policy wrote when asked so; none where it wrote none. `finished` says whether the
    /// text ended by itself.
    fn imagined(&self, _completion: &str, _finished: bool) -> Option<String> {
        None
    }

    /// The completion's final answer in canonical form: what a majority vote counts.
    fn answer(&self, completion: &str) -> Option<String>;
}

/// Opens a task; data files are read and every gold answer is parsed here.
///
/// # Errors
/// Missing or unreadable data, rows that do not fit the columns, gold answers that are not
/// of their kind, a question in both train and test; see [`Error`].
pub fn open(params: &Params) -> Result<Arc<dyn Task>, Error> {
    if let (Kind::Countdown | Kind::Arithmetic, Some(path)) = (params.kind, &params.path) {
        return Err(Error::UselessPath {
            kind: params.kind,
            path: path.clone(),
        });
    }
    params.check()?;
    Ok(match params.kind {
        Kind::Countdown => Arc::new(countdown::Countdown::new(params.seed)),
        Kind::Arithmetic => Arc::new(arithmetic::Arithmetic::new(params.seed)),
        Kind::Gsm8k => Arc::new(gsm8k::open(params)?),
        Kind::Jsonl => Arc::new(jsonl::open(params)?),
    })
}
