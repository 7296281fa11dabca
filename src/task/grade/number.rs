//! Numbers as people and models write them, read as exact rationals.

use num_bigint::BigInt;
use num_rational::BigRational;
use num_traits::{One, Zero, pow};

/// Longer runs of digits are not numbers that anyone means. Digits.
const MAX_DIGITS: usize = 100;
/// Larger powers of ten are refused, so that a short text cannot ask for a huge number.
const MAX_EXPONENT: usize = 30;

/// A number found in a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    /// The value; none where the text is number-like but not one number, such as `10:30`, `3-5`,
    /// `1.2.3`, `1,23` or `1/0`.
    pub value: Option<BigRational>,
    /// Index of the first character after it.
    pub end: usize,
}

pub(super) fn is_sign(c: char) -> bool {
    matches!(
        c,
        '-' | '+' | '\u{2212}' | '\u{2013}' | '\u{fe63}' | '\u{ff0d}'
    )
}

pub(super) fn is_currency(c: char) -> bool {
    matches!(c, '$' | '€' | '£' | '¥' | '₹')
}

/// A space that groups thousands: no-break, narrow no-break or thin.
fn is_thin_space(c: char) -> bool {
    matches!(c, '\u{a0}' | '\u{202f}' | '\u{2009}')
}

fn digit(text: &[char], at: usize) -> bool {
    text.get(at).is_some_and(char::is_ascii_digit)
}

fn char_at(text: &[char], at: usize) -> Option<char> {
    text.get(at).copied()
}

/// The value of a character such as `½`.
pub(super) fn vulgar(c: char) -> Option<(u32, u32)> {
    Some(match c {
        '½' => (1, 2),
        '⅓' => (1, 3),
        '⅔' => (2, 3),
        '¼' => (1, 4),
        '¾' => (3, 4),
        '⅕' => (1, 5),
        '⅖' => (2, 5),
        '⅗' => (3, 5),
        '⅘' => (4, 5),
        '⅙' => (1, 6),
        '⅚' => (5, 6),
        '⅛' => (1, 8),
        '⅜' => (3, 8),
        '⅝' => (5, 8),
        '⅞' => (7, 8),
        _ => return None,
    })
}

fn vulgar_at(text: &[char], at: usize) -> Option<BigRational> {
    let (n, d) = vulgar(char_at(text, at)?)?;
    Some(BigRational::new(n.into(), d.into()))
}

/// The number that starts at `at`, its sign and currency symbol included; none where there is no
/// number at this very place. Takes time linear in the number's length.
pub(super) fn number_at(text: &[char], at: usize) -> Option<Found> {
    let (mut at, mut negative, mut signed) = (at, false, false);
    let mut sign = |at: &mut usize| {
        if let Some(c) = char_at(text, *at)
            && is_sign(c)
            && !signed
        {
            (signed, negative) = (true, c != '+');
            *at += 1;
        }
    };
    sign(&mut at);
    if char_at(text, at).is_some_and(is_currency) {
        at += 1;
        if char_at(text, at) == Some(' ') {
            at += 1;
        }
        sign(&mut at);
    }
    let mut found = magnitude(text, at)?;
    found.value = glued(text, found.end, found.value, &mut found.end);
    if negative {
        found.value = found.value.map(|value| -value);
    }
    Some(found)
}

/// A number without its sign: decimal, fraction, mixed number or power of ten.
fn magnitude(text: &[char], at: usize) -> Option<Found> {
    if let Some(value) = vulgar_at(text, at) {
        return Some(Found {
            value: Some(value),
            end: at + 1,
        });
    }
    let first = decimal(text, at)?;
    let Some(whole) = first.value.clone() else {
        return Some(first);
    };
    let mut end = first.end;
    let mut value = whole;
    if char_at(text, end) == Some('/') && decimal(text, end + 1).is_some() {
        return fraction(text, value, end);
    }
    if value.is_integer() {
        let gap = usize::from(char_at(text, end) == Some(' '));
        if let Some(part) = vulgar_at(text, end + gap) {
            return Some(Found {
                value: Some(value + part),
                end: end + gap + 1,
            });
        }
        if gap == 1
            && let Some(part) = proper_fraction(text, end + 1)
        {
            return Some(Found {
                value: part.value.map(|part| value + part),
                end: part.end,
            });
        }
    }
    if let Some((exponent, after)) = power_of_ten(text, end) {
        end = after;
        match scale(exponent) {
            Some(power) => value *= power,
            None => return Some(Found { value: None, end }),
        }
    }
    Some(Found {
        value: Some(value),
        end,
    })
}

/// Digits with an optional part after the point, or grouped in thousands.
fn decimal(text: &[char], at: usize) -> Option<Found> {
    let starts = digit(text, at) || (char_at(text, at) == Some('.') && digit(text, at + 1));
    if !starts {
        return None;
    }
    let mut digits = String::new();
    let mut end = at;
    let mut well_formed = true;
    let mut take = |end: &mut usize| {
        let from = *end;
        while digit(text, *end) {
            digits.push(text[*end]);
            *end += 1;
        }
        *end - from
    };
    let mut group = take(&mut end);
    let mut first = true;
    while let Some(separator) = char_at(text, end)
        && (separator == ',' || is_thin_space(separator))
        && digit(text, end + 1)
    {
        well_formed &= !first || (1..=3).contains(&group);
        first = false;
        end += 1;
        group = take(&mut end);
        well_formed &= group == 3;
    }
    let mut places = 0;
    if char_at(text, end) == Some('.') && digit(text, end + 1) {
        end += 1;
        places = take(&mut end);
        // A second point or a comma behind it: a version, a date, a European number, a list.
        while matches!(char_at(text, end), Some('.' | ',')) && digit(text, end + 1) {
            well_formed = false;
            end += 1;
            take(&mut end);
        }
    }
    let value = (well_formed && digits.len() <= MAX_DIGITS)
        .then(|| digits.parse::<BigInt>().ok())
        .flatten()
        .map(|n| BigRational::new(n, pow(BigInt::from(10), places)));
    Some(Found { value, end })
}

