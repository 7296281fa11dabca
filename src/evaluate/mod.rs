//! Evaluation: every method on the same held-out questions, each charged its forward tokens.

mod answers;
pub mod bootstrap;
pub mod contest;
pub mod frontier;
pub mod gate;
mod paired;
mod pairs;
pub mod ranking;
mod report;
mod sizes;
pub mod statistics;
mod verdict;
pub mod vote;

pub use paired::Paired;
pub use ranking::Ranking;
pub use report::{Comparison, Evaluation, MethodReport};
pub use sizes::Sizes;
pub use verdict::Verdict;

use crate::engine::Meter;
use crate::model::Tokenizer;
use crate::monitor::{Monitor, Progress, step_in};
use crate::search::{self, BeamParams, GuidedParams, Policy, SampleParams, stream};
use crate::stop::{Stop, Stopped};
use crate::task::{self, Grade, HeldOut, Problem, Task};
use crate::trace;
use answers::{Answer, Question};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A held-out split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitName {
    /// Held out of the train split: for choosing constants.
    Dev,
    /// The test split: for the record only.
    #[default]
    Test,
}

/// Which methods are compared, on how many questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// `test` or `dev`. Default `test`.
    pub split: SplitName,
    /// Questions, the first ones of the split; 0 for all of them. Default 500.
    pub questions: usize,
    /// Takes a random sample of the split instead of its first questions, seeded by this: the same
    /// questions for every run with the same seed, in the order of the split. Default: none.
    pub sample: Option<u64>,
    /// Texts drawn for a vote and for best-of-n. Default 8.
    pub samples: usize,
    /// Texts drawn for a question, to rank right ones against wrong ones of the same question by the value
    /// and by their log-probability: whether the value helps. 0 for none. Default 0.
    pub rank: usize,
    /// Share of the questions that may fail (too long a prompt, for one) before the evaluation
    /// stops; those that do count as wrong. Default 0.05.
    pub max_failures: f64,
    /// Questions worked on at once. Default 256.
    pub workers: usize,
    /// Tokens of a greedy solution at most, its stop token included. Default 256.
    pub max_new_tokens: usize,
    /// How texts are drawn.
    pub sampling: SampleParams,
    /// Value-guided searches by name; `searched` is the one that summaries show.
    pub search: BTreeMap<String, GuidedParams>,
    /// Beam searches by value, by name. Default: none.
    pub beam: BTreeMap<String, BeamParams>,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            split: SplitName::Test,
            questions: 500,
            sample: None,
            samples: 8,
            rank: 0,
            max_failures: 0.05,
            workers: 256,
            max_new_tokens: 256,
            sampling: SampleParams::default(),
            search: BTreeMap::from([("searched".to_string(), GuidedParams::default())]),
            beam: BTreeMap::new(),
        }
    }
}

impl Params {
    /// Questions at most.
    pub fn limit(&self) -> usize {
        match self.questions {
            0 => usize::MAX,
            limit => limit,
        }
    }

    /// The questions of a split, which gives as many of its first ones as it is asked for.
    ///
    /// # Errors
    /// Those of `split`.
    pub fn choose<S: HeldOut>(
        &self,
        split: impl FnOnce(usize) -> Result<Vec<Problem<S>>, task::Error>,
    ) -> Result<Vec<Problem<S>>, task::Error> {
        let Some(seed) = self.sample else {
            return split(self.limit());
        };
        let all = split(usize::MAX)?;
        let count = self.limit().min(all.len());
        let mut chosen = vec![false; all.len()];
        for index in rand::seq::index::sample(&mut stream(seed, &[]), all.len(), count) {
            chosen[index] = true;
        }
        let kept = all.into_iter().zip(chosen).filter(|(_, chosen)| *chosen);
        Ok(kept.map(|(problem, _)| problem).collect())
    }
}

/// Methods that every evaluation has, besides the searches of its recipe.
pub const METHODS: [&str; 5] = [
    "greedy",
    answers::CHOICES[0],
    answers::CHOICES[1],
    answers::CHOICES[2],
    answers::CHOICES[3],
];

