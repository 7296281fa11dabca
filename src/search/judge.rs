//! What a leaf is worth: the opinions of one judge or of several.

use super::Error;
use super::driver::Driver;
use super::rollout::{Play, Played};
use super::rubric::{RUBRIC, check_prompt};
use crate::tree::{NodeId, Stage, mix};
use serde::{Deserialize, Serialize};

/// A judge of leaves. Opinions are returns, -1 to 1.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Judge {
    /// The value net's opinion of the leaf: `{ kind = "value", weight = 1.0 }`.
    Value {
        /// Share against the other judges.
        #[serde(default = "one")]
        weight: f32,
    },
    /// What a rollout from the leaf ends in: the grader's return in a training search; in a search that
    /// answers, where no answer may be looked at, the value net's opinion of the finished text, -1 for
    /// one that was cut.
    Rollout {
        /// Share against the other judges.
        #[serde(default = "one")]
        weight: f32,
    },
    /// How sure the policy is of the text through the leaf to the end of a rollout (Marco-o1, Zhao et al.
    /// 2024): the mean over its tokens of `p / sum of the five largest p`, stretched from 0..1 to -1..1.
    /// Of `top_k` below 5 so many are summed.
    Confidence {
        /// Share against the other judges.
        #[serde(default = "one")]
        weight: f32,
    },
    /// The value net of another checkpoint with the same tokenizer, on the text up to the leaf: `{ kind =
    /// "reward", path = "checkpoints/DIR" }`. A process reward model, and where options are whole solutions
    /// one of outcomes. It reads the text anew for each leaf; its tokens cost their share of the policy's
    /// parameters.
    Reward {
        /// Directory of the checkpoint, policy and value net.
        path: String,
        /// Share against the other judges.
        #[serde(default = "one")]
        weight: f32,
    },
    /// A language model asked whether the text up to the leaf is right, as in "Judging LLM-as-a-judge"
    /// (Zheng et al. 2023): `{ kind = "rubric", prompt = "... {{ question }} ... {{ solution }} ...", yes =
    /// "Yes", no = "No" }`. Its opinion is `2 p - 1` with `p = P(yes) / (P(yes) + P(no))` ("Generative
    /// Verifiers", Zhang et al. 2024), the probabilities being those of the first tokens of `yes` and `no`
    /// after the prompt. It is a process reward model, and where options are whole solutions one of
    /// outcomes. What comes before the solution is read once a question, the rest anew for each leaf;
    /// tokens of another checkpoint cost their share of the policy's parameters.
    Rubric {
        /// What is asked, in Jinja, through the checkpoint's chat template where it has one: `question` is
        /// the question, `solution` the text so far, which the prompt holds once. Default [`RUBRIC`].
        #[serde(default = "rubric")]
        prompt: String,
        /// An answer that approves; its first token counts.
        #[serde(default = "yes")]
        yes: String,
        /// An answer that disapproves.
        #[serde(default = "no")]
        no: String,
        /// Directory of the checkpoint that is asked, with the policy's tokenizer; empty: the policy itself.
        #[serde(default)]
        path: String,
        /// Share against the other judges.
        #[serde(default = "one")]
        weight: f32,
    },
}

fn one() -> f32 {
    1.0
}

fn rubric() -> String {
    RUBRIC.into()
}

fn yes() -> String {
    "Yes".into()
}

fn no() -> String {
    "No".into()
}

impl Judge {
    /// Its share against the others.
    pub fn weight(&self) -> f32 {
        match *self {
            Judge::Value { weight }
            | Judge::Rollout { weight }
            | Judge::Confidence { weight }
            | Judge::Reward { weight, .. }
            | Judge::Rubric { weight, .. } => weight,
        }
    }

    /// The checkpoint whose value net it asks.
    pub(super) fn path(&self) -> Option<&String> {
        match self {
            Judge::Reward { path, weight } if *weight > 0.0 => Some(path),
            _ => None,
        }
    }

