//! What an event file holds already.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use super::Event;

/// Tags under which TensorBoard looks for a run's layout, settings and end.
pub(super) const LAYOUT: &str = "custom_scalars__config__";
pub(super) const EXPERIMENT: &str = "_hparams_/experiment";
pub(super) const START: &str = "_hparams_/session_start_info";
pub(super) const END: &str = "_hparams_/session_end_info";

/// Tags and steps that earlier processes reported. A run that is resumed does some work again and
/// comes to the same figures; they must not show twice.
#[derive(Debug, Default)]
pub(super) struct Seen(HashSet<u64>);

impl Seen {
    pub fn insert(&mut self, tag: &str, step: u64) {
        self.0.insert(key(tag, step));
    }

    /// What of `event` is new; `None` where nothing is.
    pub fn new_part(&self, event: &Event) -> Option<Event> {
        let is_new = |tag: &str, step: u64| !self.0.contains(&key(tag, step));
        match event {
            Event::Scalars { step, values } => {
                let values: Vec<_> = values
                    .iter()
                    .filter(|(tag, _)| is_new(tag, *step))
                    .cloned()
                    .collect();
                (!values.is_empty()).then_some(Event::Scalars {
                    step: *step,
                    values,
                })
            }
            Event::Text { tag, step, .. }
            | Event::Histogram { tag, step, .. }
            | Event::Picture { tag, step, .. } => is_new(tag, *step).then(|| event.clone()),
            Event::Layout(_) => is_new(LAYOUT, 0).then(|| event.clone()),
            Event::Start(_) => is_new(START, 0).then(|| event.clone()),
            Event::End => is_new(END, 0).then(|| event.clone()),
        }
    }
}

fn key(tag: &str, step: u64) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tag, step).hash(&mut hasher);
    hasher.finish()
}
