//! Answers: found in a finished text, compared exactly. What is said here is of numbers;
//! [`Answers`] names the other kinds.
//!
//! The answer is taken from the first of these forms that the text has, and within a form from
//! its last occurrence:
//!
//! 1. `#### n` (a line such as `#### Step 2` or `#### 3. Add up` is a heading, not an answer)
//! 2. `\boxed{n}`
//! 3. `Answer: n`, or `A: n` at the start of a line
//! 4. `the answer is n`
//! 5. the last number in the text
//!
//! Numbers may have commas or thin spaces between thousands, currency symbols, a sign (the
//! typographic minus too), a decimal part, fractions (`1/2`, `\frac{1}{2}`, `1 1/2`, `½`), powers
//! of ten (`1.5e3`, `2 × 10^3`), LaTeX and Markdown around them, and units behind them. A percent
//! sign is a unit: `50%` is 50, never one half, because gold answers are plain numbers. Words of
//! size are units too: `2 million` is 2. What is not one number is not an answer: `5 or 6`, `3-5`,
//! `10:30`, `1,23`, `2\pi`.
//!
//! Reading never fails and takes time linear in the text; a text without an answer has none.

mod answers;
pub(super) mod choice;
mod expression;
mod extract;
mod latex;
mod number;
mod stated;

pub use answers::Answers;
pub(super) use latex::plain;

use super::Grade;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Signed, Zero};
use std::fmt;

/// Only this much of the end of a completion is read. Bytes.
const MAX_TEXT: usize = 1 << 20;
/// More decimal places are written as a fraction.
const MAX_PLACES: usize = 12;

/// A numeric answer: an exact rational number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Gold(BigRational);

impl Gold {
    /// Reads a gold answer: a number alone, or a solution that marks one in the forms 1 to 4 of
    /// the [module](self). None where it does not.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let value = match extract::marked(text) {
            Some(marked) => marked?,
            None if text.contains('\n') => return None,
            None if text.len() > 256 => return None,
            None => match extract::at_start(text, true) {
                extract::Reading::Value(value) => value,
                extract::Reading::Absent | extract::Reading::Unclear => return None,
            },
        };
        Some(Self(value))
    }
}

impl fmt::Display for Gold {
    /// Canonical: `18`, `-0.25`, and `1/3` where the decimals do not end soon.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (numerator, denominator) = (self.0.numer(), self.0.denom());
        if denominator.is_one() {
            return write!(f, "{numerator}");
        }
        let mut power = BigInt::one();
        for places in 1..=MAX_PLACES {
            power *= 10;
            if (&power % denominator).is_zero() {
                let digits = (numerator.abs() * &power / denominator).to_string();
                let digits = format!("{digits:0>width$}", width = places + 1);
                let (whole, part) = digits.split_at(digits.len() - places);
                let sign = if numerator.is_negative() { "-" } else { "" };
                return write!(f, "{sign}{whole}.{part}");
            }
        }
        write!(f, "{numerator}/{denominator}")
    }
}

/// The final answer of a completion; see the [module](self) for where it is looked for.
pub fn answer(completion: &str) -> Option<Gold> {
    extract::final_answer(end(completion)).map(Gold)
}

/// The part of a completion that is read.
fn end(completion: &str) -> &str {
    let from = completion.ceil_char_boundary(completion.len().saturating_sub(MAX_TEXT));
    &completion[from..]
}

/// Grades a completion against a gold answer. A gold answer that is no number matches nothing.
pub fn numeric(gold: &str, completion: &str) -> Grade {
    let parsed = answer(completion);
    Grade {
        correct: parsed.is_some() && parsed == Gold::parse(gold),
        parsed: parsed.map(|parsed| parsed.to_string()),
    }
}

#[cfg(test)]
mod tests;
