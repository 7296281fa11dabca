//! Which task, and where its rows come from.

use super::rows::Columns;
use super::{Answers, Error};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// The tasks that [`open`](super::open) knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// Reach a target from three or four numbers; generated.
    #[default]
    Countdown,
    /// Templated word problems; generated.
    Arithmetic,
    /// Grade-school word problems, from the Hub or a local folder.
    Gsm8k,
    /// Any JSONL or Parquet data with a question column and an answer column.
    Jsonl,
}

impl Kind {
    /// The name that recipes use.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Countdown => "countdown",
            Kind::Arithmetic => "arithmetic",
            Kind::Gsm8k => "gsm8k",
            Kind::Jsonl => "jsonl",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Parameters of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// The task: `countdown`, `arithmetic`, `gsm8k` or `jsonl`. Default `countdown`.
    pub kind: Kind,
    /// Local data. `gsm8k`: a folder with `train` and `test` files (`.jsonl` or `.parquet`, or
    /// `main/train-*.parquet`). `jsonl`: such a folder, or one file, which then has no test split.
    /// Default: none (`gsm8k` asks the Hub, `jsonl` needs it, the generated tasks refuse it).
    pub path: Option<PathBuf>,
    /// `gsm8k` without `path`: the data set on the Hub. Default `openai/gsm8k`.
    pub repo: String,
    /// `gsm8k` without `path`: branch, tag or commit on the Hub. Default `main`.
    pub revision: String,
    /// `gsm8k` and `jsonl`: how many of the last train rows are held out as the dev split, where the
    /// folder has no `dev` file. Rows. Default 500.
    pub dev_size: usize,
    /// `gsm8k` and `jsonl`: the column that holds the question. Default `question`.
    pub question: String,
    /// `gsm8k` and `jsonl`: the column that holds the gold answer, or a solution that ends with it.
    /// Default `answer`.
    pub answer: String,
    /// `gsm8k` and `jsonl`: what the answers are. `number`: exact fractions. `expression`: fractions,
    /// roots, powers, pi, polynomials, tuples, intervals and sets, compared exactly after normalisation,
    /// anything else as text. `choice`: the letter of an option. Default `number`.
    pub answers: Answers,
    /// `answers = "choice"`: one column with a list of options, or a column for each, such as
    /// `["A", "B", "C", "D"]`. They are shown behind the question. Default: none (the question has them).
    pub choices: Vec<String>,
    /// `gsm8k` and `jsonl`: the column that names a question, a whole number or a text (which is hashed);
    /// traces and reports hold it. Default: none (the row counts).
    pub id: Option<String>,
    /// `countdown` and `arithmetic`: seeds the order of the train questions. Dev and test
    /// questions do not depend on it, so that runs can be compared. Default 0.
    pub seed: u64,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            kind: Kind::default(),
            path: None,
            repo: "openai/gsm8k".into(),
            revision: "main".into(),
            dev_size: 500,
            question: "question".into(),
            answer: "answer".into(),
            answers: Answers::default(),
            choices: Vec::new(),
            id: None,
            seed: 0,
        }
    }
}

impl Params {
    /// Refuses keys that the task would not heed.
    pub(super) fn check(&self) -> Result<(), Error> {
        let useless = |key, remedy| {
            Err(Error::UselessKey {
                kind: self.kind,
                key,
                remedy,
            })
        };
        let generated = matches!(self.kind, Kind::Countdown | Kind::Arithmetic);
        let to_file = "remove it, or set task.kind to \"gsm8k\" or \"jsonl\"";
        if generated && self.answers != Answers::default() {
            return useless("answers", to_file);
        }
        if generated && self.id.is_some() {
            return useless("id", to_file);
        }
        if !self.choices.is_empty() && self.answers != Answers::Choice {
            return useless("choices", "remove it, or set task.answers to \"choice\"");
        }
        Ok(())
    }

    /// The columns of the data.
    pub(super) fn columns(&self) -> Columns<'_> {
        Columns {
            question: &self.question,
            answer: &self.answer,
            choices: &self.choices,
            id: self.id.as_deref(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_refused_and_defaults_fill_in() {
        let params: Params = serde_json::from_str(r#"{"kind":"gsm8k","dev_size":3}"#).unwrap();
        assert_eq!(params.kind, Kind::Gsm8k);
        assert_eq!(params.dev_size, 3);
        assert_eq!(params.repo, "openai/gsm8k");
        assert!(serde_json::from_str::<Params>(r#"{"knd":"gsm8k"}"#).is_err());
    }
}
