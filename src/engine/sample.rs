//! From a row of logits to what leaves the device: the top k, the log-sum-exp, the next token.

use super::request::{Choose, Output};
use crate::kernels::lanes::{exp_sum, max};
use crate::model::Opinion;

/// Top `k` and log-sum-exp of `logits`.
pub(super) fn output(logits: &[f32], k: usize, opinion: Opinion) -> Output {
    let log_sum_exp = log_sum_exp(logits);
    let top = top_k(logits, k);
    Output {
        log_probs: top
            .iter()
            .map(|&t| logits[t as usize] - log_sum_exp)
            .collect(),
        tokens: top,
        log_sum_exp,
        value: opinion.value,
        spread: opinion.spread,
    }
}

/// Log-probabilities of the tokens of `pair`.
pub(super) fn compared(
    logits: &[f32],
    log_sum_exp: f32,
    pair: Option<[u32; 2]>,
) -> Option<[f32; 2]> {
    Some(pair?.map(|token| logits[token as usize] - log_sum_exp))
}

/// Stable `ln(sum(exp(x)))`.
pub(super) fn log_sum_exp(logits: &[f32]) -> f32 {
    let max = max(logits);
    max + exp_sum(logits, max).ln() as f32
}

/// Ids of the `k` largest logits, descending; ties by ascending id.
fn top_k(logits: &[f32], k: usize) -> Vec<u32> {
    /// Logits that are compared with the worst of the best at once.
    const BLOCK: usize = 64;
    let k = k.min(logits.len());
    let mut best: Vec<(f32, u32)> = Vec::with_capacity(k + 1);
    for (block, some) in logits.chunks(BLOCK).enumerate() {
        if best.len() == k && best.last().is_none_or(|worst| max(some) <= worst.0) {
            continue;
        }
        for (at, &x) in some.iter().enumerate() {
            if best.len() == k && best.last().is_none_or(|worst| x <= worst.0) {
                continue;
            }
            let place = best.partition_point(|b| b.0 >= x);
            best.insert(place, (x, (block * BLOCK + at) as u32));
            best.truncate(k);
        }
    }
    best.into_iter().map(|b| b.1).collect()
}

/// The next token, and its log-probability at temperature 1. `draw` numbers the draws of a row.
pub(super) fn choose(logits: &[f32], log_sum_exp: f32, how: Choose, draw: u64) -> (u32, f32) {
    let token = match how {
        Choose::Greedy => arg_max(logits),
        Choose::Sample {
            temperature,
            top_p,
            seed,
        } => sample(logits, temperature, top_p, uniform(seed, draw)),
    };
    (token, logits[token as usize] - log_sum_exp)
}

fn arg_max(logits: &[f32]) -> u32 {
    let max = max(logits);
    logits.iter().position(|&x| x == max).unwrap_or(0) as u32
}

fn sample(logits: &[f32], temperature: f32, top_p: f32, u: f64) -> u32 {
    if temperature <= 0.0 {
        return arg_max(logits);
    }
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let weight = |x: f32| f64::from(((x - max) / temperature).exp());
    if top_p >= 1.0 {
        let total: f64 = logits.iter().map(|&x| weight(x)).sum();
        return walk(logits.iter().map(|&x| weight(x)).enumerate(), u * total);
    }
    let mut order: Vec<usize> = (0..logits.len()).collect();
    order.sort_by(|&a, &b| logits[b].total_cmp(&logits[a]).then(a.cmp(&b)));
    let total: f64 = logits.iter().map(|&x| weight(x)).sum();
    let mut kept = 0.0;
    let nucleus = order
        .iter()
        .take_while(|&&id| {
            let inside = kept < f64::from(top_p) * total;
            kept += weight(logits[id]);
            inside
        })
        .count()
        .max(1);
    let kept: f64 = order[..nucleus].iter().map(|&id| weight(logits[id])).sum();
    walk(
        order[..nucleus].iter().map(|&id| (id, weight(logits[id]))),
        u * kept,
    )
}

/// The item at which the running sum of weights passes `target`.
fn walk(items: impl Iterator<Item = (usize, f64)>, target: f64) -> u32 {
    let mut sum = 0.0;
    let mut last = 0;
    for (id, weight) in items {
        if weight > 0.0 {
            last = id;
        }
        sum += weight;
        if sum > target {
            return id as u32;
        }
    }
    last as u32
}

/// A number in [0, 1) that depends on the arguments alone (SplitMix64's finaliser).
pub(super) fn uniform(seed: u64, draw: u64) -> f64 {
    let mut z = seed ^ draw.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    for _ in 0..2 {
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^= z >> 31;
    }
    (z >> 11) as f64 / (1u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_k_is_ordered_and_breaks_ties_by_id() {
        let logits = [0.5, 2.0, -1.0, 2.0, 1.0];
        assert_eq!(top_k(&logits, 3), [1, 3, 4]);
        assert_eq!(top_k(&logits, 9).len(), 5);
        let out = output(&logits, 2, Opinion::default());
        let total: f32 = logits.iter().map(|x| (x - out.log_sum_exp).exp()).sum();
        assert!((total - 1.0).abs() < 1e-6);
    }

    #[test]
    fn draws_follow_the_softmax() {
        let logits = [0.0f32, (3.0f32).ln()];
        let ones = (0..20_000)
            .filter(|&i| sample(&logits, 1.0, 1.0, uniform(7, i)) == 1)
            .count();
        // Three quarters, give or take five standard deviations.
        assert!((ones as f64 / 20_000.0 - 0.75).abs() < 5.0 * (0.1875f64 / 20_000.0).sqrt());
    }

    #[test]
    fn a_nucleus_leaves_the_tail_out() {
        let logits = [3.0, 2.0, -4.0];
        assert!((0..2_000).all(|i| sample(&logits, 1.0, 0.9, uniform(1, i)) != 2));
        assert!((0..50).all(|i| sample(&logits, 1.0, 0.1, uniform(1, i)) == 0));
    }
}
