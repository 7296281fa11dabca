//! From a searched tree to its trace.

use crate::search::Searched;
use crate::trace::{NodeRecord, TreeRecord};

/// The trace of `searched`.
pub(super) fn of(searched: &Searched, iteration: u32) -> TreeRecord {
    let tree = &searched.tree;
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
            log_sum_exp: tree.log_sum_exp(node),
            child_tokens: tree.children(node).map(|c| c.token).collect(),
            child_log_probs: tree.children(node).map(|c| c.log_prob).collect(),
            child_priors: tree.children(node).map(|c| c.prior).collect(),
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
        failure: None,
        nodes,
    }
}
