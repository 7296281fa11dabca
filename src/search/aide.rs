//! Other checkpoints that help a search: a player of rollouts, reward models and rubrics. They share the
//! policy's tokenizer and are charged by their size: a token of theirs costs its share of parameters.

use super::decode::Policy;
use super::driver::Driver;
use super::params::Params;
use super::rollout::Played;
use super::rubric::{Asked, opinion};
use super::{Error, Ledger};
use crate::engine::{self, Choose, Engine, Finish, Params as EngineParams, Request, Session, Slot};
use crate::model::{Checkpoint, Tokenizer};
use crate::tree::NodeId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

/// A running checkpoint beside the policy.
pub struct Aide {
    engine: Engine,
    pub(super) tokenizer: Arc<Tokenizer>,
    /// Forward operations of a token, in those of a token of the policy.
    cost: f64,
}

/// The checkpoints that are at hand, by the paths that recipes name.
pub type Aides = BTreeMap<String, Arc<Aide>>;

impl Policy {
    /// The same policy with the checkpoints of `paths` at hand, on its own device; each with whether it is
    /// to judge.
    ///
    /// # Errors
    /// One that cannot be read or started, that has another tokenizer, or a judge without a value net.
    pub fn with_aides(
        &self,
        paths: Vec<(String, bool)>,
        tokenizer: &Tokenizer,
    ) -> Result<Policy, Error> {
        let mut policy = self.clone();
        for (path, judges) in paths {
            if policy.aides.contains_key(&path) {
                continue;
            }
            let refuse = |reason: String| Error::Aide {
                path: path.clone(),
                reason,
            };
            let device = self.engine.device();
            let checkpoint = Checkpoint::load(Path::new(&path), device);
            let checkpoint = checkpoint.map_err(|e| refuse(e.to_string()))?;
            if !checkpoint.tokenizer.same_tokens(tokenizer) {
                let reason =
                    "its tokenizer is not the policy's; name a checkpoint of the same family";
                return Err(refuse(reason.into()));
            }
            if judges && checkpoint.value.is_none() {
                return Err(refuse("it has no value net to judge by".into()));
            }
            let own = checkpoint.config().parameters() as f64;
            let engine =
                Engine::start(checkpoint.policy, checkpoint.value, EngineParams::default())?;
            let nets = engine.handle().nets() as f64;
            let cost = nets * own / self.engine.parameters() as f64;
            let aide = Aide {
                engine,
                tokenizer: Arc::new(checkpoint.tokenizer),
                cost,
            };
            policy.aides.insert(path, Arc::new(aide));
        }
        Ok(policy)
    }
}

/// A checkpoint at work on one question.
pub(super) struct Helper {
    session: Arc<Session>,
    /// Slots of the prompt but for its last token.
    prompt: Vec<Slot>,
    last: u32,
    cost: f64,
}

/// A request to another checkpoint. What it fills is freed at once.
pub(super) struct Aided {
    session: Arc<Session>,
    request: Request,
    cost: f64,
}

/// The helpers of one question.
#[derive(Default)]
pub(super) struct Helpers {
    /// Those that go on from its prompt, by path.
    readers: BTreeMap<String, Helper>,
    /// Those that answer a rubric, by its place among the judges.
    pub rubrics: BTreeMap<usize, (Helper, Asked)>,
}

/// Sessions with checkpoints, by path, and what a token of each costs.
type Sessions = BTreeMap<String, (Arc<Session>, f64)>;

