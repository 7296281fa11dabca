//! The equations that a text writes out, recomputed: `3 + 4 = 7`, GSM8K's `<<3*4=12>>`, countdown's steps, in
//! plain text or LaTeX.
//!
//! Both sides are numbers with operators and nothing else: what has variables, units between its numbers
//! or a reading that is not clear is no equation here. Sides are computed exactly. A decimal on the right
//! may be the left side rounded to its places (`10 / 3 = 3.33`), and a percentage there may be meant in
//! percent (`3 / 4 * 100 = 75%`).

use super::grade::plain;
use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{Signed, ToPrimitive, Zero, pow};
use regex::Regex;
use std::sync::LazyLock;

/// Longer sides are not read. Characters.
const MAX_SIDE: usize = 160;
/// Digits of a number at most.
const MAX_DIGITS: usize = 40;
/// Nesting at most.
const MAX_DEPTH: usize = 16;

/// How many equations of a text hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Equations {
    /// Those that hold.
    pub right: usize,
    /// Those that do not.
    pub wrong: usize,
}

/// Words after which a side is not what is written behind them.
static JOINS: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?i)(?:[%\d]\s*of|\b(?:by|than|times|minus|plus|divided))\s*$";
    // A constant that the tests compile.
    Regex::new(pattern).expect("constant pattern")
});
/// GSM8K's annotations.
static ANNOTATION: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"<<([^<>]*)>>").expect("constant pattern"));
/// An operator behind words: the side goes on.
static GOES_ON: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"^\s*[A-Za-z]+(?:\s+[A-Za-z]+){0,2}\s*[-+*/×÷]\s*\$?\d";
    Regex::new(pattern).expect("constant pattern")
});

/// Recomputes the equations of `text`.
pub fn equations(text: &str) -> Equations {
    let mut found = Equations::default();
    for line in text.lines() {
        // An annotation is an equation of its own, and stands inside another.
        for annotation in ANNOTATION.captures_iter(line) {
            found.add(&annotation[1]);
        }
        found.add(&ANNOTATION.replace_all(line, ""));
    }
    found
}

impl Equations {
    /// Recomputes the equations of a line.
    fn add(&mut self, line: &str) {
        let chars: Vec<char> = plain(line).chars().collect();
        let signs: Vec<usize> = (0..chars.len()).filter(|&at| is_sign(&chars, at)).collect();
        let mut from = 0;
        for (place, &at) in signs.iter().enumerate() {
            let end = signs.get(place + 1).copied().unwrap_or(chars.len());
            let left = left_side(&chars[from..at], place > 0);
            let right = right_side(&chars[at + 1..end], end < chars.len());
            if let (Some(left), Some(right)) = (left, right) {
                match holds(&left, &right) {
                    true => self.right += 1,
                    false => self.wrong += 1,
                }
            }
            from = at + 1;
        }
    }
}

/// Whether an equals sign stands here, and not `==`, `<=`, `!=` or an arrow.
fn is_sign(chars: &[char], at: usize) -> bool {
    let beside = |at: Option<usize>| at.and_then(|at| chars.get(at)).copied();
    chars[at] == '='
        && !beside(at.checked_sub(1)).is_some_and(|c| "=<>!:≈".contains(c))
        && !beside(Some(at + 1)).is_some_and(|c| "=><".contains(c))
}

/// A side's value and how it is written.
struct Side {
    value: BigRational,
    /// Decimal places of its last number.
    places: u32,
    /// Whether its last number is a percentage.
    percent: bool,
}

/// Whether the sides are equal, in the sense of the [module](self).
fn holds(left: &Side, right: &Side) -> bool {
    if left.value == right.value {
        return true;
    }
    let hundred = BigRational::from_integer(100.into());
    let near = |value: &BigRational| match right.places {
        0 => left.value == *value,
        places => {
            // Half a unit of the last place.
            let unit = BigRational::new(1.into(), pow(BigInt::from(10), places as usize) * 2);
            (&left.value - value).abs() <= unit
        }
    };
    near(&right.value) || (right.percent && near(&(&right.value * hundred)))
}

