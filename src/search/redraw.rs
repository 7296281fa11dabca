//! Right solutions played anew from their middle: a way that leads to the right answer leads there again.

use super::Error;
use super::driver::Driver;
use super::pressure::Job;
use super::random::seed_of;
use super::rollout::Play;
use crate::engine::Choose;
use crate::tree::{NodeId, Stage};
use serde::{Deserialize, Serialize};

/// Marks the random streams of redraws among those of a tree.
const STREAM: u64 = u64::MAX;

/// How right solutions are played anew after a search. `traces.sound.min_agreement` uses what comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Right solutions of a tree for which it is done, the most probable ones; 0 is none. Default 0.
    pub texts: usize,
    /// Texts drawn from the middle of each. Their tokens are charged to the tree. Default 4.
    pub draws: usize,
    /// Softmax temperature of the draws. Default 1.
    pub temperature: f32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            texts: 0,
            draws: 4,
            temperature: 1.0,
        }
    }
}

impl Driver<'_> {
    /// For the ends of right solutions, the share of the texts drawn from their middle that are right too.
    pub async fn redraw(&mut self, params: &Params) -> Result<Vec<(NodeId, f32)>, Error> {
        let mut right: Vec<(NodeId, f32)> = self
            .tree
            .nodes()
            .filter(|&node| self.tree.is_terminal(node))
            .filter(|&node| self.tree.outcome(node).is_some_and(|o| o > 0.0))
            .map(|node| (node, self.log_probs(node).into_iter().sum()))
            .collect();
        // Stable: solutions of equal probability keep the order of the tree.
        right.sort_by(|a, b| b.1.total_cmp(&a.1));
        let mut found = Vec::new();
        for (index, (end, _)) in right.into_iter().take(params.texts).enumerate() {
            let path = self.tree.path(end);
            // Of a revised text the last solution: what lies before led elsewhere.
            let given = |&node: &NodeId| self.tree.stage(node) == Stage::Given;
            let path = &path[path.iter().rposition(given).unwrap_or(0)..];
            let middle = path[path.len() / 2].min(path[path.len().saturating_sub(2)]);
            let jobs = (0..params.draws.max(1))
                .map(|draw| self.drawn_from(middle, params, [STREAM, index as u64, draw as u64]))
                .collect();
            let (mut good, mut all) = (0.0, 0.0);
            for played in self.forward(jobs).await? {
                let nets = self.policy.engine.nets();
                self.ledger.rollout(played.forwarded, nets);
                let mut slots = played.spare;
                slots.extend(played.states.into_iter().map(|state| state.1));
                self.session.release(&slots);
                if let Some(grader) = self.grader {
                    let text = self.last_solution(middle, &played.tokens);
                    let outcome = grader.outcome(&text, played.finished).await?;
                    good += f32::from(u8::from(outcome > 0.0));
                }
                all += 1.0;
            }
            found.push((end, good / all));
        }
        Ok(found)
    }

    fn drawn_from(&self, middle: NodeId, params: &Params, stream: [u64; 3]) -> Job {
        // A draw needs all logits behind its last token, which is forwarded anew.
        let start = self.start_at(middle);
        let left = (self.tree.params().max_depth - self.tree.depth(middle)) as usize;
        let choose = Choose::Sample {
            temperature: params.temperature,
            top_p: 1.0,
            seed: seed_of(self.seed, &stream),
        };
        let (context, tokens) = (start.context, start.tokens);
        let request = self
            .policy
            .continuation(context, tokens, choose, left.max(1), None);
        Job {
            play: Play::Draw(request),
            end: middle,
            lead: start.lead,
        }
    }
}
