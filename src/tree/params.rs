//! The knobs of the search, and the mixture of value and return.

use super::{Gate, Rule, Width};
use serde::{Deserialize, Serialize};

/// How the tree selects, expands and ends. See the [module](super) for the exact rule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The rule of selection: `{ kind = "puct" }`, `{ kind = "alpha_zero", base = 19652 }`,
    /// `{ kind = "uct" }` or `{ kind = "gumbel", considered = 4 }`. puct.
    pub rule: Rule,
    /// Weight of exploration against the mean return: larger explores more. No unit, at least 0; not
    /// looked at by `gumbel`. 1.5.
    pub c_puct: f32,
    /// How far below its parent's mean return an unvisited child starts: larger visits fewer
    /// children. In units of return; 0.
    pub first_play_urgency: f32,
    /// Continuations whose full-vocabulary probability is below this are dropped; the most
    /// probable one always stays. A probability; 0.01.
    pub min_prior: f32,
    /// Whether priors are divided by the sum of those kept, so that they add up to 1. true.
    pub renormalise: bool,
    /// Whether a node with a single continuation is passed at once, without spending a
    /// simulation on its evaluation. true.
    pub pass_single_child: bool,
    /// Visits, each with return -1, that a leaf in flight counts for on its path: larger spreads
    /// the leaves in flight more. Simulations; 1.
    pub virtual_loss: f32,
    /// Share of the return in a leaf's evaluation, the value has the rest ([`mix`]): 1 looks at
    /// the return alone, 0 at the value alone. 0 to 1; 1.
    pub lambda: f32,
    /// Where a tree of tokens branches: `{ kind = "every" }`, `{ kind = "nth", n = 4 }`,
    /// `{ kind = "entropy", above = 1.0 }` or `{ kind = "unsure", below = 0.9 }`. every.
    pub gate: Gate,
    /// Probability that a state of a tree of tokens has one child that is drawn from its priors, which
    /// is plain sampling, whatever the gate says. 0 to 1; 0.
    pub plain: f32,
    /// How many continuations are considered: `{ kind = "all" }`, `{ kind = "progressive", factor = 2.0,
    /// exponent = 0.5 }` or `{ kind = "spread", least = 2, factor = 3.0 }`. Not with `gumbel`. all.
    pub width: Width,
    /// Tokens below the first root at which a state ends, finished or not: a node at this depth
    /// is terminal. At least 1; 1024. No key of a recipe: the search sets it to its limit of new
    /// tokens.
    #[serde(skip)]
    pub max_depth: u32,
    /// What the search that drives the tree sets; no key of a recipe.
    #[serde(skip)]
    pub driven: Driven,
}

/// What the search that drives a tree decides about it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Driven {
    /// Whether simulations move by options ([`Tree::open`](super::Tree::open)) instead of tokens.
    pub options: bool,
    /// Whether variances of returns are kept.
    pub variance: bool,
    /// Seed of the draws that `plain` asks for.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            rule: Rule::Puct,
            c_puct: 1.5,
            first_play_urgency: 0.0,
            min_prior: 0.01,
            renormalise: true,
            pass_single_child: true,
            virtual_loss: 1.0,
            lambda: 1.0,
            gate: Gate::Every,
            plain: 0.0,
            width: Width::All,
            max_depth: 1024,
            driven: Driven::default(),
        }
    }
}

/// A field of [`Params`] that the search cannot work with.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("{field} is {found}, but must be {expected}; set it to a number in that range")]
pub struct InvalidParams {
    /// Name of the field in [`Params`].
    pub field: &'static str,
    /// Its value.
    pub found: f32,
    /// The values allowed.
    pub expected: &'static str,
}

impl Params {
    /// Whether the tree sums squared returns.
    pub(super) fn keeps_squares(&self) -> bool {
        self.driven.variance || matches!(self.width, Width::Spread { .. })
    }

