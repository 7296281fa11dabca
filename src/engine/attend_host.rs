//! Keys and values in main memory, and attention over them in Rust.

use super::batch::Batch;
use super::kernels::{Layout, attend_group};
use crate::model::decoder::Projection;
use crate::model::{Attend, Config, Rope};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

/// One buffer a layer: `[slots, keys | values, kv_heads, head_dim]`.
pub(super) struct HostCache {
    layers: Vec<Vec<f32>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
}

impl HostCache {
    pub fn new(config: &Config) -> HostCache {
        HostCache {
            layers: vec![Vec::new(); config.num_hidden_layers],
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        }
    }

    fn stride(&self) -> usize {
        2 * self.kv_heads * self.head_dim
    }

    /// Makes room for `slots` slots.
    pub fn grow(&mut self, slots: usize) {
        let floats = slots * self.stride();
        for layer in &mut self.layers {
            if layer.len() < floats {
                layer.resize(floats.max(layer.len() * 3 / 2), 0.0);
            }
        }
    }
}

/// A step's view of a [`HostCache`].
pub(super) struct HostAttention<'a> {
    cache: &'a mut HostCache,
    batch: &'a Batch,
    /// `[tokens, head_dim / 2]`.
    cos: Vec<f32>,
    sin: Vec<f32>,
    device: Device,
}

impl<'a> HostAttention<'a> {
    pub fn new(cache: &'a mut HostCache, batch: &'a Batch, rope: &Rope, device: Device) -> Self {
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for &position in &batch.positions {
            rope.extend(position, &mut cos, &mut sin);
        }
        HostAttention {
            cache,
            batch,
            cos,
            sin,
            device,
        }
    }
}

fn rotate(x: &mut [f32], cos: &[f32], sin: &[f32]) {
    let (a, b) = x.split_at_mut(cos.len());
    for i in 0..cos.len() {
        let (p, q) = (a[i], b[i]);
        a[i] = p * cos[i] - q * sin[i];
        b[i] = q * cos[i] + p * sin[i];
    }
}

impl Attend for HostAttention<'_> {
    fn attend(&mut self, layer: usize, projection: &Projection, x: Tensor<2>) -> Tensor<2> {
        let qkv = projection.forward(x);
        let [n, width] = qkv.dims();
        let (h, kv, d) = (self.cache.heads, self.cache.kv_heads, self.cache.head_dim);
        let half = d / 2;
        let mut data = qkv.into_data_as::<f32>();
        let Ok(qkv) = data.as_mut_slice::<f32>() else {
            unreachable!("the data was just converted to f32");
        };
        let stride = self.cache.stride();
        let cache = &mut self.cache.layers[layer];
        // Tokens beyond the batch's own are idle: they see nothing and nobody sees them.
        let own = self.batch.len();
        for (i, token) in qkv.chunks_mut(width).take(own).enumerate() {
            let (cos, sin) = (&self.cos[i * half..][..half], &self.sin[i * half..][..half]);
            for head in token[..(h + kv) * d].chunks_mut(d) {
                rotate(head, cos, sin);
            }
            let visible = self.batch.visible(i);
            let slot = visible[visible.len() - 1] as usize;
            cache[slot * stride..][..stride].copy_from_slice(&token[h * d..]);
        }
        let group = h / kv;
        let mut out = vec![0.0f32; n * h * d];
        let cache = &*cache;
        let qkv = &*qkv;
        out[..own * h * d]
            .par_chunks_mut(h * d)
            .enumerate()
            .with_min_len(4)
            .for_each_init(Vec::new, |scores: &mut Vec<f32>, (i, out)| {
                let visible = self.batch.visible(i);
                scores.resize(group * visible.len(), 0.0);
                for (head, out) in out.chunks_mut(group * d).enumerate() {
                    let layout = Layout {
                        stride,
                        key: head * d,
                        value: (kv + head) * d,
                        head_dim: d,
                        scale: (d as f32).sqrt().recip(),
                    };
                    let queries = &qkv[i * width + head * group * d..][..group * d];
                    attend_group(queries, cache, visible, layout, scores, out);
                }
            });
        Tensor::from_data(TensorData::new(out, [n, h * d]), &self.device)
    }
}
