//! The settings of a sweep beside its control: verdicts, and accuracy against the tokens collected.

use super::common;
use crate::evaluate::bootstrap::{RESAMPLES, percentiles, resampled_means};
use crate::evaluate::contest::{self, Entrant, Ruling};
use crate::iterate::inspect;
use crate::monitor::{self, Dot, Line, Monitor, Plot, Scale};
use crate::recipe::sweep::Sweep;
use miette::{IntoDiagnostic, Result};
use std::path::Path;

/// Ways of answering that settings are judged by.
const BY: [&str; 2] = ["greedy", "searched"];

/// What a setting came to after each iteration, over its seeds.
struct Setting {
    name: String,
    /// Of iteration 1, 2, ...
    after: Vec<Entrant>,
}

/// Verdicts and plots.
pub(super) struct Judged {
    pub rulings: Vec<Ruling>,
    plots: Vec<(&'static str, Plot)>,
}

/// Reads the finished runs below `out`.
pub(super) fn read(sweep: &Sweep, out: &Path) -> Result<Judged> {
    let mut settings: Vec<Setting> = Vec::new();
    for variant in sweep.variants() {
        let name = variant.setting();
        let place = settings.iter().position(|setting| setting.name == name);
        let place = place.unwrap_or_else(|| {
            settings.push(Setting {
                name: name.into(),
                after: Vec::new(),
            });
            settings.len() - 1
        });
        let dir = out.join(&variant.name);
        if inspect::is_finished(&dir).into_diagnostic()? {
            settings[place].add(variant.seed, &dir)?;
        }
    }
    let last: Vec<Entrant> = settings
        .iter()
        .filter_map(|setting| setting.after.last().cloned())
        .collect();
    Ok(Judged {
        rulings: contest::judge(&last, &sweep.control(), &BY),
        plots: BY
            .iter()
            .filter_map(|&method| Some((method, plot(method, &settings)?)))
            .collect(),
    })
}

impl Setting {
    /// Adds a seed, whose run lies in `dir`.
    fn add(&mut self, seed: u64, dir: &Path) -> Result<()> {
        let mut collected = 0.0;
        let outcomes = inspect::outcomes(dir).into_diagnostic()?;
        for (index, outcome) in outcomes.iter().skip(1).enumerate() {
            if let Some(own) = &outcome.collected {
                collected += own.forward_tokens as f64;
            }
            if self.after.len() == index {
                self.after.push(Entrant::new(&self.name));
            }
            let graded = inspect::graded(dir, outcome.iteration).into_diagnostic()?;
            self.after[index].add(seed, collected, graded);
        }
        Ok(())
    }
}

/// Accuracy after each iteration against the tokens of all collections so far.
fn plot(method: &str, settings: &[Setting]) -> Option<Plot> {
    let mut lines = Vec::new();
    let mut seeds = 0;
    for setting in settings {
        let mut dots = Vec::new();
        for entrant in &setting.after {
            let Some(right) = entrant.right(method) else {
                continue;
            };
            seeds = seeds.max(right.len());
            let means = resampled_means(&[right.to_vec()], RESAMPLES).remove(0);
            let interval = percentiles(means);
            dots.push(Dot {
                x: entrant.collected() / 1e3,
                y: contest::share(right),
                low: interval.low,
                high: interval.high,
            });
        }
        if !dots.is_empty() {
            lines.push(Line {
                name: setting.name.clone(),
                dots,
                band: false,
            });
        }
    }
    let least = lines.iter().flat_map(|line| &line.dots).map(|dot| dot.low);
    let from = (least.fold(1.0, f64::min) * 10.0).floor() as u32;
    (!lines.is_empty()).then(|| Plot {
        title: format!("Accuracy, {method}, means over {seeds} seeds"),
        x: "thousand forward tokens of all collections".into(),
        y: "accuracy".into(),
        scale: Scale::Log,
        from,
        lines,
    })
}

impl Judged {
    /// The verdicts, a line each.
    pub fn text(&self) -> String {
        let lines: Vec<&str> = self.rulings.iter().map(|r| r.text.as_str()).collect();
        lines.join("\n")
    }

    /// Leaves `verdicts.json` and, for each way of answering, a plot as SVG and for TensorBoard.
    /// Where no run is there, what an earlier call has left stays.
    pub fn write(&self, out: &Path) -> Result<()> {
        if self.plots.is_empty() {
            return Ok(());
        }
        let json = serde_json::to_string_pretty(&self.rulings).into_diagnostic()?;
        common::write(&out.join("verdicts.json"), &json)?;
        let board = out.join("verdicts");
        common::clear_board(&board)?;
        let whole = Monitor::builder().tensorboard(&board).build();
        let whole = whole.into_diagnostic()?;
        whole.text("sweep/verdicts", 0, &self.text().replace('\n', "\n\n"));
        for (method, plot) in &self.plots {
            common::write(&out.join(format!("{method}.svg")), &plot.svg())?;
            whole.picture(&format!("sweep/{method}"), 0, plot.picture());
            let tag = format!("sweep/{method}_by_kilotokens");
            monitor::board(&board, &tag, 1.0, &plot.lines).into_diagnostic()?;
        }
        whole.flush().into_diagnostic()
    }
}
