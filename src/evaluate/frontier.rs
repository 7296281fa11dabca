//! Accuracy against forward tokens: every method at several budgets, on the same questions.

use super::answers::{self, Answer};
use super::report;
use super::sizes::Sizes;
use super::verdict::Verdict;
use super::{Entry, Error, Evaluation, MethodReport, Params, Run, Setting};
use crate::monitor::{Dot, Line, Monitor, Plot, Scale};
use crate::search::Ledger;
use crate::task::{HeldOut, Problem};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Instant;

/// One method of one recipe at one budget, with one checkpoint or several.
#[derive(Debug, Clone, Serialize)]
pub struct Point {
    /// The recipe, or the checkpoint, that was asked.
    pub source: String,
    /// `greedy`, `vote`, `weighted_vote`, `best_of_n`, `most_probable`, or a search of the recipe.
    pub method: String,
    /// Tokens that it was given, in units of greedy's mean: draws of a vote, a limit for a search. 1
    /// where there is nothing to set.
    pub budget: usize,
    /// Of several checkpoints: sums and means, and an interval of the mean accuracy by a bootstrap over
    /// checkpoints and questions.
    #[serde(flatten)]
    pub report: MethodReport,
    /// Operations of a question: see [`Sizes::flops`].
    pub flops: f64,
    /// Wall-clock milliseconds of the whole method by its questions, and microseconds by its forward tokens,
    /// `evaluate.workers` questions at a time: how long many take, not how long one waits for its answer.
    pub ms_per_question: f64,
    pub us_per_token: f64,
    /// The checkpoints one by one, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<Seed>,
}

/// One checkpoint of several that are seeds of one method.
#[derive(Debug, Clone, Serialize)]
pub struct Seed {
    pub model: String,
    pub correct: u64,
    pub accuracy: f64,
    /// Mean forward tokens a question.
    pub forward_tokens: f64,
}

