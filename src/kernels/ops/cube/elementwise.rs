//! One unit for each number, or for the two that a rotation turns.

use cubecl::ir::ElemType;
use cubecl::prelude::*;

#[cube(launch)]
pub fn rotate_and_store<F: Float>(
    qkv: &[F],
    bias: &[f32],
    angles: &[f32],
    places: &[u32],
    pool: &mut [F],
    q: &mut [F],
    tokens: u32,
    #[comptime] heads: usize,
    #[comptime] kv: usize,
    #[comptime] d: usize,
    #[define(F)] _dtype: ElemType,
) {
    let half = comptime!(d / 2);
    let pairs = comptime!((heads + 2 * kv) * half);
    let at = ABSOLUTE_POS as usize;
    let token = at / pairs;
    if token < tokens as usize {
        let pair = at % pairs;
        let head = pair / half;
        let i = pair % half;
        let column = head * d + i;
        let from = token * comptime!((heads + 2 * kv) * d) + column;
        let low = f32::cast_from(qkv[from]) + bias[column];
        let high = f32::cast_from(qkv[from + half]) + bias[column + half];
        let angle = places[token] as usize * d + i;
        let cos = angles[angle];
        let sin = angles[angle + half];
        let slot = places[tokens as usize + token] as usize * comptime!(2 * kv * d);
        if head < heads {
            let to = (token * heads + head) * d + i;
            q[to] = F::cast_from(low * cos - high * sin);
            q[to + half] = F::cast_from(high * cos + low * sin);
        } else {
            // Keys and values lie in the pool as the projection leaves them.
            let to = slot + (head - heads) * d + i;
            if head < comptime!(heads + kv) {
                pool[to] = F::cast_from(low * cos - high * sin);
                pool[to + half] = F::cast_from(high * cos + low * sin);
            } else {
                pool[to] = F::cast_from(low);
                pool[to + half] = F::cast_from(high);
            }
        }
    }
}

#[cube(launch)]
pub fn swiglu<F: Float>(
    gate_up: &[F],
    out: &mut [F],
    tokens: u32,
    #[comptime] width: usize,
    #[define(F)] _dtype: ElemType,
) {
    let at = ABSOLUTE_POS as usize;
    let token = at / width;
    if token < tokens as usize {
        let gate = f32::cast_from(gate_up[at + token * width]);
        let up = f32::cast_from(gate_up[at + (token + 1) * width]);
        out[at] = F::cast_from(gate / (1.0 + (-gate).exp()) * up);
    }
}

#[cube(launch)]
pub fn copy<N: Numeric>(from: &[N], into: &mut [N], count: u32, #[define(N)] _dtype: ElemType) {
    let at = ABSOLUTE_POS as usize;
    if at < count as usize {
        into[at] = from[at];
    }
}
