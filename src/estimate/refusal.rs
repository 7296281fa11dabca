//! What cannot fit.

use super::accounts::{Part, part, sum};
use super::{Estimate, PhaseEstimate};
use crate::iterate::Phase;
use crate::memory;
use std::path::{Path, PathBuf};

/// What there is for a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Room {
    /// Bytes of main memory that the process may come to; `None` where that is not known.
    pub memory: Option<f64>,
    /// Bytes free where the run's folder lies; `None` where that is not known.
    pub disk: Option<f64>,
    /// The run's folder.
    pub dir: PathBuf,
}

/// Why a run is not begun.
#[derive(Debug, Clone, PartialEq, thiserror::Error, miette::Diagnostic)]
pub enum Refusal {
    #[error("{phase} needs about {needed} of memory and there are {room}: {parts}")]
    #[diagnostic(help("{help}"))]
    Memory {
        phase: String,
        needed: String,
        room: String,
        parts: String,
        help: String,
    },
    #[error(
        "the run needs about {needed} of disk and {} has {room} free: {parts}", dir.display()
    )]
    #[diagnostic(help("{help}"))]
    Disk {
        dir: PathBuf,
        needed: String,
        room: String,
        parts: String,
        help: String,
    },
    #[error(
        "{phase} sets aside {needed} key-value slots for a question, and the pool has {capacity}"
    )]
    #[diagnostic(help(
        "raise engine.kv_slots, or lower {knobs}; --no-estimate starts without this check"
    ))]
    Slots {
        phase: String,
        needed: u64,
        capacity: u64,
        knobs: &'static str,
    },
}

/// Ends every help.
const ANYWAY: &str = "--no-estimate starts without this check";

/// Parts that a message lists.
const SHOWN: usize = 3;

impl Room {
    /// What there is for a run in `dir`, which need not exist yet.
    pub fn of(dir: &Path) -> Room {
        // What the process has is what the account of a phase begins with.
        let memory = memory::available()
            .zip(memory::resident())
            .map(|(free, ours)| (free + ours) as f64);
        let dir = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
        let exists = dir.ancestors().find(|above| above.is_dir());
        let disk = exists
            .and_then(|above| rustix::fs::statvfs(above).ok())
            .map(|volume| volume.f_bavail as f64 * volume.f_frsize as f64);
        Room { memory, disk, dir }
    }

    /// Finds out whether `estimate` fits.
    ///
    /// # Errors
    /// The first phase that does not, or the disk, with the knobs to turn.
    pub fn admits(&self, estimate: &Estimate) -> Result<(), Refusal> {
        if let Some(refusal) = &estimate.slots {
            return Err(refusal.clone());
        }
        if let Some(room) = self.memory
            && let Some(phase) = estimate.phases.iter().find(|phase| phase.memory > room)
        {
            return Err(too_much_memory(phase, room));
        }
        match self.disk {
            Some(room) if estimate.disk_peak > room => Err(self.too_much_disk(estimate, room)),
            _ => Ok(()),
        }
    }

    fn too_much_disk(&self, estimate: &Estimate, room: f64) -> Refusal {
        let of = |phase: Phase| -> f64 {
            let same = estimate.phases.iter().filter(|p| p.phase == phase);
            same.map(|p| p.disk).sum()
        };
        let passing = estimate.disk_peak - estimate.disk;
        let mut parts = [
            (
                "traces",
                of(Phase::Collect),
                "collect.questions or collect.search.simulations",
            ),
            ("checkpoints", of(Phase::Train), "loop.iterations"),
            (
                "checkpoints inside the fits",
                passing,
                "joint.checkpoint_every, value.checkpoint_every and policy.checkpoint_every to 0",
            ),
            ("answers", of(Phase::Evaluate), "evaluate.questions"),
        ]
        .map(|(what, bytes, knobs)| part(what, bytes, knobs));
        Refusal::Disk {
            dir: self.dir.clone(),
            needed: bytes(estimate.disk_peak),
            room: bytes(room),
            parts: listed(&mut parts),
            help: format!(
                "set {}, or choose another folder with --run-dir; {ANYWAY}",
                parts[0].knobs
            ),
        }
    }
}

fn too_much_memory(phase: &PhaseEstimate, room: f64) -> Refusal {
    let mut parts = phase.parts.clone();
    debug_assert!((sum(&parts) - phase.memory).abs() < 1.0);
    let shown = listed(&mut parts);
    // What the run would have to give up, in the order of what it brings.
    let knobs: Vec<&str> = parts
        .iter()
        .filter(|part| !part.knobs.is_empty() && part.bytes > 0.05 * phase.memory)
        .map(|part| part.knobs)
        .take(2)
        .collect();
    let help = match knobs.is_empty() {
        true => format!("take a smaller model, or a machine with more memory; {ANYWAY}"),
        false => format!("turn down {}; {ANYWAY}", knobs.join("; or ")),
    };
    Refusal::Memory {
        phase: phase.name(),
        needed: bytes(phase.memory),
        room: bytes(room),
        parts: shown,
        help,
    }
}

/// The largest parts, which come to stand first.
fn listed(parts: &mut [Part]) -> String {
    parts.sort_by(|a, b| b.bytes.total_cmp(&a.bytes));
    let all: Vec<String> = parts
        .iter()
        .filter(|part| part.bytes > 0.0)
        .take(SHOWN)
        .map(|part| format!("{} {}", part.what, bytes(part.bytes)))
        .collect();
    all.join(", ")
}

/// A number of bytes as people write it.
pub fn bytes(number: f64) -> String {
    let (unit, name) = match number {
        n if n >= 1e9 => (1e9, "GB"),
        n if n >= 1e6 => (1e6, "MB"),
        _ => (1e3, "kB"),
    };
    let number = number / unit;
    match number {
        n if n >= 100.0 || unit == 1e3 => format!("{n:.0} {name}"),
        n if n >= 10.0 => format!("{n:.1} {name}"),
        n => format!("{n:.2} {name}"),
    }
}
