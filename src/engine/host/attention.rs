//! Attention of one token over the slots that it sees, for the query heads that share a key head.
//! Sums run in a fixed order of lanes, so a row's result does not depend on what else is in the
//! batch.

use super::cache::SharedLayer;
use crate::kernels::lanes::{dispatch, exp, max_body, multiply_add, sum_body};

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

/// Attends with `queries`, `[heads of a group, head_dim]`, to the keys and values of one head in
/// `slots`, and writes `out` in the same shape. `scores` is scratch.
pub fn attend_group(
    queries: &[f32],
    cache: &SharedLayer,
    slots: &[u32],
    layout: Layout,
    scores: &mut Vec<f32>,
    out: &mut [f32],
) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("fma")
    {
        use super::attention_avx512::attend_group;
        // SAFETY: the features were just found.
        return unsafe { attend_group(queries, cache, slots, layout, scores, out) };
    }
    scores.resize(queries.len() / layout.head_dim * slots.len(), 0.0);
    attend_lanes(queries, cache, slots, layout, scores, out);
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

dispatch!(attend_lanes, attend_group_body, (
    queries: &[f32],
    cache: &SharedLayer,
    slots: &[u32],
    layout: Layout,
    scores: &mut [f32],
    out: &mut [f32]
));

#[cfg(test)]
mod tests {
    use super::super::cache::HostCache;
    use super::*;
    use crate::model::{Architecture, Config, Rope};

    fn number(seed: usize) -> f32 {
        ((seed * 7919 + 13) % 1009) as f32 / 504.5 - 1.0
    }

    fn config(heads: usize, kv_heads: usize, head_dim: usize) -> Config {
        Config {
            architecture: Architecture::Llama,
            vocab_size: 10,
            hidden_size: heads * head_dim,
            intermediate_size: 8,
            num_hidden_layers: 1,
            num_attention_heads: heads,
            num_key_value_heads: kv_heads,
            head_dim,
            max_position_embeddings: 100,
            rms_norm_eps: 1e-5,
            rope_theta: 1e4,
            rope_scaling: None,
            tie_word_embeddings: true,
            attention_bias: false,
            bos_token_id: None,
            eos_token_ids: vec![],
        }
    }

    #[test]
    fn both_kernels_follow_the_definition() {
        for (group, kv, d) in [(1, 1, 8), (2, 2, 24), (7, 2, 64), (3, 1, 80), (5, 1, 128)] {
            let config = config(group * kv, kv, d);
            let mut cache = HostCache::new(&config, Rope::new(&config));
            let total = 200;
            cache.grow(total, 1);
            let shared = cache.share();
            let key_value = |slot: usize| (0..2 * kv * d).map(move |i| number(slot * 997 + i));
            for slot in 0..total {
                let floats: Vec<f32> = key_value(slot).collect();
                shared.layers[0].write(slot as u32, &floats);
            }
            for n in [1, 2, 15, 16, 17, 100] {
                let slots: Vec<u32> = (0..n).map(|t| ((t * 37 + n) % total) as u32).collect();
                let queries: Vec<f32> = (0..group * d).map(|i| 3.0 * number(i * 3 + 1)).collect();
                let head = kv - 1;
                let layout = Layout {
                    key: head * d,
                    value: (kv + head) * d,
                    head_dim: d,
                    scale: (d as f32).sqrt().recip(),
                };
                let mut out = vec![f32::NAN; group * d];
                attend_group(
                    &queries,
                    &shared.layers[0],
                    &slots,
                    layout,
                    &mut Vec::new(),
                    &mut out,
                );
                let mut plain = vec![f32::NAN; group * d];
                let mut scores = vec![0.0; group * n];
                attend_group_body::<false>(
                    &queries,
                    &shared.layers[0],
                    &slots,
                    layout,
                    &mut scores,
                    &mut plain,
                );
                for g in 0..group {
                    let stored: Vec<Vec<f64>> = slots
                        .iter()
                        .map(|&slot| key_value(slot as usize).map(f64::from).collect())
                        .collect();
                    let score = |kv: &Vec<f64>| -> f64 {
                        let dot = |i| f64::from(queries[g * d + i]) * kv[layout.key + i];
                        (0..d).map(dot).sum::<f64>() / (d as f64).sqrt()
                    };
                    let weights: Vec<f64> = stored.iter().map(|kv| score(kv).exp()).collect();
                    let total: f64 = weights.iter().sum();
                    for i in 0..d {
                        let right: f64 = stored
                            .iter()
                            .zip(&weights)
                            .map(|(kv, w)| kv[layout.value + i] * w / total)
                            .sum();
                        for found in [out[g * d + i], plain[g * d + i]] {
                            assert!((f64::from(found) - right).abs() < 2e-6, "{group} {d} {n}");
                        }
                    }
                }
            }
        }
    }
}
