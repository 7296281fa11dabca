//! What a run reports while it works: scalars, texts, histograms and pictures go as
//! [`Event`]s to every open sink (TensorBoard, a JSON lines file), progress and
//! log lines to the console.
//!
//! ```no_run
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use tokenzero::monitor::Monitor;
//!
//! let monitor = Monitor::builder()
//!     .tensorboard("run/tensorboard")
//!     .json_lines("run/events.jsonl")
//!     .console()
//!     .build()?;
//! let bar = monitor.progress("collect", 300);
//! for question in 0..300u64 {
//!     monitor.scalar("collect/solved", question, 0.5);
//!     bar.inc(1);
//! }
//! drop(bar);
//! monitor.flush()?;
//! # Ok(())
//! # }
//! ```
//!
//! Reporting never fails at the place that reports. The first I/O error of a sink
//! is logged once and closes that sink; [`Monitor::flush`] returns it, so that a
//! phase can stop at its end instead of running on unseen.
//!
//! Every event reaches the operating system before the call returns: a process
//! that is killed loses none, and TensorBoard sees each one at once.

mod canvas;
mod console;
mod event;
mod handle;
mod histogram;
mod json_lines;
mod overview;
mod picture;
mod plot;
mod proto;
mod scalars;
mod seen;
mod sink;
mod tensorboard;

pub use console::{Progress, Stderr};
pub use event::Event;
pub use handle::{Builder, Monitor, step_in};
pub use histogram::Histogram;
pub use overview::{Category, Chart, Layout, Lines, Setting, Start};
pub use picture::{Bin, Branch, Picture};
pub use plot::{Dot, Line, Plot, Scale, board};
pub use scalars::{Curve, scalars};
pub use sink::Error;
