//! What a run will take: peak memory, disk, forward tokens and time of every phase, before it begins.
//!
//! Memory and disk are accounts: so many copies of the weights, so many slots, so many rows of so many
//! tokens, from the recipe and the model's configuration ([`Part`]). What depends on the data, the
//! length of prompts and texts and the size of trees, comes from a [`Sample`]: a few questions searched
//! and evaluated with the model itself where that takes a second or two, typical shares of the recipe's
//! limits where it does not. Times come from the same steps.

mod accounts;
mod disk;
mod fitting;
mod helpers;
mod imagined;
mod methods;
mod plan;
mod probe;
mod refusal;
mod sample;
mod searched;
mod shape;
#[cfg(test)]
mod tests;
mod texts;
mod trial;

pub use accounts::Part;
pub use methods::Method;
pub use probe::{Error, measured, unmeasured};
pub use refusal::{Refusal, Room, bytes};
pub use sample::{Sample, Seconds, Spread};
pub use shape::Fit;
pub use texts::Texts;

use crate::iterate::Phase;
use plan::Plan;
use serde::Serialize;

/// Bytes a second at which networks are read and written, checksums included.
const DISK_RATE: f64 = 400e6;

/// What a run will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// The phases that are still to come, in their order.
    pub phases: Vec<PhaseEstimate>,
    /// The highest peak of a phase, in bytes.
    pub memory: f64,
    /// Bytes that the run leaves on the disk.
    pub disk: f64,
    /// Bytes on the disk at the fullest moment.
    pub disk_peak: f64,
    /// Tokens forwarded.
    pub tokens: f64,
    /// Wall time, where something was timed.
    pub seconds: Option<f64>,
    /// What a question takes.
    pub sample: Sample,
    /// A pool of keys and values that no question fits in.
    #[serde(skip)]
    pub(crate) slots: Option<Refusal>,
}

/// What a phase will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PhaseEstimate {
    pub iteration: u32,
    pub phase: Phase,
    /// The most bytes that the process holds.
    pub memory: f64,
    /// What they hold.
    pub parts: Vec<Part>,
    /// Bytes that the phase leaves on the disk.
    pub disk: f64,
    /// Bytes on the disk that it needs on top while it is at work.
    pub disk_passing: f64,
    /// Tokens forwarded, each once for every net that sees it; in training, those of all steps.
    pub tokens: f64,
    /// Wall time, where something was timed.
    pub seconds: Option<f64>,
}

impl PhaseEstimate {
    /// As messages call it.
    pub fn name(&self) -> String {
        match self.phase {
            Phase::Collect => format!("the collection of iteration {}", self.iteration),
            Phase::Train => format!("the training of iteration {}", self.iteration),
            Phase::Evaluate | Phase::Done => {
                format!("the evaluation of iteration {}", self.iteration)
            }
        }
    }
}

