//! What a tree's rollouts can be drafted from: its prompt, and what other rollouts wrote.

use crate::engine::{Draft, Texts};
use crate::tree::{NodeId, Tree};
use std::sync::Arc;

/// Tokens before a rollout that are kept with it, so that a match may begin there.
const OVERLAP: usize = 8;

/// The texts of one tree.
pub(super) struct Lookup {
    /// The root's context.
    root: Vec<u32>,
    texts: Arc<Texts>,
    /// Tokens of a draft at most; 0 for none.
    tokens: usize,
}

impl Lookup {
    /// Knows nothing but the root's context.
    pub fn new(root: &[u32], tokens: usize) -> Lookup {
        Lookup {
            root: root.to_vec(),
            texts: Arc::default(),
            tokens,
        }
    }

    /// Drafts for a rollout below `from` that has slots for `context` tokens.
    pub fn draft(&self, tree: &Tree, from: NodeId, context: usize) -> Option<Arc<Draft>> {
        if self.tokens == 0 {
            return None;
        }
        let mut before = self.text(tree, from);
        before.truncate(context);
        Some(Arc::new(Draft {
            texts: self.texts.clone(),
            before,
            tokens: self.tokens,
        }))
    }

    /// Takes a rollout in, `tokens` below `from`.
    pub fn remember(&mut self, tree: &Tree, from: NodeId, tokens: &[u32]) {
        if self.tokens == 0 {
            return;
        }
        let text = self.text(tree, from);
        let overlap = text.len().saturating_sub(OVERLAP);
        let text = text.into_iter().skip(overlap);
        Arc::make_mut(&mut self.texts).add(text.chain(tokens.iter().copied()));
    }

    fn text(&self, tree: &Tree, node: NodeId) -> Vec<u32> {
        let mut text = self.root.clone();
        text.extend(tree.tokens(node));
        text
    }
}