/// `value/denominator`, the slash being at `slash`.
fn fraction(text: &[char], value: BigRational, slash: usize) -> Option<Found> {
    let below = decimal(text, slash + 1)?;
    let mut end = below.end;
    let mut value = below
        .value
        .filter(|below| !below.is_zero())
        .map(|below| value / below);
    // 1/2/2024 is a date.
    while char_at(text, end) == Some('/') && digit(text, end + 1) {
        value = None;
        end = decimal(text, end + 1)?.end;
    }
    Some(Found { value, end })
}

/// The `1/2` of `1 1/2`: plain digits, less than one.
fn proper_fraction(text: &[char], at: usize) -> Option<Found> {
    let above = decimal(text, at)?;
    let top = above.value.filter(BigRational::is_integer)?;
    if char_at(text, above.end) != Some('/') || !digit(text, above.end + 1) {
        return None;
    }
    let found = fraction(text, top, above.end)?;
    match &found.value {
        Some(value) if *value < BigRational::one() => Some(found),
        _ => None,
    }
}

/// `e3` or `× 10^3` behind a number: the exponent and the end.
fn power_of_ten(text: &[char], at: usize) -> Option<(Option<i32>, usize)> {
    if matches!(char_at(text, at), Some('e' | 'E')) {
        let (exponent, end) = exponent(text, at + 1)?;
        let attached = char_at(text, end).is_some_and(char::is_alphanumeric);
        return (!attached).then_some((exponent, end));
    }
    let skip_space = |at: usize| at + usize::from(char_at(text, at) == Some(' '));
    let times = skip_space(at);
    if !matches!(char_at(text, times), Some('×' | 'x' | '*' | '·')) {
        return None;
    }
    let ten = skip_space(times + 1);
    let power = text.get(ten..ten + 3)?;
    if power != ['1', '0', '^'] {
        return None;
    }
    exponent(text, ten + 3)
}

/// A small whole number with an optional sign; its value is none where it is too large.
fn exponent(text: &[char], at: usize) -> Option<(Option<i32>, usize)> {
    let sign = char_at(text, at).filter(|c| is_sign(*c));
    let from = at + usize::from(sign.is_some());
    let mut end = from;
    while digit(text, end) {
        end += 1;
    }
    if end == from {
        return None;
    }
    let size: Option<i32> = (end - from <= 3)
        .then(|| text[from..end].iter().collect::<String>().parse().ok())
        .flatten();
    let negative = sign.is_some_and(|c| c != '+');
    Some((size.map(|size| if negative { -size } else { size }), end))
}

fn scale(exponent: Option<i32>) -> Option<BigRational> {
    let exponent = exponent?;
    let size = usize::try_from(exponent.unsigned_abs()).ok()?;
    if size > MAX_EXPONENT {
        return None;
    }
    let power = BigRational::from(pow(BigInt::from(10), size));
    Some(if exponent < 0 { power.recip() } else { power })
}

/// Refuses numbers that go on in a way that makes them something else: times, ranges, dates,
/// identifiers. Moves `end` behind what belongs together.
fn glued(
    text: &[char],
    at: usize,
    value: Option<BigRational>,
    end: &mut usize,
) -> Option<BigRational> {
    let mut at = at;
    let mut value = value;
    while let Some(c) = char_at(text, at) {
        let joint = is_sign(c) || matches!(c, ':' | '_' | '\u{2014}');
        if joint && digit(text, at + 1) {
            value = None;
            at += 1;
            while digit(text, at) {
                at += 1;
            }
        } else if c.is_alphabetic() {
            let from = at;
            while char_at(text, at).is_some_and(char::is_alphanumeric) {
                at += 1;
            }
            let word: String = text[from..at].iter().take(4).collect();
            let unit = matches!(
                word.as_str(),
                "m2" | "m3" | "cm2" | "cm3" | "mm2" | "mm3" | "km2" | "ft2" | "ft3" | "in2" | "in3"
            );
            if !unit && text[from..at].iter().any(char::is_ascii_digit) {
                value = None;
            }
        } else {
            break;
        }
    }
    *end = at;
    value
}

/// The last number of a text. `Some` with no value where the last number-like thing is not one
/// number; none where there is nothing like a number.
pub(super) fn last_number(text: &[char]) -> Option<Found> {
    let mut last = None;
    let mut at = 0;
    while at < text.len() {
        let before = at.checked_sub(1).map(|i| text[i]);
        let c = text[at];
        if c.is_ascii_digit()
            && before.is_some_and(|b| b.is_alphanumeric() || matches!(b, '_' | '^'))
        {
            // Part of a name, or a power: x2, H2O, m^2.
            while char_at(text, at).is_some_and(char::is_alphanumeric) {
                at += 1;
            }
            continue;
        }
        let free = before
            .is_none_or(|b| b.is_whitespace() || is_currency(b) || "([{=:,>~≈\"'*|".contains(b));
        let may_start = if is_sign(c) { free } else { true };
        match number_at(text, at).filter(|_| may_start) {
            Some(found) => {
                at = found.end;
                last = Some(found);
            }
            None => at += 1,
        }
    }
    last
}
