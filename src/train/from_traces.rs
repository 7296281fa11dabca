//! From traces to what the fits learn from: trajectories with a target at every position, and the
//! solutions worth imitating.

use super::apart::apart;
use super::distil;
use super::example::{PolicyExample, ValueExample};
use super::sound::{self, LeftOut, Sieve};
use crate::model::Tokenizer;
use crate::trace::{NodeRecord, TreeRecord};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// Which texts of a tree are learned from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Trajectories of a question that the value learns from, half of them right where there are
    /// enough of both; 0 takes all. Default 8.
    pub trajectories: usize,
    /// Right solutions of a question that the policy imitates, the most probable ones; 0 takes
    /// all. With few possible answers many a text is right by luck, the most probable one least.
    /// Default 1.
    pub solutions: usize,
    /// What a right solution must be beyond right.
    pub sound: sound::Params,
    /// What the policy learns of a tree.
    pub policy: distil::Params,
    /// Iterations whose traces are learned from, the latest ones; 0 takes all. Default 0.
    pub window: usize,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            trajectories: 8,
            solutions: 1,
            sound: sound::Params::default(),
            policy: distil::Params::default(),
            window: 0,
        }
    }
}

/// A finished text of a tree.
pub(super) struct Text {
    /// Node indices from the root to the end.
    pub nodes: Vec<usize>,
    /// Place in `nodes` behind which its solution begins: that of the last given token, else 0.
    pub start: usize,
    /// Targets and weights at these nodes.
    targets: Vec<f32>,
    weights: Vec<f32>,
    /// Of each node the log-probability of its token, 0 at the root, and that of its first continuation.
    probabilities: Vec<[f32; 2]>,
    pub outcome: f32,
    pub log_prob: f64,
}

/// The trajectories of `trees` that the value learns from.
///
/// A position's target is its node's mean return, its weight the node's visits; a node that several
/// texts share counts in the first of them only. Texts that were drawn beside a tree are all taken: a
/// choice among them would not be what the policy writes. The stop token is never forwarded in a search, so
/// it has no position of its own.
pub fn value_examples(trees: &[TreeRecord], params: &Params, seed: u64) -> Vec<ValueExample> {
    let mut examples = value_examples_with_probabilities(trees, params, seed);
    for example in &mut examples {
        example.probabilities = Vec::new();
    }
    examples
}

/// [`value_examples`] with the policy's probabilities along each text whose tree begins at the prompt and that
/// is no revision: what came before a root is not recorded, and a phrase has none.
pub fn value_examples_with_probabilities(
    trees: &[TreeRecord],
    params: &Params,
    seed: u64,
) -> Vec<ValueExample> {
    let mut examples = Vec::new();
    for tree in trees {
        let tree: &TreeRecord = &apart(tree);
        let limit = match tree.is_samples() {
            true => 0,
            false => params.trajectories,
        };
        for text in chosen(tree, limit, seed) {
            let steps = text.nodes.len() - 1;
            let ends_by_stop = tree.nodes[text.nodes[steps]].terminal;
            let forwarded = steps - usize::from(ends_by_stop);
            let mut tokens = tree.prompt.clone();
            tokens.extend(
                text.nodes[1..=forwarded]
                    .iter()
                    .map(|&n| tree.nodes[n].token),
            );
            examples.push(ValueExample {
                first: tree.prompt.len() - 1,
                tokens,
                targets: text.targets[..=forwarded].to_vec(),
                weights: text.weights[..=forwarded].to_vec(),
                question: tree.problem,
                outcome: text.outcome,
                probabilities: match (tree.root_depth, text.start) {
                    (0, 0) => text.probabilities[..=forwarded].to_vec(),
                    _ => Vec::new(),
                },
            });
        }
    }
    examples
}

/// What the policy learns of `trees`: the right solutions, those of a question sharing a weight of 1,
/// or what `params.policy` says instead; and how many right solutions were not sound enough. `tokenizer` is
/// that of the trees.
pub fn policy_examples(
    trees: &[TreeRecord],
    params: &Params,
    tokenizer: &Tokenizer,
) -> (Vec<PolicyExample>, LeftOut) {
    let mut sieve = Sieve {
        params: params.sound,
        tokenizer,
        left_out: LeftOut::default(),
    };
    if params.policy.teach != distil::Teach::Solutions {
        let examples = params.policy.examples(trees, params.solutions, &mut sieve);
        return (examples, sieve.left_out);
    }
    let mut examples = Vec::new();
    for tree in trees.iter().filter(|tree| params.policy.takes(tree)) {
        let tree: &TreeRecord = &apart(tree);
        let mut right: Vec<Text> = texts(tree)
            .into_iter()
            .filter(|text| text.outcome > 0.0 && sieve.passes(tree, text))
            .collect();
        // Stable: texts of equal probability keep the order of the tree.
        right.sort_by(|a, b| b.log_prob.total_cmp(&a.log_prob));
        if params.solutions > 0 {
            right.truncate(params.solutions);
        }
        let weight = 1.0 / right.len().max(1) as f32;
        for text in right {
            let mut tokens = tree.prompt.clone();
            tokens.extend(text.nodes[1..].iter().map(|&n| tree.nodes[n].token));
            examples.push(PolicyExample {
                tokens,
                first: text.first(tree),
                weight,
                question: tree.problem,
                aims: Vec::new(),
            });
        }
    }
    (examples, sieve.left_out)
}

