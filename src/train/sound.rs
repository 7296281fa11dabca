//! Which right solutions are worth imitating: a text can end at the right answer by a wrong way.

use super::from_traces::Text;
use crate::model::Tokenizer;
use crate::task::equations::equations;
use crate::trace::TreeRecord;
use serde::{Deserialize, Serialize};

/// What a right solution must be beyond right to be imitated. Nothing is asked by default.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Whether every equation that the text writes out, such as `3 + 4 = 7`, is recomputed, and a text with
    /// a wrong one left out. Default false.
    pub equations: bool,
    /// By how much the value may rise within one token on a line that has no equation so far, 0 to 2; a text
    /// with a greater jump, which the text does not account for, is left out. Needs a value head in the
    /// search. 0 is off. Default 0.
    pub max_jump: f32,
    /// Share of the texts drawn from the middle of a solution that must end right, of those that
    /// `collect.search.redraw` drew; a text without any is left out. 0 is off. Default 0.
    pub min_agreement: f32,
}

/// How many right solutions were left out, by the first reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct LeftOut {
    /// Right solutions that were looked at.
    pub solutions: u64,
    /// A wrong equation.
    pub equation: u64,
    /// A jump of the value.
    pub jump: u64,
    /// Too few of the texts from their middle end right.
    pub disagreement: u64,
}

impl LeftOut {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.equation + self.jump + self.disagreement
    }
}

impl Params {
    /// Whether anything is asked.
    pub fn asks(&self) -> bool {
        self.equations || self.max_jump > 0.0 || self.min_agreement > 0.0
    }
}

/// Looks at solutions and counts what it leaves out.
pub(super) struct Sieve<'a> {
    pub params: Params,
    pub tokenizer: &'a Tokenizer,
    pub left_out: LeftOut,
}

impl Sieve<'_> {
    /// Whether a right text of `tree` is sound.
    pub fn passes(&mut self, tree: &TreeRecord, text: &Text) -> bool {
        if !self.params.asks() {
            return true;
        }
        self.left_out.solutions += 1;
        let count = if self.params.equations && self.has_wrong_equation(tree, text) {
            &mut self.left_out.equation
        } else if self.params.max_jump > 0.0 && self.jumps(tree, text) {
            &mut self.left_out.jump
        } else if self.disagrees(tree, text) {
            &mut self.left_out.disagreement
        } else {
            return true;
        };
        *count += 1;
        false
    }

    fn has_wrong_equation(&self, tree: &TreeRecord, text: &Text) -> bool {
        let tokens = solution(tree, text, text.nodes.len());
        equations(&self.tokenizer.decode(&tokens)).wrong > 0
    }

    /// Whether the value rises too much at a token whose line has no equation up to it.
    fn jumps(&self, tree: &TreeRecord, text: &Text) -> bool {
        let mut steps = text.nodes.windows(2).enumerate().skip(text.start);
        steps.any(|(step, pair)| {
            let (before, after) = (&tree.nodes[pair[0]], &tree.nodes[pair[1]]);
            if after.terminal || after.value - before.value <= self.params.max_jump {
                return false;
            }
            let tokens = solution(tree, text, step + 2);
            let so_far = self.tokenizer.decode(&tokens);
            // A line break ends the line that it is judged by.
            let line = so_far.trim_end().rsplit('\n').next().unwrap_or_default();
            !line.contains('=')
        })
    }

    fn disagrees(&self, tree: &TreeRecord, text: &Text) -> bool {
        let end = &tree.nodes[text.nodes[text.nodes.len() - 1]];
        let agreement = end.agreement.unwrap_or(0.0);
        self.params.min_agreement > 0.0 && agreement < self.params.min_agreement
    }
}

