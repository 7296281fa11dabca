//! Simulations of one tree: what the tree asks for is forwarded, graded and handed back.

use super::aide::Helpers;
use super::decode::{Policy, engine_slot, tree_slot};
use super::grader::Grader;
use super::lookup::Lookup;
use super::params::{Params, Rollout};
use super::pressure::Job;
use super::random::seed_of;
use super::rollout::{Beam, Play, Played};
use super::{Error, Ledger};
use crate::engine::{Choose, Output, Request, Session, Slot};
use crate::model::Trail;
use crate::tree::{Child, Leaf, NodeId, RolloutStep, Status, Tree};
use std::collections::HashMap;
use std::sync::Arc;

/// One tree with everything that its simulations need.
pub(super) struct Driver<'a> {
    pub tree: Tree,
    pub session: Arc<Session>,
    pub policy: &'a Policy,
    pub params: &'a Params,
    /// Present where leaves are rolled out.
    pub grader: Option<&'a Grader>,
    /// Slots of the root's context.
    pub root: Vec<Slot>,
    /// Tokens of the solution that lie in the root's context.
    pub preamble: Vec<u32>,
    /// What leads from the prompt to the root.
    pub trail: Trail,
    /// The last token of the root's context.
    pub root_token: u32,
    pub lookup: Lookup,
    pub ledger: Ledger,
    /// Seed of the tree's own random stream.
    pub seed: u64,
    pub simulations: u32,
    pub correct_simulations: u32,
    /// Simulations that needed no forward pass.
    pub memo_hits: u32,
    /// Other checkpoints at work on the question.
    pub helpers: Helpers,
    /// What reward models and rubrics, by their place among the judges, said of nodes.
    pub opinions: HashMap<(NodeId, usize), f32>,
    /// What is put behind a finished solution, in tokens.
    pub phrases: Arc<[Vec<u32>]>,
}

/// What a leaf waits for.
enum Work {
    /// Forward `token` below `parent`.
    Expand { parent: NodeId, token: u32 },
    /// Play `node` out, starting at `from`, the end of its recorded greedy continuation.
    Rollout { node: NodeId, from: NodeId },
    /// Draw the options of `node`.
    Open { node: NodeId },
    /// Ask the reward model or the rubric at this place among the judges about `node`.
    Reward { node: NodeId, judge: usize },
}

/// How a leaf goes on.
enum Next {
    Return(f32),
    Work(Work),
    Wait,
}

