//! The handle that the rest of the program holds.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use super::console::{Console, Progress, Stderr};
use super::json_lines::{JsonLines, StdoutLines};
use super::sink::{Error, Sink};
use super::tensorboard::EventFile;
use super::{Event, Histogram, Picture};

/// Step of what is reported several times in an iteration, so that the curves of all iterations
/// follow each other: a thousand steps an iteration, `part` of them done.
pub fn step_in(iteration: u32, part: usize) -> u64 {
    1000 * u64::from(iteration) + part.min(999) as u64
}

/// A cheap, cloneable handle to the sinks of a run; any thread may report.
#[derive(Clone)]
pub struct Monitor {
    console: Option<Console>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    sinks: Vec<Box<dyn Sink>>,
    /// Time of the last event, in seconds since the Unix epoch.
    time: f64,
    /// The first error of any sink.
    failed: Option<Error>,
}

impl Monitor {
    /// Starts with no sink.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Takes everything and shows nothing, for tests and `--quiet`.
    pub fn silent() -> Self {
        Self {
            console: None,
            state: Arc::default(),
        }
    }

    /// Reports one number. TensorBoard keeps it as f32, JSON lines as f64.
    pub fn scalar(&self, tag: &str, step: u64, value: f64) {
        self.scalars(&[(tag, value)], step);
    }

    /// Reports numbers that share a step.
    pub fn scalars(&self, values: &[(&str, f64)], step: u64) {
        let values = values
            .iter()
            .map(|&(tag, value)| (tag.to_owned(), value))
            .collect();
        self.record(&Event::Scalars { step, values });
    }

    /// Reports a text, which TensorBoard renders as Markdown.
    pub fn text(&self, tag: &str, step: u64, text: &str) {
        self.record(&Event::Text {
            tag: tag.to_owned(),
            step,
            text: text.to_owned(),
        });
    }

    /// Reports the distribution of the finite ones of `values`; nothing if there are none.
    pub fn histogram(&self, tag: &str, step: u64, values: &[f64]) {
        if let Some(histogram) = Histogram::of(values) {
            self.record(&Event::Histogram {
                tag: tag.to_owned(),
                step,
                histogram,
            });
        }
    }

    /// Reports a picture.
    pub fn picture(&self, tag: &str, step: u64, picture: Picture) {
        self.record(&Event::Picture {
            tag: tag.to_owned(),
            step,
            picture,
        });
    }

    /// Hands an event to every sink that still works.
    pub fn record(&self, event: &Event) {
        let mut state = self.state();
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default()
            .as_secs_f64();
        // The clock may be set back; plots want time to go forward.
        let time = now.max(state.time);
        state.time = time;
        state.each(|sink| sink.record(time, event));
    }

    /// Opens a bar for a phase of `total` units; it is drawn on a terminal only.
    pub fn progress(&self, phase: &str, total: u64) -> Progress {
        match &self.console {
            Some(console) => console.progress(phase, total),
            None => Progress::hidden(total),
        }
    }

    /// Prints a line on stderr, above the bars. Without a console: nothing.
    pub fn line(&self, line: &str) {
        if let Some(console) = &self.console {
            console.line(line);
        }
    }

    /// A writer to stderr that keeps the bars whole, for `tracing_subscriber`.
    pub fn stderr(&self) -> Stderr {
        Stderr {
            console: self.console.clone(),
        }
    }

    /// Brings what was reported to the disk.
    ///
    /// # Errors
    ///
    /// The first error of any sink since it was opened, now or in an earlier call;
    /// that sink has been closed and its later events are lost.
    pub fn flush(&self) -> Result<(), Error> {
        let mut state = self.state();
        state.each(|sink| sink.sync());
        state.failed.clone().map_or(Ok(()), Err)
    }

