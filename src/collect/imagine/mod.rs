//! Questions that the policy writes for itself, from train questions in its prompt.
//!
//! A written question is kept where its solutions agree: the answer that enough of several drawn solutions
//! give is taken for its gold answer (self-consistency, Wang et al. 2023, as a label: Huang et al. 2023). It must
//! resemble no question of any split. Held-out questions are there to refuse by only: what is remembered
//! of them are hashes of word sequences ([`Known`]).

mod known;
mod report;

pub use known::Known;
pub use report::{Refusal, Report};

use super::{Error, Setting};
use crate::model::Tokenizer;
use crate::search::{self, Ledger, Policy, SampleParams, crowd, sample, seed_of, stream};
use crate::task::{self, Problem, Prompt, Task, Train};
use rand::seq::index;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Marks the random streams of what is written here among those of an iteration.
const STREAM: u64 = u64::MAX - 1;
/// Train questions that are remembered, where the data has more than the run takes.
const MAX_TRAIN: usize = 20_000;

/// Questions that the policy writes before a collection, to be searched beside the train questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Params {
    /// Most written questions of an iteration, as a share of `collect.questions`; they come on top. 0 writes
    /// none. Default 0.
    pub share: f32,
    /// Train questions of the iteration that are shown for a written one. Default 4.
    pub examples: usize,
    /// Questions written at most for each that is wanted. Default 4.
    pub attempts: usize,
    /// Solutions drawn for a written question, as `collect.sampling` says. Default 8.
    pub votes: usize,
    /// Share of these that must give the same answer. Default 0.7.
    pub agreement: f32,
    /// Resemblance at which a question is refused: the share of sequences of eight words that it has in
    /// common with a train, dev, test or kept question, of the shorter of the two. Default 0.5.
    pub resemblance: f32,
    /// Tokens of a question at most. Default 160.
    pub max_new_tokens: usize,
    /// Softmax temperature at which questions are written. Default 1.
    pub temperature: f32,
}

impl Default for Params {
    fn default() -> Self {
        Params {
            share: 0.0,
            examples: 4,
            attempts: 4,
            votes: 8,
            agreement: 0.7,
            resemblance: 0.5,
            max_new_tokens: 160,
            temperature: 1.0,
        }
    }
}

impl Params {
    /// Questions wanted beside `questions`.
    pub(crate) fn wanted(&self, questions: usize) -> usize {
        (f64::from(self.share) * questions as f64 + 1e-6) as usize
    }
}

/// A question that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    pub question: String,
    /// The answer that its solutions agree on, canonical.
    pub gold: String,
}

/// What came of writing.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Imagined {
    pub questions: Vec<Written>,
    pub report: Report,
}

impl Imagined {
    /// The questions as problems of `iteration`.
    pub fn problems(&self, iteration: u32) -> Vec<Problem<Train>> {
        let numbered = (0..).zip(&self.questions);
        let problem = |(index, written): (u32, &Written)| {
            Problem::imagined(iteration, index, &*written.question, &*written.gold)
        };
        numbered.map(problem).collect()
    }
}

/// What an attempt came to.
type Draft = Result<String, Refusal>;

/// Writes questions in the manner of `problems`, as many as `params` allow for `questions` train questions.
/// Nothing depends on the number of workers.
///
/// # Errors
/// A task that cannot use a written question, an engine that stopped, and a request to stop.
pub fn imagine(
    setting: &Setting<'_>,
    problems: &[Problem<Train>],
    known: &mut Known,
    params: &super::Params,
) -> Result<Imagined, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build()
        .map_err(Error::Runtime)?;
    let how = &params.imagine;
    let mut made = Imagined::default();
    made.report.wanted = how.wanted(params.questions) as u64;
    let wanted = made.report.wanted as usize;
    let bar = setting.monitor.progress("imagine", made.report.wanted);
    let seed = seed_of(setting.seed, &[u64::from(setting.iteration), STREAM]);
    let mut left = wanted.saturating_mul(how.attempts);
    while made.questions.len() < wanted && left > 0 {
        let count = (wanted - made.questions.len()).min(left);
        let first = made.report.written;
        left -= count;
        made.report.written += count as u64;
        let attempts: Vec<u64> = (first..first + count as u64).collect();
        let drafts = runtime.block_on(write(setting, problems, params, seed, &attempts))?;
        let mut fresh = Vec::new();
        for ((draft, ledger), attempt) in drafts.into_iter().zip(attempts) {
            made.report.forward_tokens += ledger.total();
            match draft {
                Ok(question) if known.resembles(&question, f64::from(how.resemblance)) => {
                    made.report.refuse(Refusal::Resembling);
                }
                Ok(question) => {
                    known.add(&question);
                    fresh.push((attempt, question));
                }
                Err(refusal) => made.report.refuse(refusal),
            }
        }
        let votes = runtime.block_on(vote(setting, params, seed, &fresh))?;
        for ((gold, ledger), (_, question)) in votes.into_iter().zip(fresh) {
            made.report.forward_tokens += ledger.total();
            match gold {
                Ok(gold) => {
                    bar.inc(1);
                    made.questions.push(Written { question, gold });
                }
                Err(refusal) => made.report.refuse(refusal),
            }
        }
    }
    made.report.kept = made.questions.len() as u64;
    Ok(made)
}

