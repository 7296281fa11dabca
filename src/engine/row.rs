//! A request in flight.

use super::batch::{Judged, Wanted};
use super::handle::Error;
use super::pool::{Slot, SlotPool};
use super::request::{Finish, Output, Reply, Request, Until};
use tokio::sync::oneshot;

/// Where a reply goes.
pub(super) type Answer = oneshot::Sender<Result<Reply, Error>>;

/// One sequence that the engine is advancing.
pub(super) struct Row {
    /// Slot indices from position 0, those written so far.
    path: Vec<u32>,
    /// Tokens to forward next; those before `done` are forwarded.
    pending: Vec<u32>,
    done: usize,
    request: Request,
    reply: Reply,
    answer: Answer,
}

/// What a row adds to a step.
pub(super) struct Share {
    /// Place of its first token in the sequence.
    pub first_position: usize,
    /// Number of its tokens.
    pub tokens: usize,
    /// Whether the last token's logits are wanted.
    pub wants_logits: bool,
}

impl Row {
    pub fn new(request: Request, answer: Answer) -> Row {
        Row {
            path: request.context.iter().map(|s| s.index() as u32).collect(),
            pending: request.tokens.clone(),
            done: 0,
            reply: Reply {
                slots: Vec::with_capacity(request.tokens.len()),
                outputs: Vec::new(),
                generated: Vec::new(),
                log_probs: Vec::new(),
                finish: Finish::Forwarded,
            },
            request,
            answer,
        }
    }

    /// Tokens that this row could forward now.
    pub fn waiting(&self) -> usize {
        self.pending.len() - self.done
    }

    /// Takes slots for up to `budget` tokens and joins the step.
    pub fn join(&mut self, budget: usize, pool: &mut SlotPool) -> Result<Share, Error> {
        let n = self.waiting().min(budget);
        let first_position = self.path.len();
        for _ in 0..n {
            let slot = pool.take().ok_or(Error::OutOfSlots)?;
            self.path.push(slot.index() as u32);
            self.reply.slots.push(slot);
        }
        self.done += n;
        Ok(Share {
            first_position,
            tokens: n,
            wants_logits: self.done == self.pending.len(),
        })
    }

    /// The tokens of a share that was just taken.
    pub fn tokens(&self, share: &Share) -> &[u32] {
        &self.pending[self.done - share.tokens..self.done]
    }

    /// Slots of everything up to the end of the last share.
    pub fn path(&self) -> &[u32] {
        &self.path
    }

    /// What the row wants to know after its last pending token, which is token `at` of the batch.
    pub fn wanted(&self, at: usize) -> Wanted {
        let generate = self.request.generate.as_ref();
        let draw = self.reply.generated.len() as u64;
        Wanted {
            at,
            top_k: self.request.top_k,
            choose: generate
                .filter(|generate| generate.max_new_tokens > 0)
                .map(|generate| (generate.choose, draw)),
        }
    }

    /// Takes in what became of [`Row::wanted`]. True if the row is done.
    pub fn advance(&mut self, judged: Judged) -> bool {
        self.keep(judged.output);
        let Some(generate) = &self.request.generate else {
            return true;
        };
        let Some((token, log_prob)) = judged.next else {
            self.reply.finish = Finish::Length;
            return true;
        };
        self.reply.generated.push(token);
        self.reply.log_probs.push(log_prob);
        if generate.stop.contains(&token) {
            self.reply.finish = Finish::Stop;
            return true;
        }
        let ends = |until: &Until| (until.0)(&self.reply.generated);
        if self.reply.generated.len() >= generate.max_new_tokens
            || generate.until.as_ref().is_some_and(ends)
        {
            self.reply.finish = Finish::Length;
            return true;
        }
        self.pending.clear();
        self.pending.push(token);
        self.done = 0;
        false
    }

    fn keep(&mut self, output: Output) {
        let record = self.request.generate.as_ref().is_some_and(|g| g.record);
        if !record {
            self.reply.outputs.clear();
        }
        self.reply.outputs.push(output);
    }

    /// Sends the reply. Gives the slots back when nobody waits for it any more.
    pub fn finish(self) -> Vec<Slot> {
        match self.answer.send(Ok(self.reply)) {
            Ok(()) => Vec::new(),
            Err(unsent) => unsent.map_or_else(|_| Vec::new(), |reply| reply.slots),
        }
    }

    /// Sends an error and gives the slots back.
    pub fn fail(self, error: Error) -> Vec<Slot> {
        // A client that no longer listens needs no error.
        let _ = self.answer.send(Err(error));
        self.reply.slots
    }
}
