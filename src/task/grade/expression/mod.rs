//! Answers that are simple expressions, compared exactly after normalisation.
//!
//! Read as values: rational numbers (fractions, mixed numbers, decimals, repeating ones too), whole and
//! fractional powers, roots, sums and products of these with symbols (variables, pi, infinity), with
//! LaTeX or without. Equal values have equal canonical forms: polynomials in their symbols over square
//! roots of square-free numbers ([`sum`]). Tuples, intervals and unions of them keep their order and
//! their brackets; sets and lists (`1, 2`, `1 or 2`, `1 \pm \sqrt 2`) do not. `x = 5` is 5. Percent, currency,
//! degrees and units behind a value are left out, as for numbers.
//!
//! Everything else (words, equations, inequalities, matrices, functions, quotients by a sum of symbols) is
//! compared as text without spaces and LaTeX's ways of setting it. Nothing is ever equal because it is
//! close: `0.333` is not `1/3`, and `3.14` is not `\pi`.

mod clean;
mod parse;
mod sum;

use clean::{SET, clean, is_product};
use regex::Regex;
use std::sync::LazyLock;

/// Longer answers are not read. Bytes.
const MAX_TEXT: usize = 1024;

/// `x =`, `f(x) =` or `x \in`.
static LEFT_SIDE: LazyLock<Regex> = LazyLock::new(|| {
    // A constant that the tests compile.
    Regex::new(r"^\s*([A-Za-zα-ω](?:_\w)?(?:\([A-Za-z]\))?\s*[=∈])\s*([^=]+)$")
        .expect("constant pattern")
});

/// A group of one sign, which means the same without its braces.
static ONE_SIGN: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r"([A-Za-z_^])\{ ?(\w) ?\}(\w?)").expect("constant pattern"));
/// How often a text is brought into its form until it stays.
const ROUNDS: usize = 4;

/// The canonical form of an answer; none for an empty or a very long text. The form of a form is itself.
pub(super) fn canonical(text: &str) -> Option<String> {
    if text.len() > MAX_TEXT {
        return None;
    }
    let mut form = text.to_owned();
    for _ in 0..ROUNDS {
        let again = brought(&form)?;
        if again == form {
            break;
        }
        form = again;
    }
    Some(form)
}

/// The form of a text: its value, or what is left of it as a text.
fn brought(text: &str) -> Option<String> {
    let cleaned = clean(text);
    if cleaned.is_empty() {
        return None;
    }
    if let Some(value) = value(&cleaned) {
        return Some(value);
    }
    let text = plain(&cleaned);
    // A text must not become a value by what it loses.
    Some(match value(&clean(&text)) {
        None => text,
        Some(_) => format!("'{cleaned}'"),
    })
}

/// The canonical form of an answer that is a value, not only a text.
pub(super) fn canonical_value(text: &str) -> Option<String> {
    (text.len() <= MAX_TEXT).then(|| value(&clean(text)))?
}

/// One value, or a list.
fn value(text: &str) -> Option<String> {
    let items = split(text, ',');
    let mut left_sides = Vec::new();
    let mut found = Vec::new();
    for item in &items {
        let (left, item) = match LEFT_SIDE.captures(item) {
            Some(parts) => (parts.get(1)?.as_str(), parts.get(2)?.as_str()),
            None => ("", *item),
        };
        left_sides.push(left.replace(' ', ""));
        found.extend(element(item)?);
    }
    // `x = 1, y = 2` is not `1, 2`.
    let one_left_side = left_sides.iter().all(|left| *left == left_sides[0]);
    one_left_side.then(|| match found.len() {
        1 => found.remove(0),
        _ => set(found),
    })
}

/// A set in braces, without order or repetition.
fn set(mut elements: Vec<String>) -> String {
    elements.sort();
    elements.dedup();
    format!("\\{{{}\\}}", elements.join(", "))
}

