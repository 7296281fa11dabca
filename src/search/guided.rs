//! Rollout-free decoding: the tree is steered by the value net alone. The gold answer never
//! enters here.

use super::actions::Actions;
use super::decode::{Completion, Policy, engine_slot};
use super::driver::Driver;
use super::judge::Judge;
use super::lookup::Lookup;
use super::params::{Params as TreeSearch, Rollout};
use super::{Error, Ledger, revise};
use crate::model::Trail;
use crate::tree::{self, Child, NodeId, Pick, Stage, Tree};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// What the simulations are spent on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GuidedForm {
    /// One tree over the whole solution; the answer follows its best path, then the policy.
    Whole,
    /// A tree at every token, or at the end of every option; the best child is committed and its subtree
    /// kept.
    PerToken,
}

/// How value-guided decoding searches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// `whole` or `per_token`. Default `whole`.
    pub form: GuidedForm,
    /// Simulations of a tree; with `per_token`, visits that a root is brought to before its best
    /// child is committed. Default 40.
    pub simulations: u32,
    /// With `per_token`: visits that a root is brought to at most, where `compare` raises `simulations` to
    /// what a budget allows; 0 for no other limit. Default 0.
    pub root_simulations: u32,
    /// Forward tokens after which no further simulation begins, prompt included; 0 for no limit. Default
    /// 0.
    pub max_forward_tokens: u64,
    /// Continuations of a node: its most probable tokens. Default 5.
    pub top_k: usize,
    /// What the search moves by: `{ kind = "token" }`, `{ kind = "span", tokens = 32 }` or `{ kind =
    /// "step", stop = ["\n"], max_tokens = 64 }`. Default token.
    pub actions: Actions,
    /// Revising finished solutions.
    pub revise: revise::Params,
    /// Leaves of one tree in flight at once, kept apart by virtual loss. Default 1.
    pub leaves: usize,
    /// Tokens of a solution at most, its stop token included. Default 256.
    pub max_new_tokens: usize,
    /// Key-value slots that a tree may hold beside its prompt's; 0 for all that it could ever need. With
    /// fewer, more questions are searched at once in the same pool: a tree that would exceed them gives
    /// up the slots of its least visited tokens, and forwards those again that it comes back to. It
    /// finds the same for more forward tokens. At least `leaves * max_new_tokens`, and with options or
    /// revisions as many more for each leaf as those of a node take. Default 0.
    pub slots: usize,
    /// What ranks the children when the answer is read off: `visits`, `mean_return`, or `improved` for
    /// the completed-Q policy, which goes with the rule `gumbel`. Default `mean_return`.
    pub pick: Pick,
    /// Standard deviations of an ensemble's values (`learn.heads`) that every value is lowered by; 0
    /// searches by the mean. Default 0.
    pub pessimism: f32,
    /// Who judges a leaf, each with its share: `[{ kind = "value", weight = 1.0 }, { kind = "rollout" }, { kind
    /// = "confidence" }, { kind = "reward", path = "DIR" }, { kind = "rubric" }]`: the value net; its opinion
    /// of the text that a rollout ends in, -1 where that was cut; how sure the policy was of the tokens up to
    /// the rollout's end (Marco-o1); the value net of another checkpoint; a language model asked whether the
    /// solution is right so far. The last is `{ kind = "rubric" }`, whose further keys are `prompt`, by default
    /// `"Here are a question and a solution to it, which may break off before its end.\n\nQuestion:\n{{
    /// question }}\n\nSolution:\n{{ solution }}\n\nIs the solution right so far? Answer Yes or No."`, `yes =
    /// "Yes"`, `no = "No"` and `path`, empty for the policy itself (Zheng et al. 2023). A rubric's opinion is
    /// `2 p - 1` with `p = P(yes) / (P(yes) + P(no))` for the first tokens of `yes` and `no` after the prompt
    /// (Zhang et al. 2024), which goes through the model's chat template where it has one. The solution is put
    /// in as the tokens it was written in, so `{{ solution }}` stands once and as it is; the prompt is charged
    /// once a question, what follows for each leaf. Empty: the value net alone. Default empty.
    pub judges: Vec<Judge>,
    /// How a leaf is played out for judges that look at a finished text: `{ kind = "greedy" }` or `{ kind
    /// = "sampled", temperature = 1.0 }`. Default greedy.
    pub rollout: Rollout,
    /// Ends a tree once the variance of its root's returns, 0 to 1, is at most this; 0 never does.
    /// Default 0.
    pub stop_variance: f32,
    /// Simulations of a root that `stop_variance` waits for. Default 8.
    pub stop_after: u32,
    /// Selection and expansion; `lambda` is always 0 here.
    pub tree: tree::Params,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            form: GuidedForm::Whole,
            simulations: 40,
            root_simulations: 0,
            max_forward_tokens: 0,
            top_k: 5,
            actions: Actions::Token,
            revise: revise::Params::default(),
            leaves: 1,
            max_new_tokens: 256,
            slots: 0,
            pick: Pick::MeanReturn,
            pessimism: 0.0,
            judges: Vec::new(),
            rollout: Rollout::Greedy,
            stop_variance: 0.0,
            stop_after: 8,
            tree: tree::Params {
                lambda: 0.0,
                first_play_urgency: 0.2,
                ..tree::Params::default()
            },
        }
    }
}

