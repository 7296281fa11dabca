//! Targets of the policy that are better than the policy that searched: at each node that was searched
//! enough, the shares that its visits, or its returns and priors together, give its continuations.

use super::apart::apart;
use super::compared;
use super::example::{Aim, PolicyExample};
use super::from_traces::{Text, children, texts};
use super::pull::Pull;
use super::sound::Sieve;
use crate::trace::{NodeRecord, TreeRecord};
use crate::tree::improved::{Scale, Tried, completed_policy, visit_policy};
use serde::{Deserialize, Serialize};

/// What the policy learns from a tree.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Teach {
    /// The right solutions, token by token.
    #[default]
    Solutions,
    /// Shares by visits (Silver et al. 2017).
    Visits {
        /// Below 1 sharpens.
        #[serde(default = "one")]
        temperature: f64,
    },
    /// The completed-Q policy (Danihelka et al. 2022).
    CompletedQ {
        /// How returns weigh against the prior.
        #[serde(default)]
        scale: Scale,
    },
    /// Direct preference (DPO) between the siblings with the best and the worst mean return, after the
    /// prefix that they share; the policy that searched is the reference.
    Prefer {
        /// How far the policy may move from the reference for it.
        #[serde(default = "tenth")]
        beta: f32,
        /// By how much their mean returns must differ, 0 to 2.
        #[serde(default = "one")]
        margin: f64,
    },
    /// The clipped policy gradient of GRPO over all finished texts; the policy that searched or drew
    /// them is the old one and the reference.
    Push {
        /// `group` (a text's return less the mean of the question's texts, in standard deviations of them as
        /// a sample, n - 1) or `tree` (a node's mean return against its parent's).
        #[serde(default)]
        advantage: Advantage,
        /// How far a token's probability moves before its gradient ends.
        #[serde(default = "fifth")]
        clip: f32,
        /// Weight of the divergence from the reference.
        #[serde(default = "twenty_fifth")]
        kl: f32,
    },
}

/// What a token is credited with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Advantage {
    #[default]
    Group,
    Tree,
}

fn tenth() -> f32 {
    0.1
}

fn fifth() -> f32 {
    0.2
}

fn twenty_fifth() -> f32 {
    0.04
}

fn one() -> f64 {
    1.0
}

/// Which nodes teach.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// What the policy learns: `{ kind = "solutions" }`, `{ kind = "visits" }`,
    /// `{ kind = "completed_q" }`, `{ kind = "prefer" }` or `{ kind = "push" }`. With visits and
    /// completed_q the tokens of right solutions at which nothing was searched are imitated too. Default
    /// solutions.
    pub teach: Teach,
    /// Simulations that a node needs to teach. Default 4.
    pub min_visits: u32,
    /// How far a node's target must be from the prior to teach, half the sum of absolute differences:
    /// 0 to 1. Default 0.02.
    pub min_shift: f64,
    /// Simulations that a tree needs for its texts and nodes to teach the policy; 0 takes all. With
    /// `collect.search.playout_cap` the number that only full searches reach. Default 0.
    pub min_simulations: u32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            teach: Teach::Solutions,
            min_visits: 4,
            min_shift: 0.02,
            min_simulations: 0,
        }
    }
}

/// A node's children as the search left them, and its own evaluation.
fn tried(tree: &TreeRecord, children: &[Vec<usize>], index: usize) -> (Vec<Tried>, f64) {
    let node = &tree.nodes[index];
    let (mut visits, mut sum) = (f64::from(node.visits), node.return_sum);
    let mut all: Vec<Tried> = node
        .child_log_probs
        .iter()
        .map(|&logit| Tried {
            logit: f64::from(logit),
            visits: 0.0,
            mean: 0.0,
        })
        .collect();
    let below = children[index].iter().map(|&child| &tree.nodes[child]);
    // What revisions are worth is no part of this node's returns.
    for child in below.filter(|child: &&NodeRecord| !child.given) {
        visits -= f64::from(child.visits);
        sum -= child.return_sum;
        let rank = node.child_tokens.iter().position(|&t| t == child.token);
        if let (Some(rank), true) = (rank, child.visits > 0) {
            all[rank].visits = f64::from(child.visits);
            all[rank].mean = child.return_sum / f64::from(child.visits);
        }
    }
    let own = match visits > 0.0 {
        true => (sum / visits).clamp(-1.0, 1.0),
        false => f64::from(node.value),
    };
    (all, own)
}