impl Policy {
    /// Lets the checkpoints that `params` names read the prompt, and every judge the beginning of its
    /// rubric, in `own` where that is the policy; and charges it.
    pub(super) async fn helpers(
        &self,
        params: &Params,
        prompt: &[u32],
        asked: Vec<Asked>,
        own: Option<Session>,
        ledger: &mut Ledger,
    ) -> Result<Helpers, Error> {
        let texts = params.leaves.max(1) * (params.max_new_tokens + 1);
        let mut needed = BTreeMap::new();
        for (path, _) in params.readers() {
            needed.insert(path, prompt.len() + texts);
        }
        for rubric in asked.iter().filter(|rubric| !rubric.path.is_empty()) {
            *needed.entry(rubric.path.clone()).or_insert(0) += rubric.slots(params);
        }
        // One session a checkpoint: whoever held a first one and waited for a second could wait for ever.
        let mut sessions = BTreeMap::new();
        for (path, slots) in needed {
            let Some(aide) = self.aides.get(&path) else {
                let reason = "it was not opened beside the policy".into();
                return Err(Error::Aide { path, reason });
            };
            let session = aide.engine.handle().session(slots).await?;
            sessions.insert(path, (Arc::new(session), aide.cost));
        }
        if let Some(own) = own {
            let cost = self.engine.nets() as f64;
            sessions.insert(String::new(), (Arc::new(own), cost));
        }
        let mut helpers = Helpers::default();
        // Several judges may share a checkpoint.
        let readers: BTreeSet<String> =
            params.readers().into_iter().map(|(path, _)| path).collect();
        for path in readers {
            let helper = Helper::after(&sessions, &path, prompt, ledger).await?;
            helpers.readers.insert(path, helper);
        }
        for rubric in asked {
            let helper = Helper::after(&sessions, &rubric.path, &rubric.before, ledger).await?;
            helpers.rubrics.insert(rubric.place, (helper, rubric));
        }
        Ok(helpers)
    }
}

/// Tokens of the policy that `tokens` of a checkpoint stand for.
fn scaled(tokens: usize, cost: f64) -> usize {
    (tokens as f64 * cost).ceil() as usize
}

impl Helper {
    /// Lets the checkpoint at `path` read `prompt`, and charges it.
    async fn after(
        sessions: &Sessions,
        path: &str,
        prompt: &[u32],
        ledger: &mut Ledger,
    ) -> Result<Helper, Error> {
        let Some((session, cost)) = sessions.get(path) else {
            unreachable!("a helper without a session");
        };
        let (&last, before) = prompt.split_last().ok_or(engine::Error::Empty)?;
        let mut slots = Vec::new();
        if !before.is_empty() {
            let request = Request {
                tokens: before.to_vec(),
                top_k: 1,
                ..Request::default()
            };
            slots = session.run(request).await?.slots;
            ledger.prefill(scaled(slots.len(), *cost), 1);
        }
        Ok(Helper {
            session: session.clone(),
            prompt: slots,
            last,
            cost: *cost,
        })
    }

    /// Reads `text` after the prompt, and what the request says beyond that.
    pub fn job(&self, text: &[u32], request: Request) -> Aided {
        let mut tokens = vec![self.last];
        tokens.extend(text);
        Aided {
            session: self.session.clone(),
            request: Request {
                context: self.prompt.clone(),
                tokens,
                ..request
            },
            cost: self.cost,
        }
    }
}

impl Aided {
    pub async fn run(self) -> Result<Played, engine::Error> {
        let reply = self.session.run(self.request).await?;
        self.session.release(&reply.slots);
        Ok(Played {
            finished: reply.finish == Finish::Stop,
            opinion: match reply.compared {
                Some(answers) => opinion(answers),
                None => reply.last().value,
            },
            forwarded: scaled(reply.slots.len(), self.cost),
            tokens: reply.generated,
            ..Played::default()
        })
    }
}

impl Driver<'_> {
    /// The player's turn at `from`, where the search has one.
    pub(super) fn aided_rollout(&self, from: NodeId, choose: Choose, left: usize) -> Option<Aided> {
        let player = self.helpers.readers.get(&self.params.player)?;
        let request = self
            .policy
            .continuation(Vec::new(), Vec::new(), choose, left, None);
        Some(player.job(&self.solution(from, &[]), request))
    }

    /// The reward model in `path`, asked about the text up to `node`, its stop token left out.
    pub(super) fn reward(&self, node: NodeId, path: &str) -> Option<Aided> {
        let request = Request {
            top_k: 1,
            ..Request::default()
        };
        let text = self.unstopped(node);
        Some(self.helpers.readers.get(path)?.job(&text, request))
    }

    /// The text up to `node` without its stop token.
    pub(super) fn unstopped(&self, node: NodeId) -> Vec<u32> {
        self.without_stop(self.solution(node, &[]))
    }

    /// `text` without its stop token.
    pub(super) fn without_stop(&self, mut text: Vec<u32>) -> Vec<u32> {
        if text
            .last()
            .is_some_and(|token| self.policy.stop.contains(token))
        {
            text.pop();
        }
        text
    }
}