    /// A reporter that panicked leaves nothing half-done that others could see.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Closes the sinks for which `write` fails, and reports the first such error.
    fn each(&mut self, mut write: impl FnMut(&mut Box<dyn Sink>) -> Result<(), Error>) {
        self.sinks.retain_mut(|sink| match write(sink) {
            Ok(()) => true,
            Err(error) => {
                if self.failed.is_none() {
                    tracing::warn!("{error}");
                    self.failed = Some(error);
                }
                false
            }
        });
    }
}

/// Which sinks a [`Monitor`] has.
#[derive(Debug, Clone, Default)]
pub struct Builder {
    tensorboard: Option<PathBuf>,
    json_lines: Option<PathBuf>,
    stdout: bool,
    console: bool,
}

impl Builder {
    /// The event file in `dir`, which is made where it is missing. A resumed run goes on in it, and
    /// what it reports again is dropped.
    pub fn tensorboard(mut self, dir: impl AsRef<Path>) -> Self {
        self.tensorboard = Some(dir.as_ref().to_owned());
        self
    }

    /// Appends to the file at `path`, which is made where it is missing; as
    /// [`Builder::tensorboard`], nothing is reported twice.
    pub fn json_lines(mut self, path: impl AsRef<Path>) -> Self {
        self.json_lines = Some(path.as_ref().to_owned());
        self
    }

    /// Every event as a line of JSON on standard output.
    pub fn json_stdout(mut self) -> Self {
        self.stdout = true;
        self
    }

    /// Bars and lines on stderr.
    pub fn console(mut self) -> Self {
        self.console = true;
        self
    }

    /// Opens the sinks.
    ///
    /// # Errors
    ///
    /// A folder or file that cannot be made or opened.
    pub fn build(self) -> Result<Monitor, Error> {
        let mut sinks: Vec<Box<dyn Sink>> = Vec::new();
        if let Some(dir) = &self.tensorboard {
            sinks.push(Box::new(EventFile::open(dir)?));
        }
        if let Some(path) = &self.json_lines {
            sinks.push(Box::new(JsonLines::open(path)?));
        }
        if self.stdout {
            sinks.push(Box::new(StdoutLines));
        }
        Ok(Monitor {
            console: self.console.then(Console::new),
            state: Arc::new(Mutex::new(State {
                sinks,
                ..State::default()
            })),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fails from the second event on.
    struct Full(u32);

    impl Sink for Full {
        fn record(&mut self, _: f64, _: &Event) -> Result<(), Error> {
            self.0 += 1;
            match self.0 {
                1 => Ok(()),
                n => Err(Error::at("write", Path::new("full"))(
                    std::io::Error::other(format!("event {n}")),
                )),
            }
        }

        fn sync(&mut self) -> Result<(), Error> {
            Ok(())
        }
    }

    #[test]
    fn the_first_error_comes_out_of_flush_and_the_other_sinks_go_on() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let monitor = Monitor::builder().json_lines(&path).build().unwrap();
        monitor.state().sinks.insert(0, Box::new(Full(0)));
        monitor.scalar("a", 1, 1.0);
        monitor.flush().unwrap();
        monitor.scalar("a", 2, 2.0);
        monitor.scalar("a", 3, 3.0);
        for _ in 0..2 {
            let error = monitor.flush().unwrap_err().to_string();
            assert!(error.contains("cannot write full: event 2"), "{error}");
        }
        assert_eq!(std::fs::read_to_string(path).unwrap().lines().count(), 3);
    }

    #[test]
    fn a_sink_that_cannot_be_opened_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        let error = Monitor::builder()
            .tensorboard(file.join("tensorboard"))
            .build()
            .err()
            .unwrap()
            .to_string();
        assert!(error.contains("file/tensorboard"), "{error}");
    }

    #[test]
    fn a_silent_monitor_takes_everything() {
        let monitor = Monitor::silent();
        monitor.scalar("a", 1, 1.0);
        monitor.line("nothing");
        let bar = monitor.progress("phase", 2);
        bar.inc(2);
        assert_eq!(bar.position(), 2);
        monitor.flush().unwrap();
    }
}
