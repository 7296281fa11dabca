//! Whole searches: simulations of a collection, seconds of a guided answer.

use super::steps::runtime;
use super::{Error, Figure, Params, Subject, What};
use crate::collect::{self, Setting, search_each};
use crate::monitor::Monitor;
use crate::search::{self, GuidedParams};
use crate::stop::Stop;
use crate::task::reward::Rewards;
use crate::tree;
use std::sync::Arc;
use std::time::Instant;

/// Searches `questions` train questions, `rows` of them at once.
pub(super) fn collect(subject: &Subject, params: &Params) -> Result<Figure, Error> {
    let (_engine, policy) = subject.engine(true)?;
    let problems = subject.task().train(0..params.questions)?;
    let all: Vec<_> = problems.iter().collect();
    let (monitor, stop) = (Monitor::silent(), Stop::default());
    let rewards = Arc::new(Rewards::correctness(subject.task().clone()));
    let setting = Setting {
        policy: &policy,
        tokenizer: subject.tokenizer(),
        task: subject.task(),
        rewards: &rewards,
        monitor: &monitor,
        iteration: 1,
        seed: 0,
        stop: &stop,
    };
    let collecting = collect::Params {
        questions: params.questions,
        workers: params.rows,
        search: search::Params {
            simulations: params.simulations,
            max_new_tokens: params.max_new_tokens,
            ..search::Params::default()
        },
        ..collect::Params::default()
    };
    let mut repeats = Vec::with_capacity(params.repeats);
    for _ in 0..params.repeats {
        let mut simulations = 0u64;
        let from = Instant::now();
        search_each(&setting, &all, &collecting, |_, tree| {
            simulations += u64::from(tree.simulations);
            Ok(())
        })?;
        repeats.push(simulations as f64 / from.elapsed().as_secs_f64());
    }
    Ok(Figure {
        peak_bytes: None,
        what: What::Collect,
        rows: params.rows,
        context: params.max_new_tokens,
        unit: "simulations_per_s",
        repeats,
        roofline: None,
    })
}

/// Answers `questions` held-out questions by value-guided search, one after the other.
pub(super) fn guided(subject: &Subject, params: &Params) -> Result<Figure, Error> {
    let (_engine, policy) = subject.engine(true)?;
    let problems = subject.task().dev(params.questions)?;
    let guided = GuidedParams {
        simulations: params.simulations,
        max_new_tokens: params.max_new_tokens,
        tree: tree::Params {
            lambda: 0.0,
            ..GuidedParams::default().tree
        },
        ..GuidedParams::default()
    };
    let mut prompts = Vec::with_capacity(problems.len());
    for problem in &problems {
        let prompt = subject.task().prompt(&problem.question);
        prompts.push(
            subject
                .tokenizer()
                .prompt(&prompt.plain, &prompt.messages)?,
        );
    }
    let mut repeats = Vec::with_capacity(params.repeats);
    for _ in 0..params.repeats {
        let from = Instant::now();
        runtime()?.block_on(async {
            for prompt in &prompts {
                policy.guided(prompt, &guided, 0).await?;
            }
            Ok::<_, Error>(())
        })?;
        repeats.push(from.elapsed().as_secs_f64() / prompts.len().max(1) as f64);
    }
    Ok(Figure {
        peak_bytes: None,
        what: What::Search,
        rows: 1,
        context: params.max_new_tokens,
        unit: "seconds_per_question",
        repeats,
        roofline: None,
    })
}