/// All methods, recipes and budgets.
#[derive(Debug, Clone, Serialize)]
pub struct Frontier {
    /// The split, by name.
    pub split: super::SplitName,
    pub questions: usize,
    /// Questions that were answered at a time.
    pub workers: usize,
    pub points: Vec<Point>,
    /// Of each method but votes and greedy decoding, once [`Frontier::judge`] was called.
    pub verdicts: Vec<Verdict>,
    /// Of each point and checkpoint, which questions it answered right.
    #[serde(skip)]
    pub(super) right: Vec<Vec<Vec<bool>>>,
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
/// greedy decoding takes on the mean.
///
/// # Errors
/// As [`super::evaluate`].
pub fn frontier<S: HeldOut>(
    source: &str,
    setting: &Setting<'_>,
    problems: &[Problem<S>],
    params: &Params,
    budgets: &[usize],
    sizes: Sizes,
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
    let draws: Vec<usize> = budgets.iter().copied().filter(|&b| b > 1).collect();
    let mut plan = Vec::new();
    if !draws.is_empty() {
        plan.push(Entry::samples(params, draws, setting.seed, named));
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
    let valued = |answers: &[Answer]| answers.iter().any(|answer| answer.valued);
    let order: Vec<(String, bool)> = results
        .iter()
        .map(|r| (r.0.clone(), valued(&r.1)))
        .collect();
    let evaluation: Evaluation = report::build(setting, problems, results, params, start.elapsed());
    let mut points = Vec::new();
    let mut right = Vec::new();
    for (name, valued) in order {
        let Some(report) = evaluation.methods.get(&name) else {
            continue;
        };
        let (method, budget) = match name.split_once('@') {
            Some((method, budget)) => (method, budget.parse().unwrap_or(1)),
            None => (name.as_str(), 1),
        };
        // Every pair of points would be in it; the verdicts are what counts.
        let report = MethodReport {
            against: BTreeMap::new(),
            ..report.clone()
        };
        let flops = sizes.flops(&report.ledger, valued) / problems.len() as f64;
        points.push(Point::new(source, method, budget, report, flops));
        right.push(vec![evaluation.right(&name)]);
    }
    Ok(Frontier {
        split: params.split,
        questions: problems.len(),
        workers: params.workers,
        points,
        verdicts: Vec::new(),
        right,
        asked: problems
            .iter()
            .map(|problem| format!("{} {}", problem.id, problem.question))
            .collect(),
    })
}

fn named(name: &str, budget: usize) -> String {
    format!("{name}@{budget}")
}

impl Point {
    fn new(source: &str, method: &str, budget: usize, report: MethodReport, flops: f64) -> Point {
        Point {
            source: source.into(),
            method: method.into(),
            budget,
            flops,
            ms_per_question: 1e3 * report.seconds / report.total.max(1) as f64,
            us_per_token: 1e6 * report.seconds / report.ledger.total().max(1) as f64,
            report,
            seeds: Vec::new(),
        }
    }
}

impl Frontier {
    /// One source of several checkpoints, each with its frontier: seeds of the same methods.
    ///
    /// # Errors
    /// [`Differs`] where they were not asked the same questions by the same methods.
    pub fn pool(source: &str, seeds: Vec<(String, Frontier)>) -> Result<Frontier, Differs> {
        let Some((_, first)) = seeds.first() else {
            return Err(Differs);
        };
        let names = |frontier: &Frontier| -> Vec<(String, usize)> {
            let points = frontier.points.iter();
            points.map(|p| (p.method.clone(), p.budget)).collect()
        };
        for (_, other) in &seeds {
            if other.asked != first.asked || names(other) != names(first) {
                return Err(Differs);
            }
        }
        let mut pooled = first.clone();
        for (index, point) in pooled.points.iter_mut().enumerate() {
            let all: Vec<&Point> = seeds.iter().map(|seed| &seed.1.points[index]).collect();
            let reports: Vec<&MethodReport> = all.iter().map(|point| &point.report).collect();
            let flops = all.iter().map(|point| point.flops).sum::<f64>() / all.len() as f64;
            let report = MethodReport::pooled(&reports);
            let own = Point::new(source, &point.method, point.budget, report, flops);
            let of_seed = |((model, _), point): (&(String, Frontier), &&Point)| Seed {
                model: model.clone(),
                correct: point.report.correct,
                accuracy: point.report.accuracy,
                forward_tokens: point.report.forward_tokens,
            };
            *point = match seeds.len() {
                1 => own,
                _ => Point {
                    seeds: seeds.iter().zip(&all).map(of_seed).collect(),
                    ..own
                },
            };
            pooled.right[index] = seeds
                .iter()
                .flat_map(|seed| seed.1.right[index].clone())
                .collect();
        }
        Ok(pooled)
    }

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
        Ok(())
    }

    /// The most checkpoints that a point has.
    pub fn seeds(&self) -> usize {
        self.right.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Accuracy against forward tokens, a line for each method of a source.
    pub fn plot(&self) -> Plot {
        let mut lines: BTreeMap<String, Vec<Dot>> = BTreeMap::new();
        let sources: std::collections::BTreeSet<&String> =
            self.points.iter().map(|p| &p.source).collect();
        for point in &self.points {
            let name = match sources.len() {
                1 => point.method.clone(),
                _ => format!("{} {}", point.source, point.method),
            };
            lines.entry(name).or_default().push(Dot {
                x: point.report.forward_tokens,
                y: point.report.accuracy,
                low: point.report.low,
                high: point.report.high,
            });
        }
        let band = self.seeds() > 1;
        let seeds = match self.seeds() {
            0 | 1 => String::new(),
            seeds => format!(", mean of {seeds} checkpoints"),
        };
        Plot {
            title: format!(
                "Accuracy on {} questions of the {:?} split{seeds}",
                self.questions, self.split
            ),
            x: "forward tokens a question".into(),
            y: "accuracy".into(),
            scale: Scale::Log,
            from: 0,
            lines: lines
                .into_iter()
                .map(|(name, dots)| Line { name, dots, band })
                .collect(),
        }
    }

    /// Reports the plot and the verdicts.
    pub fn report(&self, monitor: &Monitor) {
        monitor.picture("frontier/accuracy", 0, self.plot().picture());
        let verdicts: Vec<String> = self
            .verdicts
            .iter()
            .map(|v| format!("* {}", v.text))
            .collect();
        monitor.text("frontier/verdicts", 0, &verdicts.join("\n"));
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::evaluate::SplitName;

    /// A frontier of `(method, budget, tokens a question, right answers)` on the questions 0, 1, ...
    pub fn frontier(source: &str, points: &[(&str, usize, u64, &str)]) -> Frontier {
        let questions = points[0].3.len();
        let mut made = Frontier {
            split: SplitName::Dev,
            questions,
            workers: 8,
            points: Vec::new(),
            verdicts: Vec::new(),
            right: Vec::new(),
            asked: (0..questions).map(|q| q.to_string()).collect(),
        };
        for &(method, budget, tokens, marks) in points {
            let right: Vec<bool> = marks.chars().map(|c| c == '1').collect();
            let ledger = Ledger {
                rollout: tokens * questions as u64,
                ..Ledger::default()
            };
            let correct = right.iter().filter(|r| **r).count() as u64;
            let report = MethodReport::new(correct, questions as u64, ledger, 0.5);
            made.points
                .push(Point::new(source, method, budget, report, 1e3));
            made.right.push(vec![right]);
        }
        made
    }

    #[test]
    fn seeds_are_pooled_into_means() {
        let one = frontier("a", &[("greedy", 1, 10, "1100"), ("vote", 2, 20, "1110")]);
        let two = frontier("b", &[("greedy", 1, 14, "1000"), ("vote", 2, 30, "0110")]);
        let pooled = Frontier::pool("both", vec![("a".into(), one.clone()), ("b".into(), two)]);
        let pooled = pooled.unwrap();
        assert_eq!(pooled.seeds(), 2);
        let greedy = &pooled.points[0];
        assert_eq!(
            (
                greedy.source.as_str(),
                greedy.report.correct,
                greedy.report.total
            ),
            ("both", 3, 8)
        );
        assert_eq!(
            (greedy.report.accuracy, greedy.report.forward_tokens),
            (0.375, 12.0)
        );
        // A second for eight questions, 96 tokens.
        assert_eq!(greedy.ms_per_question, 125.0);
        assert!((greedy.us_per_token - 1e6 / 96.0).abs() < 1e-9);
        assert_eq!(greedy.seeds.len(), 2);
        assert_eq!(
            (greedy.seeds[1].model.as_str(), greedy.seeds[1].accuracy),
            ("b", 0.25)
        );

        let other = frontier("c", &[("greedy", 1, 10, "11000"), ("vote", 2, 20, "11100")]);
        let seeds = vec![("a".into(), one.clone()), ("c".into(), other)];
        assert_eq!(Frontier::pool("both", seeds).unwrap_err(), Differs);
        let fewer = frontier("d", &[("greedy", 1, 10, "1100")]);
        let seeds = vec![("a".into(), one), ("d".into(), fewer)];
        assert_eq!(Frontier::pool("both", seeds).unwrap_err(), Differs);
    }
}