fn is_math(c: char) -> bool {
    c.is_ascii_digit() || " .,+-−–*/×÷·()^$%€£".contains(c)
}

/// The side that ends where `text` does. `chained`: an equals sign stands before `text`, so that a number
/// alone is a side.
fn left_side(text: &[char], chained: bool) -> Option<Side> {
    let mut from = text.len();
    while from > 0 && text.len() - from < MAX_SIDE {
        let c = text[from - 1];
        let times = c == 'x' && is_times(text, from - 1);
        if !is_math(c) && !times {
            break;
        }
        from -= 1;
    }
    if text.len() - from >= MAX_SIDE {
        return None;
    }
    let before: String = text[..from].iter().collect();
    let last = text.get(from.wrapping_sub(1)).copied();
    // A name such as `y3`, a time, or words that change what follows.
    let glued = last.is_some_and(|c| c.is_alphanumeric() || "_:#".contains(c))
        && text.get(from) != Some(&' ');
    if glued || JOINS.is_match(&before) {
        return None;
    }
    let first = text[from..].iter().find(|c| **c != ' ')?;
    // `5 apples + 3` and `x - 3` begin before what was found.
    let operator = "+-−–*/×÷·^".contains(*first);
    if operator
        && before
            .trim_end()
            .ends_with(|c: char| c.is_alphanumeric() || c == ')')
    {
        return None;
    }
    let read = read(&text[from..])?;
    let alone = read.operators == 0 && !(chained || before.trim().is_empty());
    (!alone && read.complete).then_some(read.side)
}

/// The side that begins where `text` does. `chained`: an equals sign follows `text`.
fn right_side(text: &[char], chained: bool) -> Option<Side> {
    let read = read(text)?;
    let rest: String = text[read.end..].iter().take(MAX_SIDE).collect();
    let cut = !read.complete
        && rest
            .trim_start()
            .starts_with(|c: char| "+-−–*/×÷·^".contains(c));
    let glued = rest.starts_with(['_', ':']);
    if cut || glued || GOES_ON.is_match(&rest) || (chained && !read.complete && rest.contains('='))
    {
        return None;
    }
    Some(read.side)
}

/// Whether an `x` is a multiplication sign: between numbers.
fn is_times(text: &[char], at: usize) -> bool {
    let before = text[..at].iter().rev().find(|c| **c != ' ');
    let after = text[at + 1..].iter().find(|c| **c != ' ');
    let number = |c: Option<&char>| c.is_some_and(|c| c.is_ascii_digit() || "$().%".contains(*c));
    number(before) && number(after)
}

struct Read {
    side: Side,
    operators: usize,
    /// Whether nothing but spaces and a full stop follows.
    complete: bool,
    end: usize,
}

fn read(text: &[char]) -> Option<Read> {
    let mut parser = Parser {
        text,
        at: 0,
        depth: 0,
        operators: 0,
        places: 0,
        percent: false,
    };
    let value = parser.sum()?;
    let rest = &text[parser.at..];
    Some(Read {
        complete: rest.iter().all(|c| " .,".contains(*c)),
        end: parser.at,
        operators: parser.operators,
        side: Side {
            value,
            places: parser.places,
            percent: parser.percent,
        },
    })
}

