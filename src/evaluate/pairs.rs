//! Right texts of a question against its wrong ones.

use super::answers::Along;
use std::cmp::Ordering;

/// A drawn text.
pub(super) struct Text {
    pub right: bool,
    pub tokens: Vec<u32>,
    pub along: Along,
}

impl Text {
    /// Tokens before its stop token, or before its last where it was cut.
    pub fn length(&self) -> usize {
        self.along.values.len().saturating_sub(1)
    }

    /// The prefix of so many tokens by [`super::ranking::SCORES`].
    fn scores(&self, prefix: usize) -> [f64; 3] {
        let log_probs = self.along.log_probs.iter().take(prefix);
        let sum: f64 = log_probs.map(|&x| f64::from(x)).sum();
        let value = self.along.values.get(prefix).copied().unwrap_or(0.0);
        [f64::from(value), sum, sum / prefix.max(1) as f64]
    }
}

/// Pairs of one question.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Tally {
    pub pairs: f64,
    pub apart: f64,
    /// Pairs in the right order by [`super::ranking::SCORES`], ties half.
    pub hits: [f64; 3],
}

impl Tally {
    /// Of right against wrong texts, each cut to the prefix that `cut` gives; none for those without one.
    pub fn of(texts: &[Text], cut: impl Fn(&Text) -> Option<usize>) -> Tally {
        let mut tally = Tally::default();
        let cut: Vec<(&Text, usize)> = texts.iter().filter_map(|t| Some((t, cut(t)?))).collect();
        let scored: Vec<_> = cut.iter().map(|(t, at)| (t, *at, t.scores(*at))).collect();
        for (a, a_at, a_scores) in scored.iter().filter(|text| text.0.right) {
            for (b, b_at, b_scores) in scored.iter().filter(|text| !text.0.right) {
                tally.pairs += 1.0;
                if a.tokens[..*a_at] != b.tokens[..*b_at] {
                    tally.apart += 1.0;
                }
                for (hits, (a, b)) in tally.hits.iter_mut().zip(a_scores.iter().zip(b_scores)) {
                    *hits += match a.total_cmp(b) {
                        Ordering::Greater => 1.0,
                        Ordering::Equal => 0.5,
                        Ordering::Less => 0.0,
                    };
                }
            }
        }
        tally
    }
}