impl Text {
    /// Number of tokens before the solution: the prompt, or all up to the last phrase.
    pub fn first(&self, tree: &TreeRecord) -> usize {
        match self.start {
            0 => tree.prompt_len(),
            start => tree.prompt.len() + start,
        }
    }
}

/// At most `limit` texts of a tree, half of them right where there are enough of both.
fn chosen(tree: &TreeRecord, limit: usize, seed: u64) -> Vec<Text> {
    let mut all = texts(tree);
    if limit == 0 {
        return all;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(
        seed ^ tree.problem.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ u64::from(tree.iteration) << 48,
    );
    all.shuffle(&mut rng);
    let (mut right, mut wrong): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|text| text.outcome > 0.0);
    let half = limit / 2;
    let (rights, wrongs) = (right.len(), wrong.len());
    right.truncate(half.max(limit.saturating_sub(wrongs)));
    wrong.truncate((limit - half).max(limit.saturating_sub(rights)));
    right.extend(wrong);
    right.truncate(limit);
    right
}

/// The children of each node, in the order of the nodes.
pub(super) fn children(tree: &TreeRecord) -> Vec<Vec<usize>> {
    let mut children: Vec<Vec<usize>> = vec![Vec::new(); tree.nodes.len()];
    for (index, node) in tree.nodes.iter().enumerate() {
        if let Some(parent) = node.parent {
            children[parent as usize].push(index);
        }
    }
    children
}

/// All finished texts of a tree with a known outcome, depth first, more probable tokens first.
pub(super) fn texts(tree: &TreeRecord) -> Vec<Text> {
    let nodes = &tree.nodes;
    let mut children = children(tree);
    for (index, below) in children.iter_mut().enumerate() {
        below.sort_by_key(|&child| rank(&nodes[index], nodes[child].token));
    }
    let mut owned = vec![false; nodes.len()];
    let mut found = Vec::new();
    let mut stack = vec![0];
    while let Some(index) = stack.pop() {
        if let (true, Some(outcome)) = (nodes[index].terminal, nodes[index].outcome) {
            found.push(text(nodes, index, outcome, &mut owned));
        }
        stack.extend(children[index].iter().rev());
    }
    found
}

fn text(nodes: &[NodeRecord], end: usize, outcome: f32, owned: &mut [bool]) -> Text {
    let up = |&index: &usize| nodes[index].parent.map(|p| p as usize);
    let mut path: Vec<usize> = std::iter::successors(Some(end), up).collect();
    path.reverse();
    let mut log_prob = 0.0;
    let mut probabilities = vec![[0.0; 2]; path.len()];
    for (step, pair) in path.windows(2).enumerate() {
        let (parent, child) = (&nodes[pair[0]], &nodes[pair[1]]);
        if child.given {
            continue;
        }
        let rank = rank(parent, child.token);
        let own = parent.child_log_probs.get(rank).copied().unwrap_or(-20.0);
        log_prob += f64::from(own);
        probabilities[step][1] = parent.child_log_probs.first().copied().unwrap_or(own);
        probabilities[step + 1][0] = own;
    }
    let mut targets = Vec::with_capacity(path.len());
    let mut weights = Vec::with_capacity(path.len());
    for &index in &path {
        let node = &nodes[index];
        let target = if node.visits > 0 {
            Some((node.return_sum / f64::from(node.visits)) as f32)
        } else {
            node.outcome
        };
        let first = !std::mem::replace(&mut owned[index], true);
        targets.push(target.unwrap_or(0.0));
        weights.push(if first && target.is_some() {
            node.visits.max(1) as f32
        } else {
            0.0
        });
    }
    let given = path.iter().rposition(|&index| nodes[index].given);
    Text {
        nodes: path,
        start: given.unwrap_or(0),
        targets,
        weights,
        probabilities,
        outcome,
        log_prob,
    }
}

