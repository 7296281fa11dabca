//! One step's tokens, flattened over rows.

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

/// What a step leaves.
#[derive(Debug)]
pub(super) struct Judged {
    /// `[wanted, vocab]`.
    pub logits: Vec<f32>,
    /// `[wanted]`; zeros where there is no value net.
    pub values: Vec<f32>,
}
