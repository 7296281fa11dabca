//! Revisions: a finished solution that is put in question and written anew, in the same tree.
//!
//! Where a text ends by its stop token, phrases go in that token's place, each followed by what the policy
//! writes; the search goes on behind. With one phrase this is the reflection of Marco-o1 (Zhao et al. 2024),
//! with one that asks for a critique and one that asks for a better solution MCT Self-Refine (Zhang et al.
//! 2024, arXiv 2406.07394), whose nodes are whole solutions: `actions = { kind = "step" }`, `rule = { kind =
//! "uct" }`. Returns are backed up as everywhere, by their mean; the paper mixes in minimum and maximum.

use super::Error;
use super::decode::Policy;
use super::driver::Driver;
use super::pressure::Job;
use super::random::seed_of;
use super::rewrite::{Revisions, Writer};
use super::rollout::Play;
use crate::model::Tokenizer;
use crate::tree::{NodeId, Stage};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How finished solutions are revised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// What is put in the place of a finished solution's stop token: the first phrase, then what the policy
    /// writes up to its own stop token, then the next phrase, and so on. Behind the last one the search goes
    /// on, and only what follows it is the solution that is graded. `["\nWait! Maybe I made some mistakes! I
    /// need to rethink from scratch.\n"]`, or one that asks for a critique and one for a better solution. A chat
    /// model needs the marks of turns in them: `"<|im_end|>\n<|im_start|>user\nWhat is wrong with
    /// it?<|im_end|>\n<|im_start|>assistant\n"`; special tokens are taken as such. Goes with `actions` of spans or
    /// steps; `max_new_tokens` holds the whole text. Empty: no solution is revised. Default empty.
    pub phrases: Vec<String>,
    /// How often one text may be revised. Default 1.
    pub times: usize,
    /// Revisions of a solution at most, drawn as `actions.options` says; equal ones merge. Default 2.
    pub count: usize,
    /// Which solutions, once a simulation has ended there: `"always"` all; `"wrong"` those that are graded so,
    /// in a search for training traces that rolls out; `{ below = 0.0 }` those whose return, as the search
    /// judges it, is below the number. Default always.
    pub when: When,
}

/// Which finished solutions are revised.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum When {
    /// All.
    #[default]
    Always,
    /// Those that the grader calls wrong.
    Wrong,
    /// Those whose mean return, -1 to 1, is below.
    Below(f32),
}

impl Default for Params {
    fn default() -> Self {
        Params {
            phrases: Vec::new(),
            times: 1,
            count: 2,
            when: When::Always,
        }
    }
}

/// The tokens of phrases, by their text.
pub type Phrases = BTreeMap<String, Vec<u32>>;

impl Params {
    /// Whether anything is revised.
    pub fn asks(&self) -> bool {
        !self.phrases.is_empty()
    }

    /// Slots that the revisions of a solution take at worst, in a text of `left` more tokens.
    pub(super) fn slots(&self, left: usize) -> usize {
        match self.asks() {
            true => self.count * left,
            false => 0,
        }
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first key out of its range, what it is, and what to write.
    pub fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        if self.phrases.iter().any(String::is_empty) {
            let help = "leave it out, or write what goes behind a solution";
            return Err(("phrases", "an empty phrase asks nothing".into(), help));
        }
        if self.times == 0 {
            let found = "a text is revised 0 times".into();
            return Err(("times", found, "write at least 1, or leave out `phrases`"));
        }
        if self.count == 0 || self.count > 1000 {
            let found = format!("a solution has {} revisions", self.count);
            return Err(("count", found, "write a number from 1 to 1000"));
        }
        match self.when {
            When::Below(bound) if !bound.is_finite() => {
                let found = format!("solutions below {bound} are revised");
                Err(("when", found, "write a return, -1 to 1"))
            }
            _ => Ok(()),
        }
    }
}