/// Place of `token` among a node's continuations; past the end where it is none of them.
fn rank(node: &NodeRecord, token: u32) -> usize {
    node.child_tokens
        .iter()
        .position(|&t| t == token)
        .unwrap_or(node.child_tokens.len())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub fn node(parent: Option<u32>, token: u32, visits: u32, sum: f64) -> NodeRecord {
        NodeRecord {
            parent,
            token,
            visits,
            return_sum: sum,
            ..NodeRecord::default()
        }
    }

    /// Two texts below one root: `5 0`, right and probable, and `6 0`, wrong; 0 is the stop token.
    pub fn tree() -> TreeRecord {
        let mut nodes = vec![
            node(None, 0, 4, 2.0),
            node(Some(0), 5, 3, 3.0),
            node(Some(1), 0, 0, 0.0),
            node(Some(0), 6, 1, -1.0),
            node(Some(3), 0, 0, 0.0),
        ];
        nodes[0].child_tokens = vec![5, 6];
        nodes[0].child_log_probs = vec![-0.2, -1.8];
        for (stop, outcome) in [(2, 1.0), (4, -1.0)] {
            nodes[stop].terminal = true;
            nodes[stop].outcome = Some(outcome);
            nodes[stop - 1].child_tokens = vec![0];
            nodes[stop - 1].child_log_probs = vec![0.0];
        }
        TreeRecord {
            problem: 9,
            prompt: vec![1, 2, 3],
            nodes,
            ..TreeRecord::default()
        }
    }

    pub fn tokenizer() -> Tokenizer {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/checkpoints/countdown-tiny");
        Tokenizer::load(std::path::Path::new(dir)).unwrap()
    }

    pub fn all() -> Params {
        Params {
            trajectories: 0,
            solutions: 0,
            ..Params::default()
        }
    }

    #[test]
    fn targets_are_mean_returns_and_a_shared_node_counts_once() {
        let examples = value_examples(&[tree()], &all(), 0);
        assert_eq!(examples.len(), 2);
        let (right, wrong) = (&examples[0], &examples[1]);
        assert_eq!(right.tokens, [1, 2, 3, 5]);
        assert_eq!(right.first, 2);
        assert_eq!(right.targets, [0.5, 1.0]);
        assert_eq!(right.weights, [4.0, 3.0]);
        assert_eq!(wrong.tokens, [1, 2, 3, 6]);
        assert_eq!(wrong.targets, [0.5, -1.0]);
        assert_eq!(wrong.weights, [0.0, 1.0], "the root is the first text's");
    }

    #[test]
    fn the_probabilities_along_a_text_are_known_from_its_prompt_on() {
        let mut searched = tree();
        assert!(
            value_examples(&[searched.clone()], &all(), 0)[0]
                .probabilities
                .is_empty()
        );
        let of = |tree: &TreeRecord| {
            value_examples_with_probabilities(std::slice::from_ref(tree), &all(), 0)
        };
        let examples = of(&searched);
        assert_eq!(examples[0].probabilities, [[0.0, -0.2], [-0.2, 0.0]]);
        assert_eq!(examples[1].probabilities, [[0.0, -0.2], [-1.8, 0.0]]);
        searched.root_depth = 1;
        assert!(of(&searched)[0].probabilities.is_empty());
    }

    #[test]
    fn right_solutions_are_imitated_with_their_stop_token() {
        let tokenizer = tokenizer();
        let (examples, _) = policy_examples(&[tree()], &all(), &tokenizer);
        assert_eq!(examples.len(), 1);
        assert_eq!(examples[0].tokens, [1, 2, 3, 5, 0]);
        assert_eq!((examples[0].first, examples[0].weight), (3, 1.0));
        let mut generated = tree();
        generated.root_depth = 1;
        // What was generated before the search is part of the solution.
        assert_eq!(
            policy_examples(&[generated], &all(), &tokenizer).0[0].first,
            2
        );
    }

    #[test]
    fn texts_beside_a_tree_teach_the_value_alone() {
        // Three draws: `5 0` twice and `6 0`.
        let mut beside = tree();
        beside.tree = TreeRecord::SAMPLES;
        let counts = [(3, 1.0), (2, 2.0), (2, 2.0), (1, -1.0), (1, -1.0)];
        for (node, (visits, sum)) in beside.nodes.iter_mut().zip(counts) {
            (node.visits, node.return_sum) = (visits, sum);
        }
        let params = Params {
            trajectories: 1,
            ..all()
        };
        let examples = value_examples(&[tree(), beside.clone()], &params, 0);
        assert_eq!(examples.len(), 3, "the limit is the tree's");
        assert_eq!(examples[1].weights, [3.0, 2.0]);
        assert_eq!(examples[1].targets, [1.0 / 3.0, 1.0]);
        assert_eq!(examples[2].weights, [0.0, 1.0]);
        let tokenizer = tokenizer();
        for teach in [
            distil::Teach::Solutions,
            distil::Teach::Visits { temperature: 1.0 },
        ] {
            let mut params = all();
            params.policy.teach = teach;
            let of = |trees: &[TreeRecord]| policy_examples(trees, &params, &tokenizer).0;
            assert_eq!(of(&[tree(), beside.clone()]), of(&[tree()]));
        }
    }

    #[test]
    fn a_limit_keeps_both_kinds_of_text() {
        let mut wide = tree();
        for extra in 0..6u32 {
            let at = wide.nodes.len() as u32;
            wide.nodes.push(node(Some(0), 10 + extra, 1, -1.0));
            let mut stop = node(Some(at), 0, 0, 0.0);
            stop.terminal = true;
            stop.outcome = Some(-1.0);
            wide.nodes.push(stop);
        }
        let params = Params {
            trajectories: 4,
            ..all()
        };
        let examples = value_examples(&[wide.clone()], &params, 7);
        assert_eq!(examples.len(), 4);
        assert_eq!(examples.iter().filter(|e| e.outcome > 0.0).count(), 1);
        assert_eq!(examples, value_examples(&[wide], &params, 7));
    }
}