/// The tokens of a solution, from its start to the last of the first `count` nodes of its text.
fn solution(tree: &TreeRecord, text: &Text, count: usize) -> Vec<u32> {
    let mut tokens = tree.prompt.clone();
    let nodes = text.nodes[1..count].iter();
    tokens.extend(nodes.map(|&node| tree.nodes[node].token));
    tokens.split_off(text.first(tree))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::NodeRecord;
    use crate::train::from_traces::{self, policy_examples};
    use std::path::Path;

    fn tokenizer() -> Tokenizer {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/countdown-tiny");
        Tokenizer::load(&dir).unwrap()
    }

    /// A tree whose texts are all right, with a value for each token of a text.
    fn tree(tokenizer: &Tokenizer, texts: &[(&str, f32)], values: &[f32]) -> TreeRecord {
        let mut nodes = vec![NodeRecord::default()];
        for (text, agreement) in texts {
            let mut at = 0;
            let mut tokens = tokenizer.encode(text).unwrap();
            tokens.push(tokenizer.eos());
            for (step, &token) in tokens.iter().enumerate() {
                nodes[at].child_tokens.push(token);
                let log_prob = -0.1 * nodes[at].child_tokens.len() as f32;
                nodes[at].child_log_probs.push(log_prob);
                nodes.push(NodeRecord {
                    parent: Some(at as u32),
                    token,
                    visits: 1,
                    value: values.get(step).copied().unwrap_or(0.0),
                    ..NodeRecord::default()
                });
                at = nodes.len() - 1;
            }
            nodes[at].terminal = true;
            nodes[at].outcome = Some(1.0);
            nodes[at].agreement = Some(*agreement);
        }
        TreeRecord {
            prompt: tokenizer.encode("1 2 3 make 6\n").unwrap(),
            nodes,
            ..TreeRecord::default()
        }
    }

    fn kept(sound: Params, tree: &TreeRecord, tokenizer: &Tokenizer) -> (Vec<String>, LeftOut) {
        let params = from_traces::Params {
            solutions: 0,
            sound,
            ..Default::default()
        };
        let (examples, left_out) = policy_examples(std::slice::from_ref(tree), &params, tokenizer);
        let text = |example: &crate::train::PolicyExample| {
            tokenizer.decode(&example.tokens[example.first..])
        };
        (examples.iter().map(text).collect(), left_out)
    }

    const GOOD: &str = "1 + 2 = 3 left 3 3\n3 + 3 = 6\n6 = 6\n#### 6";
    const BAD: &str = "1 + 2 = 4 left 3 4\n3 + 3 = 6\n6 = 6\n#### 6";

    #[test]
    fn a_wrong_equation_leaves_a_solution_out() {
        let tokenizer = tokenizer();
        let tree = tree(&tokenizer, &[(BAD, 1.0), (GOOD, 1.0)], &[]);
        let (all, none) = kept(Params::default(), &tree, &tokenizer);
        assert_eq!((all.len(), none), (2, LeftOut::default()));
        let equations = Params {
            equations: true,
            ..Params::default()
        };
        let (left, out) = kept(equations, &tree, &tokenizer);
        assert_eq!(left, [GOOD]);
        assert_eq!((out.solutions, out.equation, out.total()), (2, 1, 1));
    }

    #[test]
    fn a_jump_needs_an_equation() {
        let tokenizer = tokenizer();
        let jump = Params {
            max_jump: 0.5,
            ..Params::default()
        };
        // `1 + 2 = 3`: at the first token nothing is derived yet, at the fifth there is an equation.
        for (values, left) in [
            (&[0.9, 0.9, 0.9, 0.9, 0.9][..], 0),
            (&[0.0, 0.0, 0.0, 0.0, 0.9], 1),
        ] {
            let tree = tree(&tokenizer, &[("1 + 2 = 3", 1.0)], values);
            let (kept, out) = kept(jump, &tree, &tokenizer);
            assert_eq!(
                (kept.len(), out.jump),
                (left, 1 - left as u64),
                "{values:?}"
            );
        }
    }

    #[test]
    fn texts_from_the_middle_must_agree() {
        let tokenizer = tokenizer();
        let agreement = Params {
            min_agreement: 0.6,
            ..Params::default()
        };
        let tree = tree(&tokenizer, &[(BAD, 0.5), (GOOD, 0.75)], &[]);
        let (left, out) = kept(agreement, &tree, &tokenizer);
        assert_eq!(left, [GOOD]);
        assert_eq!(out.disagreement, 1);
    }
}