impl Policy {
    /// The same policy with the tokens of `phrases` at hand.
    ///
    /// # Errors
    /// A phrase that the tokenizer cannot write, or that has no tokens.
    pub fn with_phrases(&self, phrases: &[String], tokenizer: &Tokenizer) -> Result<Policy, Error> {
        let mut policy = self.clone();
        for phrase in phrases {
            let refuse = |reason: String| Error::Phrase {
                phrase: phrase.clone(),
                reason,
            };
            let tokens = tokenizer.encode(phrase);
            let tokens = tokens.map_err(|e| refuse(e.to_string()))?;
            if tokens.is_empty() {
                return Err(refuse("it has no tokens".into()));
            }
            if self.engine.blend().is_some() {
                return Err(refuse(
                    "the value net is calibrated with the policy's probabilities, of which a phrase has \
                     none; take one that was calibrated otherwise"
                        .into(),
                ));
            }
            policy.phrases.insert(phrase.clone(), tokens);
        }
        Ok(policy)
    }

    /// The tokens of the phrases that `params` names.
    pub(super) fn phrases(&self, params: &Params) -> Result<Arc<[Vec<u32>]>, Error> {
        let tokens = |phrase: &String| {
            let known = self.phrases.get(phrase).cloned();
            known.ok_or_else(|| Error::Phrase {
                phrase: phrase.clone(),
                reason: "it was not tokenised beforehand".into(),
            })
        };
        params.phrases.iter().map(tokens).collect()
    }
}

impl Driver<'_> {
    /// The solution that the text up to `node` and then `more` ends with: what is graded. It begins behind the
    /// last phrase.
    pub fn last_solution(&self, node: NodeId, more: &[u32]) -> Vec<u32> {
        let path = self.tree.path(node);
        let given = |&id: &NodeId| self.tree.stage(id) == Stage::Given;
        match path.iter().rposition(given) {
            None => self.solution(node, more),
            Some(at) => {
                let own = path[at + 1..].iter().filter_map(|&id| self.tree.token(id));
                own.chain(more.iter().copied()).collect()
            }
        }
    }

    /// Has a text revised that a simulation just ended in, if it is one of those to be revised.
    pub fn reconsider(&mut self, node: NodeId) {
        if self.params.revise.asks() && self.to_be_revised(node) {
            self.tree.reopen(node);
        }
    }

    fn to_be_revised(&self, end: NodeId) -> bool {
        let (tree, revise) = (&self.tree, &self.params.revise);
        let fresh = tree.is_terminal(end) && tree.stage(end) == Stage::Choice;
        // What was cut has no room left, and an empty solution nothing to be revised.
        let written = |&node: &NodeId| node != tree.root() && tree.stage(node) != Stage::Given;
        let Some(before) = tree.parent(end).filter(written) else {
            return false;
        };
        if !fresh || !self.ends(tree.token(end)) {
            return false;
        }
        let wanted = match revise.when {
            When::Always => true,
            When::Wrong => tree.outcome(end).is_some_and(|outcome| outcome <= 0.0),
            When::Below(bound) => tree.mean(end).is_some_and(|mean| mean < f64::from(bound)),
        };
        let each: usize = self.phrases.iter().map(Vec::len).sum();
        let path = tree.path(end).into_iter();
        let given = path.filter(|&id| tree.stage(id) == Stage::Given).count();
        wanted && given / each < revise.times && self.left(before) >= each + self.phrases.len()
    }

    /// Tokens that the text up to `node` still has room for.
    fn left(&self, node: NodeId) -> usize {
        (self.tree.params().max_depth - self.tree.depth(node)) as usize
    }

    /// The engine's part in revising the text that ends at `end`. What is drawn depends on the tree's seed,
    /// the text and the revision's number alone.
    pub fn revisions(&self, end: NodeId) -> Job {
        // Only texts with something before their end are reopened.
        let before = self.tree.parent(end).unwrap_or(end);
        let left = self.left(before);
        let options = self.params.actions.options().cloned().unwrap_or_default();
        let own = self.solution(end, &[]).into_iter().map(u64::from);
        let start = self.start_below(before);
        Job {
            play: Play::Revise(Revisions {
                context: start.context,
                missing: start.tokens,
                count: self.params.revise.count.min(self.affordable(left, 0)),
                writer: Arc::new(Writer {
                    policy: self.policy.clone(),
                    actions: self.params.actions.clone(),
                    phrases: self.phrases.clone(),
                    top_k: self.params.top_k,
                    left,
                    value: self.tree.value(before),
                    greedy: options.greedy,
                    temperature: options.temperature,
                    seed: seed_of(self.seed, &[7].into_iter().chain(own).collect::<Vec<_>>()),
                }),
            }),
            end: before,
            lead: start.lead,
        }
    }
}
