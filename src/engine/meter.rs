//! How busy an engine is.

use super::EngineHandle;
use crate::monitor::Monitor;
use std::time::Duration;

/// Work of an engine since its start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Load {
    /// Steps run.
    pub steps: u64,
    /// Rows in them, together.
    pub rows: u64,
    /// Tokens forwarded through the policy.
    pub tokens: u64,
    /// Time that the steps took.
    pub busy: Duration,
    /// Slots in use at the end of the last step.
    pub live_slots: usize,
    /// Bytes that the accelerator's memory pool holds; 0 on a CPU.
    pub device_bytes: u64,
}

/// Reports what an engine did since the last report.
pub struct Meter {
    engine: EngineHandle,
    last: Load,
}

impl Meter {
    /// Starts now.
    pub fn new(engine: &EngineHandle) -> Meter {
        Meter {
            last: engine.load(),
            engine: engine.clone(),
        }
    }

    /// Reports under `perf/`: milliseconds and rows of a mean step, slots in use, bytes of main
    /// memory and of the accelerator's, all at `step` of the curves.
    pub fn report(&mut self, monitor: &Monitor, step: u64) {
        let now = self.engine.load();
        let steps = (now.steps - self.last.steps).max(1) as f64;
        let busy = (now.busy - self.last.busy).as_secs_f64();
        let rows = (now.rows - self.last.rows) as f64;
        self.last = now;
        let mut scalars = vec![
            ("perf/step_ms", 1e3 * busy / steps),
            ("perf/rows", rows / steps),
            ("perf/slots_live", now.live_slots as f64),
        ];
        if let Some(bytes) = crate::memory::resident() {
            scalars.push(("perf/rss", bytes as f64));
        }
        if now.device_bytes > 0 {
            scalars.push(("perf/gpu_mem", now.device_bytes as f64));
        }
        monitor.scalars(&scalars, step);
    }
}