impl Params {
    /// The search of a tree that these parameters stand for.
    pub(crate) fn tree_search(&self) -> TreeSearch {
        TreeSearch {
            simulations: self.simulations,
            top_k: self.top_k,
            actions: self.actions.clone(),
            revise: self.revise.clone(),
            judges: self.judges.clone(),
            rollout: self.rollout,
            leaves: self.leaves,
            stop: super::Stop {
                forward_tokens: self.max_forward_tokens,
                variance: self.stop_variance,
                after_simulations: self.stop_after,
                ..super::Stop::default()
            },
            max_new_tokens: self.max_new_tokens,
            slots: self.slots,
            pessimism: self.pessimism,
            tree: tree::Params {
                lambda: 0.0,
                ..self.tree.clone()
            },
            ..TreeSearch::default()
        }
    }

    /// Paths of the checkpoints that help this search, each with whether it judges.
    pub(crate) fn aides(&self) -> Vec<(String, bool)> {
        self.tree_search().aides()
    }

    /// Slots that a session sets aside for a prompt of `prompt` tokens.
    pub(crate) fn reserved_slots(&self, prompt: usize) -> usize {
        self.tree_search().reserved_slots(prompt)
    }

    /// The fewest `slots` that a tree can work with.
    pub(crate) fn least_slots(&self) -> usize {
        self.tree_search().least_slots()
    }
}

/// A searched answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Guided {
    pub completion: Completion,
    pub ledger: Ledger,
    /// Simulations made.
    pub simulations: u32,
    /// Nodes of the last tree.
    pub nodes: usize,
}

impl Policy {
    /// Answers a prompt by search under the value net. All randomness comes from `seed`.
    ///
    /// # Errors
    /// An engine that refuses the prompt or has stopped.
    pub async fn guided(
        &self,
        prompt: &[u32],
        params: &Params,
        seed: u64,
    ) -> Result<Guided, Error> {
        let search = params.tree_search();
        let slots = search.reserved_slots(prompt.len());
        let asked = self.asked(&search, self.question.as_deref())?;
        let (session, own) = self.sessions(slots, &asked, &search).await?;
        let mut ledger = Ledger::default();
        let reply = self
            .prefill(&session, prompt, params.top_k, &mut ledger)
            .await?;
        let helpers = self
            .helpers(&search, prompt, asked, own, &mut ledger)
            .await?;
        let trail = Trail::default();
        let mut driver = Driver {
            tree: Tree::new(
                search.tree(params.max_new_tokens, seed),
                self.expansion(reply.last(), params.pessimism, &trail),
            ),
            session,
            policy: self,
            params: &search,
            grader: None,
            root: reply.slots,
            preamble: Vec::new(),
            trail,
            root_token: prompt[prompt.len() - 1],
            lookup: Lookup::new(prompt, search.draft_tokens),
            ledger,
            seed,
            simulations: 0,
            correct_simulations: 0,
            memo_hits: 0,
            helpers,
            opinions: HashMap::new(),
            phrases: self.phrases(&params.revise)?,
        };
        let end = match params.form {
            GuidedForm::Whole => {
                driver.open_root(params.simulations).await?;
                driver.run(params.simulations).await?;
                *driver
                    .tree
                    .best_path(params.pick)
                    .last()
                    .unwrap_or(&driver.tree.root())
            }
            GuidedForm::PerToken => driver.commit_tokens(params).await?,
        };
        let completion = driver.finish_greedily(end).await?;
        Ok(Guided {
            completion,
            ledger: driver.ledger,
            simulations: driver.simulations,
            nodes: driver.tree.len(),
        })
    }
}

