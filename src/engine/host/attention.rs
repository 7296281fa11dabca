//! Attention of one token over the slots that it sees, for the query heads that share a key head.
//! Sums run in a fixed order of lanes, so a row's result does not depend on what else is in the
//! batch.

use super::cache::SharedLayer;
use super::lanes::{dispatch, exp, max_body, multiply_add, sum_body};

/// Lanes of the sums over a head's dimensions.
const LANES: usize = 8;

#[inline(always)]
fn dot<const FMA: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (a8, b8) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let (a_rest, b_rest) = (a8.remainder(), b8.remainder());
    for (x, y) in a8.zip(b8) {
        for l in 0..LANES {
            lanes[l] = multiply_add::<FMA>(x[l], y[l], lanes[l]);
        }
    }
    for l in 0..LANES / 2 {
        lanes[l] += lanes[l + LANES / 2];
    }
    let mut sum = (lanes[0] + lanes[2]) + (lanes[1] + lanes[3]);
    for (x, y) in a_rest.iter().zip(b_rest) {
        sum = multiply_add::<FMA>(*x, *y, sum);
    }
    sum
}

#[inline(always)]
fn attend_group_body<const FMA: bool>(
    queries: &[f32],
    cache: &SharedLayer,
    slots: &[u32],
    layout: Layout,
    scores: &mut [f32],
    out: &mut [f32],
) {
    let d = layout.head_dim;
    let group = queries.len() / d;
    let n = slots.len();
    for (at, &slot) in slots.iter().enumerate() {
        let key = cache.read(slot, layout.key, d);
        for g in 0..group {
            scores[g * n + at] = dot::<FMA>(&queries[g * d..][..d], key) * layout.scale;
        }
    }
    for g in 0..group {
        let row = &mut scores[g * n..][..n];
        let max = max_body::<FMA>(row);
        for s in row.iter_mut() {
            *s = exp::<FMA>(*s - max);
        }
        let scale = 1.0 / sum_body::<FMA>(row);
        for s in row.iter_mut() {
            *s *= scale;
        }
    }
    out.fill(0.0);
    for (at, &slot) in slots.iter().enumerate() {
        let value = cache.read(slot, layout.value, d);
        for g in 0..group {
            let weight = scores[g * n + at];
            let out = &mut out[g * d..][..d];
            for (o, v) in out.iter_mut().zip(value) {
                *o = multiply_add::<FMA>(weight, *v, *o);
            }
        }
    }
}

/// Where a head's keys and values lie in the cache of one layer.
#[derive(Debug, Clone, Copy)]
pub struct Layout {
    /// Offset of this head's key within a slot.
    pub key: usize,
    /// Offset of this head's value within a slot.
    pub value: usize,
    pub head_dim: usize,
    /// `1 / sqrt(head_dim)`.
    pub scale: f32,
}

dispatch!(attend_group, attend_group_body, (
    queries: &[f32],
    cache: &SharedLayer,
    slots: &[u32],
    layout: Layout,
    scores: &mut [f32],
    out: &mut [f32]
));