impl Plan<'_> {
    /// The account of all `phases`.
    fn estimate(&self, phases: &[(u32, Phase)]) -> Estimate {
        let phases: Vec<PhaseEstimate> = phases
            .iter()
            .map(|&(iteration, phase)| self.phase(iteration, phase))
            .collect();
        let (mut disk, mut disk_peak) = (0.0, 0.0f64);
        for phase in &phases {
            disk += phase.disk;
            disk_peak = disk_peak.max(disk + phase.disk_passing);
        }
        Estimate {
            memory: phases.iter().map(|phase| phase.memory).fold(0.0, f64::max),
            disk,
            disk_peak,
            tokens: phases.iter().map(|phase| phase.tokens).sum(),
            seconds: phases.iter().map(|phase| phase.seconds).sum(),
            sample: self.sample.clone(),
            slots: self.lacks_slots(&phases),
            phases,
        }
    }

    fn phase(&self, iteration: u32, phase: Phase) -> PhaseEstimate {
        let parts = match phase {
            Phase::Collect => self.collecting(iteration),
            Phase::Train => self.training(iteration),
            Phase::Evaluate | Phase::Done => self.evaluating(iteration),
        };
        let disk = self.disk(iteration, phase);
        PhaseEstimate {
            iteration,
            phase,
            memory: accounts::sum(&parts),
            parts,
            disk: disk.left,
            disk_passing: disk.passing,
            tokens: self.tokens(iteration, phase),
            seconds: self.seconds(iteration, phase),
        }
    }

    fn tokens(&self, iteration: u32, phase: Phase) -> f64 {
        let valued = self.recipe.collect.search.tree.lambda < 1.0;
        let nets = |trained: bool| if self.two_nets(trained) { 2.0 } else { 1.0 };
        match phase {
            Phase::Collect => {
                let nets = if valued { nets(iteration > 1) } else { 1.0 };
                let own = self.searched() * (self.sample.tree.mean + self.sample.passing);
                (own + self.writing_tokens()) * nets + self.searched() * self.sample.helped
            }
            Phase::Train => self.fits(iteration).iter().map(|fit| fit.tokens).sum(),
            Phase::Evaluate | Phase::Done => {
                let own = self.sample.question_tokens() * nets(iteration > 0);
                self.held_out * (own + self.sample.question_helped())
            }
        }
    }

    fn seconds(&self, iteration: u32, phase: Phase) -> Option<f64> {
        let seconds = self.sample.seconds.as_ref()?;
        let nets = |trained: bool| if self.two_nets(trained) { 2.0 } else { 1.0 };
        let load = |trained: bool| {
            if trained {
                self.checkpoint() / DISK_RATE
            } else {
                0.0
            }
        };
        let read = self.helpers_read(phase) / DISK_RATE;
        let work = match phase {
            Phase::Collect => {
                let valued = self.recipe.collect.search.tree.lambda < 1.0;
                let nets = if valued { nets(iteration > 1) } else { 1.0 };
                let written = self.writing_tokens() * seconds.decoded;
                (self.searched() * seconds.tree + written) * nets + load(iteration > 1)
            }
            Phase::Train => {
                let fits = self.fits(iteration);
                let work = fits.iter().map(|fit| match fit.frozen {
                    true => fit.tokens * seconds.prefill,
                    false => fit.tokens * seconds.token(fit.fit),
                });
                work.sum::<f64>() + load(iteration > 1) + load(true)
            }
            Phase::Evaluate | Phase::Done => {
                self.held_out * seconds.question * nets(iteration > 0) + load(iteration > 0)
            }
        };
        Some(work + read)
    }

    /// Whether the pool of slots is too small for a question of the phases.
    fn lacks_slots(&self, phases: &[PhaseEstimate]) -> Option<Refusal> {
        let sample = self.sample;
        phases.iter().find_map(|phase| {
            let (reserved, knobs) = match phase.phase {
                Phase::Collect => (
                    sample.reserved(self.recipe),
                    "collect.search.simulations or collect.search.max_new_tokens, or bound a tree \
                     by collect.search.slots",
                ),
                Phase::Evaluate => (
                    sample
                        .methods
                        .iter()
                        .map(|m| m.reserved)
                        .fold(0.0, f64::max),
                    "evaluate.samples, the simulations or the tokens of a search, or bound its tree \
                     by its slots",
                ),
                Phase::Train | Phase::Done => return None,
            };
            let nets = if self.two_nets(phase.iteration > 0) {
                2.0
            } else {
                1.0
            };
            let capacity = self.capacity(nets);
            (reserved > capacity).then(|| Refusal::Slots {
                phase: phase.name(),
                needed: reserved as u64,
                capacity: capacity as u64,
                knobs,
            })
        })
    }
}

impl Seconds {
    /// Of a forwarded token of `fit`.
    fn token(&self, fit: Fit) -> f64 {
        let timed = self.fits.iter().find(|(timed, _)| *timed == fit);
        timed.map_or(0.0, |(_, seconds)| *seconds)
    }
}
