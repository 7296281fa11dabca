//! Where the final answer stands in a completion.

use super::latex::plain;
use super::number::{is_currency, last_number, number_at};
use num_rational::BigRational;
use regex::Regex;
use std::sync::LazyLock;

/// How much is read behind a marker. Bytes.
const SEGMENT: usize = 256;
/// How many markers of a form are tried, from the end.
pub(super) const CANDIDATES: usize = 64;

/// What stands at a place where an answer is expected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// No number: the marker was not meant for an answer.
    Absent,
    /// A number-like answer that is not one number: `5 or 6`, `10:30`, `2\pi`.
    Unclear,
    /// One number.
    Value(BigRational),
}

impl Reading {
    /// The outer option says whether an answer was given, the inner one whether it is a number.
    fn given(self) -> Option<Option<BigRational>> {
        match self {
            Reading::Absent => None,
            Reading::Unclear => Some(None),
            Reading::Value(value) => Some(Some(value)),
        }
    }
}

macro_rules! pattern {
    ($text:expr) => {
        // Every pattern is a constant that the tests compile.
        LazyLock::new(|| Regex::new($text).expect("constant pattern"))
    };
}

pub(super) static ANSWER_COLON: LazyLock<Regex> =
    pattern!(r"(?im)(?:^[ \t>*_]*a|\banswer)[*_]{0,3}[ \t]*:[*_]{0,3}");
pub(super) static ANSWER_IS: LazyLock<Regex> =
    pattern!(r"(?i)\banswer[*_]{0,3}\s+(?:is|equals|would\s+be|=)\b?[*_]{0,3}\s*:?");
pub(super) static NEXT_QUESTION: LazyLock<Regex> = pattern!(r"\n\s*(?:Question|Q)\s*:");
/// Words that may stand before the number.
static LEAD_WORD: LazyLock<Regex> = pattern!(
    r"(?i)^(?:approximately|about|around|roughly|exactly|only|usd|eur|gbp|inr|rs\.?|us)\s*"
);
/// The left side of an equation whose right side is the answer: `9 * 2 =`, `x =`.
static LEFT_SIDE: LazyLock<Regex> =
    pattern!(r"^[\s$]*(?:[\s\d.,+\-−*/×÷·xX()$€£%]+|[A-Za-z]\w{0,20}\s*)=");
/// What makes a second number out of what follows the first: up to three words of unit, then a
/// connector and a digit.
static SECOND_NUMBER: LazyLock<Regex> = pattern!(
    r"(?i)^(?:\s*(?:%|°|[a-z€£$²³]+(?:[./][a-z]+)?\.?)){0,3}\s*\(?\s*(?:\bor\b|\bto\b|\band\b|,|;|-|–|—|/|:|\+|−|\*|×|\bx\b|÷|&|\|)\s*[-−+]?\s*[$€£]?\s*\.?\d"
);
/// A second number at once, a factor such as `\pi`, or a power (but `^\circ` is a unit).
static GOES_ON: LazyLock<Regex> = pattern!(r"^\s*(?:\d|\\[a-zA-Z]|\^[^°])");
/// A heading such as `#### 3. Add the costs`.
static HEADING: LazyLock<Regex> = pattern!(r"^[.):]\s*\p{Alphabetic}");

/// The start of `text`, at most [`SEGMENT`] bytes.
fn capped(text: &str) -> &str {
    &text[..text.floor_char_boundary(SEGMENT)]
}

/// The rest of the line, capped.
pub(super) fn line(text: &str) -> &str {
    let text = capped(text);
    text.split('\n').next().unwrap_or(text)
}

/// Reads an answer that should start at the start of `segment`. `headings`: refuse what looks
/// like a numbered heading.
pub(super) fn at_start(segment: &str, headings: bool) -> Reading {
    let text = plain(segment);
    let mut rest = text.as_str();
    while let Some(found) = LEFT_SIDE.find(rest) {
        rest = &rest[found.end()..];
    }
    let lead = |c: char| c.is_whitespace() || "*_\"'“”([:≈~=>".contains(c);
    rest = rest.trim_start_matches(lead);
    for _ in 0..2 {
        if let Some(found) = LEAD_WORD.find(rest) {
            rest = &rest[found.end()..];
        }
    }
    while rest.starts_with("$$") || rest.starts_with("$ $") {
        rest = rest[1..].trim_start();
    }
    let chars: Vec<char> = rest.chars().collect();
    // `$ 5` is money, and `$ x$` is not a number.
    let Some(found) = number_at(&chars, 0) else {
        return Reading::Absent;
    };
    let Some(value) = found.value else {
        return Reading::Unclear;
    };
    let mut after: String = chars[found.end..].iter().collect();
    if after.starts_with(is_currency) {
        after.remove(0);
    }
    if headings && HEADING.is_match(&after) {
        return Reading::Absent;
    }
    if let Some(value) = spaced_fraction(&value, &after) {
        return value;
    }
    if SECOND_NUMBER.is_match(&after) || GOES_ON.is_match(&after) {
        return Reading::Unclear;
    }
    Reading::Value(value)
}

