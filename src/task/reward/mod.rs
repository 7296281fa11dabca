//! Rewards: what a text is worth to the search that made it and to what learns from it. By default a right
//! text is worth 1 and any other -1; a recipe can mix in the form of the text, or a program of its own.
//!
//! Accuracies never depend on rewards: they count right answers.

mod format;
mod program;

pub use program::Fault;

use super::Task;
use format::{Integer, SoftFormat, StrictFormat, TagCount};
use program::Program;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What texts are worth.
///
/// The reward of a text is the mean of its parts, each in \[-1, 1\], by their weights. A text counts as
/// right for imitation, and in what is reported of a collection, where its reward is above 0.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Weight of correctness: 1 for a text that ended by itself with the right answer, else -1. Default 1,
    /// and 0 with `command`.
    pub correctness: Option<f32>,
    /// Weight of the strict form: 1 for `<reasoning>`, text, `</reasoning>`, `<answer>`, text and `</answer>`
    /// with a line break behind each and nothing around them, else -1. Default 0.
    pub strict_format: f32,
    /// Weight of the loose form: 1 for a text that begins with these tags in this order, else -1. Default 0.
    pub soft_format: f32,
    /// Weight of the count of tags: a quarter of the way from -1 to 1 for each of the four that stands on a line
    /// of its own exactly once, less eight thousandths a character behind the last. Default 0.
    pub tag_count: f32,
    /// Weight of the answer being a whole number in digits, between the answer tags where there are any: 1 or
    /// -1. Default 0.
    pub integer: f32,
    /// A program and its arguments that rewards texts. It reads a line of JSON for each, `{"question",
    /// "gold", "completion", "finished"}`, and writes a line, `{"reward": x}` with x from -1 to 1 or `{"error":
    /// "why"}`, at once (flush). It stays alive. A question that it fails is left out, as one that
    /// cannot be searched. Default: none.
    pub command: Vec<String>,
    /// Weight of the program's reward. Default 1.
    pub command_weight: f32,
    /// How long the program may take for a line. Seconds. Default 10.
    pub timeout_s: f64,
    /// How many of the program run side by side. Default 1.
    pub processes: usize,
}

impl Default for Params {
    fn default() -> Self {
        Self {
            correctness: None,
            strict_format: 0.0,
            soft_format: 0.0,
            tag_count: 0.0,
            integer: 0.0,
            command: Vec::new(),
            command_weight: 1.0,
            timeout_s: 10.0,
            processes: 1,
        }
    }
}

/// A parameter that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unusable {
    /// Its key.
    pub key: &'static str,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub help: &'static str,
}

impl Params {
    /// Weight of correctness.
    fn correct(&self) -> f32 {
        let default = if self.command.is_empty() { 1.0 } else { 0.0 };
        self.correctness.unwrap_or(default)
    }

    fn program(&self) -> f32 {
        match self.command.is_empty() {
            true => 0.0,
            false => self.command_weight,
        }
    }

    /// Checks what the types cannot state; nothing is started.
    ///
    /// # Errors
    /// The first parameter that cannot be used.
    pub fn check(&self) -> Result<(), Unusable> {
        let weights = [
            ("correctness", self.correct()),
            ("strict_format", self.strict_format),
            ("soft_format", self.soft_format),
            ("tag_count", self.tag_count),
            ("integer", self.integer),
            ("command_weight", self.command_weight),
        ];
        let unusable = |key, message, help| Err(Unusable { key, message, help });
        for (key, weight) in weights {
            if !(weight.is_finite() && weight >= 0.0) {
                let message = format!("the weight is {weight}");
                return unusable(key, message, "write a number of at least 0");
            }
        }
        let own: f32 = weights[..5].iter().map(|(_, weight)| weight).sum();
        if own + self.program() <= 0.0 {
            let message = "no reward has a weight".to_owned();
            return unusable("correctness", message, "give one of them a weight above 0");
        }
        if self.command.first().is_some_and(String::is_empty) {
            let message = "the program has no name".to_owned();
            let help = "write the program and its arguments, such as [\"python3\", \"reward.py\"]";
            return unusable("command", message, help);
        }
        if !(self.timeout_s > 0.0 && self.timeout_s <= 1e6) {
            let message = format!("`reward.timeout_s` is {}", self.timeout_s);
            return unusable("timeout_s", message, "write seconds, above 0");
        }
        if self.processes == 0 {
            let message = "`reward.processes` is 0".to_owned();
            return unusable("processes", message, "write a number of at least 1");
        }
        Ok(())
    }
}

/// A text that a reward is asked for, as programs read it.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Asked<'a> {
    pub question: &'a str,
    pub gold: &'a str,
    pub completion: &'a str,
    /// Whether it ended by itself.
    pub finished: bool,
}

/// A reward that is computed from a text at once.
pub trait Reward: Send + Sync {
    /// What the completion is worth as an answer to the question, from -1 to 1.
    fn reward(&self, asked: &Asked<'_>) -> f32;
}

/// Whether the answer is right, as the task grades it; a text that was cut is wrong.
struct Correctness(Arc<dyn Task>);

impl Reward for Correctness {
    fn reward(&self, asked: &Asked<'_>) -> f32 {
        let grade = |of: &Asked<'_>| self.0.grade(of.question, of.gold, of.completion);
        sign(asked.finished && grade(asked).correct)
    }
}

fn sign(good: bool) -> f32 {
    if good { 1.0 } else { -1.0 }
}

/// The rewards of a run, mixed.
pub struct Rewards {
    parts: Vec<(f32, Box<dyn Reward>)>,
    program: Option<(f32, Program)>,
}

impl Rewards {
    /// Correctness alone.
    pub fn correctness(task: Arc<dyn Task>) -> Self {
        Self::of_parts(vec![(1.0, Box::new(Correctness(task)))])
    }

