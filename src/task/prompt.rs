//! What a policy is shown: plain text, and the same as chat messages.

use serde::{Deserialize, Serialize};

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

    /// A word problem with a numeric answer: the instruction asks for steps and a last `#### <number>`.
    pub(super) fn word_problem(question: &str) -> Self {
        let instruction = "Reason step by step. Then end with one last line: #### <number>, \
                           where <number> is the final answer alone, without units.";
        Self {
            plain: format!("Question: {question}\nAnswer:"),
            messages: vec![Message::user(format!("{question}\n\n{instruction}"))],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_of_a_prompt() {
        assert_eq!(Prompt::line("1 4 9 11 make 35").plain, "1 4 9 11 make 35\n");
        let prompt = Prompt::word_problem("How many?");
        assert_eq!(prompt.plain, "Question: How many?\nAnswer:");
        assert_eq!(prompt.messages.len(), 1);
        assert!(
            prompt.messages[0]
                .content
                .starts_with("How many?\n\nReason")
        );
        assert!(prompt.messages[0].content.contains("#### <number>"));
    }
}