/// The questions of the splits of `task`, by their hashes; `used` is the number of train questions that the
/// run takes.
///
/// # Errors
/// Data that cannot be read.
pub fn known_questions(task: &dyn Task, used: usize) -> Result<Known, task::Error> {
    let mut known = Known::default();
    let absent = |error| match error {
        task::Error::NoSplit { .. } => Ok(Vec::new()),
        error => Err(error),
    };
    for problem in task.train(0..used.max(MAX_TRAIN))? {
        known.add(&problem.question);
    }
    for problem in task.dev(usize::MAX)? {
        known.add(&problem.question);
    }
    for problem in task.test(usize::MAX).or_else(absent)? {
        known.add(&problem.question);
    }
    Ok(known)
}

/// Runs a job for each of `items`, side by side; results in their order.
async fn each<I, T, F>(
    setting: &Setting<'_>,
    workers: usize,
    items: &[I],
    job: impl Fn(&I) -> F,
) -> Result<Vec<T>, Error>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Error>> + Send + 'static,
{
    let mut found: BTreeMap<usize, T> = BTreeMap::new();
    let jobs = items.iter().map(|item| Ok(job(item)));
    crowd(jobs, workers, setting.stop, |index, result| {
        found.insert(index, result);
        Ok(())
    })
    .await?;
    Ok(found.into_values().collect())
}

/// What of a failed request is the request's own fault.
fn own_fault(error: search::Error) -> Result<Refusal, Error> {
    match error {
        search::Error::Engine(error) if error.is_of_request() => Ok(Refusal::Failed),
        error => Err(error.into()),
    }
}

/// Writes a question for each of `attempts`.
async fn write(
    setting: &Setting<'_>,
    problems: &[Problem<Train>],
    params: &super::Params,
    seed: u64,
    attempts: &[u64],
) -> Result<Vec<(Draft, Ledger)>, Error> {
    let how = &params.imagine;
    let sampling = SampleParams {
        temperature: how.temperature,
        top_p: 1.0,
        max_new_tokens: how.max_new_tokens,
    };
    let mut prompts = Vec::with_capacity(attempts.len());
    for &attempt in attempts {
        let mut rng = stream(seed, &[attempt, 0]);
        let places = index::sample(&mut rng, problems.len(), how.examples.min(problems.len()));
        let examples: Vec<&str> = places.iter().map(|at| &*problems[at].question).collect();
        let prompt = setting.task.imagine(&examples);
        prompts.push((attempt, prompt.ok_or_else(|| no_imagination(setting))?));
    }
    each(setting, params.workers, &prompts, |(attempt, prompt)| {
        let asked = Asked::new(setting, prompt);
        let (task, sampling) = (setting.task.clone(), sampling.clone());
        let seed = seed_of(seed, &[*attempt, 1]);
        async move {
            let drawn = match asked.draw(1, &sampling, seed).await? {
                Ok(drawn) => drawn,
                Err(refusal) => return Ok((Err(refusal), Ledger::default())),
            };
            let text = drawn.texts.into_iter().next().unwrap_or_default();
            let draft = match task.imagined(&text.text, text.finished) {
                Some(question) => Ok(question),
                None if text.finished => Err(Refusal::Malformed),
                None => Err(Refusal::Unfinished),
            };
            Ok((draft, drawn.ledger))
        }
    })
    .await
}

fn no_imagination(setting: &Setting<'_>) -> Error {
    Error::NoImagination {
        task: setting.task.name().to_owned(),
    }
}

/// The answer that the solutions of each question agree on.
async fn vote(
    setting: &Setting<'_>,
    params: &super::Params,
    seed: u64,
    questions: &[(u64, String)],
) -> Result<Vec<(Draft, Ledger)>, Error> {
    let (votes, agreement) = (params.imagine.votes, params.imagine.agreement);
    each(setting, params.workers, questions, |(attempt, question)| {
        let asked = Asked::new(setting, &setting.task.prompt(question));
        let (task, sampling) = (setting.task.clone(), params.sampling.clone());
        let seed = seed_of(seed, &[*attempt, 2]);
        async move {
            let drawn = match asked.draw(votes, &sampling, seed).await? {
                Ok(drawn) => drawn,
                Err(refusal) => return Ok((Err(refusal), Ledger::default())),
            };
            let answers = drawn
                .texts
                .iter()
                .filter(|text| text.finished)
                .filter_map(|text| task.answer(&text.text));
            Ok((elected(answers, votes, agreement), drawn.ledger))
        }
    })
    .await
}