    /// A mixture by weights, which must be at least 0 and not all 0.
    pub fn of_parts(parts: Vec<(f32, Box<dyn Reward>)>) -> Self {
        Self {
            parts,
            program: None,
        }
    }

    /// The mixture that `params` describe; its program is started.
    ///
    /// # Errors
    /// A program that cannot be started.
    pub fn open(params: &Params, task: &Arc<dyn Task>) -> Result<Self, Fault> {
        let parts: [(f32, Box<dyn Reward>); 5] = [
            (params.correct(), Box::new(Correctness(task.clone()))),
            (params.strict_format, Box::new(StrictFormat)),
            (params.soft_format, Box::new(SoftFormat)),
            (params.tag_count, Box::new(TagCount)),
            (params.integer, Box::new(Integer)),
        ];
        let program = match params.program() > 0.0 {
            true => Some((params.program(), Program::start(params)?)),
            false => None,
        };
        Ok(Self {
            parts: parts.into_iter().filter(|(w, _)| *w > 0.0).collect(),
            program,
        })
    }

    /// What a text is worth, from -1 to 1.
    ///
    /// # Errors
    /// A program that fails the text.
    pub async fn of(&self, asked: &Asked<'_>) -> Result<f32, Fault> {
        let (mut sum, mut total) = (0.0, 0.0);
        for (weight, part) in &self.parts {
            sum += weight * part.reward(asked);
            total += weight;
        }
        if let Some((weight, program)) = &self.program {
            sum += weight * program.ask(asked).await?;
            total += weight;
        }
        Ok((sum / total).clamp(-1.0, 1.0))
    }
}

impl std::fmt::Debug for Rewards {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let weights: Vec<f32> = self.parts.iter().map(|(weight, _)| *weight).collect();
        f.debug_struct("Rewards")
            .field("weights", &weights)
            .field("program", &self.program.as_ref().map(|(w, _)| w))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{Dev, Error, Grade, Problem, Prompt, Test, Train};
    use std::ops::Range;

    /// A text is right that has the gold answer in it.
    struct Contains;

    impl Task for Contains {
        fn name(&self) -> &str {
            "contains"
        }
        fn train(&self, _: Range<usize>) -> Result<Vec<Problem<Train>>, Error> {
            Ok(Vec::new())
        }
        fn dev(&self, _: usize) -> Result<Vec<Problem<Dev>>, Error> {
            Ok(Vec::new())
        }
        fn test(&self, _: usize) -> Result<Vec<Problem<Test>>, Error> {
            Ok(Vec::new())
        }
        fn prompt(&self, question: &str) -> Prompt {
            Prompt::line(question)
        }
        fn grade(&self, _: &str, gold: &str, completion: &str) -> Grade {
            Grade {
                correct: completion.contains(gold),
                parsed: None,
            }
        }
        fn answer(&self, _: &str) -> Option<String> {
            None
        }
    }

    fn task() -> Arc<dyn Task> {
        Arc::new(Contains)
    }

    fn of(params: &Params, completion: &str, finished: bool) -> f32 {
        let rewards = Rewards::open(params, &task()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let asked = Asked {
            question: "q",
            gold: "7",
            completion,
            finished,
        };
        runtime.unwrap().block_on(rewards.of(&asked)).unwrap()
    }

    #[test]
    fn by_default_a_right_text_is_worth_1_and_any_other_minus_1() {
        let params = Params::default();
        assert_eq!(of(&params, "#### 7", true), 1.0);
        assert_eq!(of(&params, "#### 7", false), -1.0);
        assert_eq!(of(&params, "#### 8", true), -1.0);
    }

    #[test]
    fn a_mixture_is_the_mean_by_weight() {
        // Correctness 2, and the four forms at a half each.
        let params = Params {
            correctness: Some(2.0),
            strict_format: 0.5,
            soft_format: 0.5,
            tag_count: 0.5,
            integer: 0.5,
            ..Params::default()
        };
        let formed = "<reasoning>\n3 + 4\n</reasoning>\n<answer>\n#### 7\n</answer>\n";
        // All but the whole number (`#### 7` is none).
        assert_eq!(of(&params, formed, true), (4.0 - 1.0) / 4.0);
        assert_eq!(of(&params, "nothing", true), -1.0);
        // Two of four tags: 0.
        let half = "<reasoning>\n1\n</reasoning>\n7";
        let tags = Params {
            correctness: Some(0.0),
            tag_count: 1.0,
            ..Params::default()
        };
        assert_eq!(of(&tags, half, true), 0.0);
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        let key = |params: Params| params.check().unwrap_err().key;
        let default = Params::default;
        assert!(default().check().is_ok());
        assert_eq!(
            key(Params {
                integer: -1.0,
                ..default()
            }),
            "integer"
        );
        assert_eq!(
            key(Params {
                soft_format: f32::NAN,
                ..default()
            }),
            "soft_format"
        );
        assert_eq!(
            key(Params {
                correctness: Some(0.0),
                ..default()
            }),
            "correctness"
        );
        assert_eq!(
            key(Params {
                timeout_s: 0.0,
                ..default()
            }),
            "timeout_s"
        );
        assert_eq!(
            key(Params {
                processes: 0,
                ..default()
            }),
            "processes"
        );
        assert_eq!(
            key(Params {
                command: vec![String::new()],
                ..default()
            }),
            "command"
        );
        let alone = Params {
            command: vec!["x".into()],
            ..default()
        };
        assert_eq!((alone.correct(), alone.program()), (0.0, 1.0));
    }
}
