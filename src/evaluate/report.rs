//! Grades, intervals, paired tests, and the files that hold them.

use super::answers::Answer;
use super::ranking::Ranking;
use super::statistics::{Interval, McNemar};
use super::{Error, Params, Setting, SplitName, grade};
use crate::monitor::Monitor;
use crate::search::Ledger;
use crate::task::{Grade, HeldOut, Problem};
use crate::trace::{self, table::Table};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// What one method achieved.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MethodReport {
    /// Questions answered right.
    pub correct: u64,
    /// Questions asked.
    pub total: u64,
    /// `correct / total`.
    pub accuracy: f64,
    /// Lower end of the 95% Wilson interval of the accuracy.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Mean forward tokens a question, prompt included.
    pub forward_tokens: f64,
    /// Forward tokens of all questions by purpose.
    pub ledger: Ledger,
    /// Texts that reached the limit of tokens without a stop token; they count as wrong.
    pub cut: u64,
    /// Questions that could not be answered, too long ones for example; they count as wrong.
    #[serde(default)]
    pub failed: u64,
    /// Wall-clock seconds of the whole method; those that share draws have it by their shares of the
    /// forward tokens.
    pub seconds: f64,
    /// McNemar's exact test against other methods on the same questions, by their names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub against: BTreeMap<String, Comparison>,
}

impl MethodReport {
    /// Of `correct` answers to `total` questions, compared with nothing.
    pub(super) fn new(correct: u64, total: u64, ledger: Ledger, seconds: f64) -> MethodReport {
        let interval = Interval::wilson(correct, total);
        MethodReport {
            correct,
            total,
            accuracy: correct as f64 / total.max(1) as f64,
            low: interval.low,
            high: interval.high,
            forward_tokens: ledger.per_question(total),
            ledger,
            cut: 0,
            failed: 0,
            seconds,
            against: BTreeMap::new(),
        }
    }

    /// Of several checkpoints on the same questions; its interval takes their answers for independent,
    /// which they are not.
    pub(super) fn pooled(seeds: &[&MethodReport]) -> MethodReport {
        let sum = |of: fn(&MethodReport) -> u64| seeds.iter().map(|seed| of(seed)).sum::<u64>();
        MethodReport {
            cut: sum(|seed| seed.cut),
            failed: sum(|seed| seed.failed),
            ..MethodReport::new(
                sum(|seed| seed.correct),
                sum(|seed| seed.total),
                seeds.iter().map(|seed| seed.ledger).sum(),
                seeds.iter().map(|seed| seed.seconds).sum(),
            )
        }
    }
}

/// A paired comparison.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Questions that only this method answers right.
    pub gains: u64,
    /// Questions that only the other method answers right.
    pub losses: u64,
    /// Two-sided p-value.
    pub p: f64,
}

/// All methods on one set of questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// 0 is the model before any training.
    pub iteration: u32,
    pub split: SplitName,
    pub questions: u64,
    /// Draws behind votes and best-of-n.
    pub samples: usize,
    pub seconds: f64,
    pub methods: BTreeMap<String, MethodReport>,
    /// How right texts rank against wrong ones of the same question, where that was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ranking: Option<Ranking>,
    #[serde(skip)]
    rows: Rows,
}

/// Per-question results, one row a question and method.
#[derive(Debug, Clone, Default, PartialEq)]
struct Rows {
    question: Vec<u64>,
    method: Vec<String>,
    correct: Vec<bool>,
    answer: Vec<String>,
    gold: Vec<String>,
    text: Vec<String>,
    failure: Vec<String>,
    value: Vec<f64>,
    forward_tokens: Vec<u64>,
    tokens: Vec<Vec<u32>>,
    /// The questions' texts.
    asked: Vec<String>,
    /// The same few solutions after every iteration: question, method, text, right or not.
    samples: Vec<String>,
}

/// Solutions of a method that are shown.
const SHOWN: usize = 4;

/// Mistakes of the value that are shown of each kind.
const WORST: usize = 5;

pub(super) fn build<S: HeldOut>(
    setting: &Setting<'_>,
    problems: &[Problem<S>],
    results: Vec<(String, Vec<Answer>, f64)>,
    params: &Params,
    elapsed: Duration,
) -> Evaluation {
    let mut rows = Rows::default();
    let mut graded: Vec<(String, Vec<bool>)> = Vec::new();
    let mut methods = BTreeMap::new();
    for (name, answers, seconds) in results {
        let mut ledger = Ledger::default();
        let mut right = Vec::with_capacity(problems.len());
        let mut cut = 0;
        for (problem, answer) in problems.iter().zip(&answers) {
            let grade = grade(setting, problem, answer);
            right.push(grade.correct);
            ledger += answer.ledger;
            cut += u64::from(!answer.completion.finished && answer.failure.is_none());
            rows.push(problem, &name, answer, grade);
        }
        let correct = right.iter().filter(|r| **r).count() as u64;
        let failed = answers.iter().filter(|a| a.failure.is_some()).count();
        methods.insert(
            name.clone(),
            MethodReport {
                cut,
                failed: failed as u64,
                ..MethodReport::new(correct, right.len() as u64, ledger, seconds)
            },
        );
        graded.push((name, right));
    }
    for (name, right) in &graded {
        for (other, theirs) in &graded {
            if name == other {
                continue;
            }
            let pairs = right.iter().copied().zip(theirs.iter().copied());
            let test = McNemar::of(pairs);
            if let Some(report) = methods.get_mut(name) {
                report.against.insert(
                    other.clone(),
                    Comparison {
                        gains: test.b,
                        losses: test.c,
                        p: test.p,
                    },
                );
            }
        }
    }
    Evaluation {
        iteration: setting.iteration,
        split: params.split,
        questions: problems.len() as u64,
        samples: params.samples,
        seconds: elapsed.as_secs_f64(),
        methods,
        ranking: None,
        rows,
    }
}

