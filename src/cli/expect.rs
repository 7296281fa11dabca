//! What `check` and `run` say about what a run will take.

use crate::estimate::{self, Estimate, Room, bytes};
use crate::iterate::{Ground, Phase};
use crate::monitor::Monitor;
use crate::recipe::Recipe;
use comfy_table::presets::UTF8_HORIZONTAL_ONLY;
use comfy_table::{CellAlignment, Table};
use miette::Result;
use std::path::Path;

/// Whether and how to estimate.
#[derive(Debug, clap::Args)]
pub(super) struct Expect {
    /// Do not estimate memory, disk, tokens and time first, and refuse nothing for want of them.
    #[arg(long)]
    no_estimate: bool,
}

impl Expect {
    /// What `phases` will take, with measured steps; `None`, with a warning, where that cannot be
    /// told.
    pub fn measured(
        &self,
        recipe: &Recipe,
        ground: &Ground,
        phases: &[(u32, Phase)],
    ) -> Option<Estimate> {
        if self.no_estimate || phases.is_empty() {
            return None;
        }
        told(estimate::measured(recipe, ground, phases))
    }

    /// The same from the recipe's limits, where the model's configuration is on this machine.
    pub fn unmeasured(&self, recipe: &Recipe, phases: &[(u32, Phase)]) -> Option<Estimate> {
        let dir = recipe.model.path.as_ref().filter(|_| !self.no_estimate)?;
        told(estimate::unmeasured(recipe, dir, phases))
    }

    /// Refuses what does not fit.
    pub fn admit(&self, estimate: Option<&Estimate>, dir: &Path) -> Result<()> {
        match estimate {
            Some(estimate) => Ok(Room::of(dir).admits(estimate)?),
            None => Ok(()),
        }
    }
}

fn told(estimate: Result<Estimate, estimate::Error>) -> Option<Estimate> {
    estimate
        .inspect_err(|error| tracing::warn!("no estimate of what the run will take: {error}"))
        .ok()
}

/// The estimate in a line.
pub(super) fn line(estimate: &Estimate) -> String {
    let time = estimate
        .seconds
        .map_or_else(String::new, |seconds| format!("{}, ", time(seconds)));
    format!(
        "expected: {time}{} of memory, {} of disk, {} forward tokens",
        bytes(estimate.memory),
        bytes(estimate.disk_peak),
        count(estimate.tokens)
    )
}

/// Puts the estimate of each phase beside what the run will measure.
pub(super) fn report(estimate: &Estimate, monitor: &Monitor) {
    for phase in &estimate.phases {
        let mut scalars = vec![("perf/estimate_rss_peak", phase.memory)];
        scalars.extend(
            phase
                .seconds
                .map(|seconds| ("perf/estimate_seconds", seconds)),
        );
        monitor.scalars(&scalars, phase.phase.number(phase.iteration));
    }
}

/// One row a phase, one for the run.
pub(super) fn table(estimate: &Estimate) -> String {
    let mut table = Table::new();
    table.load_style(UTF8_HORIZONTAL_ONLY);
    table.set_header([
        "iteration",
        "phase",
        "memory",
        "most of it",
        "disk",
        "tokens",
        "time",
    ]);
    for column in [0, 2, 4, 5, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let seconds = |seconds: Option<f64>| seconds.map_or_else(String::new, time);
    for phase in &estimate.phases {
        let largest = phase
            .parts
            .iter()
            .max_by(|a, b| a.bytes.total_cmp(&b.bytes));
        table.add_row([
            phase.iteration.to_string(),
            phase.phase.name().to_owned(),
            bytes(phase.memory),
            largest.map_or_else(String::new, |part| {
                format!("{} {}", part.what, bytes(part.bytes))
            }),
            bytes(phase.disk),
            count(phase.tokens),
            seconds(phase.seconds),
        ]);
    }
    table.add_row([
        "all".to_owned(),
        String::new(),
        bytes(estimate.memory),
        format!("disk at the fullest moment {}", bytes(estimate.disk_peak)),
        bytes(estimate.disk),
        count(estimate.tokens),
        seconds(estimate.seconds),
    ]);
    table.to_string()
}

fn count(number: f64) -> String {
    match number {
        n if n >= 1e9 => format!("{:.1}G", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n if n >= 1e4 => format!("{:.0}k", n / 1e3),
        n => format!("{n:.0}"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        s if s < 100.0 => format!("{s:.0} s"),
        s if s < 100.0 * 60.0 => format!("{:.0} min", s / 60.0),
        s => format!("{:.1} h", s / 3600.0),
    }
}
