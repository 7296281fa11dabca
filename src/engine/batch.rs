//! One step's tokens, flattened over rows, and what is wanted of them.

use super::request::{Choose, Output};

/// The tokens of one step. Token `i` belongs to `rows[i]`, whose slots are `paths[rows[i]]`; it sees
/// the first `positions[i] + 1` of them, its own last.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    pub tokens: Vec<u32>,
    pub positions: Vec<usize>,
    pub rows: Vec<usize>,
    /// Slot indices of each row from position 0, those of this step included.
    pub paths: Vec<&'a [u32]>,
}

impl Batch<'_> {
    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.tokens.len()
    }

    /// The slots that token `i` attends to; the last is the one it writes.
    pub fn visible(&self, i: usize) -> &[u32] {
        &self.paths[self.rows[i]][..=self.positions[i]]
    }
}

/// What is wanted after a token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted {
    /// The token's index in the batch.
    pub at: usize,
    /// Continuations to report.
    pub top_k: usize,
    /// How the next token is chosen, and the number of the row's draw; `None` where none is.
    pub choose: Option<(Choose, u64)>,
    /// Two tokens whose log-probabilities are reported.
    pub compare: Option<[u32; 2]>,
    /// Whether the policy's final hidden state is reported.
    pub state: bool,
    /// Whether anything is wanted of the logits: all of the above.
    pub logits: bool,
}

impl Wanted {
    /// Nothing but the hidden state of token `at`.
    pub fn only_state(at: usize) -> Wanted {
        Wanted {
            at,
            top_k: 0,
            choose: None,
            compare: None,
            state: true,
            logits: false,
        }
    }

    /// Whether a few numbers of the logits are all that is wanted.
    pub fn is_plain(&self) -> bool {
        self.logits && !self.state && !self.takes_row()
    }

    /// Whether it takes the whole row of logits to the host.
    pub fn takes_row(&self) -> bool {
        self.compare.is_some() || self.choose.is_some_and(|(how, _)| how.sorts())
    }
}

/// What a step leaves of a token that something is wanted of.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub output: Output,
    /// The next token and its log-probability at temperature 1.
    pub next: Option<(u32, f32)>,
    /// Log-probabilities of the two tokens of [`Wanted::compare`].
    pub compared: Option<[f32; 2]>,
    /// The final hidden state, `[hidden]`; empty where it was not wanted.
    pub state: Vec<f32>,
    /// Whether only the state was wanted.
    pub silent: bool,
}