    /// The checkpoint that it asks in words; empty for the policy.
    pub(super) fn rubric(&self) -> Option<&String> {
        match self {
            Judge::Rubric { path, weight, .. } if *weight > 0.0 => Some(path),
            _ => None,
        }
    }

    /// Whether a model has to read the text for it.
    fn reads(&self) -> bool {
        self.path().is_some() || self.rubric().is_some()
    }

    /// Whether it looks at a finished text.
    pub(super) fn plays(&self) -> bool {
        let plays = matches!(self, Judge::Rollout { .. } | Judge::Confidence { .. });
        plays && self.weight() > 0.0
    }

    /// Whether it looks at the probabilities of the tokens.
    pub(super) fn reads_probabilities(&self) -> bool {
        matches!(self, Judge::Confidence { .. }) && self.weight() > 0.0
    }
}

/// Checks a list of judges; an empty one stands for value and rollout mixed by lambda.
///
/// # Errors
/// What is wrong with it, and what to write.
pub fn check_judges(judges: &[Judge]) -> Result<(), (String, &'static str)> {
    let weights = judges.iter().map(|judge| judge.weight());
    let help = "write weights of at least 0, one above 0";
    if weights.clone().any(|w| !(0.0..=f32::MAX).contains(&w)) {
        let found = "a weight of a judge is not a number of at least 0";
        return Err((found.into(), help));
    }
    if !judges.is_empty() && weights.sum::<f32>() <= 0.0 {
        return Err(("no judge has a weight above 0".into(), help));
    }
    for (place, judge) in judges.iter().enumerate() {
        let Judge::Rubric {
            prompt, yes, no, ..
        } = judge
        else {
            continue;
        };
        if let Err(reason) = check_prompt(prompt) {
            let help = "write a Jinja text with {{ question }} and {{ solution }} in it";
            return Err((
                format!("the prompt of judge {place}, counted from 0: {reason}"),
                help,
            ));
        }
        if yes.is_empty() || no.is_empty() || yes == no {
            let found =
                format!("judge {place}, counted from 0, says {yes:?} for yes, {no:?} for no");
            return Err((found, "write two words that begin differently"));
        }
    }
    Ok(())
}

/// Share of a token in the five largest probabilities at its place, `log_probs` being the largest
/// first.
fn certainty(log_prob: f32, log_probs: impl Iterator<Item = f32>) -> f64 {
    let top: f64 = log_probs.take(5).map(|p| f64::from(p).exp()).sum();
    f64::from(log_prob).exp() / top
}