impl Params {
    /// What node `index` teaches: a share for each of its continuations.
    fn target(&self, tree: &TreeRecord, children: &[Vec<usize>], index: usize) -> Option<Vec<f64>> {
        let node = &tree.nodes[index];
        if node.visits < self.min_visits || node.child_tokens.len() < 2 {
            return None;
        }
        let (tried, own) = tried(tree, children, index);
        let target = match self.teach {
            Teach::Solutions | Teach::Prefer { .. } | Teach::Push { .. } => None,
            Teach::Visits { temperature } => visit_policy(&tried, temperature),
            Teach::CompletedQ { scale } => Some(completed_policy(&tried, own, scale)),
        }?;
        let mass: f64 = tried.iter().map(|t| t.logit.exp()).sum();
        let shift: f64 = tried
            .iter()
            .zip(&target)
            .map(|(t, p)| (t.logit.exp() / mass - p).abs() / 2.0)
            .sum();
        (shift >= self.min_shift).then_some(target)
    }

    /// Whether a tree was searched enough to teach the policy; what was drawn beside one never does.
    pub(super) fn takes(&self, tree: &TreeRecord) -> bool {
        !tree.is_samples() && tree.simulations >= self.min_simulations
    }

    /// Examples of `trees`: texts whose nodes teach, at most `limit` right ones of a tree (0 for all)
    /// and as many others; each node teaches in the first of its texts.
    /// A right text that is not sound counts as another.
    pub(super) fn examples(
        &self,
        trees: &[TreeRecord],
        limit: usize,
        sieve: &mut Sieve<'_>,
    ) -> Vec<PolicyExample> {
        let mut examples = Vec::new();
        for tree in trees.iter().filter(|tree| self.takes(tree)) {
            let tree: &TreeRecord = &apart(tree);
            match self.teach {
                Teach::Prefer { beta, margin } => {
                    examples.extend(compared::preferences(tree, self.min_visits, beta, margin));
                    continue;
                }
                Teach::Push {
                    advantage,
                    clip,
                    kl,
                } => {
                    examples.extend(compared::pushes(tree, advantage, clip, kl));
                    continue;
                }
                _ => {}
            }
            let children = children(tree);
            let targets: Vec<Option<Vec<f64>>> = (0..tree.nodes.len())
                .map(|index| self.target(tree, &children, index))
                .collect();
            let mut all: Vec<(bool, Text)> = texts(tree)
                .into_iter()
                .map(|text| (text.outcome > 0.0 && sieve.passes(tree, &text), text))
                .collect();
            // Stable: texts of equal probability keep the order of the tree.
            all.sort_by(|(a_right, a), (b_right, b)| {
                let right = b_right.cmp(a_right);
                right.then(b.log_prob.total_cmp(&a.log_prob))
            });
            let mut taught = vec![false; tree.nodes.len()];
            let (mut rights, mut others) = (0, 0);
            for (right, text) in &all {
                let count = if *right { &mut rights } else { &mut others };
                if limit > 0 && *count >= limit {
                    continue;
                }
                if let Some(example) = lesson(tree, text, *right, &targets, &mut taught) {
                    *count += 1;
                    examples.push(example);
                }
            }
        }
        examples
    }
}

