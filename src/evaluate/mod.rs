//! Evaluation: every method on the same held-out questions, each charged its forward tokens.

mod answers;
mod report;
pub mod statistics;
pub mod vote;

pub use report::{Comparison, Evaluation, MethodReport};

use crate::engine::Meter;
use crate::model::Tokenizer;
use crate::monitor::{Monitor, step_in};
use crate::search::{self, GuidedParams, Policy, SampleParams};
use crate::stop::{Stop, Stopped};
use crate::task::{HeldOut, Problem, Task};
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
    /// Texts drawn for a vote and for best-of-n. Default 8.
    pub samples: usize,
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
}

impl Default for Params {
    fn default() -> Self {
        Params {
            split: SplitName::Test,
            questions: 500,
            samples: 8,
            max_failures: 0.05,
            workers: 256,
            max_new_tokens: 256,
            sampling: SampleParams::default(),
            search: BTreeMap::from([("searched".to_string(), GuidedParams::default())]),
        }
    }
}

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
    if problems.is_empty() {
        return Err(Error::NoQuestions(params.split));
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(Error::Runtime)?;
    let mut questions = Vec::with_capacity(problems.len());
    for problem in problems {
        let prompt = setting.task.prompt(&problem.question);
        questions.push(Question {
            id: problem.id,
            prompt: setting
                .tokenizer
                .prompt(&prompt.plain, &prompt.messages)
                .map_err(|e| e.to_string()),
        });
    }
    let methods = 2 + params.search.len();
    let bar = setting
        .monitor
        .progress("evaluate", (methods * problems.len()) as u64);
    let mut meter = Meter::new(&setting.policy.engine);
    let start = std::time::Instant::now();
    let mut results: Vec<(String, Vec<Answer>, f64)> = Vec::new();
    let mut timed = |name: &str, answers: Vec<Vec<Answer>>, seconds: f64| {
        let names = match name {
            "samples" => vec!["vote", "weighted_vote", "best_of_n"],
            one => vec![one],
        };
        let mut columns: Vec<Vec<Answer>> = vec![Vec::new(); names.len()];
        for row in answers {
            for (column, answer) in columns.iter_mut().zip(row) {
                column.push(answer);
            }
        }
        for (name, column) in names.into_iter().zip(columns) {
            results.push((name.to_string(), column, seconds));
        }
    };
    let mut plan: Vec<(String, answers::Method)> = vec![
        (
            "greedy".into(),
            answers::Method::Greedy(params.max_new_tokens),
        ),
        (
            "samples".into(),
            answers::Method::Samples {
                count: params.samples,
                sampling: params.sampling.clone(),
                seed: setting.seed,
            },
        ),
    ];
    for (name, guided) in &params.search {
        plan.push((name.clone(), answers::Method::Guided(guided.clone())));
    }
    for (name, method) in plan {
        let from = std::time::Instant::now();
        let answers = runtime.block_on(answer_all(setting, &questions, &method, params, &bar))?;
        timed(&name, answers, from.elapsed().as_secs_f64());
    }
    let evaluation = report::build(setting, problems, results, params, start.elapsed());
    evaluation.report(setting.monitor);
    // The last thing in an iteration.
    meter.report(setting.monitor, step_in(setting.iteration, usize::MAX));
    Ok(evaluation)
}

/// Answers all questions by one method, `params.workers` at a time; results in their order.
async fn answer_all(
    setting: &Setting<'_>,
    questions: &[Question],
    method: &answers::Method,
    params: &Params,
    bar: &crate::monitor::Progress,
) -> Result<Vec<Vec<Answer>>, Error> {
    let shared = Arc::new(answers::Shared {
        policy: setting.policy.clone(),
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