/// The values that one item of a list stands for: two where it has a plus-minus sign, else one.
fn element(text: &str) -> Option<Vec<String>> {
    let text = text.trim();
    let parts = split(text, '∪');
    if parts.len() > 1 {
        let mut intervals = Vec::new();
        for part in parts {
            intervals.extend(element(part)?);
        }
        intervals.sort();
        intervals.dedup();
        return Some(vec![intervals.join(" ∪ ")]);
    }
    if let Some(inside) = text
        .strip_prefix(SET[0])
        .and_then(|t| t.strip_suffix(SET[1]))
    {
        let mut elements = Vec::new();
        for item in split(inside, ',') {
            elements.extend(element(item)?);
        }
        return Some(vec![set(elements)]);
    }
    if let Some(tuple) = tuple(text) {
        return tuple.map(|tuple| vec![tuple]);
    }
    match text.matches('±').count() {
        0 => Some(vec![parse::parse(text)?.to_string()]),
        1 => {
            let of = |sign| Some(parse::parse(&text.replace('±', sign))?.to_string());
            let mut both = vec![of("+")?, of("-")?];
            both.sort();
            both.dedup();
            Some(both)
        }
        _ => None,
    }
}

/// A tuple or an interval; the outer option says whether the brackets and commas of one are there.
fn tuple(text: &str) -> Option<Option<String>> {
    let open = text.chars().next().filter(|c| "([".contains(*c))?;
    let close = text.chars().next_back().filter(|c| ")]".contains(*c))?;
    let inside = text.get(1..text.len() - 1)?;
    let mut depth = 0i32;
    for c in inside.chars() {
        depth += level(c);
        if depth < 0 {
            return None;
        }
    }
    let items = split(inside, ',');
    (items.len() > 1).then(|| {
        let mut parts = Vec::new();
        for item in items {
            let [part] = <[String; 1]>::try_from(element(item)?).ok()?;
            parts.push(part);
        }
        Some(format!("{open}{}{close}", parts.join(", ")))
    })
}

fn level(c: char) -> i32 {
    match c {
        '(' | '[' | '{' | '⦃' => 1,
        ')' | ']' | '}' | '⦄' => -1,
        _ => 0,
    }
}

/// The parts of `text` between separators outside of all brackets.
fn split(text: &str, separator: char) -> Vec<&str> {
    let (mut parts, mut from, mut depth) = (Vec::new(), 0, 0);
    for (at, c) in text.char_indices() {
        depth += level(c);
        if c == separator && depth == 0 {
            parts.push(&text[from..at]);
            from = at + c.len_utf8();
        }
    }
    parts.push(&text[from..]);
    parts
}

/// A text without the spaces that mean nothing; words in lower case.
fn plain(cleaned: &str) -> String {
    let chars: Vec<char> = cleaned.chars().collect();
    let mut out = String::with_capacity(cleaned.len());
    for (at, &c) in chars.iter().enumerate() {
        let between = |neighbour: Option<&char>| neighbour.is_some_and(|c| c.is_alphanumeric());
        let before = at.checked_sub(1).and_then(|at| chars.get(at));
        if c != ' ' || (between(before) && between(chars.get(at + 1))) {
            out.push(c);
        }
    }
    let out = ONE_SIGN.replace_all(&out, |parts: &regex::Captures<'_>| {
        let (before, sign, after) = (&parts[1], &parts[2], &parts[3]);
        let gap = if before.starts_with(|c: char| c.is_ascii_alphabetic()) {
            " "
        } else {
            ""
        };
        let next = if after.is_empty() { "" } else { " " };
        format!("{before}{gap}{sign}{next}{after}")
    });
    let mut words = out.split(|c: char| !c.is_ascii_alphabetic());
    match words.any(|word| !word.is_empty() && !is_product(word)) {
        true => out.to_lowercase(),
        false => out.into_owned(),
    }
}

#[cfg(test)]
mod tests;
