//! How much was written, and why what was refused was refused.

use crate::monitor::Monitor;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Why a written question is not searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// It has no end within its tokens.
    Unfinished,
    /// It is no question: too short, or without what the task needs.
    Malformed,
    /// It is close to a question of the data, or to another that was written.
    Resembling,
    /// No solution has an answer.
    Unanswered,
    /// Its solutions do not agree enough.
    Disagreeing,
    /// It is too long for the model, or outside its vocabulary.
    Failed,
}

impl Refusal {
    /// All of them.
    pub const ALL: [Refusal; 6] = [
        Refusal::Unfinished,
        Refusal::Malformed,
        Refusal::Resembling,
        Refusal::Unanswered,
        Refusal::Disagreeing,
        Refusal::Failed,
    ];

    /// As in tags and in `collect.json`.
    pub fn name(self) -> &'static str {
        match self {
            Refusal::Unfinished => "unfinished",
            Refusal::Malformed => "malformed",
            Refusal::Resembling => "resembling",
            Refusal::Unanswered => "unanswered",
            Refusal::Disagreeing => "disagreeing",
            Refusal::Failed => "failed",
        }
    }
}

/// Figures of what was written in an iteration.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Questions that the recipe allows.
    pub wanted: u64,
    /// Questions that were written.
    pub written: u64,
    /// Those that were kept.
    pub kept: u64,
    /// The others, by reason.
    pub refused: BTreeMap<Refusal, u64>,
    /// Forward tokens of writing and of the solutions that voted; part of the collection's.
    pub forward_tokens: u64,
}

impl Report {
    pub(super) fn refuse(&mut self, refusal: Refusal) {
        *self.refused.entry(refusal).or_default() += 1;
    }

    pub(in crate::collect) fn report(&self, monitor: &Monitor, step: u64) {
        let mut figures = vec![
            ("collect/imagined".to_owned(), self.kept as f64),
            ("collect/imagined_written".to_owned(), self.written as f64),
            (
                "collect/imagined_forward_tokens".to_owned(),
                self.forward_tokens as f64,
            ),
        ];
        for refusal in Refusal::ALL {
            let count = self.refused.get(&refusal).copied().unwrap_or_default();
            figures.push((format!("collect/imagined_{}", refusal.name()), count as f64));
        }
        for (tag, value) in figures {
            monitor.scalar(&tag, step, value);
        }
    }
}
