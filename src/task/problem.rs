//! A question with its gold answer, typed by the split that it belongs to.

use std::fmt::Debug;
use std::marker::PhantomData;

/// A part of a data set that must not mix with the others.
pub trait Split: Copy + Default + Debug + Send + Sync + 'static {
    /// The split's name, as recipes and reports write it.
    const NAME: &'static str;
}

/// Questions that collection and training may see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Train;

/// Questions held out of training, on which constants are chosen and new checkpoints are gated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dev;

/// Questions whose accuracy is reported and decides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Test;

impl Split for Train {
    const NAME: &'static str = "train";
}

impl Split for Dev {
    const NAME: &'static str = "dev";
}

impl Split for Test {
    const NAME: &'static str = "test";
}

/// A split that evaluation may use: [`Dev`] or [`Test`], never [`Train`].
pub trait HeldOut: Split {}

impl HeldOut for Dev {}
impl HeldOut for Test {}

/// One question and its gold answer. `S` keeps a test question out of training at compile time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem<S: Split> {
    /// Generated tasks: the position in the split's sequence. Files: the row in the file, from 0.
    pub id: u64,
    /// The question as the data set writes it, without a prompt around it.
    pub question: String,
    /// The gold answer, canonical: what [`Task::answer`](super::Task::answer) gives for a right completion.
    pub gold: String,
    /// Whether the policy wrote the question itself; only a train question can be.
    pub imagined: bool,
    split: PhantomData<S>,
}

impl<S: Split> Problem<S> {
    /// A problem of the split `S`.
    pub fn new(id: u64, question: impl Into<String>, gold: impl Into<String>) -> Self {
        Self {
            id,
            question: question.into(),
            gold: gold.into(),
            imagined: false,
            split: PhantomData,
        }
    }
}

impl Problem<Train> {
    /// The question number `index` of those that the policy wrote in `iteration`; its id is none of the
    /// data's, and exact as a double.
    pub fn imagined(
        iteration: u32,
        index: u32,
        question: impl Into<String>,
        gold: impl Into<String>,
    ) -> Self {
        let id = 1 << 52 | (u64::from(iteration) & 0xF_FFFF) << 32 | u64::from(index);
        Self {
            imagined: true,
            ..Self::new(id, question, gold)
        }
    }
}

/// What the grader says about one finished completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grade {
    /// Whether the completion solves the question.
    pub correct: bool,
    /// The final answer that was read from the completion, canonical; none where there is none.
    pub parsed: Option<String>,
}

/// One pretraining example: a question and a worked solution, which need not be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Worked {
    /// The question, as in [`Problem::question`].
    pub question: String,
    /// The solution, without the stop token.
    pub solution: String,
}
