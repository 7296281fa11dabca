//! The rules: which numbers may be combined and what can be reached.

use std::fmt;

/// The largest result that a step of the generator may have, and the largest target.
pub const MAX_RESULT: u32 = 60;
/// The smallest target of a question.
pub const MIN_TARGET: u32 = 10;
/// The largest given number; the smallest is 1.
pub const MAX_NUMBER: u32 = 12;

/// An arithmetic operation of the game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Op {
    /// `*`
    Multiply,
    /// `+`
    Add,
    /// `-`
    Subtract,
}

impl Op {
    const ALL: [Op; 3] = [Op::Multiply, Op::Add, Op::Subtract];

    /// The operation that the symbol stands for.
    pub(super) fn parse(symbol: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|op| op.symbol() == symbol)
    }

    /// `*`, `+` or `-`.
    pub fn symbol(self) -> &'static str {
        match self {
            Op::Multiply => "*",
            Op::Add => "+",
            Op::Subtract => "-",
        }
    }

    /// The result; none where it is negative or does not fit.
    pub(super) fn apply(self, a: u32, b: u32) -> Option<u32> {
        match self {
            Op::Multiply => a.checked_mul(b),
            Op::Add => a.checked_add(b),
            Op::Subtract => a.checked_sub(b),
        }
    }
}

/// Three or four given numbers and the target to reach.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Question {
    /// The given numbers, ascending.
    pub numbers: Vec<u32>,
    /// The number to reach.
    pub target: u32,
}

impl fmt::Display for Question {
    /// `1 4 9 11 make 35`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for number in &self.numbers {
            write!(f, "{number} ")?;
        }
        write!(f, "make {}", self.target)
    }
}

impl Question {
    /// Reads `1 4 9 11 make 35`; none where the text is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (numbers, target) = text.split_once("make")?;
        let numbers: Vec<u32> = numbers
            .split_whitespace()
            .map(digits)
            .collect::<Option<_>>()?;
        let target = digits(target.trim())?;
        (!numbers.is_empty()).then_some(Self { numbers, target })
    }
}

/// A number written in at most six plain digits.
pub(super) fn digits(token: &str) -> Option<u32> {
    let plain = (1..=6).contains(&token.len()) && token.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| token.parse().ok()).flatten()
}

/// One step: `a op b = result`, and the numbers left after it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Step {
    /// The larger operand.
    pub a: u32,
    /// The operation.
    pub op: Op,
    /// The smaller operand.
    pub b: u32,
    /// The result, 1 to [`MAX_RESULT`].
    pub result: u32,
    /// The numbers left, ascending, the result among them.
    pub left: Vec<u32>,
}

/// All different steps from these numbers, in a fixed order.
pub(super) fn steps(numbers: &[u32]) -> Vec<Step> {
    let mut out = Vec::new();
    for i in 0..numbers.len() {
        for j in 0..i {
            let (a, b) = (numbers[i].max(numbers[j]), numbers[i].min(numbers[j]));
            for op in Op::ALL {
                let Some(result) = op.apply(a, b).filter(|x| (1..=MAX_RESULT).contains(x)) else {
                    continue;
                };
                let mut left: Vec<u32> = (0..numbers.len())
                    .filter(|k| *k != i && *k != j)
                    .map(|k| numbers[k])
                    .chain([result])
                    .collect();
                left.sort_unstable();
                out.push(Step {
                    a,
                    op,
                    b,
                    result,
                    left,
                });
            }
        }
    }
    out.sort_unstable();
    out.dedup();
    out
}

/// The set of last numbers that some order of steps reaches; bit `n` stands for the number `n`.
pub(super) fn reachable(numbers: &[u32]) -> u64 {
    match numbers {
        [] => 0,
        [last] => 1 << last,
        _ => steps(numbers)
            .iter()
            .fold(0, |set, step| set | reachable(&step.left)),
    }
}

/// The members of a set of [`reachable`], ascending.
pub(super) fn members(set: u64) -> Vec<u32> {
    (0..u64::BITS).filter(|n| set >> n & 1 == 1).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_legal_and_different() {
        let found = steps(&[3, 3, 12]);
        let text: Vec<String> = found
            .iter()
            .map(|s| format!("{} {} {} = {}", s.a, s.op.symbol(), s.b, s.result))
            .collect();
        // 3 - 3 = 0 is out of range; 12 and either 3 is the same step.
        assert_eq!(
            text,
            [
                "3 * 3 = 9",
                "3 + 3 = 6",
                "12 * 3 = 36",
                "12 + 3 = 15",
                "12 - 3 = 9"
            ]
        );
    }

    #[test]
    fn reachable_of_two_numbers() {
        assert_eq!(members(reachable(&[2, 5])), [3, 7, 10]);
    }

    #[test]
    fn questions_round_trip_and_reject_other_text() {
        let question = Question::parse("1 4 9 11 make 35").unwrap();
        assert_eq!(question.numbers, [1, 4, 9, 11]);
        assert_eq!(question.to_string(), "1 4 9 11 make 35");
        for text in [
            "",
            "make",
            "make 3",
            "1 2",
            "1 a make 3",
            "1 2 make",
            "1 -2 make 3",
        ] {
            assert_eq!(Question::parse(text), None, "{text}");
        }
    }
}
