//! SIGINT and SIGTERM: the work in hand is finished and kept, then the process ends.

use crate::stop::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

/// Ended by Ctrl-C, as shells count it.
const INTERRUPTED: u8 = 130;
/// Ended by SIGTERM: stopped, and the same command goes on.
const RESUMABLE: u8 = 75;

/// How long the work in hand may take. What is on the disk is whole at any moment, so that ending in
/// the middle costs that work and nothing else.
const GRACE: Duration = Duration::from_millis(4500);

/// The signals that came.
#[derive(Default)]
pub(super) struct Signals {
    pub stop: Stop,
    code: Arc<AtomicU8>,
}

impl Signals {
    /// Catches them from here on. The first asks the work to stop; a second ends the process at once.
    pub fn catch() -> Signals {
        let signals = Signals::default();
        let (stop, first) = (signals.stop.clone(), signals.code.clone());
        // Without a handler the signals end the process, which leaves a folder that can be resumed
        // as well.
        if let Ok(mut caught) = signal_hook::iterator::Signals::new([SIGINT, SIGTERM]) {
            std::thread::spawn(move || {
                for signal in caught.forever() {
                    let code = match signal {
                        SIGINT => INTERRUPTED,
                        _ => RESUMABLE,
                    };
                    first.store(code, Ordering::SeqCst);
                    if stop.ask() {
                        std::process::exit(i32::from(code));
                    }
                    eprintln!("stopping after the step in hand; once more to stop at once");
                    std::thread::spawn(move || {
                        std::thread::sleep(GRACE);
                        std::process::exit(i32::from(code));
                    });
                }
            });
        }
        signals
    }

    /// How the process ends if a signal or a key asked it to.
    pub fn exit_code(&self) -> Option<ExitCode> {
        match self.code.load(Ordering::SeqCst) {
            0 if self.stop.asked() => Some(RESUMABLE.into()),
            0 => None,
            code => Some(code.into()),
        }
    }
}
