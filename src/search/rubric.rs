//! A judge that is asked in words whether a solution is right: how probable its yes is.

use super::Error;
use super::aide::Aided;
use super::decode::Policy;
use super::driver::Driver;
use super::judge::Judge;
use super::params::Params;
use crate::engine::{Request, Session};
use crate::model::{Template, Tokenizer};
use crate::task::Message;
use crate::tree::NodeId;
use std::sync::Arc;

/// The prompt of a rubric that names none.
pub const RUBRIC: &str = "Here are a question and a solution to it, which may break off before its end.\n\n\
     Question:\n{{ question }}\n\nSolution:\n{{ solution }}\n\n\
     Is the solution right so far? Answer Yes or No.";

/// Stands for the solution in a rendered prompt, as its tokens are those that the policy wrote.
const PLACE: &str = "\u{F8FF}solution\u{F8FF}";

/// What a prompt has around the solution.
fn around(text: &str) -> Result<(&str, &str), String> {
    match text.split_once(PLACE) {
        Some((before, after)) if !after.contains(PLACE) => Ok((before, after)),
        _ => Err("it has to hold {{ solution }} as it is, in one place".into()),
    }
}

/// Checks the prompt of a rubric.
///
/// # Errors
/// What is wrong with it.
pub(super) fn check_prompt(prompt: &str) -> Result<(), String> {
    let values = [("question", "2 + 2?"), ("solution", PLACE)];
    let rendered = Template::new(prompt).and_then(|template| template.render(&values));
    around(&rendered.map_err(|e| e.to_string())?)?;
    Ok(())
}

/// A rubric and the checkpoint that is asked.
pub struct Rubric {
    /// Where the checkpoint lies; empty for the policy itself.
    path: String,
    tokenizer: Arc<Tokenizer>,
    template: Template,
    /// First tokens of yes and no.
    answers: [u32; 2],
}

/// A rubric about one question, in tokens.
pub(super) struct Asked {
    /// Place of the judge among the others.
    pub place: usize,
    pub path: String,
    /// What comes before the solution.
    pub before: Vec<u32>,
    /// What comes after it.
    after: Vec<u32>,
    answers: [u32; 2],
}

impl Rubric {
    fn new(
        tokenizer: &Arc<Tokenizer>,
        prompt: &str,
        [yes, no]: [&str; 2],
        path: &str,
    ) -> Result<Rubric, String> {
        let first = |name: &str, word: &str| {
            let tokens = tokenizer.encode(word).map_err(|e| e.to_string())?;
            let none = || format!("`{name}` ({word:?}) has no token");
            tokens.first().copied().ok_or_else(none)
        };
        let answers = [first("yes", yes)?, first("no", no)?];
        if answers[0] == answers[1] {
            return Err(format!(
                "`yes` ({yes:?}) and `no` ({no:?}) begin with the same token of this tokenizer, so nothing \
                 tells them apart; write words whose first tokens differ"
            ));
        }
        let rubric = Rubric {
            path: path.into(),
            tokenizer: tokenizer.clone(),
            template: Template::new(prompt).map_err(|e| e.to_string())?,
            answers,
        };
        match rubric.about(0, "")?.before.is_empty() {
            true => Err("its prompt begins with the solution; write something before it".into()),
            false => Ok(rubric),
        }
    }

    /// The prompt about `question`, through the chat template where there is one. Before and after the
    /// solution it is tokenised separately: the solution in between is never tokenised anew.
    fn about(&self, place: usize, question: &str) -> Result<Asked, String> {
        let text = self
            .template
            .render(&[("question", question), ("solution", PLACE)])
            .map_err(|e| e.to_string())?;
        let chat = self.tokenizer.render(&[Message::user(text.as_str())]);
        let chat = chat.map_err(|e| e.to_string())?;
        let (before, after) = around(chat.as_deref().unwrap_or(&text))?;
        let before = match chat {
            Some(_) => self.tokenizer.encode(before),
            None => self.tokenizer.prompt(before, &[]),
        };
        Ok(Asked {
            place,
            path: self.path.clone(),
            before: before.map_err(|e| e.to_string())?,
            after: self.tokenizer.encode(after).map_err(|e| e.to_string())?,
            answers: self.answers,
        })
    }
}

impl Asked {
    /// Slots that a search's questions take at most, what comes before the solution included.
    pub fn slots(&self, params: &Params) -> usize {
        let most = 1 + params.max_new_tokens + self.after.len();
        self.before.len() + params.leaves.max(1) * most
    }
}

