//! What a collection found, in figures.

use crate::monitor::Monitor;
use crate::trace::TreeRecord;
use serde::{Deserialize, Serialize};

/// Totals of a collection.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Questions searched.
    pub questions: u64,
    /// Questions that could not be searched.
    #[serde(default)]
    pub failed: u64,
    /// Questions for which a right text was found.
    pub solved: u64,
    /// Questions that the greedy solution gets right.
    pub greedy: u64,
    /// Finished texts.
    pub terminals: u64,
    /// Finished texts that are right.
    pub correct: u64,
    /// Simulations made.
    pub simulations: u64,
    /// Nodes in all trees.
    pub nodes: u64,
    /// Forward tokens, prompts included.
    pub forward_tokens: u64,
    /// Wall-clock time.
    pub seconds: f64,
}

impl Summary {
    pub(super) fn count(&mut self, tree: &TreeRecord) {
        let ends = || tree.nodes.iter().filter(|n| n.terminal);
        let right = ends()
            .filter(|n| n.outcome.is_some_and(|o| o > 0.0))
            .count() as u64;
        self.questions += 1;
        self.failed += u64::from(tree.failure.is_some());
        self.solved += u64::from(right > 0);
        self.greedy += u64::from(tree.solved_greedily == Some(true));
        self.terminals += ends().filter(|n| n.outcome.is_some()).count() as u64;
        self.correct += right;
        self.simulations += u64::from(tree.simulations);
        self.nodes += tree.nodes.len() as u64;
        self.forward_tokens += tree.forward_tokens;
    }

    /// Share of the questions for which a right text was found.
    pub fn solved_share(&self) -> f64 {
        self.solved as f64 / self.questions.max(1) as f64
    }

    /// Share of the questions that the greedy solution gets right.
    pub fn greedy_share(&self) -> f64 {
        self.greedy as f64 / self.questions.max(1) as f64
    }

    pub(super) fn report(&self, monitor: &Monitor, iteration: u32, shards: usize) {
        // Steps of all iterations in one curve: up to a thousand shards in each.
        let step = u64::from(iteration) * 1000 + shards as u64;
        let questions = self.questions.max(1) as f64;
        let seconds = self.seconds.max(1e-9);
        let scalars = [
            ("collect/solved", self.solved_share()),
            ("collect/greedy", self.greedy_share()),
            ("collect/failed", self.failed as f64 / questions),
            (
                "collect/texts_per_question",
                self.terminals as f64 / questions,
            ),
            (
                "collect/correct_share_of_texts",
                self.correct as f64 / self.terminals.max(1) as f64,
            ),
            ("collect/nodes_per_question", self.nodes as f64 / questions),
            (
                "collect/forward_tokens_per_question",
                self.forward_tokens as f64 / questions,
            ),
            (
                "perf/simulations_per_second",
                self.simulations as f64 / seconds,
            ),
            (
                "perf/collect_tokens_per_second",
                self.forward_tokens as f64 / seconds,
            ),
        ];
        monitor.scalars(&scalars, step);
    }
}