/// `1 / 2` with spaces, which only counts as a fraction where an answer is expected.
fn spaced_fraction(value: &BigRational, after: &str) -> Option<Reading> {
    let below = after.strip_prefix(" / ")?;
    let chars: Vec<char> = below.chars().collect();
    let found = number_at(&chars, 0)?;
    let rest: String = chars[found.end..].iter().collect();
    let zero = BigRational::from_integer(0.into());
    Some(match found.value.filter(|below| *below != zero) {
        Some(below) if !SECOND_NUMBER.is_match(&rest) => Reading::Value(value / below),
        _ => Reading::Unclear,
    })
}

/// Form 1: `#### 18`, the last one whose line starts with a number.
fn hashes(text: &str) -> Reading {
    last_marked(
        text.rmatch_indices("####").map(|(at, m)| at + m.len()),
        text,
        true,
    )
}

/// The reading of the last marker that is followed by an answer.
fn last_marked(ends: impl Iterator<Item = usize>, text: &str, headings: bool) -> Reading {
    ends.take(CANDIDATES)
        .map(|end| at_start(line(&text[end..]), headings))
        .find(|reading| *reading != Reading::Absent)
        .unwrap_or(Reading::Absent)
}

/// Form 2: the last complete `\boxed{...}`. What is not a number there is an answer all the same.
fn boxed(text: &str) -> Reading {
    for (at, marker) in text.rmatch_indices("\\boxed").take(CANDIDATES) {
        let rest = capped(&text[at + marker.len()..]).trim_start();
        if let Some(content) = braces(rest) {
            return match at_start(content, false) {
                Reading::Absent => Reading::Unclear,
                reading => reading,
            };
        }
    }
    Reading::Absent
}

/// The content of the braces that `text` starts with; none where they do not close.
pub(super) fn braces(text: &str) -> Option<&str> {
    let mut open = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open == 1 => return Some(&text[1..at]),
            '}' if open > 1 => open -= 1,
            _ if open == 0 => return None,
            _ => {}
        }
    }
    None
}

/// Forms 3 and 4: the last match of a pattern that is followed by an answer.
fn phrase(pattern: &Regex, text: &str) -> Reading {
    let ends: Vec<usize> = pattern.find_iter(text).map(|m| m.end()).collect();
    last_marked(ends.into_iter().rev(), text, false)
}

/// Forms 1 to 4. The outer option says whether an answer is marked at all.
pub(super) fn marked(text: &str) -> Option<Option<BigRational>> {
    hashes(text)
        .given()
        .or_else(|| boxed(text).given())
        .or_else(|| phrase(&ANSWER_COLON, text).given())
        .or_else(|| phrase(&ANSWER_IS, text).given())
}

/// Form 5: the last number of the last line that has one.
fn last(text: &str) -> Option<BigRational> {
    let numeric = |c: char| c.is_numeric();
    let (at, c) = text.char_indices().rev().find(|(_, c)| numeric(*c))?;
    let end = at + c.len_utf8();
    let from = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
    let mut from = text.ceil_char_boundary(from.max(end.saturating_sub(SEGMENT)));
    if from > 0 && !text[..from].ends_with('\n') {
        // The line was cut: do not start inside a number.
        from += text[from..end].find(char::is_whitespace)?;
    }
    let to = text[end..]
        .find('\n')
        .map_or(text.len(), |newline| end + newline);
    let to = text.floor_char_boundary(to.min(end + SEGMENT));
    let chars: Vec<char> = plain(&text[from..to]).chars().collect();
    last_number(&chars)?.value
}

/// The final answer of a completion. Text from the next `Question:` on, which base models like to
/// make up, counts only where no answer is marked before it.
pub(super) fn final_answer(text: &str) -> Option<BigRational> {
    let first = match NEXT_QUESTION.find(text) {
        Some(next) => &text[..next.start()],
        None => text,
    };
    marked(first)
        .or_else(|| marked(text))
        .unwrap_or_else(|| last(first).or_else(|| last(text)))
}