/// Why an evaluation ended early.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Search(#[from] search::Error),
    #[error(transparent)]
    Trace(#[from] trace::Error),
    #[error("a worker panicked or was cancelled: {0}")]
    Worker(#[from] tokio::task::JoinError),
    #[error("the worker threads could not be started: {0}")]
    Runtime(#[source] std::io::Error),
    #[error(
        "the gate's method is `{0}`, which is neither greedy nor a search under evaluate.search"
    )]
    NoSuchMethod(String),
    #[error("there are no questions to evaluate on: the {0:?} split is empty")]
    NoQuestions(SplitName),
    #[error(
        "{failed} of {total} questions could not be answered, more than evaluate.max_failures \
         ({limit}) allows; the last one, {question}: {reason}"
    )]
    Failures {
        failed: usize,
        total: usize,
        limit: f64,
        question: u64,
        reason: String,
    },
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// Everything that an evaluation runs on.
#[derive(Clone)]
pub struct Setting<'a> {
    pub policy: &'a Policy,
    pub tokenizer: &'a Arc<Tokenizer>,
    pub task: &'a Arc<dyn Task>,
    pub monitor: &'a Monitor,
    /// Iteration of the loop; 0 is the model before any training.
    pub iteration: u32,
    /// Seed of the run: it seeds the draws of votes.
    pub seed: u64,
    /// Ends the evaluation early, with [`Error::Stopped`].
    pub stop: &'a Stop,
}

/// A method with the names of its answers, one for each that it gives to a question.
struct Entry {
    names: Vec<String>,
    method: answers::Method,
}

impl Entry {
    fn one(name: impl Into<String>, method: answers::Method) -> Entry {
        Entry {
            names: vec![name.into()],
            method,
        }
    }

    fn greedy(params: &Params) -> Entry {
        Entry::one("greedy", answers::Method::Greedy(params.max_new_tokens))
    }

    /// Choices among the first `sizes` of the same draws; `name` makes a name of a choice and a size.
    fn samples(
        params: &Params,
        sizes: Vec<usize>,
        seed: u64,
        name: impl Fn(&str, usize) -> String,
    ) -> Entry {
        let choices = |&size: &usize| answers::CHOICES.map(|choice| name(choice, size));
        Entry {
            names: sizes.iter().flat_map(choices).collect(),
            method: answers::Method::Samples {
                sizes,
                sampling: params.sampling.clone(),
                seed,
            },
        }
    }
}

/// Answers of all questions by name, and the seconds they took: of answers that share their draws, those
/// with the most forward tokens took all the time and the others their share of it.
type Results = Vec<(String, Vec<Answer>, f64)>;

/// Answers `problems` with every method and compares them.
///
/// Gold answers are looked at only after all texts are finished.
///
/// # Errors
/// Too many questions that fail, an engine that stopped, and a request to stop.
pub fn evaluate<S: HeldOut>(
    setting: &Setting<'_>,
    problems: &[Problem<S>],
    params: &Params,
) -> Result<Evaluation, Error> {
    let run = Run::new(setting, problems, params)?;
    let samples = Entry::samples(params, vec![params.samples], setting.seed, |choice, _| {
        choice.into()
    });
    let mut plan = vec![Entry::greedy(params), samples];
    for (name, guided) in &params.search {
        let method = answers::Method::Guided(Box::new(guided.clone()), setting.seed);
        plan.push(Entry::one(name, method));
    }
    for (name, beam) in &params.beam {
        plan.push(Entry::one(name, answers::Method::Beam(beam.clone())));
    }
    let methods = plan.len() + usize::from(params.rank > 0);
    let bar = setting
        .monitor
        .progress("evaluate", (methods * problems.len()) as u64);
    let mut meter = Meter::new(&setting.policy.engine);
    let start = std::time::Instant::now();
    let results = run.answer(plan, &bar)?;
    let mut evaluation = report::build(setting, problems, results, params, start.elapsed());
    if params.rank > 0 {
        evaluation.ranking = Some(ranking::rank(&run, problems, params.rank, &bar)?);
    }
    evaluation.report(setting.monitor);
    // The last thing in an iteration.
    meter.report(setting.monitor, step_in(setting.iteration, usize::MAX));
    Ok(evaluation)
}

/// Ranks texts of the same question among `params.rank` draws for each of `problems`.
///
/// # Errors
/// As [`evaluate`].
pub fn rank<S: HeldOut>(
    setting: &Setting<'_>,
    problems: &[Problem<S>],
    params: &Params,
) -> Result<Ranking, Error> {
    let run = Run::new(setting, problems, params)?;
    let bar = setting.monitor.progress("rank", problems.len() as u64);
    ranking::rank(&run, problems, params.rank, &bar)
}

/// Questions on their way through methods.
struct Run<'a> {
    setting: &'a Setting<'a>,
    questions: Vec<Question>,
    params: &'a Params,
    runtime: tokio::runtime::Runtime,
}

