//! What the methods of an evaluation take.

use super::helpers::Helpers;
use super::sample::Spread;
use super::searched::{Forwarded, TEXT, options};
use crate::recipe::Recipe;
use crate::search::GuidedParams;
use serde::Serialize;

/// Share of a beam's continuations beside the most probable one that are probable enough.
const PROBABLE: f64 = 0.5;

/// What a method of the evaluation takes, per question.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Method {
    /// Tokens forwarded by the policy; each takes a slot, of those set aside, until the question is
    /// answered.
    pub tokens: f64,
    /// Slots that are set aside.
    pub reserved: f64,
    /// Rows that want to advance at once.
    pub rows: f64,
    /// Tokens forwarded by other checkpoints, in those of the policy of the same cost.
    pub helped: f64,
}

/// The methods of an evaluation: greedy, draws, searches by name, beams by name, draws that are ranked; with
/// the tokens that each was seen to take, or assumed ones.
pub(super) fn methods(
    recipe: &Recipe,
    prompt: Spread,
    helpers: &Helpers,
    seen: Option<&[f64]>,
) -> Vec<Method> {
    let params = &recipe.evaluate;
    let limit = params.sampling.max_new_tokens as f64;
    let greedy = params.max_new_tokens as f64;
    let drawn = |draws: usize| Method {
        tokens: prompt.mean + TEXT * draws as f64 * limit,
        reserved: prompt.mean + draws as f64 * (limit + 1.0),
        rows: draws as f64,
        helped: 0.0,
    };
    let mut all = vec![
        Method {
            tokens: prompt.mean + TEXT * greedy,
            reserved: prompt.mean + greedy,
            rows: 1.0,
            helped: 0.0,
        },
        drawn(params.samples),
    ];
    let searches = params.search.values();
    all.extend(searches.map(|search| searched(search, prompt.mean, helpers)));
    all.extend(params.beam.values().map(|beam| {
        let (width, top_k) = (beam.width.max(1) as f64, beam.top_k.max(1) as f64);
        let text = width * beam.max_new_tokens as f64;
        Method {
            tokens: prompt.mean + TEXT * text * (1.0 + PROBABLE * (top_k - 1.0)),
            reserved: prompt.mean + text * top_k,
            rows: width * top_k,
            helped: 0.0,
        }
    }));
    if params.rank > 0 {
        all.push(drawn(params.rank));
    }
    for (method, tokens) in all.iter_mut().zip(seen.into_iter().flatten()) {
        // What is seen is the sum.
        let share = method.helped / (method.tokens + method.helped).max(1.0);
        method.tokens = tokens * (1.0 - share);
        method.helped = tokens * share;
    }
    all
}

fn searched(search: &GuidedParams, prompt: f64, helpers: &Helpers) -> Method {
    let forwarded = Forwarded::guided(search, prompt, helpers);
    Method {
        tokens: forwarded.held,
        reserved: search.reserved_slots(prompt as usize) as f64,
        rows: search.leaves.max(1) as f64 * options(&search.actions).max(1.0),
        helped: forwarded.helped,
    }
}
