//! Search trees as the page carries them: columns of small whole numbers.

use super::sample::Outcome;
use super::vocabulary::Vocabulary;
use crate::trace::{NodeRecord, TreeRecord};
use serde::Serialize;

/// One tree.
#[derive(Debug, Serialize)]
pub struct Tree {
    pub iteration: u32,
    pub question: u64,
    pub tree: u32,
    pub outcome: Outcome,
    /// Whether a right text was found.
    pub solved: bool,
    pub failure: Option<String>,
    pub simulations: u32,
    pub forward_tokens: u64,
    /// How many of the last tokens of `prompt` were generated.
    pub root_depth: u32,
    /// The root's context. Tokens are numbers in the page's vocabulary, here and below.
    pub prompt: Vec<u32>,
    pub nodes: Nodes,
}

/// The nodes, one entry each in all lists but those of the children.
#[derive(Debug, Default, Serialize)]
pub struct Nodes {
    /// Index minus the parent's; 0 for the root.
    pub up: Vec<u32>,
    pub token: Vec<u32>,
    pub visits: Vec<u32>,
    /// Thousandths of the sum of returns.
    pub sum: Vec<Option<i64>>,
    /// Thousandths of the value; empty where the head was never asked, so that all are 0.
    pub value: Vec<Option<i64>>,
    /// 1 for a right outcome, 2 for a wrong one, 0 for none, plus 4 for a terminal.
    pub state: Vec<u8>,
    /// How many continuations a node has in the three lists that follow.
    pub children: Vec<u32>,
    pub child_token: Vec<u32>,
    /// Thousandths of the log-probability.
    pub child_log_prob: Vec<Option<i64>>,
    /// Ten-thousandths of the prior.
    pub child_prior: Vec<Option<i64>>,
}

impl Tree {
    /// `record`, its tokens named by `vocabulary`.
    pub fn of(record: &TreeRecord, vocabulary: &mut Vocabulary) -> Tree {
        let name = |tokens: &[u32], vocabulary: &mut Vocabulary| -> Vec<u32> {
            tokens
                .iter()
                .map(|&token| vocabulary.number(token))
                .collect()
        };
        let mut nodes = Nodes::default();
        let asked = record.nodes.iter().any(|node| node.value != 0.0);
        for (index, node) in record.nodes.iter().enumerate() {
            let parent = node.parent.map_or(index, |parent| parent as usize);
            nodes.up.push((index - parent) as u32);
            // The root has no token: the number is never looked up.
            let token = node.parent.map_or(0, |_| vocabulary.number(node.token));
            nodes.token.push(token);
            nodes.visits.push(node.visits);
            nodes.sum.push(parts(node.return_sum, 1e3));
            if asked {
                nodes.value.push(parts(f64::from(node.value), 1e3));
            }
            nodes.state.push(state(node));
            nodes.children.push(node.child_tokens.len() as u32);
            nodes
                .child_token
                .extend(name(&node.child_tokens, vocabulary));
            let log_probs = node.child_log_probs.iter();
            nodes
                .child_log_prob
                .extend(log_probs.map(|&p| parts(f64::from(p), 1e3)));
            let priors = node.child_priors.iter();
            nodes
                .child_prior
                .extend(priors.map(|&p| parts(f64::from(p), 1e4)));
        }
        let right_end = |node: &NodeRecord| state(node) == 5;
        Tree {
            iteration: record.iteration,
            question: record.problem,
            tree: record.tree,
            outcome: Outcome::of(record),
            solved: record.nodes.iter().any(right_end),
            failure: record.failure.clone(),
            simulations: record.simulations,
            forward_tokens: record.forward_tokens,
            root_depth: record.root_depth,
            prompt: name(&record.prompt, vocabulary),
            nodes,
        }
    }
}

fn state(node: &NodeRecord) -> u8 {
    let outcome = match node.outcome {
        Some(outcome) if outcome > 0.0 => 1,
        Some(_) => 2,
        None => 0,
    };
    outcome + 4 * u8::from(node.terminal)
}

/// `number` in whole parts of which `of` make 1; `None` for what is no number.
fn parts(number: f64, of: f64) -> Option<i64> {
    number.is_finite().then(|| (number * of).round() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(parent: Option<u32>, token: u32, outcome: f32) -> NodeRecord {
        NodeRecord {
            parent,
            token,
            visits: 3,
            return_sum: 1.5,
            outcome: Some(outcome),
            ..NodeRecord::default()
        }
    }

    #[test]
    fn columns_tell_the_tree() {
        let mut record = TreeRecord {
            problem: 7,
            prompt: vec![900, 901],
            nodes: vec![
                node(None, 0, 1.0),
                node(Some(0), 901, -1.0),
                node(Some(0), 902, 1.0),
            ],
            ..TreeRecord::default()
        };
        record.nodes[2].terminal = true;
        record.nodes[0].child_tokens = vec![901, 902];
        record.nodes[0].child_log_probs = vec![-0.25, f32::NEG_INFINITY];
        record.nodes[0].child_priors = vec![0.75, 0.25];
        let mut vocabulary = Vocabulary::default();
        let tree = Tree::of(&record, &mut vocabulary);
        assert_eq!(tree.prompt, [2, 0], "the prompt is named last");
        assert_eq!(tree.nodes.up, [0, 1, 2]);
        assert_eq!(tree.nodes.token[1..], [0, 1]);
        assert_eq!(tree.nodes.sum, [Some(1500); 3]);
        assert_eq!(tree.nodes.state, [1, 2, 5]);
        assert!(tree.nodes.value.is_empty(), "the head was not asked");
        assert_eq!(tree.nodes.children, [2, 0, 0]);
        assert_eq!(tree.nodes.child_log_prob, [Some(-250), None]);
        assert_eq!(tree.nodes.child_prior, [Some(7500), Some(2500)]);
        assert_eq!((tree.solved, tree.outcome), (true, Outcome::Solved));
    }

    #[test]
    fn ten_thousand_nodes_stay_small() {
        let mut record = TreeRecord::default();
        for index in 0..10_000u32 {
            let mut node = node(index.checked_sub(1).map(|i| i / 3), index % 500, -1.0);
            node.value = (index as f32).sin();
            node.child_tokens = vec![1, 2, 3, 4, 5];
            node.child_log_probs = vec![-1.234_567; 5];
            node.child_priors = vec![0.212_345; 5];
            record.nodes.push(node);
        }
        let json = serde_json::to_vec(&Tree::of(&record, &mut Vocabulary::default())).unwrap();
        assert!(json.len() < 1_000_000, "{} bytes", json.len());
    }
}
