//! The text of the answer that a completion states, for answers that need not be numbers. The forms and
//! their order are those of [`extract`](super::extract).

use super::expression::canonical_value;
use super::extract::{ANSWER_COLON, ANSWER_IS, CANDIDATES, NEXT_QUESTION, braces, line};
use regex::Regex;

/// The last answer of the first form that `text` has; text from the next `Question:` on counts only where
/// nothing is stated before it. `reads` says which candidates are a value: where one form has several, the
/// last of these goes before the last of the others.
pub(super) fn stated(text: &str, reads: &dyn Fn(&str) -> bool) -> Option<String> {
    let first = NEXT_QUESTION
        .find(text)
        .map_or(text, |next| &text[..next.start()]);
    let forms = |text: &str| {
        hashes(text, reads)
            .or_else(|| boxed(text))
            .or_else(|| phrase(&ANSWER_COLON, text, reads))
            .or_else(|| phrase(&ANSWER_IS, text, reads))
    };
    forms(first).or_else(|| forms(text))
}

/// The last candidate that reads as a value, or the last one.
fn best(candidates: impl Iterator<Item = String>, reads: &dyn Fn(&str) -> bool) -> Option<String> {
    let all: Vec<String> = candidates
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .take(CANDIDATES)
        .collect();
    let value = all.iter().position(|text| reads(text));
    all.into_iter().nth(value.unwrap_or(0))
}

fn hashes(text: &str, reads: &dyn Fn(&str) -> bool) -> Option<String> {
    let places = text
        .rmatch_indices("####")
        .map(|(at, marker)| at + marker.len());
    best(places.map(|end| unboxed(line(&text[end..]))), reads)
}

/// The content of the last complete `\boxed{...}`.
pub(super) fn boxed(text: &str) -> Option<String> {
    let markers = text.rmatch_indices("\\boxed").take(CANDIDATES);
    let mut inside =
        markers.filter_map(|(at, marker)| braces(text[at + marker.len()..].trim_start()));
    inside
        .find(|content| !content.trim().is_empty())
        .map(str::to_owned)
}

fn unboxed(segment: &str) -> String {
    boxed(segment).unwrap_or_else(|| segment.to_owned())
}

fn phrase(pattern: &Regex, text: &str, reads: &dyn Fn(&str) -> bool) -> Option<String> {
    let mut ends: Vec<usize> = pattern.find_iter(text).map(|m| m.end()).collect();
    ends.reverse();
    let segments = ends
        .into_iter()
        .map(|end| sentence(&unboxed(line(&text[end..]))));
    best(segments, reads)
}

/// What of the rest of a line is the answer: math that it starts with, or all up to the end of the sentence
/// or the clause, whichever reads as a value.
fn sentence(segment: &str) -> String {
    let segment = segment.trim().trim_start_matches(['*', ':', ' ']).trim();
    for (open, close) in [("$$", "$$"), ("$", "$"), ("\\(", "\\)"), ("\\[", "\\]")] {
        let inside = segment
            .strip_prefix(open)
            .and_then(|rest| rest.split_once(close));
        if let Some((math, _)) = inside.filter(|(math, _)| canonical_value(math).is_some()) {
            return math.to_owned();
        }
    }
    let cuts = [
        ". ",
        "; ",
        " because",
        " since",
        ", so",
        ", which",
        ", because",
        " (",
    ];
    let shorter = cuts
        .iter()
        .filter_map(|cut| segment.split_once(cut))
        .map(|parts| parts.0);
    let mut readings = std::iter::once(segment).chain(shorter);
    let value = readings.find(|text| canonical_value(text).is_some());
    value
        .unwrap_or(segment.split(". ").next().unwrap_or(segment))
        .to_owned()
}
