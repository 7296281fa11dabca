//! What the runs of a sweep say together: means over seeds, and curves over the values of a key.

use super::table;
use crate::evaluate::bootstrap::Estimate;
use crate::evaluate::statistics::{Interval, mean, student};
use crate::monitor::{self, Dot, Line, Plot, Scale};
use crate::recipe::sweep::{Sweep, setting_of};
use crate::trace::table::{column_names, read_text_columns};
use miette::{IntoDiagnostic, Result, miette};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// Figures that the table shows, and the curves.
const SHOWN: [&str; 5] = ["greedy", "vote", "best_of_n", "searched", "ranking"];

/// One setting of a sweep, over its seeds.
#[derive(Debug, Serialize)]
pub(super) struct Summary {
    pub variant: String,
    /// The varied keys with their values.
    pub values: BTreeMap<String, String>,
    pub seeds: usize,
    /// Means over the seeds that have the figure, with Student's 95% interval; with one seed its ends are
    /// not known and no numbers.
    pub figures: BTreeMap<String, Estimate>,
}

/// Reads a `sweep.parquet`; settings in the order of their first runs.
pub(super) fn read(path: &Path, sweep: &Sweep) -> Result<Vec<Summary>> {
    if !path.exists() {
        return Err(miette!(
            help = "run the sweep first, or name its folder with --out",
            "there is no {}",
            path.display()
        ));
    }
    let names = column_names(path).into_diagnostic()?;
    let keys = sweep.keys();
    let varied = |name: &String| keys.contains(name);
    let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
    let columns = read_text_columns(path, &wanted).into_diagnostic()?;
    let column = |wanted: &str| names.iter().position(|name| name == wanted);
    let Some(run) = column("run") else {
        return Err(miette!("{} has no column `run`", path.display()));
    };
    let mut rows: Vec<(String, Vec<usize>)> = Vec::new();
    for (row, name) in columns[run].iter().enumerate() {
        let variant = setting_of(name);
        match rows.iter_mut().find(|found| found.0 == variant) {
            Some(found) => found.1.push(row),
            None => rows.push((variant.to_string(), vec![row])),
        }
    }
    let summary = |(variant, rows): (String, Vec<usize>)| {
        let mut values = BTreeMap::new();
        let mut figures = BTreeMap::new();
        for (name, column) in names.iter().zip(&columns) {
            if varied(name) {
                values.insert(name.clone(), column[rows[0]].clone());
            } else if name != "run" && name != "seed" {
                let numbers = rows.iter().filter_map(|&row| column[row].parse().ok());
                let numbers: Vec<f64> = numbers.filter(|x: &f64| !x.is_nan()).collect();
                figures.extend(over_seeds(&numbers).map(|figure| (name.clone(), figure)));
            }
        }
        Summary {
            variant,
            values,
            seeds: rows.len(),
            figures,
        }
    };
    Ok(rows.into_iter().map(summary).collect())
}

fn over_seeds(values: &[f64]) -> Option<Estimate> {
    let unknown = Interval {
        low: f64::NAN,
        high: f64::NAN,
    };
    Some(Estimate {
        mean: mean(values)?,
        interval: student(values).unwrap_or(unknown),
    })
}

/// As a table.
pub(super) fn show(summaries: &[Summary]) -> String {
    let cell = |summary: &Summary, name: &str| match summary.figures.get(name) {
        None => String::new(),
        Some(Estimate { mean, interval }) => {
            let (mean, low, high) = (100.0 * mean, 100.0 * interval.low, 100.0 * interval.high);
            match low.is_nan() {
                true => format!("{mean:.1}"),
                false => format!("{mean:.1} ({low:.1} to {high:.1})"),
            }
        }
    };
    let tokens = |summary: &Summary, name: &str| {
        let figure = summary.figures.get(name);
        figure.map_or_else(String::new, |f| format!("{:.0}", f.mean / 1e3))
    };
    let rows = summaries.iter().map(|summary| {
        let [a, b, c, d, e] = SHOWN.map(|name| cell(summary, name));
        [
            summary.variant.clone(),
            summary.seeds.to_string(),
            tokens(summary, "collected_tokens"),
            tokens(summary, "trained_tokens"),
            a,
            b,
            c,
            d,
            e,
        ]
    });
    let [a, b, c, d, e] = SHOWN;
    format!(
        "means over seeds in percent, with Student's 95% intervals; thousand tokens forwarded by all \
         collections and by all fits:\n{}",
        table::plain(
            ["setting", "seeds", "collected", "trained", a, b, c, d, e],
            rows.collect()
        )
    )
}

