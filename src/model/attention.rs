//! Causal attention over whole sequences, as training and reference passes use it.

use super::config::Config;
use super::decoder::{Columns, Projection, in_type};
use super::rope::Rope;
use burn::tensor::{DType, Device, Tensor, TensorData};
use std::ops::Range;

/// How a decoder layer looks at other tokens.
///
/// The decoder hands over the fused projection and takes back the attended values; where keys and
/// values live is the implementer's business, so the weights stay behind `&self`.
pub trait Attend {
    /// Projects, rotates queries and keys, and attends.
    ///
    /// `x` is `[tokens, hidden]`; `projection` gives `[tokens, (heads + 2 * kv_heads) * head_dim]`:
    /// queries, keys and values before the rotary embedding. Returns `[tokens, heads * head_dim]`.
    fn attend(&mut self, layer: usize, projection: &Projection, x: Tensor<2>) -> Tensor<2>;
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
    /// `[batch * time, heads * head_dim]` and `[batch * time, kv_heads * head_dim]`: cosines and
    /// signed sines; those of the queries hold the attention's scale.
    query: (Tensor<2>, Tensor<2>),
    key: (Tensor<2>, Tensor<2>),
    /// `[1, 1, 1, time, time]`: 0 where the key is visible, a large negative number elsewhere.
    mask: Tensor<5>,
}

impl CausalAttention {
    /// Tables for a batch of `batch` sequences of `time` tokens.
    pub fn new(config: &Config, rope: &Rope, batch: usize, time: usize, device: &Device) -> Self {
        let half = rope.half();
        let d = 2 * half;
        let (c, s) = rope.table(time);
        let table = |heads: usize, scale: f32| {
            let (mut cos, mut sin) = (Vec::new(), Vec::new());
            for t in 0..time {
                let (c, s) = (&c[t * half..][..half], &s[t * half..][..half]);
                for _ in 0..heads {
                    cos.extend(c.iter().chain(c).map(|x| x * scale));
                    sin.extend(
                        s.iter()
                            .map(|x| -x * scale)
                            .chain(s.iter().map(|x| x * scale)),
                    );
                }
            }
            let full = |row: Vec<f32>| {
                Tensor::<2>::from_data(
                    TensorData::new(row.repeat(batch), [batch * time, heads * d]),
                    device,
                )
            };
            (full(cos), full(sin))
        };
        let mut mask = Vec::with_capacity(time * time);
        for t in 0..time {
            mask.extend((0..time).map(|key| if key <= t { 0.0f32 } else { -1e9 }));
        }
        CausalAttention {
            batch,
            time,
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: d,
            query: table(config.num_attention_heads, (d as f32).sqrt().recip()),
            key: table(config.num_key_value_heads, 1.0),
            mask: Tensor::from_data(TensorData::new(mask, [1, 1, 1, time, time]), device),
        }
    }

    /// The rotated queries or keys: `x` times `columns` of the projection, and the same with the
    /// halves of each head swapped, times cosines and signed sines. Swapping the columns of the weight
    /// is cheaper to differentiate than swapping those of the product.
    fn rotated(
        &self,
        projection: &Projection,
        x: &Tensor<2>,
        columns: Range<usize>,
        (cos, sin): &(Tensor<2>, Tensor<2>),
    ) -> Tensor<2> {
        let straight = projection.columns(columns);
        let [rows, n] = straight.weight.dims();
        let halves = [n / self.head_dim, 2, self.head_dim / 2];
        let [heads, two, half] = halves;
        let swapped = Columns {
            weight: straight
                .weight
                .clone()
                .reshape([rows, heads, two, half])
                .flip([2])
                .reshape([rows, n]),
            bias: straight
                .bias
                .clone()
                .map(|b| b.reshape(halves).flip([1]).reshape([n])),
        };
        let f32s = |columns: &Columns| in_type(columns.forward(x.clone()), DType::F32);
        let rotated = f32s(&straight) * cos.clone() + f32s(&swapped) * sin.clone();
        in_type(rotated, x.dtype())
    }
}

impl Attend for CausalAttention {
    fn attend(&mut self, _layer: usize, projection: &Projection, x: Tensor<2>) -> Tensor<2> {
        let (b, t, h, kv, d) = (
            self.batch,
            self.time,
            self.heads,
            self.kv_heads,
            self.head_dim,
        );
        let group = h / kv;
        let dtype = x.dtype();
        let q = self.rotated(projection, &x, 0..h * d, &self.query);
        let k = self.rotated(projection, &x, h * d..(h + kv) * d, &self.key);
        let v = projection
            .columns((h + kv) * d..(h + 2 * kv) * d)
            .forward(x);
        // The query heads of a group share a key, which is repeated by its stride only.
        let q = q.reshape([b, t, kv, group, d]).permute([0, 2, 3, 1, 4]);
        let k = k.reshape([b, t, kv, 1, d]).permute([0, 2, 3, 4, 1]);
        let v = v.reshape([b, t, kv, 1, d]).permute([0, 2, 3, 1, 4]);
        let scores = in_type(q.matmul(k), DType::F32) + self.mask.clone();
        // Softmax, divided by its sum only after it has met the values: the quotient is smaller there.
        let peak = scores.clone().detach().max_dim(4);
        let e = (scores - peak).exp();
        let total = e.clone().sum_dim(4);
        let met = in_type(in_type(e, dtype).matmul(v), DType::F32);
        in_type(met / total, dtype)
            .permute([0, 3, 1, 2, 4])
            .reshape([b * t, h * d])
    }
}
