//! What of a collection is for looking at: distributions over its trees, and one of them drawn.

use crate::model::Tokenizer;
use crate::monitor::{Branch, Monitor, Picture};
use crate::trace::{NodeRecord, TreeRecord};

/// Distributions over the trees of a collection.
#[derive(Debug, Default)]
pub(super) struct Gallery {
    /// Mean returns of the roots of questions that were solved, and of the others.
    root_value_solved: Vec<f64>,
    root_value_unsolved: Vec<f64>,
    /// Tokens of the finished texts.
    trace_length: Vec<f64>,
    /// Depths of the trees, in tokens.
    depth: Vec<f64>,
    drawn: Option<Picture>,
}

impl Gallery {
    /// Looks at `tree`; the first one that has right and wrong ends is drawn.
    pub fn add(&mut self, tree: &TreeRecord, tokenizer: &Tokenizer) {
        let mut depths = vec![0u32; tree.nodes.len()];
        let (mut right, mut wrong) = (false, false);
        for (index, node) in tree.nodes.iter().enumerate() {
            if let Some(parent) = node.parent {
                depths[index] = depths[parent as usize] + 1;
            }
            if let Some(outcome) = node.outcome.filter(|_| node.terminal) {
                right |= outcome > 0.0;
                wrong |= outcome < 0.0;
                self.trace_length
                    .push(f64::from(tree.root_depth + depths[index]));
            }
        }
        self.depth
            .push(f64::from(depths.into_iter().max().unwrap_or(0)));
        if let Some(root) = tree.nodes.first().filter(|root| root.visits > 0) {
            let values = match right {
                true => &mut self.root_value_solved,
                false => &mut self.root_value_unsolved,
            };
            values.push(q(root));
        }
        if right && wrong && self.drawn.is_none() {
            self.drawn = Some(draw(tree, tokenizer));
        }
    }

    /// Shows what was looked at.
    pub fn report(&self, monitor: &Monitor, iteration: u32) {
        let step = u64::from(iteration);
        let histograms = [
            ("collect/root_value_solved", &self.root_value_solved),
            ("collect/root_value_unsolved", &self.root_value_unsolved),
            ("collect/trace_length", &self.trace_length),
            ("collect/depth", &self.depth),
        ];
        for (tag, values) in histograms {
            monitor.histogram(tag, step, values);
        }
        if let Some(picture) = &self.drawn {
            monitor.picture("collect/tree", step, picture.clone());
        }
    }
}

/// Mean return of a node, 0 before its first visit.
fn q(node: &NodeRecord) -> f64 {
    node.return_sum / f64::from(node.visits.max(1))
}

fn draw(tree: &TreeRecord, tokenizer: &Tokenizer) -> Picture {
    let branches: Vec<Branch> = tree
        .nodes
        .iter()
        .map(|node| Branch {
            parent: node.parent.map(|parent| parent as usize),
            label: match node.parent.map(|parent| &tree.nodes[parent as usize]) {
                None => "root".into(),
                Some(parent) => {
                    let root = parent.parent.is_none();
                    let last = tree.prompt.last().copied().filter(|_| root);
                    label(last.unwrap_or(parent.token), node.token, tokenizer)
                }
            },
            visits: node.visits,
            q: q(node),
            end: node.outcome.filter(|_| node.terminal).map(|o| o > 0.0),
        })
        .collect();
    Picture::tree(&branches)
}

/// What `token` adds to a text that ends with `last`; a special one is shown by its name.
fn label(last: u32, token: u32, tokenizer: &Tokenizer) -> String {
    let (before, both) = (tokenizer.decode(&[last]), tokenizer.decode(&[last, token]));
    match both.strip_prefix(&before) {
        Some(added) if !added.is_empty() => added.to_owned(),
        _ => tokenizer.id_to_token(token).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn tokens_are_shown_as_they_stand_in_the_text() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/countdown-tiny");
        let tokenizer = Tokenizer::load(&dir).unwrap();
        let tokens = tokenizer.encode("11 * 1 = 11 left 4\n").unwrap();
        let shown: String = tokens
            .windows(2)
            .map(|pair| label(pair[0], pair[1], &tokenizer))
            .collect();
        assert_eq!(shown, " * 1 = 11 left 4\n");
        let end = tokenizer.eos();
        assert!(!label(tokens[0], end, &tokenizer).is_empty());
    }
}
