//! A search tree as it is stored.

use serde::{Deserialize, Serialize};

/// One search tree: its root's context, its cost and its nodes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TreeRecord {
    /// Id of the question in its data set.
    pub problem: u64,
    /// Iteration of the loop that grew the tree.
    pub iteration: u32,
    /// Number among the records of this problem and iteration: 0 is the searched tree (or, where texts are
    /// drawn instead, their tree), [`TreeRecord::SAMPLES`] the texts that were drawn beside it.
    pub tree: u32,
    /// How many tokens at the end of `prompt` were generated before the search began.
    pub root_depth: u32,
    /// The root's context: the prompt's tokens, then `root_depth` generated ones.
    pub prompt: Vec<u32>,
    /// Tokens that the tree sent through the model, prefill included.
    pub forward_tokens: u64,
    /// Simulations that ran.
    pub simulations: u32,
    /// Those of them that needed no forward pass.
    pub memo_hits: u32,
    /// Whether greedy decoding answers the question correctly, where it was tried.
    pub solved_greedily: Option<bool>,
    /// Whether the policy wrote the question itself.
    pub imagined: bool,
    /// Why the question could not be searched; the tree is then its root alone.
    pub failure: Option<String>,
    /// `nodes[0]` is the root; a parent comes before its children.
    pub nodes: Vec<NodeRecord>,
}

/// One node. The three `child_*` lists are parallel, of length k, or empty where the
/// node was not expanded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct NodeRecord {
    /// Index of the parent in `nodes`; `None` for the root only.
    pub parent: Option<u32>,
    /// Token that leads from the parent here. The root has none: there the field is
    /// not stored and reads back as 0.
    pub token: u32,
    /// Simulations that passed through.
    pub visits: u32,
    /// Sum of the leaf values that these backed up, each in [-1, 1].
    pub return_sum: f64,
    /// The value head's estimate, in [-1, 1].
    pub value: f32,
    /// Return of the greedy rollout through this node, if known, in [-1, 1].
    pub outcome: Option<f32>,
    /// The state has ended.
    pub terminal: bool,
    /// The token was put there, as part of a phrase behind a finished solution, and not chosen. It is none of
    /// its parent's continuations.
    pub given: bool,
    /// Of the texts drawn from the middle of the one that ends here, the share that ended right, where
    /// any were drawn.
    pub agreement: Option<f32>,
    /// Log-sum-exp of the logits over the whole vocabulary.
    pub log_sum_exp: f32,
    /// The top-k continuations, most probable first.
    pub child_tokens: Vec<u32>,
    /// Their log-probabilities over the whole vocabulary.
    pub child_log_probs: Vec<f32>,
    /// The priors that the search used for them.
    pub child_priors: Vec<f32>,
}

impl TreeRecord {
    /// Number of the record of the texts that were drawn beside a question's tree, for the value alone: a
    /// tree of their common prefixes, whose visits count draws.
    pub const SAMPLES: u32 = 1;

    /// Whether it holds texts that were drawn beside the question's tree.
    pub fn is_samples(&self) -> bool {
        self.tree == Self::SAMPLES
    }

    /// Stands for the tree of a question that could not be searched.
    pub fn failed(problem: u64, iteration: u32, reason: String) -> Self {
        Self {
            problem,
            iteration,
            failure: Some(reason),
            nodes: vec![NodeRecord::default()],
            ..Self::default()
        }
    }

    /// Number of tokens of the question's prompt: the context without what was generated.
    pub fn prompt_len(&self) -> usize {
        self.prompt.len().saturating_sub(self.root_depth as usize)
    }

    /// The tokens from the root (exclusive) to `node` (inclusive), in order.
    ///
    /// # Panics
    ///
    /// If `node` is not the index of a node.
    pub fn path(&self, node: usize) -> Vec<u32> {
        let mut tokens = Vec::new();
        let mut node = &self.nodes[node];
        while let Some(parent) = node.parent {
            tokens.push(node.token);
            node = &self.nodes[parent as usize];
        }
        tokens.reverse();
        tokens
    }

    /// The first node that breaks the rules above, and how.
    pub(super) fn check(&self) -> Result<(), (usize, &'static str)> {
        if self.nodes.is_empty() {
            return Err((0, "the tree has no root"));
        }
        if self.root_depth as usize > self.prompt.len() {
            return Err((0, "`root_depth` is more than the tokens of its context"));
        }
        for (index, node) in self.nodes.iter().enumerate() {
            let ordered = match node.parent {
                None => index == 0,
                Some(parent) => (parent as usize) < index,
            };
            if !ordered {
                return Err((index, "its parent does not come before it"));
            }
            let children = node.child_tokens.len();
            if node.child_log_probs.len() != children || node.child_priors.len() != children {
                return Err((index, "its `child_*` lists differ in length"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain() -> TreeRecord {
        let node = |parent, token| NodeRecord {
            parent,
            token,
            ..NodeRecord::default()
        };
        TreeRecord {
            root_depth: 2,
            prompt: vec![1, 2, 3, 4, 5],
            nodes: vec![node(None, 0), node(Some(0), 6), node(Some(1), 7)],
            ..TreeRecord::default()
        }
    }

    #[test]
    fn a_path_runs_from_the_root() {
        let tree = chain();
        tree.check().unwrap();
        assert_eq!(tree.path(2), [6, 7]);
        assert_eq!(tree.path(0), [0u32; 0]);
        assert_eq!(tree.prompt_len(), 3);
    }

    #[test]
    fn what_could_not_be_rebuilt_is_refused() {
        let refused = |change: fn(&mut TreeRecord)| {
            let mut tree = chain();
            change(&mut tree);
            tree.check().unwrap_err().0
        };
        assert_eq!(refused(|t| t.nodes.clear()), 0);
        assert_eq!(refused(|t| t.root_depth = 6), 0);
        assert_eq!(refused(|t| t.nodes[0].parent = Some(0)), 0);
        assert_eq!(refused(|t| t.nodes[1].parent = Some(1)), 1);
        assert_eq!(refused(|t| t.nodes[2].parent = None), 2);
        assert_eq!(refused(|t| t.nodes[2].child_tokens.push(8)), 2);
    }
}
