//! What a text is worth to a search: what the value net says, blended with the policy's probabilities of
//! the tokens up to there where the net was calibrated so. It is the same for a text in a tree and a
//! drawn one.

use super::decode::Policy;
use super::driver::Driver;
use super::rollout::Played;
use crate::engine::{Output, Reply};
use crate::model::Trail;
use crate::tree::{Expansion, NodeId};

impl Policy {
    /// The value of a text that `output` follows and `trail` leads to. What the net says is lowered by
    /// `pessimism` standard deviations first.
    pub(super) fn value(&self, output: &Output, pessimism: f32, trail: &Trail) -> f32 {
        let value = output.bound(pessimism);
        match self.engine.blend() {
            Some(blend) => blend.value(&trail.features(value, output.log_probs[0])),
            None => value,
        }
    }

    /// The tree's view of an output.
    pub(super) fn expansion(&self, output: &Output, pessimism: f32, trail: &Trail) -> Expansion {
        Expansion {
            tokens: output.tokens.clone(),
            log_probs: output.log_probs.clone(),
            log_sum_exp: output.log_sum_exp,
            value: self.value(output, pessimism, trail),
        }
    }

    /// The values of the outputs of a text that was written from its prompt.
    pub(super) fn values(&self, reply: &Reply) -> Vec<f32> {
        // The last output stands before the last token; without a record it is the only one.
        let before = reply.generated.len().saturating_sub(reply.outputs.len());
        let mut trail = Trail::default();
        let mut log_probs = reply.log_probs.iter();
        log_probs.by_ref().take(before).for_each(|&p| trail.push(p));
        let value = |output: &Output| {
            let value = self.value(output, 0.0, &trail);
            log_probs.by_ref().take(1).for_each(|&p| trail.push(p));
            value
        };
        reply.outputs.iter().map(value).collect()
    }
}

impl Driver<'_> {
    /// Log-probabilities of the tokens from the root to `node`.
    pub(super) fn log_probs(&self, node: NodeId) -> Vec<f32> {
        let path = self.tree.path(node);
        let edge = |pair: &[NodeId]| {
            let mut children = self.tree.children(pair[0]);
            let child = children.find(|child| child.node == Some(pair[1]));
            child.map_or(-20.0, |child| child.log_prob)
        };
        path.windows(2).map(edge).collect()
    }

    /// What leads to `node`, what was written before the root included.
    pub(super) fn trail(&self, node: NodeId) -> Trail {
        let mut trail = self.trail;
        if self.policy.engine.blend().is_some() {
            self.log_probs(node).into_iter().for_each(|p| trail.push(p));
        }
        trail
    }

    /// What leads to each of the states of a text that was played after `from`.
    pub(super) fn trails(&self, from: NodeId, played: &Played) -> Vec<Trail> {
        let mut trail = self.trail(from);
        if self.policy.engine.blend().is_none() {
            return vec![trail; played.states.len()];
        }
        let known = played.tokens.len() - played.log_probs.len();
        let log_prob = |index: usize| {
            let token = played.tokens[index];
            if let Some(chosen) = index.checked_sub(known) {
                return played.log_probs[chosen];
            }
            let listed = match index.checked_sub(1) {
                Some(before) => {
                    let output = &played.states[before].0;
                    let rank = output.tokens.iter().position(|&t| t == token);
                    rank.map(|rank| output.log_probs[rank])
                }
                None => {
                    let mut children = self.tree.children(from);
                    children.find(|c| c.token == token).map(|c| c.log_prob)
                }
            };
            listed.unwrap_or(-20.0)
        };
        let step = |index| {
            trail.push(log_prob(index));
            trail
        };
        (0..played.states.len()).map(step).collect()
    }
}
