//! From what was searched or drawn to its trace.

use crate::engine::Output;
use crate::search::{Drafts, Searched};
use crate::trace::{NodeRecord, TreeRecord};
use crate::tree::{Continuation, NodeId, Stage, Tree};
use std::collections::HashMap;

/// The trace of `searched`.
pub(super) fn of(searched: &Searched, iteration: u32) -> TreeRecord {
    let tree = &searched.tree;
    let agreement = |node| {
        let mut of = searched.agreements.iter();
        of.find(|(end, _)| *end == node).map(|(_, share)| *share)
    };
    let nodes = tree
        .nodes()
        .map(|node| NodeRecord {
            parent: tree.parent(node).map(|parent| parent.index() as u32),
            token: tree.parent(node).and(tree.token(node)).unwrap_or(0),
            visits: tree.visits(node),
            return_sum: tree.total(node),
            value: tree.value(node),
            outcome: tree.outcome(node),
            terminal: tree.is_terminal(node),
            given: tree.stage(node) == Stage::Given,
            agreement: agreement(node),
            log_sum_exp: tree.log_sum_exp(node),
            child_tokens: continuations(tree, node).map(|c| c.token).collect(),
            child_log_probs: continuations(tree, node).map(|c| c.log_prob).collect(),
            child_priors: continuations(tree, node).map(|c| c.prior).collect(),
        })
        .collect();
    TreeRecord {
        problem: searched.problem,
        iteration,
        tree: 0,
        root_depth: searched.root_depth as u32,
        prompt: searched.context.clone(),
        forward_tokens: searched.ledger.total(),
        simulations: searched.simulations,
        memo_hits: searched.memo_hits,
        solved_greedily: searched.solved_greedily,
        imagined: false,
        failure: None,
        nodes,
    }
}

/// What the policy might write after `node`, or wrote: all but what was put there.
fn continuations(tree: &Tree, node: NodeId) -> impl Iterator<Item = Continuation> + '_ {
    let given = move |node: NodeId| tree.stage(node) == Stage::Given;
    tree.children(node)
        .filter(move |child| !child.node.is_some_and(given))
}

/// The trace of drawn texts: a tree of their common prefixes, whose visits count draws.
pub(super) fn of_draws(drafts: &Drafts, iteration: u32) -> TreeRecord {
    let mut nodes = vec![NodeRecord::default()];
    let mut places: HashMap<(usize, u32), usize> = HashMap::new();
    for draw in &drafts.draws {
        let mut at = 0;
        pass(&mut nodes[0], draw.outcome);
        for (step, (&token, &log_prob)) in draw.tokens.iter().zip(&draw.log_probs).enumerate() {
            expand(&mut nodes[at], &draw.outputs[step], token, log_prob);
            let value = nodes[at].value;
            let child = *places.entry((at, token)).or_insert_with(|| {
                nodes.push(NodeRecord {
                    parent: Some(at as u32),
                    token,
                    value,
                    ..NodeRecord::default()
                });
                nodes.len() - 1
            });
            pass(&mut nodes[child], draw.outcome);
            at = child;
        }
        nodes[at].terminal = true;
        nodes[at].outcome = Some(draw.outcome);
    }
    TreeRecord {
        problem: drafts.problem,
        iteration,
        prompt: drafts.prompt.clone(),
        forward_tokens: drafts.ledger.total(),
        simulations: drafts.draws.len() as u32,
        nodes,
        ..TreeRecord::default()
    }
}

fn pass(node: &mut NodeRecord, outcome: f32) {
    node.visits += 1;
    node.return_sum += f64::from(outcome);
}

/// Notes what the policy said about a node, the continuation that was drawn included.
fn expand(node: &mut NodeRecord, output: &Output, token: u32, log_prob: f32) {
    if node.child_tokens.is_empty() {
        node.value = output.value;
        node.log_sum_exp = output.log_sum_exp;
        node.child_tokens = output.tokens.clone();
        node.child_log_probs = output.log_probs.clone();
        node.child_priors = output.log_probs.iter().map(|p| p.exp()).collect();
    }
    if !node.child_tokens.contains(&token) {
        node.child_tokens.push(token);
        node.child_log_probs.push(log_prob);
        node.child_priors.push(log_prob.exp());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::search::{Draw, Ledger};

    fn output(tokens: &[u32]) -> Output {
        Output {
            tokens: tokens.to_vec(),
            log_probs: tokens.iter().map(|&t| -(t as f32)).collect(),
            ..Output::default()
        }
    }

    #[test]
    fn common_prefixes_are_shared_and_what_was_drawn_is_a_continuation() {
        let draw = |tokens: &[u32], outcome| Draw {
            tokens: tokens.to_vec(),
            log_probs: vec![-3.0; tokens.len()],
            outputs: tokens.iter().map(|_| output(&[1, 2])).collect(),
            outcome,
        };
        let drafts = Drafts {
            problem: 3,
            prompt: vec![8],
            draws: vec![
                draw(&[1, 7, 0], 1.0),
                draw(&[1, 2, 0], -1.0),
                draw(&[1, 7, 0], 1.0),
            ],
            ledger: Ledger::default(),
        };
        let tree = of_draws(&drafts, 2);
        assert_eq!(tree.nodes.len(), 6);
        assert_eq!((tree.nodes[0].visits, tree.nodes[0].return_sum), (3, 1.0));
        assert_eq!(tree.nodes[1].child_tokens, [1, 2, 7]);
        assert_eq!(tree.nodes[1].child_log_probs, [-1.0, -2.0, -3.0]);
        let ends: Vec<_> = tree.nodes.iter().filter(|n| n.terminal).collect();
        assert_eq!(ends.len(), 2);
        assert_eq!((ends[0].visits, ends[0].outcome), (2, Some(1.0)));
    }
}