impl Policy {
    /// The same policy with the rubrics among `judges` at hand. The checkpoints that they name come
    /// first: [`Policy::with_aides`].
    ///
    /// # Errors
    /// A rubric that the tokenizer of its checkpoint cannot write, or whose yes and no begin alike.
    pub fn with_rubrics(&self, judges: &[Judge]) -> Result<Policy, Error> {
        let mut policy = self.clone();
        policy.rubrics.clear();
        for (place, judge) in judges.iter().enumerate() {
            let Judge::Rubric {
                prompt,
                yes,
                no,
                path,
                weight,
            } = judge
            else {
                continue;
            };
            if *weight == 0.0 {
                continue;
            }
            let tokenizer = match path.is_empty() {
                true => Some(&self.tokenizer),
                false => self.aides.get(path).map(|aide| &aide.tokenizer),
            };
            let refuse = |reason| Error::Rubric { place, reason };
            let tokenizer =
                tokenizer.ok_or_else(|| refuse(format!("{path} was not opened beside the policy")));
            let rubric = Rubric::new(tokenizer?, prompt, [yes, no], path).map_err(refuse)?;
            policy.rubrics.insert(place, Arc::new(rubric));
        }
        Ok(policy)
    }

    /// The same policy at work on `question`, which rubrics put in words.
    pub fn about(&self, question: &str) -> Policy {
        Policy {
            question: Some(question.into()),
            ..self.clone()
        }
    }

    /// What the rubrics of a search ask about `question`.
    pub(super) fn asked(
        &self,
        params: &Params,
        question: Option<&str>,
    ) -> Result<Vec<Asked>, Error> {
        let mut asked = Vec::new();
        for place in params.rubrics() {
            let refuse = |reason: String| Error::Rubric { place, reason };
            let missing = || refuse("it was not opened beside the policy".into());
            let rubric = self.rubrics.get(&place).ok_or_else(missing)?;
            let unknown = || refuse("nobody said what the question is".into());
            let question = question.ok_or_else(unknown)?;
            asked.push(rubric.about(place, question).map_err(refuse)?);
        }
        Ok(asked)
    }
}

impl Policy {
    /// A session for a tree of `slots` slots, and where rubrics ask the policy itself one for those.
    /// Both at once: whoever held one and waited for the other could wait for ever.
    pub(super) async fn sessions(
        &self,
        slots: usize,
        asked: &[Asked],
        params: &Params,
    ) -> Result<(Arc<Session>, Option<Session>), Error> {
        let own = asked.iter().filter(|rubric| rubric.path.is_empty());
        let own: usize = own.map(|rubric| rubric.slots(params)).sum();
        let mut session = self.engine.session(slots + own).await?;
        let own = match own {
            0 => None,
            own => session.split(own),
        };
        Ok((Arc::new(session), own))
    }
}

impl Driver<'_> {
    /// The rubric at `place` among the judges, asked about the solution up to `node`, of a revised text
    /// the last one, its stop token left out.
    pub(super) fn rubric(&self, node: NodeId, place: usize) -> Option<Aided> {
        let (helper, asked) = self.helpers.rubrics.get(&place)?;
        let mut text = self.without_stop(self.last_solution(node, &[]));
        text.extend(&asked.after);
        let request = Request {
            top_k: 1,
            compare: Some(asked.answers),
            ..Request::default()
        };
        Some(helper.job(&text, request))
    }
}

/// `2 p - 1` with `p = P(yes) / (P(yes) + P(no))`, from log-probabilities of yes and no.
pub(super) fn opinion([yes, no]: [f32; 2]) -> f32 {
    ((yes - no) / 2.0).tanh()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_opinion_is_the_share_of_yes() {
        let of = |yes: f32, no: f32| opinion([yes.ln(), no.ln()]);
        assert!((of(0.3, 0.1) - 0.5).abs() < 1e-6);
        assert!((of(1e-6, 3e-6) + 0.5).abs() < 1e-6);
        assert_eq!(of(0.2, 0.2), 0.0);
        assert_eq!(opinion([-1.0, -500.0]), 1.0);
    }

    #[test]
    fn a_prompt_holds_the_solution_once() {
        assert_eq!(check_prompt(RUBRIC), Ok(()));
        for (prompt, why) in [
            ("Is it right?", "solution"),
            ("{{ solution }} {{ solution }}", "one place"),
            ("{{ solution | upper }}", "as it is"),
            ("{{ solution }} {{ answer }}", "undefined"),
            ("{{ solution", "syntax error"),
        ] {
            let found = check_prompt(prompt).unwrap_err();
            assert!(found.contains(why), "{prompt}: {found}");
        }
    }

    #[test]
    fn the_reference_has_the_default_prompt() {
        let reference = include_str!("../../recipes/REFERENCE.md");
        assert_eq!(reference.matches(&format!("{RUBRIC:?}")).count(), 2);
    }
}
