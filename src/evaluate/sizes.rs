//! What a forward token costs.

use crate::search::Ledger;

/// Parameters of the networks that answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sizes {
    pub policy: usize,
    /// Of a value net's own trunk; 0 for a head on the policy's.
    pub trunk: usize,
    pub head: usize,
}

impl Sizes {
    /// Floating-point operations behind `ledger`, a multiply-add counted as two: twice the parameters for
    /// each forward token of either net (Kaplan et al. 2020, section 2.1, attention left out), and of the
    /// value head where a method asked for values.
    pub fn flops(&self, ledger: &Ledger, valued: bool) -> f64 {
        let tokens = (ledger.total() - ledger.value) as f64;
        let head = if valued { self.head } else { 0 };
        2.0 * ((self.policy + head) as f64 * tokens + self.trunk as f64 * ledger.value as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_nets_and_the_head_are_counted() {
        let sizes = Sizes {
            policy: 1000,
            trunk: 300,
            head: 20,
        };
        let ledger = Ledger {
            prefill: 10,
            expansion: 20,
            rollout: 30,
            value: 60,
        };
        assert_eq!(
            sizes.flops(&ledger, true),
            2.0 * (60_000.0 + 18_000.0 + 1200.0)
        );
        let alone = ledger.without_value();
        assert_eq!(sizes.flops(&alone, false), 120_000.0);
        // A head on the policy's trunk costs no forward token but its own parameters.
        assert_eq!(Sizes { trunk: 0, ..sizes }.flops(&alone, true), 122_400.0);
    }
}
