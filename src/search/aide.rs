//! Other checkpoints that help a search: a player of rollouts, and reward models. They share the
//! policy's tokenizer and are charged by their size: a token of theirs costs its share of parameters.

use super::decode::Policy;
use super::driver::Driver;
use super::params::Params;
use super::rollout::Played;
use super::{Error, Ledger};
use crate::engine::{self, Choose, Engine, Finish, Params as EngineParams, Request, Session, Slot};
use crate::model::{Checkpoint, Tokenizer};
use crate::tree::NodeId;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A running checkpoint beside the policy.
pub struct Aide {
    engine: Engine,
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
            let aide = Arc::new(Aide { engine, cost });
            policy.aides.insert(path, aide);
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

/// The helpers of one question, by path.
pub(super) type Helpers = BTreeMap<String, Helper>;

impl Policy {
    /// Lets the checkpoints that `params` names read the prompt, and charges it.
    pub(super) async fn helpers(
        &self,
        params: &Params,
        prompt: &[u32],
        ledger: &mut Ledger,
    ) -> Result<Helpers, Error> {
        let mut helpers = Helpers::new();
        for (path, _) in params.aides() {
            let Some(aide) = self.aides.get(&path) else {
                let reason = "it was not opened beside the policy".into();
                return Err(Error::Aide { path, reason });
            };
            let texts = params.leaves.max(1) * (params.max_new_tokens + 1);
            let session = aide.engine.handle().session(prompt.len() + texts).await?;
            let (&last, before) = prompt.split_last().ok_or(engine::Error::Empty)?;
            let mut slots = Vec::new();
            if !before.is_empty() {
                let request = Request {
                    context: Vec::new(),
                    tokens: before.to_vec(),
                    top_k: 1,
                    generate: None,
                };
                slots = session.run(request).await?.slots;
                ledger.prefill(scaled(slots.len(), aide.cost), 1);
            }
            let helper = Helper {
                session: Arc::new(session),
                prompt: slots,
                last,
                cost: aide.cost,
            };
            helpers.insert(path, helper);
        }
        Ok(helpers)
    }
}

/// Tokens of the policy that `tokens` of a checkpoint stand for.
fn scaled(tokens: usize, cost: f64) -> usize {
    (tokens as f64 * cost).ceil() as usize
}

impl Helper {
    /// Reads `text` after the prompt, and what the request says beyond that.
    fn job(&self, text: &[u32], request: Request) -> Aided {
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
            opinion: reply.last().value,
            forwarded: scaled(reply.slots.len(), self.cost),
            tokens: reply.generated,
            ..Played::default()
        })
    }
}

impl Driver<'_> {
    /// The player's turn at `from`, where the search has one.
    pub(super) fn aided_rollout(&self, from: NodeId, choose: Choose, left: usize) -> Option<Aided> {
        let player = self.helpers.get(&self.params.player)?;
        let request = self
            .policy
            .continuation(Vec::new(), Vec::new(), choose, left, None);
        Some(player.job(&self.solution(from, &[]), request))
    }

    /// The reward model in `path`, asked about the text up to `node`, its stop token left out.
    pub(super) fn reward(&self, node: NodeId, path: &str) -> Option<Aided> {
        let mut text = self.solution(node, &[]);
        if text
            .last()
            .is_some_and(|token| self.policy.stop.contains(token))
        {
            text.pop();
        }
        let request = Request {
            context: Vec::new(),
            tokens: Vec::new(),
            top_k: 1,
            generate: None,
        };
        Some(self.helpers.get(path)?.job(&text, request))
    }
}