/// Figures over the values of the key, where the sweep varies a single one and its values are numbers.
fn curves(sweep: &Sweep, summaries: &[Summary]) -> Option<Plot> {
    let mut keys = sweep.vary.keys();
    let (Some(key), None) = (keys.next(), keys.next()) else {
        return None;
    };
    let value = |summary: &Summary| summary.values.get(key)?.parse::<f64>().ok();
    let line = |name: &str| -> Line {
        let dot = |summary: &Summary| {
            let Estimate { mean, interval } = *summary.figures.get(name)?;
            let end = |end: f64| {
                if end.is_nan() {
                    mean
                } else {
                    end.clamp(0.0, 1.0)
                }
            };
            Some(Dot {
                x: value(summary)?,
                y: mean,
                low: end(interval.low),
                high: end(interval.high),
            })
        };
        Line {
            name: name.into(),
            dots: summaries.iter().filter_map(dot).collect(),
            band: true,
        }
    };
    let lines: Vec<Line> = SHOWN
        .map(line)
        .into_iter()
        .filter(|line| line.dots.len() > 1)
        .collect();
    (!lines.is_empty()).then(|| Plot {
        title: format!("Means over {} seeds", sweep.seeds.len()),
        x: key.clone(),
        y: "share".into(),
        scale: Scale::Log,
        from: 0,
        lines,
    })
}

/// Draws the curves, where there are any, as `sweep.svg` and, with the key's values in place of the steps, as
/// runs for TensorBoard below `curves`.
pub(super) fn draw(sweep: &Sweep, summaries: &[Summary], out: &Path) -> Result<()> {
    let Some(plot) = curves(sweep, summaries) else {
        return Ok(());
    };
    super::common::write(&out.join("sweep.svg"), &plot.svg())?;
    let board = out.join("curves");
    super::common::clear_board(&board)?;
    let tag = format!("sweep/{}", plot.x);
    monitor::board(&board, &tag, 1.0, &plot.lines).into_diagnostic()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::table::Table;

    fn sweep() -> Sweep {
        toml::from_str(
            "recipe = \"x\"\nseeds = [0, 1]\n[vary]\n\"collect.questions\" = [100, 300]\n",
        )
        .unwrap()
    }

    #[test]
    fn settings_are_averaged_over_their_seeds() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sweep.parquet");
        assert!(read(&path, &sweep()).is_err());
        let runs = [
            "questions-100-seed-0",
            "questions-300-seed-0",
            "questions-100-seed-1",
        ];
        Table::new()
            .column_str("run", runs.to_vec())
            .column_u64("seed", vec![0, 0, 1])
            .column_str("collect.questions", vec!["100", "300", "100"])
            .column_f64("searched", vec![0.25, 0.5, 0.75])
            .column_f64("ranking", vec![0.8, 0.9, f64::NAN])
            .write(&path)
            .unwrap();
        let found = read(&path, &sweep()).unwrap();
        let names: Vec<&str> = found.iter().map(|s| s.variant.as_str()).collect();
        assert_eq!(names, ["questions-100", "questions-300"]);
        assert_eq!(
            (found[0].seeds, found[0].figures["searched"].mean),
            (2, 0.5)
        );
        // Two values .25 from their mean: 12.706 sd / sqrt 2 = 12.706 / 4.
        assert!((found[0].figures["searched"].interval.high - 0.5 - 12.706_205 / 4.0).abs() < 1e-6);
        assert_eq!(found[0].figures["ranking"].mean, 0.8);
        assert!(found[1].figures["searched"].interval.low.is_nan());
        let text = show(&found);
        assert!(
            text.contains("50.0 (-267.7 to 367.7)") && text.contains("90.0"),
            "{text}"
        );

        draw(&sweep(), &found, dir.path()).unwrap();
        let svg = std::fs::read_to_string(dir.path().join("sweep.svg")).unwrap();
        assert_eq!(svg.matches("<title>").count(), 4);
        assert!(svg.contains("collect.questions") && !svg.contains("NaN"));
        assert!(dir.path().join("curves/searched").is_dir());
    }

    #[test]
    fn several_keys_have_no_curve() {
        let two = toml::from_str::<Sweep>("recipe = \"x\"\n[vary]\na = [1, 2]\nb = [1]\n").unwrap();
        assert!(curves(&two, &[]).is_none() && curves(&sweep(), &[]).is_none());
    }
}