struct Parser<'a> {
    text: &'a [char],
    at: usize,
    depth: usize,
    operators: usize,
    places: u32,
    percent: bool,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text.get(self.at).copied()
    }

    fn skip(&mut self) {
        while self.peek().is_some_and(|c| " $€£".contains(c)) {
            self.at += 1;
        }
    }

    /// Reads operands joined by the operators that `name` knows. What follows an operator and is no operand
    /// leaves the operator unread.
    fn joined(
        &mut self,
        name: fn(&Self, char) -> Option<char>,
        operand: fn(&mut Self) -> Option<BigRational>,
    ) -> Option<BigRational> {
        let mut value = operand(self)?;
        loop {
            let here = self.at;
            self.skip();
            let Some(operator) = self.peek().and_then(|c| name(self, c)) else {
                self.at = here;
                return Some(value);
            };
            self.at += 1;
            let Some(next) = operand(self) else {
                self.at = here;
                return Some(value);
            };
            self.operators += 1;
            value = match operator {
                '+' => value + next,
                '-' => value - next,
                '*' => value * next,
                _ if next.is_zero() => return None,
                _ => value / next,
            };
        }
    }

    fn sum(&mut self) -> Option<BigRational> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return None;
        }
        let plus = |_: &Self, c| match c {
            '+' => Some('+'),
            '-' | '−' | '–' => Some('-'),
            _ => None,
        };
        let sum = self.joined(plus, Self::product);
        self.depth -= 1;
        sum
    }

    fn product(&mut self) -> Option<BigRational> {
        let times = |parser: &Self, c| match c {
            '*' | '×' | '·' => Some('*'),
            'x' if is_times(parser.text, parser.at) => Some('*'),
            '/' | '÷' => Some('/'),
            _ => None,
        };
        self.joined(times, Self::power)
    }

    fn power(&mut self) -> Option<BigRational> {
        self.skip();
        if matches!(self.peek(), Some('-' | '−' | '–' | '+')) {
            let negative = self.peek() != Some('+');
            self.at += 1;
            let value = self.power()?;
            return Some(if negative { -value } else { value });
        }
        let base = match self.peek()? {
            '(' => {
                self.at += 1;
                let inside = self.sum()?;
                self.skip();
                if self.peek() != Some(')') {
                    return None;
                }
                self.at += 1;
                inside
            }
            _ => self.number()?,
        };
        if self.peek() != Some('^') {
            return Some(base);
        }
        self.at += 1;
        let exponent = self.number()?;
        let exponent = exponent.is_integer().then(|| exponent.to_usize())??;
        self.operators += 1;
        (exponent <= 64).then(|| pow(base, exponent))
    }

    /// Digits with commas between thousands, a decimal part and a percent sign.
    fn number(&mut self) -> Option<BigRational> {
        let from = self.at;
        let mut digits = String::new();
        while let Some(c) = self.peek() {
            let grouped = c == ','
                && self.at > from
                && self
                    .text
                    .get(self.at + 1..self.at + 4)
                    .is_some_and(|group| group.iter().all(char::is_ascii_digit));
            match c.is_ascii_digit() {
                true => digits.push(c),
                false if grouped => {}
                false => break,
            }
            self.at += 1;
        }
        let mut places = 0;
        let next = self.text.get(self.at + 1);
        if self.peek() == Some('.') && next.is_some_and(char::is_ascii_digit) {
            self.at += 1;
            while let Some(c) = self.peek().filter(char::is_ascii_digit) {
                digits.push(c);
                places += 1;
                self.at += 1;
            }
        }
        if digits.is_empty() || digits.len() > MAX_DIGITS {
            return None;
        }
        let mut value =
            BigRational::new(digits.parse().ok()?, pow(BigInt::from(10), places as usize));
        self.percent = self.peek() == Some('%');
        if self.percent {
            self.at += 1;
            value /= BigRational::from_integer(100.into());
            places += 2;
        }
        self.places = if self.percent && places == 2 {
            0
        } else {
            places
        };
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equations_are_found_and_recomputed() {
        for (text, right, wrong) in [
            ("3 + 4 = 7", 1, 0),
            ("3 + 4 = 8", 0, 1),
            ("Then Tom has 12 + 5 = 17 coins.", 1, 0),
            ("Then Tom has 12 + 5 = 18 coins.", 0, 1),
            ("48/2 = <<48/2=24>>24 clips", 2, 0),
            ("48/2 = <<48/2=25>>25 clips", 0, 2),
            ("He pays $5 * 3 = $15.", 1, 0),
            ("1,000 + 500 = 1,500", 1, 0),
            ("1,000 + 500 = 1,400", 0, 1),
            ("2 + 3 * 4 = 14", 1, 0),
            ("2 + 3 * 4 = 20", 0, 1),
            ("(2 + 3) * 4 = 20", 1, 0),
            ("(2+3) x 4 = 20", 1, 0),
            ("3 × 4 = 12 and 12 ÷ 5 = 2.4", 2, 0),
            ("3 \\times 4 = 12", 1, 0),
            ("\\frac{12}{4} = 3", 1, 0),
            ("2^5 = 32", 1, 0),
            ("10 - 12 = -2", 1, 0),
            ("-3 + 5 = 2", 1, 0),
            ("3 + 4 = 7 = 7", 2, 0),
            ("3 + 4 = 5 + 2 = 7", 2, 0),
            ("3 + 4 = 5 + 3 = 8", 1, 1),
            // Countdown, its check line too.
            (
                "11 * 1 = 11 left 4 9 11\n11 * 4 = 44 left 9 44\n44 - 9 = 35\n35 = 35\n#### 35",
                4,
                0,
            ),
            ("11 * 1 = 12 left 4 9 12\n35 = 36\n35 < 36", 0, 2),
            // Rounding is allowed where places are written, and nowhere else.
            ("10 / 3 = 3.33", 1, 0),
            ("10 / 3 = 3.3333", 1, 0),
            ("10 / 3 = 3.34", 0, 1),
            ("10 / 3 = 3", 0, 1),
            ("2 / 3 = 0.67", 1, 0),
            ("2 / 3 = 0.66", 0, 1),
            // Percent.
            ("50% * 20 = 10", 1, 0),
            ("3 / 4 = 75%", 1, 0),
            ("3 / 4 * 100 = 75%", 1, 0),
            ("3 / 4 = 70%", 0, 1),
            ("20% of 50 = 10", 0, 0),
            ("20% of 50 + 3 = 13", 0, 0),
            // What is not written in numbers alone is left alone.
            ("x = 5", 0, 0),
            ("2x + 3 = 7", 0, 0),
            ("x - 3 = 7", 0, 0),
            ("y3 + 4 = 9", 0, 0),
            ("5 apples + 3 apples = 9 apples", 0, 0),
            ("5 apples + 3 = 9", 0, 0),
            ("8 + 1 = 5 apples + 3 apples", 0, 0),
            ("The price of 2 = 10", 0, 0),
            ("a == 3 + 4 <= 9 != 2 => 1", 0, 0),
            ("3 + = 7", 0, 0),
            ("3 + 4 =", 0, 0),
            ("= 7", 0, 0),
            ("12 divided by 4 = 3", 0, 0),
            ("5 / 0 = 0", 0, 0),
            ("", 0, 0),
        ] {
            assert_eq!(equations(text), Equations { right, wrong }, "{text}");
        }
    }

    #[test]
    fn hostile_texts_end() {
        let deep = "(".repeat(10_000) + "1 + 1 = 2";
        assert_eq!(equations(&deep), Equations::default());
        let long = "1 + ".repeat(5_000) + "1 = 2";
        assert_eq!(equations(&long), Equations::default());
        equations(&"=".repeat(10_000));
        equations("9^99999999 = 1");
    }

    proptest::proptest! {
        #[test]
        fn sums_of_three_are_recomputed(a in 0i64..500, b in 0i64..500, c in 0i64..500, off in -3i64..4) {
            let text = format!("So {a} + {b} * {c} = {} in all", a + b * c + off);
            let found = equations(&text);
            proptest::prop_assert_eq!(found.right + found.wrong, 1);
            proptest::prop_assert_eq!(found.right == 1, off == 0);
        }
    }
}