impl Driver<'_> {
    /// Runs simulations until `total` have been made or the stop rule fires.
    pub async fn run(&mut self, total: u32) -> Result<(), Error> {
        while self.simulations < total && !self.stopped() {
            let left = (total - self.simulations) as usize;
            self.simulate(left.min(self.params.leaves.max(1))).await?;
        }
        Ok(())
    }

    /// Slots of everything up to `node`.
    pub fn context(&self, node: NodeId) -> Vec<Slot> {
        let mut slots = self.root.clone();
        slots.extend(self.tree.slots(node).into_iter().map(engine_slot));
        slots
    }

    /// Forwards `token` below `parent`, outside any simulation.
    pub async fn expand_now(&mut self, parent: NodeId, token: u32) -> Result<(), Error> {
        let work = Work::Expand { parent, token };
        let job = self.play(&work);
        let played = self.forward_one(job).await?;
        self.record(&work, played).await?;
        Ok(())
    }

    /// Lets the policy finish the text at `from` greedily, and charges it; the tree does not grow.
    pub async fn play_to_end(&mut self, from: NodeId) -> Result<Played, Error> {
        let job = self.play_out(from, Rollout::Greedy);
        let played = self.forward_one(job).await?;
        self.ledger
            .rollout(played.forwarded, self.policy.engine.nets());
        Ok(played)
    }

    /// Grows the tree by a text that was played from its root before.
    pub fn plant(&mut self, played: Played, outcome: f32) {
        let root = self.tree.root();
        self.lookup.remember(&self.tree, root, &played.tokens);
        let unused = self.keep(root, played, outcome);
        self.session.release(&unused);
    }

    pub fn stopped(&self) -> bool {
        let stop = &self.params.stop;
        let found = self.tree.terminals();
        let reached = |limit: usize, count: usize| limit > 0 && count >= limit;
        reached(stop.terminals, found.correct + found.wrong)
            || (stop.forward_tokens > 0 && self.ledger.total() >= stop.forward_tokens)
            || (stop.variance > 0.0 && self.agreed())
            || (reached(stop.correct, found.correct) && found.wrong >= stop.wrong)
            || (stop.correct_simulations > 0
                && self.correct_simulations >= stop.correct_simulations
                && self.simulations >= stop.after_simulations)
    }

    /// Whether the returns of the root differ as little as the stop rule asks for.
    fn agreed(&self) -> bool {
        let (stop, root) = (&self.params.stop, self.tree.root());
        let enough = self.tree.visits(root) >= stop.after_simulations.max(2);
        enough && self.tree.variance(root) <= f64::from(stop.variance)
    }

    /// Runs `count` simulations at once, in rounds: every round forwards what all leaves in
    /// flight ask for, so the result depends on their number only, never on timing.
    async fn simulate(&mut self, count: usize) -> Result<(), Error> {
        // Each with whether it has had a forward pass.
        let mut leaves: Vec<(Leaf, bool)> =
            (0..count).map(|_| (self.tree.select(), false)).collect();
        while !leaves.is_empty() {
            let mut working = Vec::new();
            let mut waiting = Vec::new();
            for (mut leaf, forwarded) in leaves {
                match self.next(&mut leaf).await? {
                    Next::Return(value) => {
                        self.memo_hits += u32::from(!forwarded);
                        self.finish(leaf, value);
                    }
                    Next::Work(work) => working.push((leaf, work)),
                    Next::Wait => waiting.push((leaf, forwarded)),
                }
            }
            let jobs = working.iter().map(|(_, work)| self.play(work)).collect();
            let played = self.forward(jobs).await?;
            leaves = Vec::with_capacity(working.len() + waiting.len());
            for ((leaf, work), played) in working.into_iter().zip(played) {
                match self.record(&work, played).await? {
                    Some(value) => self.finish(leaf, value),
                    None => leaves.push((leaf, true)),
                }
            }
            leaves.extend(waiting);
        }
        Ok(())
    }

    fn finish(&mut self, leaf: Leaf, value: f32) {
        let end = leaf.path()[leaf.path().len() - 1];
        self.tree.complete(leaf, value);
        self.simulations += 1;
        self.reconsider(end);
    }

    /// Takes a leaf as far as it goes without a forward pass.
    async fn next(&mut self, leaf: &mut Leaf) -> Result<Next, Error> {
        loop {
            self.tree.advance(leaf);
            match leaf.status() {
                Status::Missing {
                    in_flight: true, ..
                } => return Ok(Next::Wait),
                Status::Missing { parent, token, .. } => {
                    if !self.policy.stop.contains(&token) {
                        return Ok(Next::Work(Work::Expand { parent, token }));
                    }
                    self.tree.attach(parent, token, Child::Terminal);
                }
                Status::Closed {
                    in_flight: true, ..
                } => return Ok(Next::Wait),
                Status::Closed { node, .. } => return Ok(Next::Work(Work::Open { node })),
                Status::Ready { node, in_flight } => return self.evaluate(node, in_flight).await,
            }
        }
    }

    async fn evaluate(&mut self, node: NodeId, in_flight: bool) -> Result<Next, Error> {
        if let Some(judge) = self.silent(node) {
            return Ok(match in_flight {
                true => Next::Wait,
                false => Next::Work(Work::Reward { node, judge }),
            });
        }
        if !self.params.rolls_out() {
            return Ok(Next::Return(self.returned(node, 0.0, None)));
        }
        let terminal = self.tree.is_terminal(node);
        if terminal && self.tree.outcome(node).is_none() {
            let stopped = self.ends(self.tree.token(node));
            let text = self.last_solution(node, &[]);
            let outcome = self.verdict(&text, stopped, self.tree.value(node)).await?;
            self.tree.set_outcome(node, outcome);
        }
        let grows = self.params.grows();
        if let Some(outcome) = self.tree.outcome(node).filter(|_| terminal || grows) {
            return Ok(Next::Return(self.returned(node, outcome, None)));
        }
        if in_flight {
            return Ok(Next::Wait);
        }
        let from = match grows {
            true => self.tree.greedy_tail(node).nodes.pop().unwrap_or(node),
            false => node,
        };
        Ok(Next::Work(Work::Rollout { node, from }))
    }

    pub fn ends(&self, token: Option<u32>) -> bool {
        token.is_some_and(|token| self.policy.stop.contains(&token))
    }

    /// All tokens behind the prompt up to `node`, those of solutions that were revised included, and then
    /// `more`.
    pub fn solution(&self, node: NodeId, more: &[u32]) -> Vec<u32> {
        let mut tokens = self.preamble.clone();
        tokens.extend(self.tree.tokens(node));
        tokens.extend(more);
        tokens
    }

    /// The engine's part of `work`.
    fn play(&self, work: &Work) -> Job {
        let (parent, token) = match *work {
            Work::Expand { parent, token } => (parent, token),
            Work::Rollout { from, .. } => return self.leaf_rollout(from),
            Work::Open { node } => return self.draws(node),
            Work::Reward { node, judge } => return Job::elsewhere(self.ask(node, judge), node),
        };
        let mut start = self.start_below(parent);
        start.tokens.push(token);
        Job {
            play: Play::Expand(Request {
                context: start.context,
                tokens: start.tokens,
                top_k: self.params.top_k,
                generate: None,
                ..Request::default()
            }),
            end: parent,
            lead: start.lead,
        }
    }

    /// A rollout by the player, or else by the policy.
    fn leaf_rollout(&self, from: NodeId) -> Job {
        let left = (self.tree.params().max_depth - self.tree.depth(from)) as usize;
        let choose = match self.params.rollout {
            Rollout::Sampled { temperature } => self.draw(temperature),
            _ => Choose::Greedy,
        };
        match self.aided_rollout(from, choose, left) {
            Some(aided) => Job::elsewhere(Play::Aided(aided), from),
            None => self.play_out(from, self.params.rollout),
        }
    }

    /// A draw at `temperature`, of the simulation at hand.
    fn draw(&self, temperature: f32) -> Choose {
        Choose::Sample {
            temperature,
            top_p: 1.0,
            seed: seed_of(self.seed, &[u64::from(self.simulations)]),
        }
    }

    fn play_out(&self, from: NodeId, rollout: Rollout) -> Job {
        let left = (self.tree.params().max_depth - self.tree.depth(from)) as usize;
        let start = match rollout {
            Rollout::Greedy => self.start_below(from),
            Rollout::Sampled { .. } | Rollout::Beam { .. } => self.start_at(from),
        };
        let (context, mut tokens) = (start.context, start.tokens);
        let play = match rollout {
            Rollout::Greedy => {
                // A node that is not terminal has at least one continuation.
                let last = self.tree.token(from).unwrap_or(self.root_token);
                let first = self.tree.children(from).next().map_or(last, |c| c.token);
                let finished = self.ends(Some(first));
                if finished || left <= 1 {
                    let play = Play::End {
                        last: first,
                        finished,
                    };
                    return Job::elsewhere(play, from);
                }
                tokens.push(first);
                let records = self.params.memoise || self.params.reads_probabilities();
                let record = records.then_some(self.params.top_k);
                let draft = self.lookup.draft(&self.tree, from, context.len());
                let request = self
                    .policy
                    .continuation(context, tokens, Choose::Greedy, left - 1, record)
                    .drafted(draft);
                Play::Go { first, request }
            }
            Rollout::Sampled { temperature } => {
                let record = Some(self.params.top_k);
                let draft = self.lookup.draft(&self.tree, from, context.len());
                Play::Draw(
                    self.policy
                        .continuation(context, tokens, self.draw(temperature), left, record)
                        .drafted(draft),
                )
            }
            Rollout::Beam { width } => Play::Beam(Beam {
                context,
                tokens,
                width: width.max(1),
                max_new_tokens: left,
                stop: self.policy.stop.clone(),
            }),
        };
        Job {
            play,
            end: from,
            lead: start.lead,
        }
    }

    /// Hands a result to the tree; the leaf's return where this settles it.
    async fn record(&mut self, work: &Work, mut played: Played) -> Result<Option<f32>, Error> {
        let nets = self.policy.engine.nets();
        let mut spare = std::mem::take(&mut played.spare);
        let value = match *work {
            Work::Expand { parent, token } => {
                self.ledger.expansion(played.forwarded, nets);
                let mut trail = self.trail(parent);
                let edge = self.tree.children(parent).find(|c| c.token == token);
                edge.into_iter().for_each(|c| trail.push(c.log_prob));
                for (output, slot) in played.states {
                    let child = self.child(&output, slot, &trail);
                    let attached = self.tree.attach(parent, token, child);
                    spare.extend(attached.unused.map(engine_slot));
                }
                None
            }
            Work::Rollout { node, from } => {
                let nets = match self.params.player.is_empty() {
                    true => nets,
                    false => 1,
                };
                self.ledger.rollout(played.forwarded, nets);
                self.lookup.remember(&self.tree, from, &played.tokens);
                let tokens = self.last_solution(from, &played.tokens);
                let trails = self.trails(from, &played);
                let last = played.states.last().zip(trails.last());
                let value = last.map(|((output, _), trail)| self.policy.value(output, 0.0, trail));
                let value = value.unwrap_or_else(|| self.tree.value(from));
                let outcome = self.verdict(&tokens, played.finished, value).await?;
                let returned = self.returned(node, outcome, Some((from, &played)));
                let keeps = self.params.rollout != Rollout::Greedy || self.params.memoise;
                if keeps && (played.states.len() + 1 == played.tokens.len()) {
                    spare.extend(self.keep(from, played, outcome));
                } else {
                    spare.extend(played.states.into_iter().map(|s| s.1));
                }
                Some(returned)
            }
            Work::Reward { node, judge } => {
                self.ledger.reward(played.forwarded);
                self.opinions.insert((node, judge), played.opinion);
                None
            }
            Work::Open { node } => {
                self.ledger.rollout(played.forwarded, nets);
                spare.extend(self.enter(node, played.options));
                None
            }
        };
        if !spare.is_empty() {
            self.session.release(&spare);
        }
        Ok(value)
    }

    fn child(&self, output: &Output, slot: Slot, trail: &Trail) -> Child {
        let pessimism = self.params.pessimism;
        Child::Expanded {
            expansion: self.policy.expansion(output, pessimism, trail),
            slot: tree_slot(slot),
        }
    }

    /// Grows the tree by a played text; slots that it did not take.
    fn keep(&mut self, from: NodeId, played: Played, outcome: f32) -> Vec<Slot> {
        let trails = self.trails(from, &played);
        let states = played.states.into_iter().zip(trails);
        let mut children: Vec<Child> = states
            .map(|((output, slot), trail)| self.child(&output, slot, &trail))
            .collect();
        children.push(Child::Terminal);
        let steps = played
            .tokens
            .into_iter()
            .zip(children)
            .map(|(token, child)| RolloutStep { token, child });
        let recorded = self.tree.record_rollout(from, steps, Some(outcome));
        recorded.unused.into_iter().map(engine_slot).collect()
    }
}
