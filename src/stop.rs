//! Asking work to end early.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A request to stop, shared by whoever may ask and all who must heed it. Work looks at it between
/// steps, leaves what is finished on the disk and ends with [`Stopped`].
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

/// The work ended early because it was asked to; what it had finished is on the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("stopped on request")]
pub struct Stopped;

impl Stop {
    /// Asks. Returns whether somebody had asked before.
    pub fn ask(&self) -> bool {
        self.0.swap(true, Ordering::SeqCst)
    }

    /// Whether somebody has asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }

    /// # Errors
    /// [`Stopped`] once somebody has asked.
    pub fn check(&self) -> Result<(), Stopped> {
        match self.asked() {
            true => Err(Stopped),
            false => Ok(()),
        }
    }
}