impl<'a> Run<'a> {
    fn new<S: HeldOut>(
        setting: &'a Setting<'a>,
        problems: &[Problem<S>],
        params: &'a Params,
    ) -> Result<Run<'a>, Error> {
        if problems.is_empty() {
            return Err(Error::NoQuestions(params.split));
        }
        let question = |problem: &Problem<S>| {
            let prompt = setting.task.prompt(&problem.question);
            let tokens = setting.tokenizer.prompt(&prompt.plain, &prompt.messages);
            Question {
                id: problem.id,
                text: problem.question.clone(),
                prompt: tokens.map_err(|e| e.to_string()),
            }
        };
        Ok(Run {
            setting,
            questions: problems.iter().map(question).collect(),
            params,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_time()
                .build()
                .map_err(Error::Runtime)?,
        })
    }

    /// Answers all questions by each method of `plan`.
    fn answer(&self, plan: Vec<Entry>, bar: &Progress) -> Result<Results, Error> {
        let mut results = Vec::new();
        for entry in plan {
            let from = std::time::Instant::now();
            let all = answer_all(
                self.setting,
                &self.questions,
                &entry.method,
                self.params,
                bar,
            );
            let answers = self.runtime.block_on(all)?;
            let seconds = from.elapsed().as_secs_f64();
            let mut columns: Vec<Vec<Answer>> = vec![Vec::new(); entry.names.len()];
            for row in answers {
                for (column, answer) in columns.iter_mut().zip(row) {
                    column.push(answer);
                }
            }
            let tokens =
                |column: &Vec<Answer>| column.iter().map(|a| a.ledger.total()).sum::<u64>();
            let most = columns.iter().map(tokens).max().unwrap_or(0).max(1);
            for (name, column) in entry.names.into_iter().zip(columns) {
                let share = tokens(&column) as f64 / most as f64;
                results.push((name, column, seconds * share));
            }
        }
        Ok(results)
    }
}

/// The grade of an answer: a text that was cut is never right.
fn grade<S: HeldOut>(setting: &Setting<'_>, problem: &Problem<S>, answer: &Answer) -> Grade {
    let grade = setting
        .task
        .grade(&problem.question, &problem.gold, &answer.text);
    Grade {
        correct: grade.correct && answer.completion.finished,
        ..grade
    }
}

/// Answers all questions by one method, `params.workers` at a time; results in their order.
async fn answer_all(
    setting: &Setting<'_>,
    questions: &[Question],
    method: &answers::Method,
    params: &Params,
    bar: &Progress,
) -> Result<Vec<Vec<Answer>>, Error> {
    let shared = Arc::new(answers::Shared {
        policy: method.policy(setting)?,
        tokenizer: setting.tokenizer.clone(),
        task: setting.task.clone(),
        method: method.clone(),
    });
    let jobs = questions.iter().map(|question| {
        let (shared, question) = (shared.clone(), question.clone());
        Ok(async move { Ok(shared.answer(&question).await?) })
    });
    let mut answers: Vec<Vec<Answer>> = vec![Vec::new(); questions.len()];
    let mut failed = 0;
    let take = |index: usize, given: Vec<Answer>| {
        let (question, total) = (questions[index].id, questions.len());
        if let Some(reason) = given.iter().find_map(|answer| answer.failure.clone()) {
            tracing::warn!("question {question} could not be answered: {reason}");
            failed += 1;
            if failed as f64 > params.max_failures * total as f64 {
                return Err(Error::Failures {
                    failed,
                    total,
                    limit: params.max_failures,
                    question,
                    reason,
                });
            }
        }
        answers[index] = given;
        bar.inc(1);
        Ok(())
    };
    search::crowd(jobs, params.workers, setting.stop, take).await?;
    Ok(answers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::Test;

    fn split(limit: usize) -> Result<Vec<Problem<Test>>, task::Error> {
        let problem = |id: u64| Problem::new(id, format!("question {id}"), "1");
        Ok((0..limit.min(100) as u64).map(problem).collect())
    }

    fn ids(questions: usize, sample: Option<u64>) -> Vec<u64> {
        let params = Params {
            questions,
            sample,
            ..Params::default()
        };
        let problems = params.choose(split).unwrap();
        problems.iter().map(|problem| problem.id).collect()
    }

    #[test]
    fn a_sample_is_fixed_by_its_seed_in_the_order_of_the_split() {
        assert_eq!(ids(10, None), (0..10).collect::<Vec<_>>());
        let drawn = ids(10, Some(1));
        assert_eq!(drawn, ids(10, Some(1)));
        assert_ne!(drawn, ids(10, Some(2)));
        assert_eq!(drawn.len(), 10);
        assert!(drawn.is_sorted_by(|a, b| a < b) && drawn[9] >= 10);
        assert_eq!(ids(0, Some(1)).len(), 100);
        assert_eq!(ids(500, Some(1)).len(), 100);
    }
}
