//! The grader: it recomputes every step of the finished text.

use super::game::{Op, Question, digits};

/// Whether the completion solves the question.
///
/// Every line but the last two must be a step `a op b = x`, its operands among the numbers still
/// unused (given or made by an earlier step) and its result right. Every given number is used
/// exactly once. The order of the operands is free; a result is never negative, because a number
/// is written in digits. A step may end with `left` and a list of numbers, which is not checked:
/// it is the model's memory, not its claim. The last two lines are `t = t` and `#### t` with the
/// target, which the last step must have made.
pub(super) fn solves(question: &Question, completion: &str) -> bool {
    let mut lines = completion.trim().split('\n').map(str::trim);
    let mut numbers = question.numbers.clone();
    while numbers.len() > 1 {
        let Some(()) = lines.next().and_then(|line| apply(line, &mut numbers)) else {
            return false;
        };
    }
    let target = question.target;
    numbers == [target]
        && lines.next().and_then(check) == Some((target, target))
        && lines.next().and_then(stated) == Some(target)
        && lines.next().is_none()
}

/// The number that the completion states on its last line, `#### 35`.
pub(super) fn answer(completion: &str) -> Option<u32> {
    stated(completion.trim().rsplit('\n').next()?)
}

/// Replaces the step's operands by its result; none where the line is not a right step.
fn apply(line: &str, numbers: &mut Vec<u32>) -> Option<()> {
    let mut words = line.split_whitespace();
    let a = digits(words.next()?)?;
    let op = Op::parse(words.next()?)?;
    let b = digits(words.next()?)?;
    words.next().filter(|word| *word == "=")?;
    let result = digits(words.next()?)?;
    for operand in [a, b] {
        let at = numbers.iter().position(|n| *n == operand)?;
        numbers.swap_remove(at);
    }
    if op.apply(a, b)? != result {
        return None;
    }
    if let Some(word) = words.next() {
        let left: Option<Vec<u32>> = words.map(digits).collect();
        (word == "left" && left.is_some_and(|left| !left.is_empty())).then_some(())?;
    }
    numbers.push(result);
    Some(())
}

/// The sides of a check line `35 = 35`.
fn check(line: &str) -> Option<(u32, u32)> {
    let words: Vec<&str> = line.split_whitespace().take(4).collect();
    match words[..] {
        [left, "=", right] => Some((digits(left)?, digits(right)?)),
        _ => None,
    }
}

/// The number of a line `#### 35`.
fn stated(line: &str) -> Option<u32> {
    let words: Vec<&str> = line.split_whitespace().take(3).collect();
    match words[..] {
        ["####", number] => digits(number),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RIGHT: &str =
        "11 * 1 = 11 left 4 9 11\n11 * 4 = 44 left 9 44\n44 - 9 = 35\n35 = 35\n#### 35";

    fn solved(completion: &str) -> bool {
        solves(&Question::parse("1 4 9 11 make 35").unwrap(), completion)
    }

    #[test]
    fn right_answers_in_their_spellings() {
        assert!(solved(RIGHT));
        assert!(solved(&RIGHT.replace('\n', " \n ")));
        assert!(solved(&format!("{RIGHT}\n")));
        assert!(solved(&RIGHT.replace("11 * 1", "1 * 11")));
        assert!(solved(&RIGHT.replace(" left 9 44", "")));
        assert!(solved(&RIGHT.replace(" left 9 44", " left 44 8")));
        assert_eq!(answer(RIGHT), Some(35));
    }

    #[test]
    fn wrong_and_malformed_answers() {
        for (from, to) in [
            ("44 - 9 = 35", "44 - 9 = 36"),
            ("11 * 4 = 44 left 9 44\n", ""),
            ("44 - 9 = 35\n", "44 - 9 = 35\n35 * 1 = 35\n"),
            ("44 - 9 = 35", "44 - 8 = 36"),
            ("44 - 9", "9 - 44"),
            ("#### 35", "#### 36"),
            ("#### 35", "#### 35 35"),
            ("#### 35", "####"),
            ("\n#### 35", ""),
            ("35 = 35", "36 = 35"),
            ("35 = 35\n", ""),
            ("35 = 35\n", "35 = 35\n35 = 35\n"),
            ("35 = 35\n", "\n35 = 35\n"),
            (" left 9 44", " left"),
            (" left 9 44", " left 9 x"),
            (" left 9 44", " make 9 44"),
            ("11 * 1", "11 * 01x"),
            ("11 * 1 = 11", "11 * 1 = +11"),
            ("11 * 1 = 11", "11 / 1 = 11"),
            ("#### 35", "#### 35\nand more"),
        ] {
            let text = RIGHT.replace(from, to);
            assert_ne!(text, RIGHT);
            assert!(!solved(&text), "{text}");
        }
        assert!(!solved(""));
        assert!(!solved(&"1 * 1 = 1\n".repeat(10_000)));
        assert_eq!(answer("#### 35 35"), None);
        assert_eq!(answer("35 = 35"), None);
        assert_eq!(answer(""), None);
    }

    #[test]
    fn each_given_number_once() {
        let twice = "11 * 1 = 11 left 4 9 11\n11 * 4 = 44 left 9 44\n11 + 4 = 15\n15 = 15\n#### 15";
        assert!(!solves(
            &Question::parse("1 4 9 11 make 15").unwrap(),
            twice
        ));
    }
}
