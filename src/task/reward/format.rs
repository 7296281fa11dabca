//! Rewards of a text's form, as recipes for GRPO in the manner of DeepSeek-R1 use them (Brown, 2025:
//! "GRPO demo"). There they are worth 0 to 0.5 beside 2 for correctness; here each runs from -1 to 1, and
//! weights are the recipe's.

use super::{Asked, Reward, sign};
use regex::Regex;
use std::sync::LazyLock;

/// As published, but `.` matches line breaks too: reasoning has more than one line.
static STRICT: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?s)^<reasoning>\n.*?\n</reasoning>\n<answer>\n.*?\n</answer>\n$";
    // A constant that the tests compile.
    Regex::new(pattern).expect("constant pattern")
});
static SOFT: LazyLock<Regex> = LazyLock::new(|| {
    let pattern = r"(?s)^<reasoning>.*?</reasoning>\s*<answer>.*?</answer>";
    Regex::new(pattern).expect("constant pattern")
});

/// What a character behind the last tag costs, where a tag is worth 0.125.
const STRAY: f32 = 0.001;

pub(super) struct StrictFormat;

impl Reward for StrictFormat {
    fn reward(&self, asked: &Asked<'_>) -> f32 {
        sign(STRICT.is_match(asked.completion))
    }
}

pub(super) struct SoftFormat;

impl Reward for SoftFormat {
    fn reward(&self, asked: &Asked<'_>) -> f32 {
        sign(SOFT.is_match(asked.completion))
    }
}

pub(super) struct TagCount;

impl Reward for TagCount {
    fn reward(&self, asked: &Asked<'_>) -> f32 {
        let completion = asked.completion;
        let once = |tag: &str| completion.matches(tag).count() == 1;
        let behind = |tag: &str| {
            let rest = completion.rsplit(tag).next().unwrap_or_default();
            rest.chars().count() as f32
        };
        let mut count = 0.0;
        if once("<reasoning>\n") {
            count += 0.125;
        }
        if once("\n</reasoning>\n") {
            count += 0.125;
        }
        if once("\n<answer>\n") {
            count += 0.125 - STRAY * behind("\n</answer>\n");
        }
        if once("\n</answer>") {
            count += 0.125 - STRAY * (behind("\n</answer>") - 1.0);
        }
        (4.0 * count - 1.0).clamp(-1.0, 1.0)
    }
}

pub(super) struct Integer;

impl Reward for Integer {
    fn reward(&self, asked: &Asked<'_>) -> f32 {
        let mut answers = asked.completion.rsplit("<answer>");
        let answer = answers.next().unwrap_or_default();
        let answer = answer.split("</answer>").next().unwrap_or_default().trim();
        sign(!answer.is_empty() && answer.chars().all(|c| c.is_ascii_digit()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finished(completion: &str) -> Asked<'_> {
        Asked {
            question: "",
            gold: "",
            completion,
            finished: true,
        }
    }

    fn all(text: &str) -> [f32; 4] {
        let parts: [&dyn Reward; 4] = [&StrictFormat, &SoftFormat, &TagCount, &Integer];
        parts.map(|part| part.reward(&finished(text)))
    }

    #[test]
    fn forms_by_hand() {
        let strict = "<reasoning>\n1 + 1\nis 2\n</reasoning>\n<answer>\n2\n</answer>\n";
        assert_eq!(all(strict), [1.0, 1.0, 1.0, 1.0]);
        assert_eq!(
            all("<reasoning>1</reasoning> <answer>2</answer>"),
            [-1.0, 1.0, -1.0, 1.0]
        );
        assert_eq!(all("2"), [-1.0, -1.0, -1.0, 1.0]);
        assert_eq!(all("two"), [-1.0, -1.0, -1.0, -1.0]);
        assert_eq!(all(""), [-1.0, -1.0, -1.0, -1.0]);
        let spaced = format!(" {strict}");
        assert_eq!(all(&spaced)[..2], [-1.0, -1.0]);
    }

    #[test]
    fn text_behind_the_tags_costs() {
        // Published: 4 x 0.125, less 0.001 for each of 10 characters behind `\n</answer>\n`, and of the 11
        // behind `\n</answer>` less 1: 0.48 of 0.5.
        let strayed = "<reasoning>\n1\n</reasoning>\n<answer>\n2\n</answer>\n0123456789";
        let found = TagCount.reward(&finished(strayed));
        assert!((found - (0.48 * 4.0 - 1.0)).abs() < 1e-6, "{found}");
        let twice = "<reasoning>\n<reasoning>\n1\n</reasoning>\n<answer>\n2\n</answer>\n";
        assert!((TagCount.reward(&finished(twice)) - 0.5).abs() < 1e-6);
    }
}
