//! Whether new networks replace old ones: a paired test on held-out train questions (AlphaGo Zero's
//! evaluator, Silver et al. 2017, with a test in place of its threshold).

use super::answers::{Answer, Method};
use super::statistics::McNemar;
use super::{Entry, Error, Run, Setting, grade};
use crate::task::{Dev, Problem};
use serde::{Deserialize, Serialize};

/// What is asked of new networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Require {
    /// That they are not significantly worse.
    #[default]
    NotWorse,
    /// That they answer more questions right.
    More,
    /// That they are significantly better.
    Better,
}

/// The gate between iterations.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Questions of the dev split that old and new networks answer; 0 for no gate. Default 0.
    pub questions: usize,
    /// What is asked of the new ones: `not_worse`, `more` or `better`. Refused ones are dropped, and the
    /// next iteration goes on collecting with the old ones. Default `not_worse`.
    pub require: Require,
    /// Significance level of McNemar's exact test. Default 0.05.
    pub level: f64,
    /// By what they answer: `greedy`, or the name of a search under `evaluate.search`. Default
    /// `greedy`.
    pub method: String,
    /// Whether later fits learn from the traces of refused iterations too. Default true.
    pub learn_from_refused: bool,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            questions: 0,
            require: Require::NotWorse,
            level: 0.05,
            method: "greedy".into(),
            learn_from_refused: true,
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ruling {
    pub accepted: bool,
    pub questions: u64,
    /// Questions that only the new networks answer right, and only the old ones.
    pub gains: u64,
    pub losses: u64,
    /// Two-sided p-value.
    pub p: f64,
}

impl Params {
    /// Rules on paired answers of the old and the new networks.
    pub fn rule(&self, old: &[bool], new: &[bool]) -> Ruling {
        let test = McNemar::of(new.iter().copied().zip(old.iter().copied()));
        let significant = test.p < self.level;
        let accepted = match self.require {
            Require::NotWorse => !(significant && test.c > test.b),
            Require::More => test.b > test.c,
            Require::Better => significant && test.b > test.c,
        };
        Ruling {
            accepted,
            questions: new.len() as u64,
            gains: test.b,
            losses: test.c,
            p: test.p,
        }
    }
}

/// Which of `problems` the networks of `setting` answer right by the method of `params`.
///
/// # Errors
/// As [`super::evaluate`], and a method that `how` does not name.
pub fn right_answers(
    setting: &Setting<'_>,
    problems: &[Problem<Dev>],
    params: &Params,
    how: &super::Params,
) -> Result<Vec<bool>, Error> {
    let run = Run::new(setting, problems, how)?;
    let method = match params.method.as_str() {
        "greedy" => Method::Greedy(how.max_new_tokens),
        name => match how.search.get(name) {
            Some(guided) => Method::Guided(Box::new(guided.clone()), setting.seed),
            None => return Err(Error::NoSuchMethod(name.into())),
        },
    };
    let bar = setting.monitor.progress("gate", problems.len() as u64);
    let results = run.answer(vec![Entry::one("gate", method)], &bar)?;
    let answers: &[Answer] = results.first().map_or(&[], |result| &result.1);
    let pairs = problems.iter().zip(answers);
    Ok(pairs
        .map(|(problem, answer)| grade(setting, problem, answer).correct)
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_required_decides() {
        // Ten questions won, none lost: p = .002.
        let (old, new) = (vec![false; 10], vec![true; 10]);
        let of = |require, old: &[bool], new: &[bool]| {
            let params = Params {
                require,
                ..Params::default()
            };
            params.rule(old, new).accepted
        };
        for require in [Require::NotWorse, Require::More, Require::Better] {
            assert!(of(require, &old, &new));
            assert!(!of(require, &new, &old));
        }
        // One won: more, though by chance.
        let one = [true, false, false];
        let none = [false; 3];
        assert!(of(Require::More, &none, &one) && !of(Require::Better, &none, &one));
        assert!(of(Require::NotWorse, &one, &none) && !of(Require::More, &one, &none));
        assert!(!of(Require::More, &none, &none));
    }
}
