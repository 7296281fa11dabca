//! The token ledger: every forward token that a method used, by purpose.

use std::iter::Sum;
use std::ops::{Add, AddAssign};

use serde::{Deserialize, Serialize};

/// Forward tokens charged to a method: one unit is one token position put
/// through a transformer once. Cached positions are not charged again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ledger {
    /// Prompt tokens.
    pub prefill: u64,
    /// Tree nodes expanded.
    pub expansion: u64,
    /// Tokens decoded, greedily or sampled.
    pub rollout: u64,
    /// Tokens put through a value net that has a trunk of its own, or read by a
    /// judge. A head on the policy's trunk costs no forward token.
    pub value: u64,
}

impl Ledger {
    /// Charges a prompt of `tokens`; `nets` is 2 where a value trunk sees them too, else 1.
    pub(super) fn prefill(&mut self, tokens: usize, nets: u64) {
        self.prefill += tokens as u64;
        self.value += tokens as u64 * (nets - 1);
    }

    /// Charges `tokens` expansions.
    pub(super) fn expansion(&mut self, tokens: usize, nets: u64) {
        self.expansion += tokens as u64;
        self.value += tokens as u64 * (nets - 1);
    }

    /// Charges `tokens` of a rollout.
    pub(super) fn rollout(&mut self, tokens: usize, nets: u64) {
        self.rollout += tokens as u64;
        self.value += tokens as u64 * (nets - 1);
    }

    /// Charges `tokens` read by a reward model or a rubric.
    pub(super) fn reward(&mut self, tokens: usize) {
        self.value += tokens as u64;
    }

    /// The same work by a method that never asks for a value.
    pub fn without_value(mut self) -> Self {
        self.value = 0;
        self
    }

    /// All forward tokens.
    pub fn total(&self) -> u64 {
        self.prefill + self.expansion + self.rollout + self.value
    }

    /// Mean forward tokens a question; 0 for no questions.
    pub fn per_question(&self, questions: u64) -> f64 {
        if questions == 0 {
            0.0
        } else {
            self.total() as f64 / questions as f64
        }
    }
}

impl AddAssign for Ledger {
    fn add_assign(&mut self, other: Self) {
        self.prefill += other.prefill;
        self.expansion += other.expansion;
        self.rollout += other.rollout;
        self.value += other.value;
    }
}

impl Add for Ledger {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Ledger {
    fn sum<I: Iterator<Item = Self>>(ledgers: I) -> Self {
        ledgers.fold(Self::default(), Add::add)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Ledger = Ledger {
        prefill: 1,
        expansion: 20,
        rollout: 300,
        value: 4000,
    };

    #[test]
    fn every_purpose_is_added_and_counted() {
        let sum: Ledger = [ONE, ONE + ONE].into_iter().sum();
        assert_eq!(
            sum,
            Ledger {
                prefill: 3,
                expansion: 60,
                rollout: 900,
                value: 12_000
            }
        );
        assert_eq!(sum.total(), 12_963);
        assert_eq!(sum.per_question(6), 2160.5);
        assert_eq!(sum.per_question(0), 0.0);
        assert_eq!(Ledger::default().total(), 0);
    }

    #[test]
    fn serde_keeps_every_field() {
        let text = serde_json::to_string(&ONE).unwrap();
        assert_eq!(
            text,
            r#"{"prefill":1,"expansion":20,"rollout":300,"value":4000}"#
        );
        assert_eq!(serde_json::from_str::<Ledger>(&text).unwrap(), ONE);
    }
}
