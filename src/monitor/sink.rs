//! Where events go, and what can go wrong there.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Event;

/// A sink could not be opened or written.
#[derive(Debug, Clone, thiserror::Error)]
#[error(
    "cannot {action} {path}: {source}; make sure that the folder exists, is writable and has \
     space left, then run the same command again"
)]
pub struct Error {
    /// What was tried: `create`, `write`, ...
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: Arc<io::Error>,
}

impl Error {
    /// For `map_err`: names the action and the place.
    pub(super) fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            action,
            path: path.to_owned(),
            source: Arc::new(source),
        }
    }
}

/// A destination of events.
pub(super) trait Sink: Send {
    /// Hands `event` over to the operating system. `time`: seconds since the Unix
    /// epoch; never less than that of an earlier event.
    fn record(&mut self, time: f64, event: &Event) -> Result<(), Error>;

    /// Brings everything that was recorded to the disk.
    fn sync(&mut self) -> Result<(), Error>;
}