/// The answer with the most votes, where it has a share of `agreement` of all `votes`; of two with as many
/// the first in the order of their texts.
fn elected(answers: impl Iterator<Item = String>, votes: usize, agreement: f32) -> Draft {
    let mut counts: BTreeMap<String, usize> = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer).or_default() += 1;
    }
    // `max_by_key` takes the last of equals.
    let most = counts.into_iter().rev().max_by_key(|(_, count)| *count);
    let (answer, count) = most.ok_or(Refusal::Unanswered)?;
    match count as f64 >= f64::from(agreement) * votes as f64 - 1e-6 {
        true => Ok(answer),
        false => Err(Refusal::Disagreeing),
    }
}

/// A prompt on its way to the policy.
struct Asked {
    policy: Policy,
    tokenizer: Arc<Tokenizer>,
    prompt: Option<Vec<u32>>,
}

struct Text {
    text: String,
    finished: bool,
}

impl Default for Text {
    fn default() -> Self {
        Text {
            text: String::new(),
            finished: true,
        }
    }
}

struct Texts {
    texts: Vec<Text>,
    ledger: Ledger,
}

impl Asked {
    fn new(setting: &Setting<'_>, prompt: &Prompt) -> Asked {
        let prompt = setting.tokenizer.prompt(&prompt.plain, &prompt.messages);
        Asked {
            policy: setting.policy.clone(),
            tokenizer: setting.tokenizer.clone(),
            // Text outside the vocabulary, for one.
            prompt: prompt.ok(),
        }
    }

    /// Draws `count` texts.
    async fn draw(
        &self,
        count: usize,
        sampling: &SampleParams,
        seed: u64,
    ) -> Result<Result<Texts, Refusal>, Error> {
        let Some(prompt) = &self.prompt else {
            return Ok(Err(Refusal::Failed));
        };
        let drawn = match sample(&self.policy, prompt, count, sampling, seed).await {
            Ok(drawn) => drawn,
            Err(error) => return own_fault(error).map(Err),
        };
        let text = |completion: &search::Completion| Text {
            text: self.tokenizer.decode(&completion.tokens),
            finished: completion.finished,
        };
        Ok(Ok(Texts {
            ledger: drawn.ledger(count),
            texts: drawn.completions.iter().map(text).collect(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_elected_by_its_share_of_all_votes() {
        let answers = |list: &[&str]| list.iter().map(|&a| a.to_owned()).collect::<Vec<_>>();
        let of = |list: &[&str], votes, share| elected(answers(list).into_iter(), votes, share);
        assert_eq!(of(&["7", "7", "8"], 4, 0.5), Ok("7".into()));
        assert_eq!(of(&["7", "7", "8"], 4, 0.6), Err(Refusal::Disagreeing));
        assert_eq!(
            of(&["7", "7", "7"], 10, 0.3),
            Ok("7".into()),
            "exactly the share"
        );
        assert_eq!(of(&[], 4, 0.0), Err(Refusal::Unanswered));
        assert_eq!(of(&["b", "a"], 2, 0.5), Ok("a".into()));
    }

    #[test]
    fn a_share_of_the_questions_is_wanted() {
        let wanted = |share, questions| {
            Params {
                share,
                ..Params::default()
            }
            .wanted(questions)
        };
        assert_eq!(wanted(0.0, 100), 0);
        assert_eq!(wanted(0.25, 10), 2);
        assert_eq!(wanted(0.1, 100), 10);
        assert_eq!(wanted(1.0, 7), 7);
    }

    #[test]
    fn problems_have_ids_of_their_own_and_a_mark() {
        let imagined = Imagined {
            questions: vec![
                Written {
                    question: "a".into(),
                    gold: "1".into(),
                },
                Written {
                    question: "b".into(),
                    gold: "2".into(),
                },
            ],
            ..Imagined::default()
        };
        let (first, second) = (imagined.problems(1), imagined.problems(2));
        let ids: std::collections::HashSet<u64> = first
            .iter()
            .chain(&second)
            .map(|problem| problem.id)
            .collect();
        assert_eq!(ids.len(), 4);
        assert!(ids.iter().all(|id| *id > 1 << 50 && *id < 1 << 53));
        assert!(first.iter().all(|problem| problem.imagined));
        assert_eq!((&*first[1].question, &*first[1].gold), ("b", "2"));
    }
}