    /// Checks the range of every field.
    ///
    /// # Errors
    /// The first field out of its range.
    pub fn validate(&self) -> Result<(), InvalidParams> {
        let not_negative = 0.0..=f32::MAX;
        let share = 0.0..=1.0;
        let base = match self.rule {
            Rule::AlphaZero { base } => base,
            _ => 1.0,
        };
        let considered = match self.rule {
            Rule::Gumbel { considered, .. } => considered as f32,
            _ => 1.0,
        };
        let (factor, exponent, least) = match self.width {
            Width::All => (1.0, 0.0, 1),
            Width::Progressive { factor, exponent } => (factor, exponent, 1),
            Width::Spread { least, factor } => (factor, 0.0, least),
        };
        let (n, above, below) = match self.gate {
            Gate::Every => (1, 0.0, 1.0),
            Gate::Nth { n } => (n, 0.0, 1.0),
            Gate::Entropy { above } => (1, above, 1.0),
            Gate::Unsure { below } => (1, 0.0, below),
        };
        // Gumbel search has its own number of children.
        let twice = matches!(self.rule, Rule::Gumbel { .. }) && self.width != Width::All;
        let fields = [
            ("rule.base", base, &(1.0..=f32::MAX), "1 or more"),
            (
                "rule.considered",
                considered,
                &(1.0..=f32::MAX),
                "1 or more",
            ),
            ("c_puct", self.c_puct, &not_negative, "0 or more"),
            (
                "first_play_urgency",
                self.first_play_urgency,
                &(f32::MIN..=f32::MAX),
                "a finite number",
            ),
            ("min_prior", self.min_prior, &share, "from 0 to 1"),
            (
                "virtual_loss",
                self.virtual_loss,
                &not_negative,
                "0 or more",
            ),
            ("lambda", self.lambda, &share, "from 0 to 1"),
            ("gate.n", n as f32, &(1.0..=f32::MAX), "1 or more"),
            ("gate.above", above, &not_negative, "0 or more"),
            ("gate.below", below, &share, "from 0 to 1"),
            ("plain", self.plain, &share, "from 0 to 1"),
            ("width.factor", factor, &not_negative, "0 or more"),
            ("width.exponent", exponent, &share, "from 0 to 1"),
            ("width.least", least as f32, &(1.0..=f32::MAX), "1 or more"),
            (
                "width",
                f32::from(u8::from(twice)),
                &(0.0..=0.0),
                "left out with the rule gumbel, which has `considered`",
            ),
            (
                "max_depth",
                self.max_depth as f32,
                &(1.0..=f32::MAX),
                "1 or more",
            ),
        ];
        match fields
            .iter()
            .find(|(_, found, range, _)| !range.contains(found))
        {
            None => Ok(()),
            Some(&(field, found, _, expected)) => Err(InvalidParams {
                field,
                found,
                expected,
            }),
        }
    }
}

/// Evaluation of a leaf, `(1 - lambda) * value + lambda * outcome`, in the unit of its arguments.
///
/// At `lambda` 0 or 1 the other argument is not looked at, so it may be anything, NaN included.
pub fn mix(lambda: f32, value: f32, outcome: f32) -> f32 {
    if lambda == 0.0 {
        value
    } else if lambda == 1.0 {
        outcome
    } else {
        (1.0 - lambda) * value + lambda * outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mixture_ignores_what_has_no_share() {
        assert_eq!(mix(0.0, 0.25, f32::NAN), 0.25);
        assert_eq!(mix(1.0, f32::NAN, -1.0), -1.0);
        assert_eq!(mix(0.25, 0.5, -1.0), 0.125);
    }

    #[test]
    fn validation_names_the_field() {
        assert_eq!(Params::default().validate(), Ok(()));
        let wrong = Params {
            lambda: 1.5,
            ..Params::default()
        };
        assert!(
            wrong
                .validate()
                .unwrap_err()
                .to_string()
                .starts_with("lambda is 1.5")
        );
        let wrong = Params {
            c_puct: f32::NAN,
            ..Params::default()
        };
        assert_eq!(wrong.validate().unwrap_err().field, "c_puct");
    }
}
