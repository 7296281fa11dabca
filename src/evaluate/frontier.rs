//! Accuracy against forward tokens: every method at several budgets, on the same questions, with a
//! verdict that the statistics allow.

use super::answers::{self, Answer};
use super::report;
use super::statistics::{McNemar, holm};
use super::{Entry, Error, Evaluation, MethodReport, Params, Run, Setting, plot};
use crate::search::Ledger;
use crate::task::{HeldOut, Problem};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// Chance of one false verdict or more in a whole comparison.
const LEVEL: f64 = 0.05;

/// One method of one recipe at one budget.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// The recipe, or the checkpoint, that was asked.
    pub source: String,
    /// `greedy`, `vote`, `weighted_vote`, `best_of_n`, `most_probable`, or a search of the recipe.
    pub method: String,
    /// Tokens that it was given, in units of greedy's mean: draws of a vote, a limit for a search. 1
    /// where there is nothing to set.
    pub budget: usize,
    #[serde(flatten)]
    pub report: MethodReport,
    /// Operations of a question, a multiply-add counted as two: twice the parameters for each forward
    /// token of either net.
    pub flops: f64,
    /// Wall-clock milliseconds a question, all workers together.
    pub ms_per_question: f64,
}

/// A method against majority vote with at least as many tokens.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Indices in [`Frontier::points`].
    pub point: usize,
    pub control: usize,
    /// Questions that only this method, or only the vote, answers right.
    pub gains: u64,
    pub losses: u64,
    /// McNemar's exact p-value, corrected for all verdicts by Holm's method.
    pub p: f64,
    /// In words.
    pub text: String,
}

/// All methods, recipes and budgets.
#[derive(Debug, Clone, Serialize)]
pub struct Frontier {
    /// The split, by name.
    pub split: super::SplitName,
    pub questions: usize,
    pub points: Vec<Point>,
    pub verdicts: Vec<Verdict>,
    /// Of each point, which questions it answered right.
    #[serde(skip)]
    right: Vec<Vec<bool>>,
    /// Ids and texts of the questions, which all sources must share.
    #[serde(skip)]
    asked: Vec<String>,
}

/// Two sources that were not asked the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Differs;

impl fmt::Display for Differs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(
            "the recipes ask different questions: give them the same task, evaluate.split and \
             evaluate.questions",
        )
    }
}

impl std::error::Error for Differs {}

/// Answers `problems` by every method of `params` at each of `budgets`, multiples of the tokens that
/// greedy decoding takes on the mean. `parameters` are those of the policy.
///
/// # Errors
/// As [`super::evaluate`].
pub fn frontier<S: HeldOut>(
    source: &str,
    setting: &Setting<'_>,
    problems: &[Problem<S>],
    params: &Params,
    budgets: &[usize],
    parameters: usize,
) -> Result<Frontier, Error> {
    let run = Run::new(setting, problems, params)?;
    let methods = 2 + budgets.len() * params.search.len() + params.beam.len();
    let bar = setting
        .monitor
        .progress("compare", (methods * problems.len()) as u64);
    let start = Instant::now();
    let mut results = run.answer(vec![Entry::greedy(params)], &bar)?;
    let cost = |answers: &[Answer]| answers.iter().map(|a| a.ledger).sum::<Ledger>();
    let greedy = cost(&results[0].1).per_question(problems.len() as u64);
    let sizes: Vec<usize> = budgets.iter().copied().filter(|&b| b > 1).collect();
    let mut plan = Vec::new();
    if !sizes.is_empty() {
        plan.push(Entry::samples(params, sizes, setting.seed, named));
    }
    for (name, guided) in &params.search {
        for &budget in budgets {
            let mut guided = guided.clone();
            let limit = (greedy * budget as f64).round().max(1.0);
            guided.max_forward_tokens = limit as u64;
            // The budget decides, not the recipe's number of simulations: each that costs anything costs
            // a token, and those that cost nothing must end some time.
            guided.simulations = limit as u32;
            plan.push(Entry::one(
                named(name, budget),
                answers::Method::Guided(Box::new(guided), setting.seed),
            ));
        }
    }
    for (name, beam) in &params.beam {
        let method = answers::Method::Beam(beam.clone());
        plan.push(Entry::one(named(name, 1), method));
    }
    results.extend(run.answer(plan, &bar)?);
    let order: Vec<String> = results.iter().map(|r| r.0.clone()).collect();
    let evaluation: Evaluation = report::build(setting, problems, results, params, start.elapsed());
    let mut points = Vec::new();
    let mut marks = Vec::new();
    for name in order {
        let Some(report) = evaluation.methods.get(&name) else {
            continue;
        };
        let (method, budget) = match name.split_once('@') {
            Some((method, budget)) => (method.to_string(), budget.parse().unwrap_or(1)),
            None => (name.clone(), 1),
        };
        points.push(Point {
            source: source.into(),
            method,
            budget,
            flops: 2.0 * parameters as f64 * report.forward_tokens,
            ms_per_question: 1000.0 * report.seconds / problems.len() as f64,
            // Every pair of points would be in it; the verdicts are what counts.
            report: MethodReport {
                against: BTreeMap::new(),
                ..report.clone()
            },
        });
        marks.push(evaluation.right(&name));
    }
    let mut frontier = Frontier {
        split: params.split,
        questions: problems.len(),
        points,
        verdicts: Vec::new(),
        right: marks,
        asked: problems
            .iter()
            .map(|problem| format!("{} {}", problem.id, problem.question))
            .collect(),
    };
    frontier.judge();
    Ok(frontier)
}

