//! Training: tokens a second through forward and backward pass and optimiser.

use super::{Error, Figure, Params, Subject, What};
use crate::engine::Machine;
use crate::monitor::Monitor;
use crate::train::{Context, PolicyExample, ValueExample, fit_policy, fit_value};

/// Optimiser steps of a short and of a long fit; what a fit takes once cancels out.
const STEPS: (usize, usize) = (1, 4);

/// Fine-tuning of the whole policy on sequences of `context` tokens, half of each its prompt.
pub(super) fn policy(
    subject: &Subject,
    params: &Params,
    machine: &Machine,
) -> Result<Figure, Error> {
    let examples: Vec<PolicyExample> = texts(subject, params)
        .enumerate()
        .map(|(id, tokens)| PolicyExample {
            first: tokens.len() / 2,
            tokens,
            weight: 1.0,
            question: (id / params.siblings) as u64,
            aims: Vec::new(),
        })
        .collect();
    let monitor = Monitor::silent();
    timed(What::TrainPolicy, subject, params, machine, |steps| {
        let fit = fit_policy::Params {
            steps,
            batch: params.rows,
            siblings: params.siblings,
            validation: 0.0,
            checkpoint_every: 0,
            ..fit_policy::Params::default()
        };
        let fitted =
            fit_policy::fit_policy(subject.policy(), &examples, &fit, &Context::new(&monitor))?;
        Ok(fitted.1.seconds)
    })
}

/// The fit of a value net on a trunk of its own, a target at every position of the second half.
pub(super) fn value(
    subject: &Subject,
    params: &Params,
    machine: &Machine,
) -> Result<Figure, Error> {
    let examples: Vec<ValueExample> = texts(subject, params)
        .enumerate()
        .map(|(id, tokens)| {
            let first = tokens.len() / 2;
            ValueExample {
                first,
                targets: vec![0.5; tokens.len() - first],
                weights: vec![1.0; tokens.len() - first],
                tokens,
                question: (id / params.siblings) as u64,
                outcome: 1.0,
                probabilities: Vec::new(),
            }
        })
        .collect();
    let monitor = Monitor::silent();
    let head = subject.head();
    timed(What::TrainValue, subject, params, machine, |steps| {
        let fit = fit_value::Params {
            kind: fit_value::Kind::Trunk,
            steps,
            batch: params.rows,
            siblings: params.siblings,
            validation: 0.0,
            checkpoint_every: 0,
            ..fit_value::Params::default()
        };
        let fitted = fit_value::fit_value(
            subject.policy(),
            &head,
            &examples,
            &fit,
            &Context::new(&monitor),
        )?;
        Ok(fitted.2.seconds)
    })
}

/// As many sequences as the longer fit takes, siblings after each other.
fn texts(subject: &Subject, params: &Params) -> impl Iterator<Item = Vec<u32>> {
    let vocab = subject.config().vocab_size as u32;
    let (length, siblings) = (params.context.max(4) as u32, params.siblings as u32);
    // Only siblings begin alike: what two sequences share is computed once.
    let token = move |id: u32, t: u32| (id * 31 + id / vocab + t * 7919 + 13) % vocab;
    (0..(params.rows * STEPS.1) as u32).map(move |i| {
        let prompt = (0..length / 2).map(|t| token(i / siblings, t));
        prompt
            .chain((length / 2..length).map(|t| token(i, t)))
            .collect()
    })
}

fn timed(
    what: What,
    subject: &Subject,
    params: &Params,
    machine: &Machine,
    fit: impl Fn(usize) -> Result<f64, Error>,
) -> Result<Figure, Error> {
    let tokens = params.rows * params.context.max(4);
    let mut repeats = Vec::with_capacity(params.repeats);
    for _ in 0..params.repeats {
        let once = fit(STEPS.0)?;
        let more = fit(STEPS.1)?;
        let step = (more - once) / (STEPS.1 - STEPS.0) as f64;
        repeats.push(tokens as f64 / step);
    }
    // Forward once, backward twice.
    let operations = 6.0 * subject.config().parameters() as f64;
    Ok(Figure {
        peak_bytes: None,
        what,
        rows: params.rows,
        context: params.context,
        unit: "tokens_per_s",
        repeats,
        roofline: Some(machine.flops_per_s / operations),
    })
}
