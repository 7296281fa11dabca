//! What kind of thing an answer is, and so how two are compared.

use super::super::Grade;
use super::{Gold, choice, expression, stated};
use serde::{Deserialize, Serialize};

/// What the answers of a data set are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answers {
    /// Numbers, compared as exact fractions.
    #[default]
    Number,
    /// Simple expressions, compared exactly after normalisation.
    Expression,
    /// Letters of options.
    Choice,
}

impl Answers {
    /// The canonical form of a gold answer, or of a solution that states one; none where it has none.
    pub fn gold(self, text: &str) -> Option<String> {
        match self {
            Answers::Number => Gold::parse(text).map(|gold| gold.to_string()),
            Answers::Expression => {
                let text = text.trim();
                let solution = text.contains("\\boxed") || text.contains("####");
                let stated = solution.then(|| stated::stated(text, &is_value)).flatten();
                expression::canonical(stated.as_deref().unwrap_or(text))
            }
            Answers::Choice => choice::letter(text).map(String::from),
        }
    }

    /// The canonical form of the answer of a completion; none where it has none.
    pub fn answer(self, completion: &str) -> Option<String> {
        match self {
            Answers::Number => super::answer(completion).map(|gold| gold.to_string()),
            Answers::Expression => {
                let text = super::end(completion);
                match stated::stated(text, &is_value) {
                    Some(stated) => expression::canonical(&stated),
                    None => super::answer(text).map(|gold| gold.to_string()),
                }
            }
            Answers::Choice => choice::answer(super::end(completion)).map(String::from),
        }
    }

    /// Grades a completion. A gold answer that is none matches nothing.
    pub fn grade(self, question: &str, gold: &str, completion: &str) -> Grade {
        let parsed = match self {
            Answers::Choice => {
                choice::answer_to(question, super::end(completion)).map(String::from)
            }
            _ => self.answer(completion),
        };
        Grade {
            correct: parsed.is_some() && parsed == self.gold(gold),
            parsed,
        }
    }

    /// One of them, in words.
    pub fn name(self) -> &'static str {
        match self {
            Answers::Number => "number",
            Answers::Expression => "expression",
            Answers::Choice => "option",
        }
    }

    /// How a gold answer is written.
    pub fn remedy(self) -> &'static str {
        match self {
            Answers::Number => {
                "write a number such as 18, 1,000 or 1/2, or a solution that ends with \"#### 18\""
            }
            Answers::Expression => {
                "write an expression such as 2x+1 or \\frac{\\sqrt{3}}{2}, or a solution with it in \\boxed{}"
            }
            Answers::Choice => "write the letter of an option, or the option's text",
        }
    }

    /// What a prompt asks for as the last line.
    pub(in crate::task) fn instruction(self) -> &'static str {
        match self {
            Answers::Number => {
                "Reason step by step. Then end with one last line: #### <number>, where <number> is the \
                 final answer alone, without units."
            }
            Answers::Expression => {
                "Reason step by step. Then end with one last line: \\boxed{<answer>}, where <answer> is \
                 the final answer alone."
            }
            Answers::Choice => {
                "Reason step by step. Then end with one last line: Answer: <letter>, where <letter> is \
                 that of the right option."
            }
        }
    }
}

fn is_value(text: &str) -> bool {
    expression::canonical_value(text).is_some()
}
