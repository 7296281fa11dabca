//! Multiple choice: the letter that a completion gives.
//!
//! The letter is taken from the first of these forms that the text has, and within a form from its last
//! occurrence: `#### C`, `\boxed{C}`, `Answer: C`, `the answer is C`, `(C)`, a last line that is the letter. The
//! text of an option stands for its letter where the question shows the options.

use super::extract::{ANSWER_COLON, ANSWER_IS, CANDIDATES, NEXT_QUESTION, line};
use super::stated::{boxed, stated};
use regex::Regex;
use std::sync::LazyLock;

/// Letters that options have.
pub(in crate::task) const LETTERS: &str = "ABCDEFGHIJ";

macro_rules! pattern {
    ($text:expr) => {
        // Every pattern is a constant that the tests compile.
        LazyLock::new(|| Regex::new($text).expect("constant pattern"))
    };
}

/// A letter at the start of an answer, perhaps marked and with its option behind it.
static LETTER: LazyLock<Regex> = pattern!(
    r"^[\s*_$`\x22']*(?:\\text\w*\{\s*|\\mathrm\{\s*)?(?:(?i:option|choice)\s+)?(?:[(\[]\s*([A-Ja-j])\s*[)\]]|([A-J])(?:[\s*_$`\x22'}]*(?:$|[.,:;)\]}\n-])|\s+[A-Z0-9(\[\x22$]|\s+[—–-])|([a-j])\s*(?:$|[.)]))"
);
static BRACKETED: LazyLock<Regex> = pattern!(r"\(([A-J])\)");
static OPTION_LINE: LazyLock<Regex> = pattern!(r"(?m)^[ \t]*\(?([A-J])[.):][ \t]+(\S.*?)[ \t]*$");
static OPTION_INLINE: LazyLock<Regex> = pattern!(r"\(([A-J])\)\s*([^()\n]+)");

/// The letter that `text` starts with.
pub(in crate::task) fn letter(text: &str) -> Option<char> {
    let found = LETTER.captures(text)?;
    let letter = found.iter().skip(1).flatten().next()?.as_str();
    letter.chars().next().map(|c| c.to_ascii_uppercase())
}

/// The letter of a completion.
pub(super) fn answer(completion: &str) -> Option<char> {
    let first = NEXT_QUESTION
        .find(completion)
        .map_or(completion, |next| &completion[..next.start()]);
    forms(first).or_else(|| forms(completion))
}

fn forms(text: &str) -> Option<char> {
    let last = |ends: Vec<usize>| {
        let places = ends.into_iter().rev().take(CANDIDATES);
        places.map(|end| line(&text[end..])).find_map(letter)
    };
    let ends = |pattern: &Regex| pattern.find_iter(text).map(|m| m.end()).collect();
    last(
        text.match_indices("####")
            .map(|(at, m)| at + m.len())
            .collect(),
    )
    .or_else(|| boxed(text).as_deref().and_then(letter))
    .or_else(|| last(ends(&ANSWER_COLON)))
    .or_else(|| last(ends(&ANSWER_IS)))
    .or_else(|| {
        BRACKETED
            .captures_iter(text)
            .last()?
            .get(1)?
            .as_str()
            .chars()
            .next()
    })
    .or_else(|| {
        let end = text.trim_end().rsplit('\n').next()?.trim();
        let bare = end.trim_matches(['*', '.', '(', ')', ' ']);
        bare.chars()
            .next()
            .filter(|c| bare.len() == 1 && LETTERS.contains(*c))
    })
}

/// The options that a question shows, in order: lines `A. text`, `(A) text`, or `(A) text (B) text` in one.
pub(in crate::task) fn options(question: &str) -> Vec<String> {
    let of = |pattern: &Regex| -> Vec<String> {
        let mut found = Vec::new();
        for part in pattern.captures_iter(question) {
            let expected = LETTERS.chars().nth(found.len());
            if part.get(1).and_then(|m| m.as_str().chars().next()) == expected
                && let Some(text) = part.get(2)
            {
                found.push(text.as_str().trim().to_owned());
            }
        }
        found
    };
    let lines = of(&OPTION_LINE);
    if lines.len() > 1 {
        lines
    } else {
        of(&OPTION_INLINE)
    }
}

/// The letter of the option whose text is `text`, where there is exactly one.
pub(in crate::task) fn letter_of(text: &str, options: &[String]) -> Option<char> {
    let same = |a: &str, b: &str| normal(a) == normal(b) && !normal(a).is_empty();
    let mut places = (0..options.len()).filter(|&place| same(text, &options[place]));
    let place = places.next()?;
    places
        .next()
        .is_none()
        .then(|| LETTERS.chars().nth(place))?
}

fn normal(text: &str) -> String {
    let bare = text.trim().trim_matches(['*', '.', '"', '\'', '$', ' ']);
    bare.split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
}

/// The letter of a completion to a question: as [`answer`], and the text of an option in its place.
pub(super) fn answer_to(question: &str, completion: &str) -> Option<char> {
    answer(completion).or_else(|| {
        let options = options(question);
        let reads = |text: &str| letter_of(text, &options).is_some();
        letter_of(&stated(completion, &reads)?, &options)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_letter_of_a_text() {
        for (text, expected) in [
            ("Answer: C", Some('C')),
            ("Answer: (C)", Some('C')),
            ("Answer: C. Paris", Some('C')),
            ("Answer: C Paris", Some('C')),
            ("**Answer:** **C**", Some('C')),
            ("Answer: $\\boxed{C}$", Some('C')),
            ("\\boxed{C}", Some('C')),
            ("\\boxed{\\text{C}}", Some('C')),
            ("\\boxed{\\text{(C)}}", Some('C')),
            ("\\boxed{C. 12}", Some('C')),
            ("I think (B) is close, but it is (C)", Some('C')),
            ("the answer is C", Some('C')),
            ("The answer is (c).", Some('C')),
            ("The correct answer is option D.", Some('D')),
            ("#### B", Some('B')),
            ("Answer: A\nNo, wait.\nAnswer: B", Some('B')),
            ("(A) is wrong.\nAnswer: B", Some('B')),
            ("Let me see.\nC", Some('C')),
            ("Let me see.\n**C.**", Some('C')),
            ("Answer: B\n\nQuestion: next?\nAnswer: D", Some('B')),
            ("the answer is a dog", None),
            ("Answer: A dog", None),
            ("The answer is I think four", None),
            ("Both A and B are wrong", None),
            ("Answer: 12", None),
            ("", None),
            ("C is good. So is D", None),
        ] {
            assert_eq!(answer(text), expected, "{text}");
        }
    }

    #[test]
    fn options_in_a_question_and_their_texts() {
        let lines = "Capital of France?\nA. London\nB. Paris\nC. Rome";
        assert_eq!(options(lines), ["London", "Paris", "Rome"]);
        let inline = "Capital of France? (A) London (B) Paris (C) Rome";
        assert_eq!(options(inline), ["London", "Paris", "Rome"]);
        assert!(options("How many?").is_empty());
        for (completion, expected) in [
            ("The answer is Paris.", Some('B')),
            ("Answer: paris", Some('B')),
            ("\\boxed{Rome}", Some('C')),
            ("Answer: Berlin", None),
            ("It is nice there.", None),
        ] {
            assert_eq!(answer_to(lines, completion), expected, "{completion}");
        }
        let twice = ["x".to_owned(), "X ".to_owned()];
        assert_eq!(letter_of("x", &twice), None, "two options of one text");
    }
}
