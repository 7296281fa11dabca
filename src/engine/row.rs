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
    /// How many of the pending tokens, its last ones, are a draft.
    drafted: usize,
    /// The whole text so far, where drafts are looked up.
    text: Vec<u32>,
    mean: Mean,
    request: Request,
    reply: Reply,
    answer: Answer,
}

/// The mean hidden state of a row, on its way.
#[derive(Default)]
struct Mean {
    /// `[hidden]`.
    sum: Vec<f64>,
    /// Tokens that were forwarded, and those of them that count.
    seen: usize,
    counted: usize,
    /// Whether the row has ended and its last token is forwarded for this alone.
    closing: bool,
}

/// What a row adds to a step.
pub(super) struct Share {
    /// Place of its first token in the sequence.
    pub first_position: usize,
    /// Number of its tokens.
    pub tokens: usize,
    /// How many of its last tokens' logits are wanted.
    pub wanted: usize,
    /// Of how many tokens before those the hidden state is wanted, and no logits.
    pub states: usize,
}

impl Row {
    pub fn new(request: Request, answer: Answer) -> Row {
        Row {
            path: request.context.iter().map(|s| s.index() as u32).collect(),
            pending: request.tokens.clone(),
            done: 0,
            drafted: 0,
            text: match request.generate.as_ref().and_then(|g| g.draft.as_ref()) {
                Some(draft) => [draft.before.as_slice(), &request.tokens].concat(),
                None => Vec::new(),
            },
            mean: Mean::default(),
            reply: Reply {
                slots: Vec::with_capacity(request.tokens.len()),
                outputs: Vec::new(),
                generated: Vec::new(),
                log_probs: Vec::new(),
                compared: None,
                mean: Vec::new(),
                finish: Finish::Forwarded,
                rejected: 0,
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
        if self.drafted > 0 {
            // A draft is cut, not spread over steps.
            self.pending.truncate(n);
            self.drafted = n - 1;
        }
        let first_position = self.path.len();
        for _ in 0..n {
            self.reserve(pool)?;
        }
        self.done += n;
        let wanted = match self.done == self.pending.len() && !self.mean.closing {
            true => 1 + self.drafted,
            false => 0,
        };
        Ok(Share {
            first_position,
            tokens: n,
            wanted,
            states: match self.request.mean_from {
                Some(_) => n - wanted,
                None => 0,
            },
        })
    }

    /// Steps of decode left at most, where that is all it does: one token is pending, nothing is drafted,
    /// and each next token is chosen without a look at the whole row of logits.
    pub fn decodes(&self) -> Option<usize> {
        let generate = self.request.generate.as_ref()?;
        let left = generate
            .max_new_tokens
            .saturating_sub(self.reply.generated.len());
        let plain =
            generate.draft.is_none() && !generate.choose.sorts() && self.request.compare.is_none();
        let plain = plain && self.request.mean_from.is_none();
        (plain && self.waiting() == 1 && left > 0).then_some(left)
    }

    /// Takes a slot for the token after those that have one, before it is known.
    pub fn reserve(&mut self, pool: &mut SlotPool) -> Result<(), Error> {
        let slot = pool.take().ok_or(Error::OutOfSlots)?;
        self.path.push(slot.index() as u32);
        self.reply.slots.push(slot);
        Ok(())
    }

    /// Gives the last `count` slots back, those of tokens that did not come.
    pub fn give_back(&mut self, count: usize) -> Vec<Slot> {
        self.path.truncate(self.path.len() - count);
        self.reply.slots.split_off(self.reply.slots.len() - count)
    }

    /// The tokens of a share that was just taken.
    pub fn tokens(&self, share: &Share) -> &[u32] {
        &self.pending[self.done - share.tokens..self.done]
    }

    /// Slots of everything up to the end of the last share.
    pub fn path(&self) -> &[u32] {
        &self.path
    }

    /// What the row wants to know after token `at` of the batch, the `number`th of those that it wants
    /// anything of.
    pub fn wanted(&self, at: usize, number: usize) -> Wanted {
        let generate = self.request.generate.as_ref();
        let draw = (self.reply.generated.len() + number) as u64;
        Wanted {
            at,
            top_k: self.request.top_k,
            choose: generate
                .filter(|generate| generate.max_new_tokens > 0)
                .map(|generate| (generate.choose, draw)),
            compare: self.request.compare,
            state: self.request.mean_from.is_some(),
            logits: true,
        }
    }

    /// Takes in what became of [`Row::wanted`], as far as the draft was right. True if the row is done.
    pub fn advance(&mut self, mut judged: Vec<Judged>, pool: &mut SlotPool) -> bool {
        let silent = judged.iter().take_while(|judged| judged.silent).count();
        let spoken = judged.split_off(silent);
        for silent in &judged {
            self.add(&silent.state);
        }
        if spoken.is_empty() {
            return self.mean.closing;
        }
        let draft = self.pending.split_off(self.pending.len() - self.drafted);
        let (mut accepted, mut done) = (0, true);
        for judged in spoken {
            done = self.advance_by(judged);
            let right = draft.get(accepted) == self.reply.generated.last();
            if done || !right {
                break;
            }
            accepted += 1;
        }
        let rejected = draft.len() - accepted;
        if rejected > 0 {
            let kept = self.reply.slots.len() - rejected;
            pool.release(&self.reply.slots.split_off(kept));
            self.path.truncate(self.path.len() - rejected);
            self.reply.rejected += rejected;
        }
        let closes = self.request.mean_from.is_some() && !self.reply.generated.is_empty();
        self.mean.closing = done && closes;
        if !done || closes {
            self.go_on();
        }
        done && !closes
    }

    /// Takes the hidden state of the next forwarded token into the mean.
    fn add(&mut self, state: &[f32]) {
        let Some(from) = self.request.mean_from else {
            return;
        };
        let mean = &mut self.mean;
        mean.seen += 1;
        if mean.seen > from {
            mean.counted += 1;
            mean.sum.resize(state.len(), 0.0);
            for (sum, &x) in mean.sum.iter_mut().zip(state) {
                *sum += f64::from(x);
            }
        }
    }

    /// Takes in one token. True if the row is done.
    fn advance_by(&mut self, judged: Judged) -> bool {
        self.add(&judged.state);
        self.keep(judged.output);
        self.reply.compared = judged.compared;
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
        false
    }

    /// The next token to forward, with a draft of what may follow.
    fn go_on(&mut self) {
        self.pending.clear();
        self.pending.extend(self.reply.generated.last());
        self.done = 0;
        self.drafted = 0;
        let generate = self.request.generate.as_ref();
        let drafts = generate.filter(|_| self.request.mean_from.is_none());
        let Some((generate, draft)) = drafts.and_then(|g| Some((g, g.draft.as_ref()?))) else {
            return;
        };
        let known = draft.before.len() + self.request.tokens.len();
        let written = self.text.len() - known;
        self.text.extend(&self.reply.generated[written..]);
        // The last token is never forwarded.
        let room = generate.max_new_tokens - self.reply.generated.len() - 1;
        let proposed = draft.propose(&self.text, room);
        self.drafted = proposed.len();
        self.pending.extend(proposed);
    }

    fn keep(&mut self, output: Output) {
        let record = self.request.generate.as_ref().is_some_and(|g| g.record);
        if !record {
            self.reply.outputs.clear();
        }
        self.reply.outputs.push(output);
    }

    /// Sends the reply. Gives the slots back when nobody waits for it any more.
    pub fn finish(mut self) -> Vec<Slot> {
        let count = self.mean.counted.max(1) as f64;
        self.reply.mean = self.mean.sum.iter().map(|x| (x / count) as f32).collect();
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
