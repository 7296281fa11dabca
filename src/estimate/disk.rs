//! Bytes that a phase writes.

use super::plan::Plan;
use super::shape::FLOAT;
use crate::iterate::Phase;

/// Bytes of an optimiser step in the event files: eight numbers with their names, 425 in events.jsonl
/// and 145 for TensorBoard.
const STEP: f64 = 570.0;

/// Bytes of the other events and the summaries of a phase.
const PHASE: f64 = 6e3;

/// Bytes of an answer in evaluation.parquet beside its text, and of each of its tokens.
const ANSWER: (f64, f64) = (6.0, 0.5);

/// What a phase writes, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Disk {
    /// What stays.
    pub left: f64,
    /// What it needs on top while it is at work.
    pub passing: f64,
}

impl Plan<'_> {
    pub fn disk(&self, iteration: u32, phase: Phase) -> Disk {
        let sample = self.sample;
        match phase {
            Phase::Collect => {
                let trees = self.searched();
                let shard = trees.min(self.recipe.collect.shard as f64);
                Disk {
                    left: trees * sample.tree_bytes + PHASE,
                    // The journal holds them uncompressed: about four times as much.
                    passing: 4.0 * shard * sample.tree_bytes,
                }
            }
            Phase::Train => {
                let fits = self.fits(iteration);
                let steps: f64 = fits.iter().map(|fit| fit.steps).sum();
                let saved = fits
                    .iter()
                    .filter(|fit| fit.checkpoint_every > 0)
                    .map(|fit| {
                        // The last two checkpoints, and the next before the older goes.
                        let kept = (fit.steps / fit.checkpoint_every as f64).ceil().min(3.0);
                        let net = if fit.frozen { 0.0 } else { self.net(fit) };
                        kept * (net + 2.0 * self.shape.moved(fit.fit, self.recipe) * FLOAT)
                    });
                Disk {
                    left: self.checkpoint() + self.tokenizer_files + steps * STEP + PHASE,
                    passing: saved.sum(),
                }
            }
            Phase::Evaluate => {
                let methods = sample.methods.len() as f64 + 2.0;
                let text = (sample.solutions.tokens.mean - sample.prompt.mean).max(0.0);
                Disk {
                    left: self.held_out * methods * (ANSWER.0 + ANSWER.1 * text) + PHASE,
                    passing: 0.0,
                }
            }
            Phase::Done => Disk::default(),
        }
    }
}
