//! Causal attention over whole sequences, as training and reference passes use it.

use super::config::Config;
use super::rope::Rope;
use burn::tensor::{Device, Tensor, TensorData, activation::softmax};

/// How a decoder layer looks at other tokens.
///
/// The decoder hands over the fused projection and takes back the attended values; where keys and
/// values live is the implementer's business, so the weights stay behind `&self`.
pub trait Attend {
    /// Rotates queries and keys, and attends.
    ///
    /// `qkv` is `[tokens, (heads + 2 * kv_heads) * head_dim]`: queries, keys and values before the
    /// rotary embedding. Returns `[tokens, heads * head_dim]`.
    fn attend(&mut self, layer: usize, qkv: Tensor<2>) -> Tensor<2>;
}

/// Attention of a right-padded batch to its own past; no cache.
///
/// Padding lies to the right of every real token, so the causal mask alone keeps it out of sight.
pub struct CausalAttention {
    batch: usize,
    time: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    /// `[1, time, 1, head_dim]`, both halves alike.
    cos: Tensor<4>,
    /// `[1, time, 1, head_dim]`, the first half negated.
    sin: Tensor<4>,
    /// `[1, 1, group * time, time]`: 0 where the key is visible, a large negative number elsewhere.
    mask: Tensor<4>,
}

impl CausalAttention {
    /// Tables for a batch of `batch` sequences of `time` tokens.
    pub fn new(config: &Config, rope: &Rope, batch: usize, time: usize, device: &Device) -> Self {
        let half = rope.half();
        let (c, s) = rope.table(time);
        let mut cos = Vec::with_capacity(time * 2 * half);
        let mut sin = Vec::with_capacity(time * 2 * half);
        for t in 0..time {
            let (c, s) = (&c[t * half..][..half], &s[t * half..][..half]);
            cos.extend(c.iter().chain(c));
            sin.extend(s.iter().map(|x| -x).chain(s.iter().copied()));
        }
        let group = config.num_attention_heads / config.num_key_value_heads;
        let mut mask = Vec::with_capacity(group * time * time);
        for _ in 0..group {
            for t in 0..time {
                mask.extend((0..time).map(|key| if key <= t { 0.0f32 } else { -1e9 }));
            }
        }
        let table = |data: Vec<f32>| {
            Tensor::from_data(TensorData::new(data, [1, time, 1, config.head_dim]), device)
        };
        CausalAttention {
            batch,
            time,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            cos: table(cos),
            sin: table(sin),
            mask: Tensor::from_data(TensorData::new(mask, [1, 1, group * time, time]), device),
        }
    }
}

impl Attend for CausalAttention {
    fn attend(&mut self, _layer: usize, qkv: Tensor<2>) -> Tensor<2> {
        let (b, t, h, kv, d) = (
            self.batch,
            self.time,
            self.heads,
            self.kv_heads,
            self.head_dim,
        );
        let group = h / kv;
        let rotating = (h + kv) * d;
        let x = qkv
            .clone()
            .slice([0..b * t, 0..rotating])
            .reshape([b, t, h + kv, d]);
        let swapped = Tensor::cat(
            vec![
                x.clone().slice([0..b, 0..t, 0..h + kv, d / 2..d]),
                x.clone().slice([0..b, 0..t, 0..h + kv, 0..d / 2]),
            ],
            3,
        );
        let x = x * self.cos.clone() + swapped * self.sin.clone();
        // The query heads of a group share a key: they become rows of one matmul.
        let q = x
            .clone()
            .slice([0..b, 0..t, 0..h])
            .mul_scalar((d as f64).sqrt().recip())
            .reshape([b, t, kv, group, d])
            .permute([0, 2, 3, 1, 4])
            .reshape([b, kv, group * t, d]);
        let k = x.slice([0..b, 0..t, h..h + kv]).permute([0, 2, 3, 1]);
        let v = qkv
            .slice([0..b * t, rotating..rotating + kv * d])
            .reshape([b, t, kv, d])
            .permute([0, 2, 1, 3]);
        let weights = softmax(q.matmul(k) + self.mask.clone(), 3);
        weights
            .matmul(v)
            .reshape([b, kv, group, t, d])
            .permute([0, 3, 1, 2, 4])
            .reshape([b * t, h * d])
    }
}
