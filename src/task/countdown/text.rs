//! How steps are written. Tokens are separated by single spaces, lines by `\n`.

use super::game::Step;
use std::fmt::Write;

/// The solution text: one line a step, a check line, and `####` with the number reached.
/// `steps` must not be empty.
pub(super) fn solution(steps: &[Step], target: u32) -> String {
    let mut out = String::new();
    let mut reached = target;
    for step in steps {
        let Step {
            a,
            op,
            b,
            result,
            left,
        } = step;
        // Writing to a String cannot fail.
        let _ = write!(out, "{a} {} {b} = {result}", op.symbol());
        if left.len() > 1 {
            out.push_str(" left");
            for number in left {
                let _ = write!(out, " {number}");
            }
        }
        out.push('\n');
        reached = *result;
    }
    let sign = match reached.cmp(&target) {
        std::cmp::Ordering::Less => "<",
        std::cmp::Ordering::Equal => "=",
        std::cmp::Ordering::Greater => ">",
    };
    let _ = write!(out, "{reached} {sign} {target}\n#### {reached}");
    out
}

/// Every token of the task's text, in the order of their ids, the stop token first. Words are
/// separated by single spaces, except around `\n`, which needs none.
pub fn vocabulary() -> Vec<String> {
    ["<eos>", "\n", "make", "left", "####", "=", "+", "-", "*"]
        .into_iter()
        .map(str::to_owned)
        .chain((0..=99).map(|n| n.to_string()))
        .chain([">".to_owned(), "<".to_owned()])
        .collect()
}

/// Splits text into tokens of [`vocabulary`]: words, and line breaks as tokens of their own.
pub fn tokens(text: &str) -> Vec<&str> {
    let mut out = Vec::new();
    for (i, line) in text.split('\n').enumerate() {
        if i > 0 {
            out.push("\n");
        }
        out.extend(line.split(' ').filter(|word| !word.is_empty()));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::game::steps;
    use super::*;

    #[test]
    fn a_solution_reads_as_documented() {
        let first = steps(&[1, 4, 9, 11]);
        let first = first
            .iter()
            .find(|s| (s.a, s.b, s.result) == (11, 1, 11))
            .unwrap();
        let second = steps(&first.left);
        let second = second
            .iter()
            .find(|s| (s.a, s.b, s.result) == (11, 4, 44))
            .unwrap();
        let third = steps(&second.left);
        let third = third.iter().find(|s| s.result == 35).unwrap();
        let walk = [first.clone(), second.clone(), third.clone()];
        assert_eq!(
            solution(&walk, 35),
            "11 * 1 = 11 left 4 9 11\n11 * 4 = 44 left 9 44\n44 - 9 = 35\n35 = 35\n#### 35"
        );
        assert!(solution(&walk, 12).ends_with("\n35 > 12\n#### 35"));
        assert!(solution(&walk, 36).ends_with("\n35 < 36\n#### 35"));
    }

    #[test]
    fn every_token_is_in_the_vocabulary() {
        let words = vocabulary();
        assert_eq!(words.len(), 111);
        let text = "1 9 11 make 35\n11 * 1 = 11 left 9 11\n20 < 35\n#### 20";
        for token in tokens(text) {
            assert!(words.iter().any(|word| word == token), "{token:?}");
        }
        assert_eq!(tokens("a b\nc"), ["a", "b", "\n", "c"]);
    }
}
