//! What a policy is shown: plain text, and the same as chat messages.

use super::Answers;
use serde::{Deserialize, Serialize};

/// Words of a written question at least.
const MIN_WORDS: usize = 4;
/// Bytes of a written question at most.
const MAX_WRITTEN: usize = 4000;

/// One turn of a chat, as chat templates take it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// The turn's text.
    pub content: String,
}

impl Message {
    /// A turn of the user.
    pub fn user(content: impl Into<String>) -> Self {
        Self {
            role: "user".into(),
            content: content.into(),
        }
    }
}

/// A question in both forms that a policy may need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// For models without a chat template: the completion follows the last character.
    pub plain: String,
    /// For models with a chat template; it adds the system turn that it wants.
    pub messages: Vec<Message>,
}

impl Prompt {
    /// The question and a line break: how the bundled tasks are pretrained.
    pub(super) fn line(question: &str) -> Self {
        Self {
            plain: format!("{question}\n"),
            messages: vec![Message::user(question)],
        }
    }

    /// A word problem: the instruction asks for steps and a last line with an answer of the kind.
    pub(super) fn word_problem(question: &str, answers: Answers) -> Self {
        let instruction = answers.instruction();
        Self {
            plain: format!("Question: {question}\nAnswer:"),
            messages: vec![Message::user(format!("{question}\n\n{instruction}"))],
        }
    }
}

impl Prompt {
    /// Asks for one more question like `examples`.
    pub(super) fn another(examples: &[&str]) -> Self {
        let (mut plain, mut list) = (String::new(), String::new());
        for (number, question) in (1..).zip(examples) {
            let question = question.trim();
            plain += &format!("Question: {question}\n\n");
            list += &format!("{number}. {question}\n\n");
        }
        Self {
            plain: plain + "Question:",
            messages: vec![Message::user(format!(
                "Here are some questions:\n\n{list}Write one more question of the same kind, about something \
                 else. Write the question alone, without a number before it and without its answer."
            ))],
        }
    }

    /// The same where questions are lines: how the bundled tasks are pretrained.
    pub(super) fn another_line(examples: &[&str]) -> Self {
        Self {
            plain: examples.iter().map(|line| format!("{line}\n")).collect(),
            ..Self::another(examples)
        }
    }
}

/// The question that a policy wrote when asked for one: up to an empty line or the next part of a list, and
/// to the end only where it `finished`. None where that is no question.
pub(super) fn written(completion: &str, finished: bool) -> Option<String> {
    let text = completion.trim_start();
    let text = text.strip_prefix("Question:").unwrap_or(text);
    let ends = ["\n\n", "\nQuestion", "\nAnswer", "\nA:", "####"];
    let end = ends.iter().filter_map(|end| text.find(end)).min();
    let question = match end {
        Some(end) => &text[..end],
        None if finished => text,
        None => return None,
    };
    let question = question.trim().trim_matches(['*', '"']).trim();
    let words = question.split_whitespace().count();
    (words >= MIN_WORDS && question.len() <= MAX_WRITTEN).then(|| question.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_prompt() {
        assert_eq!(Prompt::line("1 4 9 11 make 35").plain, "1 4 9 11 make 35\n");
        let prompt = Prompt::word_problem("How many?", Answers::Number);
        assert_eq!(prompt.plain, "Question: How many?\nAnswer:");
        assert_eq!(prompt.messages.len(), 1);
        assert!(
            prompt.messages[0]
                .content
                .starts_with("How many?\n\nReason")
        );
        assert!(prompt.messages[0].content.contains("#### <number>"));
    }

    #[test]
    fn another_question_is_asked_for_and_read() {
        let prompt = Prompt::another(&["How many?", " How few? "]);
        let plain = "Question: How many?\n\nQuestion: How few?\n\nQuestion:";
        assert_eq!(prompt.plain, plain);
        assert!(
            prompt.messages[0]
                .content
                .contains("2. How few?\n\nWrite one more")
        );
        assert_eq!(Prompt::another_line(&["a?", "b?"]).plain, "a?\nb?\n");
        for (text, finished, expected) in [
            (
                " How many are there?\nAnswer: 3",
                false,
                Some("How many are there?"),
            ),
            (
                "How many are there?\n\nMore",
                false,
                Some("How many are there?"),
            ),
            (
                "Question: How many are\nthere?",
                true,
                Some("How many are\nthere?"),
            ),
            ("How many are the", false, None),
            ("How many?", true, None),
            ("", true, None),
        ] {
            assert_eq!(written(text, finished).as_deref(), expected, "{text}");
        }
    }
}