impl Driver<'_> {
    /// What a simulation that ends at `node` backs up, where its text ends in `outcome`. `played` is
    /// what was written after `from`; without it the tree knows the text to its end.
    pub(super) fn returned(
        &mut self,
        node: NodeId,
        outcome: f32,
        played: Option<(NodeId, &Played)>,
    ) -> f32 {
        self.correct_simulations += u32::from(outcome > 0.0);
        let value = self.tree.value(node);
        let judges = &self.params.judges;
        if judges.is_empty() {
            return mix(self.params.tree.lambda, value, outcome);
        }
        let (mut sum, mut weights) = (0.0, 0.0);
        for (place, judge) in judges.iter().enumerate() {
            if judge.weight() == 0.0 {
                continue;
            }
            let opinion = match judge {
                Judge::Value { .. } => value,
                Judge::Rollout { .. } => outcome,
                Judge::Confidence { .. } => self.confidence(node, played),
                // `silent` saw to it that it was asked.
                Judge::Reward { .. } | Judge::Rubric { .. } => {
                    self.opinions.get(&(node, place)).copied().unwrap_or(0.0)
                }
            };
            sum += judge.weight() * opinion;
            weights += judge.weight();
        }
        sum / weights
    }

    /// The place of a reward model or a rubric that was not asked about `node` yet.
    pub(super) fn silent(&self, node: NodeId) -> Option<usize> {
        let asked = |place: usize| self.opinions.contains_key(&(node, place));
        let judges = self.params.judges.iter().enumerate();
        let mut open = judges.filter(|(place, judge)| judge.reads() && !asked(*place));
        open.next().map(|(place, _)| place)
    }

    /// The question to a reward model or a rubric.
    pub(super) fn ask(&self, node: NodeId, judge: usize) -> Play {
        let aided = match self.params.judges[judge].path() {
            Some(path) => self.reward(node, path),
            None => self.rubric(node, judge),
        };
        match aided {
            Some(aided) => Play::Aided(aided),
            // `Policy::helpers` has opened all of them.
            None => unreachable!("a judge that was not opened"),
        }
    }

    /// The return that a finished text stands for. `value` is the value net's opinion before its stop
    /// token.
    ///
    /// # Errors
    /// A reward that is not there.
    pub(super) async fn verdict(
        &self,
        tokens: &[u32],
        finished: bool,
        value: f32,
    ) -> Result<f32, Error> {
        match self.grader {
            Some(grader) => Ok(grader.outcome(tokens, finished).await?),
            None if finished => Ok(value),
            None => Ok(-1.0),
        }
    }

    fn confidence(&self, node: NodeId, played: Option<(NodeId, &Played)>) -> f32 {
        let end = match played {
            Some((from, _)) => from,
            None => self.tree.greedy_tail(node).nodes.pop().unwrap_or(node),
        };
        let mut all = Vec::new();
        for id in &self.tree.path(end)[1..] {
            if self.tree.stage(*id) == Stage::Given {
                continue;
            }
            if let (Some(parent), Some(token)) = (self.tree.parent(*id), self.tree.token(*id)) {
                all.extend(self.certainty_of(parent, token, None));
            }
        }
        if let Some((from, played)) = played {
            let chosen = |index: usize| {
                let known = played.tokens.len() - played.log_probs.len();
                index.checked_sub(known).map(|own| played.log_probs[own])
            };
            let first = played.tokens.first();
            all.extend(first.and_then(|&token| self.certainty_of(from, token, chosen(0))));
            for (index, (output, _)) in played.states.iter().enumerate() {
                if let Some(log_prob) = chosen(index + 1) {
                    all.push(certainty(log_prob, output.log_probs.iter().copied()));
                }
            }
        }
        let mean = all.iter().sum::<f64>() / all.len().max(1) as f64;
        (2.0 * mean - 1.0).clamp(-1.0, 1.0) as f32
    }

    /// Of a token below `parent`, whose log-probability is `log_prob` or that of its edge.
    fn certainty_of(&self, parent: NodeId, token: u32, log_prob: Option<f32>) -> Option<f64> {
        let edge = self.tree.children(parent).find(|c| c.token == token);
        let log_prob = log_prob.or(edge.map(|c| c.log_prob))?;
        let others = self.tree.children(parent).map(|c| c.log_prob);
        Some(certainty(log_prob, others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_five_largest_count() {
        let logs = |probs: &[f32]| probs.iter().map(|p| p.ln()).collect::<Vec<_>>();
        let five = logs(&[0.4, 0.2, 0.1, 0.1, 0.05, 0.05]);
        let of = |p: f32, logs: &[f32]| certainty(p.ln(), logs.iter().copied());
        assert!((of(0.4, &five) - 0.4 / 0.85).abs() < 1e-6);
        assert!((of(0.05, &five) - 0.05 / 0.85).abs() < 1e-6);
        assert!((of(0.3, &logs(&[0.6, 0.3])) - 1.0 / 3.0).abs() < 1e-6);
    }

    #[test]
    fn weights_are_checked() {
        assert!(check_judges(&[]).is_ok());
        assert!(check_judges(&[Judge::Value { weight: 0.0 }]).is_err());
        let nan = Judge::Rollout { weight: f32::NAN };
        assert!(check_judges(&[nan, Judge::Value { weight: 1.0 }]).is_err());
    }
}
