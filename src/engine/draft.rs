//! What a row may write next, looked up in texts that were written before.
//!
//! Where the last tokens of a row occurred already, what followed there is proposed, forwarded behind
//! the row's next token and kept as far as the row chooses the same by itself: its reply does not
//! change. A step of few rows reads all weights for them, and takes hardly longer for a few tokens more.
//! (Leviathan et al. 2023, "Fast Inference from Transformers via Speculative Decoding"; the drafts are
//! those of Saxena 2023, "Prompt Lookup Decoding", with other texts beside the prompt.)

use std::sync::Arc;

/// Stands behind every text.
const END: u32 = u32::MAX;

/// Tokens that a match has at least, and at which it is long enough.
const LEAST: usize = 2;
const LONGEST: usize = 8;

/// Texts, closed one by one, that a row may come to repeat.
#[derive(Debug, Clone, Default)]
pub struct Texts(Vec<u32>);

impl Texts {
    /// Adds a text.
    pub fn add(&mut self, text: impl IntoIterator<Item = u32>) {
        self.0.extend(text);
        self.0.push(END);
    }
}

/// Where a row is looked up: in its own text and in others.
#[derive(Debug, Clone, Default)]
pub struct Draft {
    /// What others wrote.
    pub texts: Arc<Texts>,
    /// Tokens of the row's context.
    pub before: Vec<u32>,
    /// Tokens that are proposed at most.
    pub tokens: usize,
}

impl Draft {
    /// What followed the longest match of the end of `own`, the row's text so far; up to `room` tokens.
    /// Among equals the later match counts, and one in other texts before one in its own.
    pub(super) fn propose<'a>(&'a self, own: &'a [u32], room: usize) -> &'a [u32] {
        let mut best = (LEAST, &own[..0]);
        for text in [own, &self.texts.0] {
            for at in 1..text.len().saturating_sub(1) {
                let length = common_end(&text[..=at], own);
                if length >= best.0 && text[at + 1] != END {
                    best = (length, &text[at + 1..]);
                }
            }
        }
        let ends = best.1.iter().position(|&token| token == END);
        &best.1[..ends.unwrap_or(best.1.len()).min(self.tokens).min(room)]
    }
}

/// Tokens at the end of both, up to [`LONGEST`].
fn common_end(a: &[u32], b: &[u32]) -> usize {
    let pairs = a.iter().rev().zip(b.iter().rev());
    pairs.take(LONGEST).take_while(|(a, b)| a == b).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proposed(texts: &[&[u32]], own: &[u32], tokens: usize, room: usize) -> Vec<u32> {
        let mut all = Texts::default();
        for text in texts {
            all.add(text.iter().copied());
        }
        let draft = Draft {
            texts: Arc::new(all),
            before: Vec::new(),
            tokens,
        };
        draft.propose(own, room).to_vec()
    }

    #[test]
    fn the_longest_and_then_the_latest_match_counts() {
        let long: &[u32] = &[1, 2, 3, 4, 5];
        let short: &[u32] = &[9, 2, 3, 7, 8];
        assert_eq!(proposed(&[long, short], &[1, 2, 3], 9, 9), [4, 5]);
        assert_eq!(proposed(&[short, long], &[1, 2, 3], 9, 9), [4, 5]);
        assert_eq!(proposed(&[long, short], &[2, 3], 9, 9), [7, 8]);
        assert_eq!(proposed(&[short, long], &[2, 3], 9, 9), [4, 5]);
        assert_eq!(proposed(&[long], &[2, 3], 1, 9), [4]);
        assert_eq!(proposed(&[long], &[2, 3], 9, 0), [0; 0]);
        // Its own text, where others have no longer match.
        assert_eq!(proposed(&[], &[6, 5, 4, 6, 5], 9, 9), [4, 6, 5]);
        assert_eq!(proposed(&[short], &[9, 2, 3, 6, 0, 2, 3], 9, 9), [7, 8]);
    }

    #[test]
    fn nothing_is_proposed_without_a_match_or_beyond_a_text() {
        assert_eq!(proposed(&[], &[], 9, 9), [0; 0]);
        assert_eq!(proposed(&[], &[1], 9, 9), [0; 0]);
        assert_eq!(proposed(&[&[1, 2, 3]], &[3], 9, 9), [0; 0]);
        assert_eq!(proposed(&[&[1, 2, 3]], &[7, 2], 9, 9), [0; 0]);
        assert_eq!(proposed(&[&[1, 2], &[3, 4]], &[1, 2], 9, 9), [0; 0]);
        assert_eq!(proposed(&[&[1, 2], &[3, 4]], &[2, 3], 9, 9), [0; 0]);
    }
}