/// What a text teaches that no text before it did: the targets of its nodes and, where it is right, its
/// own tokens at nodes without one.
fn lesson(
    tree: &TreeRecord,
    text: &Text,
    right: bool,
    targets: &[Option<Vec<f64>>],
    taught: &mut [bool],
) -> Option<PolicyExample> {
    let mut tokens = tree.prompt.clone();
    let mut aims = Vec::new();
    for (step, pair) in text.nodes.windows(2).enumerate() {
        let (node, next) = (pair[0], tree.nodes[pair[1]].token);
        let position = tokens.len() as u32 - 1;
        tokens.push(next);
        if step < text.start || std::mem::replace(&mut taught[node], true) {
            continue;
        }
        match &targets[node] {
            Some(shares) => {
                let children = tree.nodes[node].child_tokens.iter();
                aims.extend(
                    children
                        .zip(shares)
                        .filter(|(_, share)| **share > 1e-4)
                        .map(|(&token, &share)| Aim {
                            position,
                            token,
                            share: share as f32,
                            pull: Pull::Imitate,
                        }),
                );
            }
            None if right => aims.push(Aim {
                position,
                token: next,
                share: 1.0,
                pull: Pull::Imitate,
            }),
            None => {}
        }
    }
    (!aims.is_empty()).then(|| PolicyExample {
        tokens,
        first: text.first(tree),
        weight: 1.0,
        question: tree.problem,
        aims,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Tokenizer;
    use crate::train::from_traces::tests::node;
    use std::path::Path;

    /// Below the root `5` won 3 of 3 and `6` lost 4 of 4, though it was thought more probable.
    fn tree() -> TreeRecord {
        let mut nodes = vec![
            node(None, 0, 8, -2.0),
            node(Some(0), 6, 4, -4.0),
            node(Some(0), 5, 3, 3.0),
            node(Some(1), 0, 0, 0.0),
            node(Some(2), 0, 0, 0.0),
        ];
        nodes[0].child_tokens = vec![6, 5];
        nodes[0].child_log_probs = vec![0.7f32.ln(), 0.3f32.ln()];
        for (end, outcome) in [(3, -1.0), (4, 1.0)] {
            nodes[end].terminal = true;
            nodes[end].outcome = Some(outcome);
            nodes[end - 2].child_tokens = vec![0];
            nodes[end - 2].child_log_probs = vec![0.0];
        }
        TreeRecord {
            problem: 4,
            prompt: vec![1, 2],
            nodes,
            ..TreeRecord::default()
        }
    }

    /// The examples of one tree, nothing asked of its solutions.
    fn examples(params: &Params, tree: TreeRecord) -> Vec<PolicyExample> {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/countdown-tiny");
        let tokenizer = Tokenizer::load(Path::new(dir)).unwrap();
        let mut sieve = Sieve {
            params: Default::default(),
            tokenizer: &tokenizer,
            left_out: Default::default(),
        };
        params.examples(&[tree], 0, &mut sieve)
    }

    fn params(teach: Teach) -> Params {
        Params {
            teach,
            ..Params::default()
        }
    }

    #[test]
    fn visits_teach_where_they_were_made_and_solutions_elsewhere() {
        let visits = Teach::Visits { temperature: 1.0 };
        let examples = examples(&params(visits), tree());
        assert_eq!(
            examples.len(),
            1,
            "the wrong text has nothing left to teach"
        );
        let right = &examples[0];
        assert_eq!(right.tokens, [1, 2, 5, 0]);
        let aims: Vec<(u32, u32)> = right.aims.iter().map(|a| (a.position, a.token)).collect();
        assert_eq!(aims, [(1, 6), (1, 5), (2, 0)]);
        assert!((right.aims[0].share - 4.0 / 7.0).abs() < 1e-6);
        assert_eq!(right.aims[2].share, 1.0);
    }

    #[test]
    fn returns_turn_the_prior_around() {
        let teach = Teach::CompletedQ {
            scale: Scale::default(),
        };
        let examples = examples(&params(teach), tree());
        let aims = &examples[0].aims;
        assert!(aims[0].token == 6 && aims[0].share < 0.02, "{aims:?}");
        let at_root: f32 = aims
            .iter()
            .filter(|a| a.position == 1)
            .map(|a| a.share)
            .sum();
        assert!((at_root - 1.0).abs() < 1e-3);
    }

    #[test]
    fn a_node_that_says_what_the_prior_said_does_not_teach() {
        let mut same = tree();
        same.nodes[1].visits = 7;
        same.nodes[2].visits = 3;
        same.nodes[0].visits = 11;
        let visits = Teach::Visits { temperature: 1.0 };
        let examples = examples(&params(visits), same);
        let aims: Vec<(u32, u32)> = examples[0]
            .aims
            .iter()
            .map(|a| (a.position, a.token))
            .collect();
        assert_eq!(aims, [(1, 5), (2, 0)], "the solution is imitated instead");
    }
}