fn named(name: &str, budget: usize) -> String {
    format!("{name}@{budget}")
}

impl Frontier {
    /// Adds the points of another source on the same questions.
    ///
    /// # Errors
    /// [`Differs`] where the questions are not the same.
    pub fn join(&mut self, other: Frontier) -> Result<(), Differs> {
        if self.asked != other.asked {
            return Err(Differs);
        }
        self.points.extend(other.points);
        self.right.extend(other.right);
        self.judge();
        Ok(())
    }

    /// The vote, greedy being the vote of one, of the same source with the fewest tokens that are at
    /// least those of `point`; the largest where all are smaller.
    fn control(&self, point: usize) -> Option<usize> {
        let own = &self.points[point];
        let tokens = |&i: &usize| self.points[i].report.forward_tokens;
        let votes = (0..self.points.len()).filter(|&i| {
            let other = &self.points[i];
            other.source == own.source && (other.method == "vote" || other.method == "greedy")
        });
        let votes: Vec<usize> = votes.collect();
        let by_tokens = |a: &usize, b: &usize| tokens(a).total_cmp(&tokens(b));
        let enough = votes.iter().filter(|&i| tokens(i) >= tokens(&point));
        let fewest = enough.copied().min_by(by_tokens);
        fewest.or_else(|| votes.iter().copied().max_by(by_tokens))
    }

    fn judge(&mut self) {
        let mut pairs = Vec::new();
        for (index, point) in self.points.iter().enumerate() {
            if point.method == "vote" || point.method == "greedy" {
                continue;
            }
            if let Some(control) = self.control(index) {
                let both = self.right[index].iter().zip(&self.right[control]);
                let test = McNemar::of(both.map(|(a, b)| (*a, *b)));
                pairs.push((index, control, test));
            }
        }
        let p: Vec<f64> = pairs.iter().map(|pair| pair.2.p).collect();
        self.verdicts = pairs
            .iter()
            .zip(holm(&p))
            .map(|((point, control, test), p)| Verdict {
                point: *point,
                control: *control,
                gains: test.b,
                losses: test.c,
                p,
                text: self.sentence(*point, *control, test, p),
            })
            .collect();
    }

    /// What may be said of a point beside its control.
    fn sentence(&self, point: usize, control: usize, test: &McNemar, p: f64) -> String {
        let (own, vote) = (&self.points[point], &self.points[control]);
        let control = match vote.method.as_str() {
            "greedy" => "greedy decoding".to_string(),
            _ => format!("a vote of {}", vote.budget),
        };
        let verdict = match (p < LEVEL, test.b > test.c) {
            (true, true) => "better than",
            (true, false) => "worse than",
            (false, _) => "no better than",
        };
        let p = match p < 0.001 {
            true => "p < .001".to_string(),
            false => format!("p = {p:.3}").replace("0.", "."),
        };
        let percent = |x: f64| format!("{:.1}", 100.0 * x);
        let fewer = own.report.forward_tokens <= vote.report.forward_tokens;
        let tokens = match fewer {
            true => "at no more tokens",
            false => "though with more tokens",
        };
        format!(
            "{} {} at {:.0} tokens ({}%): {verdict} {control} ({}% at {:.0}) {tokens}, {p}",
            own.source,
            own.method,
            own.report.forward_tokens,
            percent(own.report.accuracy),
            percent(vote.report.accuracy),
            vote.report.forward_tokens,
        )
    }

    /// The plot of all points, accuracy against forward tokens, as an SVG document.
    pub fn svg(&self) -> String {
        let mut lines: BTreeMap<String, Vec<plot::Dot>> = BTreeMap::new();
        let sources: std::collections::BTreeSet<&String> =
            self.points.iter().map(|point| &point.source).collect();
        for point in &self.points {
            let name = match sources.len() {
                1 => point.method.clone(),
                _ => format!("{} {}", point.source, point.method),
            };
            lines.entry(name).or_default().push(plot::Dot {
                x: point.report.forward_tokens,
                y: point.report.accuracy,
                low: point.report.low,
                high: point.report.high,
            });
        }
        let title = format!(
            "Accuracy on {} questions of the {:?} split",
            self.questions, self.split
        );
        plot::svg(&title, "forward tokens a question", "accuracy", &lines)
    }
}