impl Driver<'_> {
    /// Readies the root for `simulations` under a rule that draws: an answer is searched without a draw.
    async fn open_root(&mut self, simulations: u32) -> Result<(), Error> {
        let root = self.tree.root();
        if self.tree.stage(root) == Stage::Closed && !self.stopped() {
            self.open_now(root).await?;
        }
        let none = vec![0.0; self.tree.choices(root).count()];
        self.tree
            .set_root_gumbel(none, simulations.saturating_sub(1) as usize);
        Ok(())
    }

    /// Commits the best child again and again, down to the end of the text.
    async fn commit_tokens(&mut self, params: &Params) -> Result<NodeId, Error> {
        let simulations = match params.root_simulations {
            0 => params.simulations,
            limit => limit.min(params.simulations),
        };
        loop {
            let root = self.tree.root();
            if self.tree.is_terminal(root) {
                return Ok(root);
            }
            if self.tree.decides(root) {
                // The root's first visit evaluated itself; the others went to its children.
                let spent = self.tree.visits(root).saturating_sub(1);
                let more = simulations.saturating_sub(spent);
                self.open_root(simulations).await?;
                self.run(self.simulations + more).await?;
            }
            let best = self.tree.best_child(root, params.pick);
            // The best child may be the end of an option; one token of it is committed at a time.
            let towards = best.and_then(|end| self.tree.path(end).get(1).copied());
            let Some(token) = towards
                .and_then(|child| self.tree.token(child))
                .or_else(|| self.likeliest(root))
            else {
                return Ok(root);
            };
            if self.tree.child(root, token).is_none() {
                self.expand(root, token).await?;
            }
            if let Some(child) = self.tree.child(root, token) {
                self.restore(child).await?;
            }
            let edge = self.tree.children(root).find(|c| c.token == token);
            edge.into_iter().for_each(|c| self.trail.push(c.log_prob));
            let freed = self.tree.commit(token);
            self.opinions.clear();
            let freed: Vec<_> = freed.into_iter().map(engine_slot).collect();
            self.session.release(&freed);
        }
    }

    /// The choice with the largest prior, the first among equals.
    fn likeliest(&self, node: NodeId) -> Option<u32> {
        let larger = |best: tree::Continuation, choice: tree::Continuation| match choice.prior
            > best.prior
        {
            true => choice,
            false => best,
        };
        Some(self.tree.choices(node).reduce(larger)?.token)
    }

    /// Brings a child into the tree outside any simulation.
    async fn expand(&mut self, parent: NodeId, token: u32) -> Result<(), Error> {
        if self.policy.stop.contains(&token) {
            self.tree.attach(parent, token, Child::Terminal);
            return Ok(());
        }
        self.expand_now(parent, token).await
    }

    /// Follows the recorded greedy continuation of `end`, then lets the policy finish the text.
    async fn finish_greedily(&mut self, end: NodeId) -> Result<Completion, Error> {
        let end = self.tree.greedy_tail(end).nodes.pop().unwrap_or(end);
        let mut tokens = self.last_solution(end, &[]);
        let mut value = self.tree.value(end);
        let mut finished = tokens.last().is_some_and(|t| self.policy.stop.contains(t));
        if !self.tree.is_terminal(end) {
            let played = self.play_to_end(end).await?;
            tokens.extend(&played.tokens);
            finished = played.finished;
            let trails = self.trails(end, &played);
            if let Some(((output, _), trail)) = played.states.last().zip(trails.last()) {
                value = self.policy.value(output, self.params.pessimism, trail);
            }
        }
        Ok(Completion {
            tokens,
            finished,
            value,
            log_prob: 0.0,
        })
    }
}
