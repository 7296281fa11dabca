//! Panics, which are bugs: one message that asks for a report.

use crate::guard::guarded;
use miette::{Result, miette};
use std::sync::{Mutex, PoisonError};

/// Where and why the last panic happened, whatever the thread.
static LAST: Mutex<Option<String>> = Mutex::new(None);

/// Runs `work`; a panic becomes an error. Threads of their own tell their panics in the errors of
/// those who wait for them, so that nothing is printed here.
pub(super) fn caught(work: impl FnOnce() -> Result<()>) -> Result<()> {
    std::panic::set_hook(Box::new(|panic| {
        tracing::debug!("{panic}");
        let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        *last = Some(panic.to_string());
    }));
    guarded(work).unwrap_or_else(|_| {
        let last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
        let what = last.as_deref().unwrap_or("a panic without a message");
        Err(miette!(
            help = "please report it with the command and the recipe; a run can be resumed with the same command",
            "tokenzero came upon a fault of its own: {what}"
        ))
    })
}
