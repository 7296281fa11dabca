//! Progress bars and log lines on stderr.

use std::fmt;
use std::io::{self, Write};
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressState, ProgressStyle};

/// Draws bars while stderr is a terminal; prints lines always.
#[derive(Clone)]
pub(super) struct Console {
    bars: MultiProgress,
}

impl Console {
    /// Writes to stderr, which indicatif leaves without bars where it is no terminal.
    pub(super) fn new() -> Self {
        Self {
            bars: MultiProgress::new(),
        }
    }

    pub(super) fn line(&self, line: &str) {
        // A closed stderr is no reason to stop: the line has nowhere else to go.
        let _ = self
            .bars
            .suspend(|| writeln!(io::stderr().lock(), "{line}"));
    }

    pub(super) fn progress(&self, phase: &str, total: u64) -> Progress {
        let bar = self.bars.add(ProgressBar::new(total));
        let template = "{prefix:>16} {bar:24} {human_pos}/{human_len} {rate} ETA {eta} {msg}";
        if let Ok(style) = ProgressStyle::with_template(template) {
            let rate = |state: &ProgressState, out: &mut dyn fmt::Write| {
                // Fails only if `out` does, which is a string.
                let _ = write!(out, "{:.1}/s", state.per_sec());
            };
            bar.set_style(style.with_key("rate", rate).progress_chars("━╸─"));
        }
        bar.set_prefix(phase.to_owned());
        if !self.bars.is_hidden() {
            bar.enable_steady_tick(Duration::from_millis(250));
        }
        Progress {
            bar,
            bars: Some(self.bars.clone()),
        }
    }
}

/// One phase's progress bar, shared by reference between threads. Dropping it
/// finishes the phase and takes the bar away.
#[must_use = "dropping a Progress finishes its bar"]
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    bars: Option<MultiProgress>,
}

impl Progress {
    /// A bar that is never drawn.
    pub(super) fn hidden(total: u64) -> Self {
        let bar = ProgressBar::hidden();
        bar.set_length(total);
        Self { bar, bars: None }
    }

    /// Counts `n` more as done.
    pub fn inc(&self, n: u64) {
        self.bar.inc(n);
    }

    /// Sets how many are done: where a resumed phase starts.
    pub fn set(&self, done: u64) {
        self.bar.set_position(done);
        self.bar.reset_eta();
    }

    /// How many are done.
    pub fn position(&self) -> u64 {
        self.bar.position()
    }

    /// The short text behind the bar, e.g. the current loss.
    pub fn message(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        if let Some(bars) = &self.bars {
            bars.remove(&self.bar);
        }
    }
}

/// Stderr for other writers (a `tracing` subscriber), so that what they print does
/// not tear the bars.
#[derive(Clone)]
pub struct Stderr {
    pub(super) console: Option<Console>,
}

impl Write for Stderr {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes)?;
        Ok(bytes.len())
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &self.console {
            Some(console) => console
                .bars
                .suspend(|| io::stderr().lock().write_all(bytes)),
            None => io::stderr().lock().write_all(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().lock().flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_count_and_may_be_shared_between_threads() {
        let bar = Console::new().progress("collect", 8);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| bar.inc(2));
            }
        });
        bar.message("done");
        assert_eq!(bar.position(), 8);
        bar.set(3);
        assert_eq!(bar.position(), 3);
    }
}
