//! What is asked of the engine and what it answers, in token ids.

use super::draft::Draft;
use super::pool::Slot;
use crate::model::Opinion;

/// Work for one row: forward `tokens` after `context`, then perhaps go on by itself.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// Slots of everything before `tokens`, in order from position 0; empty for a fresh prompt.
    pub context: Vec<Slot>,
    /// Tokens to forward, at least one.
    pub tokens: Vec<u32>,
    /// Most probable continuations to report with each [`Output`].
    pub top_k: usize,
    /// How to go on after `tokens`; `None` ends the row there (a prefill or an expansion).
    pub generate: Option<Generate>,
    /// Two tokens whose log-probabilities after the last forwarded token go into [`Reply::compared`].
    pub compare: Option<[u32; 2]>,
    /// Asks for [`Reply::mean`] over `tokens` from this one on and all that is generated. The last generated
    /// token, which nothing else needs forwarded, is forwarded for it.
    pub mean_from: Option<usize>,
}

/// What [`Until`] asks about the tokens generated so far.
pub type Ends = dyn Fn(&[u32]) -> bool + Send + Sync;

/// A rule that ends a row: asked with the tokens generated so far, after each of them.
#[derive(Clone)]
pub struct Until(pub std::sync::Arc<Ends>);

impl std::fmt::Debug for Until {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Until")
    }
}

/// Continuation of a row by the policy itself.
#[derive(Debug, Clone)]
pub struct Generate {
    pub choose: Choose,
    /// Tokens at most, the stop token included.
    pub max_new_tokens: usize,
    /// Tokens that end the row.
    pub stop: std::sync::Arc<[u32]>,
    /// A further end of the row, that of a step for one; it finishes as [`Finish::Length`].
    pub until: Option<Until>,
    /// Whether an [`Output`] is kept for every position, not only for the last.
    pub record: bool,
    /// Where to look up what may come next. The reply is the same without, in fewer steps.
    pub draft: Option<std::sync::Arc<Draft>>,
}

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Choose {
    /// The most probable token; the lower id where two are equal.
    Greedy,
    /// A draw from the softmax at `temperature`, cut to the most probable tokens that hold `top_p`
    /// of the mass. The i-th draw of a row depends on `seed` and i alone.
    Sample {
        temperature: f32,
        top_p: f32,
        seed: u64,
    },
}

impl Choose {
    /// Whether it takes the whole row of logits in order: a draw from a nucleus.
    pub(super) fn sorts(self) -> bool {
        matches!(self, Choose::Sample { temperature, top_p, .. } if temperature > 0.0 && top_p < 1.0)
    }
}

/// What is known after a forwarded token.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Output {
    /// The most probable next tokens, by descending log-probability; ties by ascending id.
    pub tokens: Vec<u32>,
    /// Their log-probabilities over the whole vocabulary.
    pub log_probs: Vec<f32>,
    /// Log-sum-exp of the logits over the whole vocabulary.
    pub log_sum_exp: f32,
    /// The value net's opinion in [-1, 1]; 0 where the engine has none.
    pub value: f32,
    /// Standard deviation of the values of an ensemble of heads; 0 for one head.
    pub spread: f32,
}

impl Output {
    /// The lower bound `value - kappa * spread` of the value, not below -1.
    pub fn bound(&self, kappa: f32) -> f32 {
        let (value, spread) = (self.value, self.spread);
        Opinion { value, spread }.bound(kappa)
    }
}

/// Why a row ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finish {
    /// Nothing was to be generated.
    Forwarded,
    /// A stop token was chosen.
    Stop,
    /// `max_new_tokens` were chosen, or [`Generate::until`] ended it, and no token stops.
    Length,
}

/// The answer to a [`Request`].
#[derive(Debug, Clone)]
pub struct Reply {
    /// One slot for each forwarded token: those of the request, then the generated ones except the
    /// last, which nothing needed forwarding, unless [`Request::mean_from`] asked for it.
    pub slots: Vec<Slot>,
    /// After the last token of the request, then after each generated token that was forwarded;
    /// only the last of these unless `record` was set.
    pub outputs: Vec<Output>,
    /// Chosen tokens, a stop token included.
    pub generated: Vec<u32>,
    /// Log-probability of each chosen token over the whole vocabulary, at temperature 1.
    pub log_probs: Vec<f32>,
    pub finish: Finish,
    /// Log-probabilities of the tokens of [`Request::compare`] over the whole vocabulary, after the last
    /// forwarded token.
    pub compared: Option<[f32; 2]>,
    /// Mean of the policy's final hidden states, behind the last norm, `[hidden]`; empty where
    /// [`Request::mean_from`] asks for none.
    pub mean: Vec<f32>,
    /// Tokens that were forwarded besides: those of drafts that turned out wrong.
    pub rejected: usize,
}

impl Request {
    /// The same, with drafts of what is generated; the reply is the same too. One that asks for a mean goes
    /// without.
    pub fn drafted(mut self, draft: Option<std::sync::Arc<Draft>>) -> Request {
        if let Some(generate) = &mut self.generate {
            generate.draft = draft;
        }
        self
    }
}

impl Reply {
    /// What is known after the last forwarded token.
    pub fn last(&self) -> &Output {
        // A row ends only after a forwarded token, so there is at least one output.
        &self.outputs[self.outputs.len() - 1]
    }
}
