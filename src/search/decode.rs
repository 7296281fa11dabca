//! Plain decoding by the policy, and what any method's answer looks like.

use super::Error;
use super::aide::Aides;
use super::ledger::Ledger;
use super::revise::Phrases;
use super::rubric::Rubric;
use crate::engine::{Choose, EngineHandle, Finish, Generate, Reply, Request, Session, Slot};
use crate::model::Tokenizer;
use crate::tree;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The policy as searches use it: an engine and the tokens that end a text.
#[derive(Clone)]
pub struct Policy {
    pub engine: EngineHandle,
    pub stop: Arc<[u32]>,
    /// For rules that look at text.
    pub spell: Spell,
    pub tokenizer: Arc<Tokenizer>,
    /// Other checkpoints that searches may ask.
    pub aides: Aides,
    /// Rubrics of the search at hand, by their place among its judges.
    pub rubrics: BTreeMap<usize, Arc<Rubric>>,
    /// The question at hand, for those.
    pub question: Option<Arc<str>>,
    /// What searches may put behind a finished solution.
    pub phrases: Phrases,
}

/// The text of some tokens.
pub type Spell = Arc<dyn Fn(&[u32]) -> String + Send + Sync>;

/// A solution, however it was found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Completion {
    /// Tokens after the prompt, the stop token included; of a revised text those of the last solution.
    pub tokens: Vec<u32>,
    /// Whether it ended by a stop token; a text that was cut is never right.
    pub finished: bool,
    /// The value net's opinion of the text before its stop token, in [-1, 1]; 0 without one.
    pub value: f32,
    /// Log-probability of its tokens at temperature 1, where the policy itself chose them.
    pub log_prob: f32,
}

impl Policy {
    /// The policy of a running engine, whose tokens are `tokenizer`'s.
    pub fn new(engine: EngineHandle, tokenizer: &Arc<Tokenizer>) -> Policy {
        let own = tokenizer.clone();
        Policy {
            engine,
            stop: tokenizer.stop_tokens().into(),
            spell: Arc::new(move |tokens| own.decode(tokens)),
            tokenizer: tokenizer.clone(),
            aides: Aides::new(),
            rubrics: BTreeMap::new(),
            question: None,
            phrases: Phrases::new(),
        }
    }

    /// Forwards a prompt in a fresh session.
    pub(super) async fn prefill(
        &self,
        session: &Session,
        prompt: &[u32],
        top_k: usize,
        ledger: &mut Ledger,
    ) -> Result<Reply, Error> {
        let reply = session
            .run(Request {
                context: Vec::new(),
                tokens: prompt.to_vec(),
                top_k,
                generate: None,
                ..Request::default()
            })
            .await?;
        ledger.prefill(prompt.len(), self.engine.nets());
        Ok(reply)
    }

    /// Lets the policy finish a text: forwards `tokens` after `context` and goes on by itself.
    pub(super) fn continuation(
        &self,
        context: Vec<Slot>,
        tokens: Vec<u32>,
        choose: Choose,
        max_new_tokens: usize,
        record: Option<usize>,
    ) -> Request {
        Request {
            context,
            tokens,
            top_k: record.unwrap_or(1),
            generate: Some(Generate {
                draft: None,
                choose,
                max_new_tokens,
                stop: self.stop.clone(),
                until: None,
                record: record.is_some(),
            }),
            ..Request::default()
        }
    }
}

impl Completion {
    /// A completion that `policy` generated in one go.
    pub(super) fn generated(policy: &Policy, reply: &Reply) -> Completion {
        Completion {
            tokens: reply.generated.clone(),
            finished: reply.finish == Finish::Stop,
            value: policy.values(reply).last().copied().unwrap_or(0.0),
            log_prob: reply.log_probs.iter().sum(),
        }
    }
}

/// The tree's name for a slot.
pub(super) fn tree_slot(slot: Slot) -> tree::Slot {
    tree::Slot(slot.0)
}

/// The engine's name for a slot.
pub(super) fn engine_slot(slot: tree::Slot) -> Slot {
    Slot(slot.0)
}
