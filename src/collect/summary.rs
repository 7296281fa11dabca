//! What a collection found, in figures.

use super::imagine::Report as Imagination;
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
    /// Those of them that needed no forward pass.
    #[serde(default)]
    pub memo_hits: u64,
    /// Visits of all roots, and the sum of the returns that these backed up.
    #[serde(default)]
    pub root_visits: u64,
    #[serde(default)]
    pub root_returns: f64,
    /// Nodes in all trees.
    pub nodes: u64,
    /// Forward tokens, prompts included.
    pub forward_tokens: u64,
    /// How the trees look.
    #[serde(default)]
    pub shape: Shape,
    /// Questions that the policy wrote for itself, where it was asked to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub imagined: Option<Imagination>,
    /// Texts drawn beside the trees, where they were asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub samples: Option<Samples>,
    /// Wall-clock time.
    pub seconds: f64,
}

/// Texts drawn beside the trees: what the policy writes by itself. No other figure counts them but the
/// forward tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Samples {
    pub texts: u64,
    /// Those of them that are right.
    pub right: u64,
    /// Forward tokens, prompts included.
    pub forward_tokens: u64,
}

impl Samples {
    fn count(&mut self, tree: &TreeRecord) {
        let ends = tree.nodes.iter().filter(|node| node.terminal);
        let right = ends.filter(|node| node.outcome.is_some_and(|outcome| outcome > 0.0));
        self.texts += u64::from(tree.simulations);
        self.right += right.map(|node| u64::from(node.visits)).sum::<u64>();
        self.forward_tokens += tree.forward_tokens;
    }
}

/// How trees look, as sums over them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Depth of the deepest node, in tokens below the root.
    pub depth: f64,
    /// Visited children of a visited node that has any, on average.
    pub branching: f64,
    /// Entropy of the visits of the root's children, in nats.
    pub visit_entropy: f64,
}

impl Shape {
    /// Of one tree.
    fn of(tree: &TreeRecord) -> Shape {
        let nodes = &tree.nodes;
        let mut depths = vec![0u32; nodes.len()];
        let mut children = vec![0u32; nodes.len()];
        let mut root_visits = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let Some(parent) = node.parent.map(|p| p as usize) else {
                continue;
            };
            depths[index] = depths[parent] + 1;
            if node.visits > 0 {
                children[parent] += 1;
                if parent == 0 {
                    root_visits.push(f64::from(node.visits));
                }
            }
        }
        let inner: Vec<u32> = children.into_iter().filter(|c| *c > 0).collect();
        let total: f64 = root_visits.iter().sum();
        let entropy: f64 = root_visits
            .iter()
            .map(|visits| visits / total)
            .map(|share| -share * share.ln())
            .sum();
        Shape {
            depth: f64::from(depths.into_iter().max().unwrap_or(0)),
            branching: inner.iter().sum::<u32>() as f64 / inner.len().max(1) as f64,
            visit_entropy: entropy,
        }
    }

    fn add(&mut self, other: Shape) {
        self.depth += other.depth;
        self.branching += other.branching;
        self.visit_entropy += other.visit_entropy;
    }
}

impl Summary {
    pub(super) fn count(&mut self, tree: &TreeRecord) {
        if tree.is_samples() {
            self.forward_tokens += tree.forward_tokens;
            return self.samples.get_or_insert_default().count(tree);
        }
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
        self.memo_hits += u64::from(tree.memo_hits);
        if let Some(root) = tree.nodes.first() {
            self.root_visits += u64::from(root.visits);
            self.root_returns += root.return_sum;
        }
        self.nodes += tree.nodes.len() as u64;
        self.forward_tokens += tree.forward_tokens;
        self.shape.add(Shape::of(tree));
    }

    /// Adds what was written before the collection, its forward tokens too, and shows it.
    pub fn with_imagined(self, report: Imagination, monitor: &Monitor, iteration: u32) -> Summary {
        report.report(monitor, u64::from(iteration));
        Summary {
            forward_tokens: self.forward_tokens + report.forward_tokens,
            imagined: Some(report),
            ..self
        }
    }

    /// Share of the questions for which a right text was found.
    pub fn solved_share(&self) -> f64 {
        self.solved as f64 / self.questions.max(1) as f64
    }

    /// Share of the questions that the greedy solution gets right.
    pub fn greedy_share(&self) -> f64 {
        self.greedy as f64 / self.questions.max(1) as f64
    }

    /// Share of the simulations that ended in a right text; with the value mixed into the returns,
    /// what these say of it.
    pub fn true_step_rate(&self) -> f64 {
        match self.root_visits {
            0 => 0.0,
            visits => (1.0 + self.root_returns / visits as f64) / 2.0,
        }
    }

    /// Share of the simulations that needed no forward pass.
    pub fn memo_hit_rate(&self) -> f64 {
        self.memo_hits as f64 / self.simulations.max(1) as f64
    }

    pub(super) fn report(&self, monitor: &Monitor, step: u64) {
        let questions = self.questions.max(1) as f64;
        let seconds = self.seconds.max(1e-9);
        let scalars = [
            ("collect/solve_rate", self.solved_share()),
            ("collect/true_step_rate", self.true_step_rate()),
            ("collect/memo_hit_rate", self.memo_hit_rate()),
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
            ("collect/tree_depth", self.shape.depth / questions),
            ("collect/branching", self.shape.branching / questions),
            (
                "collect/visit_entropy",
                self.shape.visit_entropy / questions,
            ),
            (
                "collect/forward_tokens_per_question",
                self.forward_tokens as f64 / questions,
            ),
            (
                "collect/simulations_per_s",
                self.simulations as f64 / seconds,
            ),
            (
                "collect/forward_tokens_per_s",
                self.forward_tokens as f64 / seconds,
            ),
        ];
        monitor.scalars(&scalars, step);
        if let Some(samples) = &self.samples {
            let right = samples.right as f64 / samples.texts.max(1) as f64;
            monitor.scalars(&[("collect/right_share_of_samples", right)], step);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::NodeRecord;

    #[test]
    fn the_shape_of_a_small_tree() {
        let node = |parent, visits| NodeRecord {
            parent,
            visits,
            ..NodeRecord::default()
        };
        let tree = TreeRecord {
            nodes: vec![
                node(None, 4),
                node(Some(0), 2),
                node(Some(0), 2),
                node(Some(1), 1),
                node(Some(3), 0),
            ],
            ..TreeRecord::default()
        };
        let shape = Shape::of(&tree);
        assert_eq!((shape.depth, shape.branching), (3.0, 1.5));
        assert!((shape.visit_entropy - 2f64.ln()).abs() < 1e-12);
        let mut summary = Summary::default();
        summary.count(&TreeRecord::failed(3, 1, "too long".into()));
        summary.count(&tree);
        assert_eq!((summary.questions, summary.failed), (2, 1));
        assert_eq!(summary.shape, shape);
        let drawn = TreeRecord {
            tree: TreeRecord::SAMPLES,
            forward_tokens: 50,
            simulations: 4,
            nodes: vec![
                node(None, 4),
                NodeRecord {
                    terminal: true,
                    outcome: Some(1.0),
                    ..node(Some(0), 3)
                },
            ],
            ..TreeRecord::default()
        };
        let before = summary.clone();
        summary.count(&drawn);
        let samples = summary.samples.unwrap();
        assert_eq!(
            (samples.texts, samples.right, samples.forward_tokens),
            (4, 3, 50)
        );
        let expected = Summary {
            samples: summary.samples,
            forward_tokens: before.forward_tokens + 50,
            ..before
        };
        assert_eq!(summary, expected);
    }
}
