//! A tree within its share of the pool: before a round of forward passes that could need more slots
//! than its session reserved, the least visited tokens give theirs up. A pass that goes on from such
//! a token forwards what is missing of its path first, in the same request.

use super::Error;
use super::decode::{engine_slot, tree_slot};
use super::driver::Driver;
use super::rollout::{Play, Played};
use crate::engine::{Request, Slot};
use crate::tree::NodeId;
use tokio::task::JoinSet;

/// What a pass that goes on from a node begins with.
pub(super) struct Start {
    /// Slots that are there.
    pub context: Vec<Slot>,
    /// Tokens of the path that are forwarded before anything else.
    pub tokens: Vec<u32>,
    pub lead: Lead,
}

/// What the first tokens of a pass stand for.
#[derive(Default)]
pub(super) struct Lead {
    /// Their nodes.
    nodes: Vec<NodeId>,
    /// How many of them are forwarded only because their slots are gone.
    recomputed: usize,
}

/// A [`Play`] and what it does for the tree's slots.
pub(super) struct Job {
    pub play: Play,
    /// The node that it goes on from; what lies on the way there keeps its slots.
    pub end: NodeId,
    pub lead: Lead,
}

impl Job {
    /// A job that forwards nothing in the tree's own session.
    pub fn elsewhere(play: Play, end: NodeId) -> Job {
        Job {
            play,
            end,
            lead: Lead::default(),
        }
    }
}

impl Driver<'_> {
    /// For a pass over what follows `node`.
    pub fn start_below(&self, node: NodeId) -> Start {
        let nodes = self.tree.missing(node);
        Start {
            context: self.context(node),
            tokens: nodes.iter().filter_map(|&n| self.tree.token(n)).collect(),
            lead: Lead {
                recomputed: nodes.len(),
                nodes,
            },
        }
    }

    /// For a pass that forwards the token of `node` itself again, whether its slot is there or not.
    pub fn start_at(&self, node: NodeId) -> Start {
        let mut start = self.start_below(node);
        match start.lead.nodes.is_empty() {
            true => {
                start.context.pop();
                let token = self.tree.token(node).unwrap_or(self.root_token);
                start.tokens.push(token);
                start.lead.nodes.push(node);
            }
            false => start.lead.recomputed -= 1,
        }
        start
    }

    /// Runs all jobs at once; results in their order.
    pub async fn forward(&mut self, jobs: Vec<Job>) -> Result<Vec<Played>, Error> {
        self.make_room(&jobs);
        let (mut plays, mut leads) = (Vec::new(), Vec::new());
        for job in jobs {
            plays.push((job.play, job.lead.nodes.len()));
            leads.push(job.lead);
        }
        let mut played = self.run_all(plays).await?;
        for (played, lead) in played.iter_mut().zip(leads) {
            for (node, slot) in lead.nodes.into_iter().zip(played.lead.drain(..)) {
                let unused = self.tree.restore(node, tree_slot(slot));
                played.spare.extend(unused.map(engine_slot));
            }
            played.forwarded -= lead.recomputed;
            let nets = self.policy.engine.nets();
            self.ledger.expansion(lead.recomputed, nets);
        }
        Ok(played)
    }

    /// Runs one job.
    pub async fn forward_one(&mut self, job: Job) -> Result<Played, Error> {
        Ok(self.forward(vec![job]).await?.pop().unwrap_or_default())
    }

    /// Brings the slots on the way to `node` back.
    pub async fn restore(&mut self, node: NodeId) -> Result<(), Error> {
        let start = self.start_below(node);
        if start.tokens.is_empty() {
            return Ok(());
        }
        let play = Play::Expand(Request {
            context: start.context,
            tokens: start.tokens,
            top_k: 1,
            generate: None,
            ..Request::default()
        });
        let (end, lead) = (node, start.lead);
        self.forward_one(Job { play, end, lead }).await?;
        Ok(())
    }

    /// Gives slots back until what `jobs` may need fits in what the session reserved. It always does:
    /// a share is never smaller than the prompt and a whole text for each leaf in flight.
    fn make_room(&mut self, jobs: &[Job]) {
        let needed: usize = jobs.iter().map(|job| job.play.most_slots()).sum();
        let over = (self.session.held() + needed).saturating_sub(self.session.reserved());
        if over == 0 {
            return;
        }
        let kept: Vec<NodeId> = jobs.iter().map(|job| job.end).collect();
        let freed = self.tree.evict(over, &kept).into_iter().map(engine_slot);
        self.session.release(&freed.collect::<Vec<_>>());
    }

    async fn run_all(&self, plays: Vec<(Play, usize)>) -> Result<Vec<Played>, Error> {
        if plays.len() == 1 {
            let mut played = Vec::new();
            for (play, lead) in plays {
                played.push(play.run(&self.session, lead).await?);
            }
            return Ok(played);
        }
        let mut tasks = JoinSet::new();
        for (index, (play, lead)) in plays.into_iter().enumerate() {
            let session = self.session.clone();
            tasks.spawn(async move { (index, play.run(&session, lead).await) });
        }
        let mut played = Vec::with_capacity(tasks.len());
        while let Some(result) = tasks.join_next().await {
            let (index, result) = result?;
            played.push((index, result?));
        }
        played.sort_by_key(|p| p.0);
        Ok(played.into_iter().map(|p| p.1).collect())
    }
}
