//! The scalars of a run as line charts.

use crate::monitor::Curve;
use serde::Serialize;
use std::collections::BTreeMap;

/// Points of a series at most; longer ones are merged.
pub const POINTS: usize = 300;

/// Groups of tags in the order of the page.
const GROUPS: [&str; 6] = ["eval", "value", "policy", "collect", "perf", "time"];

/// One chart: series that share their axes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Chart {
    /// First part of the tags, such as `value`.
    pub group: String,
    pub title: String,
    pub axis: Axis,
    pub series: Vec<Series>,
}

/// What the steps of a chart count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Axis {
    /// Iterations of the loop.
    Iteration,
    /// Steps of an optimiser, over all iterations.
    Step,
    /// A thousand times the iteration plus the shards that it has written; 999 for its evaluation.
    Shard,
    /// Phases of the run.
    Phase,
}

/// One line of a chart.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Series {
    pub name: String,
    /// Points before any were merged.
    pub recorded: usize,
    pub step: Vec<u64>,
    /// Values, or means of merged ones; JSON's null for what is no number.
    pub mean: Vec<f64>,
    /// The least of the merged values, or the lower end of an interval; empty where there is
    /// neither.
    pub low: Vec<f64>,
    /// The greatest, or the upper end.
    pub high: Vec<f64>,
}

/// The charts of a run's scalars. Tags of other groups than those of the loop are left out.
pub fn charts(scalars: &BTreeMap<String, Curve>) -> Vec<Chart> {
    let mut charts: Vec<Chart> = Vec::new();
    for group in GROUPS {
        for (tag, points) in scalars {
            let Some(name) = tag.strip_prefix(group).and_then(|t| t.strip_prefix('/')) else {
                continue;
            };
            let bound = |end: &str| scalars.get(&format!("{tag}_{end}"));
            let is_bound = ["_low", "_high"].iter().any(|end| {
                let of = tag.strip_suffix(end);
                of.is_some_and(|of| scalars.contains_key(of))
            });
            if is_bound {
                continue;
            }
            let mut series = Series::of(name, points);
            if let (Some(low), Some(high)) = (bound("low"), bound("high")) {
                series.low = low.iter().map(|p| p.1).collect();
                series.high = high.iter().map(|p| p.1).collect();
            }
            let title = title(group, name);
            match charts
                .iter_mut()
                .find(|c| c.group == group && c.title == title)
            {
                Some(chart) => chart.series.push(series),
                None => charts.push(Chart {
                    group: group.to_owned(),
                    title,
                    axis: axis(group, name),
                    series: vec![series],
                }),
            }
        }
    }
    charts
}

/// The chart that a tag belongs to: what is compared stands together.
fn title(group: &str, name: &str) -> String {
    match (group, name) {
        ("eval", name) if name.ends_with("_tokens") => "forward tokens a question".into(),
        ("eval", _) => "accuracy".into(),
        (_, "loss" | "held_out_loss" | "valid_loss") => "loss".into(),
        (_, name) if name.contains("ranking") => "ranking".into(),
        (_, "rss_peak" | "estimate_rss_peak") => "peak memory of a phase".into(),
        (_, name) => name.replace('_', " "),
    }
}

fn axis(group: &str, name: &str) -> Axis {
    match (group, name) {
        ("eval" | "time", _) => Axis::Iteration,
        ("perf", "train_step_ms") => Axis::Step,
        ("perf", "rss_peak" | "estimate_rss_peak" | "estimate_seconds") => Axis::Phase,
        ("collect" | "perf", _) => Axis::Shard,
        _ => Axis::Step,
    }
}

impl Series {
    /// Of at most [`POINTS`] points: neighbours are merged into their mean, least and greatest.
    pub fn of(name: &str, points: &[(u64, f64)]) -> Series {
        let count = points.len().min(POINTS);
        let mut series = Series {
            name: name.to_owned(),
            recorded: points.len(),
            step: Vec::with_capacity(count),
            mean: Vec::with_capacity(count),
            low: Vec::new(),
            high: Vec::new(),
        };
        for bucket in 0..count {
            let from = bucket * points.len() / count;
            let merged = &points[from..(bucket + 1) * points.len() / count];
            let numbers = || merged.iter().map(|p| p.1).filter(|v| v.is_finite());
            series.step.push(merged[merged.len() / 2].0);
            series
                .mean
                .push(numbers().sum::<f64>() / numbers().count() as f64);
            if points.len() > count {
                series.low.push(numbers().fold(f64::NAN, f64::min));
                series.high.push(numbers().fold(f64::NAN, f64::max));
            }
        }
        series
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dense_curve_keeps_its_mean_and_its_peaks() {
        let points: Curve = (0..10_000).map(|i| (i, f64::from(i == 7_777))).collect();
        let series = Series::of("loss", &points);
        assert_eq!((series.recorded, series.step.len()), (10_000, POINTS));
        assert!(series.step.is_sorted());
        let peak = series.high.iter().fold(0.0, |a: f64, b| a.max(*b));
        assert_eq!(peak, 1.0, "a peak of one step is still seen");
        let mean = series.mean.iter().sum::<f64>() / POINTS as f64;
        assert!((mean - 1e-4).abs() < 1e-5, "{mean}");
    }

    #[test]
    fn a_sparse_curve_is_left_as_it_is() {
        let series = Series::of("auc", &[(300, 0.5), (600, f64::NAN), (900, 0.75)]);
        assert_eq!(series.step, [300, 600, 900]);
        assert_eq!((series.mean[0], series.mean[2]), (0.5, 0.75));
        assert!(series.mean[1].is_nan() && series.low.is_empty());
        assert!(Series::of("none", &[]).step.is_empty());
    }

    #[test]
    fn what_is_compared_stands_in_one_chart() {
        let tags = [
            "eval/greedy",
            "eval/greedy_low",
            "eval/greedy_high",
            "eval/greedy_tokens",
            "eval/vote",
            "value/loss",
            "value/held_out_loss",
            "collect/solve_rate",
            "other/thing",
        ];
        let scalars = tags.map(|tag| (tag.to_owned(), vec![(0, 0.5)])).into();
        let charts = charts(&scalars);
        let titles: Vec<&str> = charts.iter().map(|c| c.title.as_str()).collect();
        assert_eq!(
            titles,
            [
                "accuracy",
                "forward tokens a question",
                "loss",
                "solve rate"
            ]
        );
        let names: Vec<&str> = charts[0].series.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(names, ["greedy", "vote"]);
        assert_eq!(
            (charts[0].series[0].low.len(), charts[0].series[1].low.len()),
            (1, 0)
        );
        assert_eq!(
            (charts[0].axis, charts[3].axis),
            (Axis::Iteration, Axis::Shard)
        );
    }
}