impl Rows {
    fn push<S: HeldOut>(
        &mut self,
        problem: &Problem<S>,
        method: &str,
        answer: &Answer,
        grade: Grade,
    ) {
        let correct = grade.correct;

        let shown = self.method.iter().filter(|m| *m == method).count() < SHOWN;
        if shown && (method == "greedy" || method == "searched") {
            self.samples.push(format!(
                "**{}** ({method}, {})\n\n```\n{}\n```",
                problem.question,
                if correct { "right" } else { "wrong" },
                answer.text
            ));
        }
        self.question.push(problem.id);
        self.asked.push(problem.question.clone());
        self.method.push(method.to_string());
        self.correct.push(correct);
        self.answer.push(grade.parsed.unwrap_or_default());
        self.gold.push(problem.gold.clone());
        self.text.push(answer.text.clone());
        self.failure
            .push(answer.failure.clone().unwrap_or_default());
        self.value.push(f64::from(answer.completion.value));
        self.forward_tokens.push(answer.ledger.total());
        self.tokens.push(answer.completion.tokens.clone());
    }

    /// Finished answers, right or wrong ones, that the value misjudges most, as Markdown: wrong ones
    /// that it believes in, or right ones that it does not.
    fn misjudged(&self, right: bool) -> String {
        let mut rows: Vec<usize> = (0..self.value.len())
            .filter(|&row| self.correct[row] == right && self.failure[row].is_empty())
            .collect();
        let sign = if right { 1.0 } else { -1.0 };
        rows.sort_by(|&a, &b| f64::total_cmp(&(sign * self.value[a]), &(sign * self.value[b])));
        let mut seen = std::collections::HashSet::new();
        rows.retain(|&row| seen.insert((self.question[row], &self.text[row])));
        let shown = rows.into_iter().take(WORST).map(|row| {
            format!(
                "**value {:.3}** ({}): {} Right is {}.\n\n```\n{}\n```",
                self.value[row], self.method[row], self.asked[row], self.gold[row], self.text[row]
            )
        });
        shown.collect::<Vec<_>>().join("\n\n---\n\n")
    }
}

impl Evaluation {
    /// Which questions `method` answered right, in their order.
    pub(super) fn right(&self, method: &str) -> Vec<bool> {
        let rows = self.rows.method.iter().zip(&self.rows.correct);
        rows.filter(|(name, _)| *name == method)
            .map(|(_, right)| *right)
            .collect()
    }

    /// Writes `evaluation.parquet` (one row a question and method), then `evaluation.json`.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn write(&self, dir: &Path) -> Result<(), Error> {
        let rows = self.rows.clone();
        Table::new()
            .column_u64("question", rows.question)
            .column_str("method", rows.method)
            .column_bool("correct", rows.correct)
            .column_str("answer", rows.answer)
            .column_str("gold", rows.gold)
            .column_str("text", rows.text)
            .column_str("failure", rows.failure)
            .column_f64("value", rows.value)
            .column_u64("forward_tokens", rows.forward_tokens)
            .column_list_u32("tokens", rows.tokens)
            .write(&dir.join("evaluation.parquet"))?;
        let path = dir.join("evaluation.json");
        trace::fs::write_atomic(&path, |file| {
            serde_json::to_writer_pretty(&mut *file, self)?;
            std::io::Write::write_all(file, b"\n")
        })
        .map_err(trace::Error::from)?;
        Ok(())
    }

    /// Reads an `evaluation.json`; the per-question rows are not read.
    ///
    /// # Errors
    /// A file that cannot be read or is none.
    pub fn read(path: &Path) -> Result<Evaluation, Error> {
        let text = std::fs::read_to_string(path)
            .map_err(trace::fs::Error::at("read", path))
            .map_err(trace::Error::from)?;
        serde_json::from_str(&text)
            .map_err(std::io::Error::from)
            .map_err(trace::fs::Error::at("read", path))
            .map_err(|e| Error::Trace(e.into()))
    }

    pub(super) fn report(&self, monitor: &Monitor) {
        let step = u64::from(self.iteration);
        for (name, method) in &self.methods {
            let tag = |what: &str| format!("eval/{name}{what}");
            monitor.scalars(
                &[
                    (&tag(""), method.accuracy),
                    (&tag("_low"), method.low),
                    (&tag("_high"), method.high),
                    (&tag("_tokens"), method.forward_tokens),
                ],
                step,
            );
        }
        if let Some(ranking) = &self.ranking {
            ranking.report(monitor, step);
        }
        let samples = self.rows.samples.join("\n\n---\n\n");
        monitor.text("eval/solutions", step, &samples);
        // A head that was never fitted says 0 of everything.
        if self.rows.value.iter().any(|value| *value != 0.0) {
            let (wrong, right) = (self.rows.misjudged(false), self.rows.misjudged(true));
            monitor.text("value/false_positives", step, &wrong);
            monitor.text("value/false_negatives", step, &right);
        }
    }
}
