//! A decoder on an accelerator: its weights in the type that the device computes in, and the forward
//! pass of one step.

use super::cache::DeviceCache;
use super::step::Step;
use crate::kernels::ops;
use crate::model::decoder::Projection;
use crate::model::{Config, Decoder, Rope};
use burn::tensor::{DType, Device, Tensor, TensorData};

/// Positions that the table of angles starts with.
const POSITIONS: usize = 512;

/// Weights of a decoder and its keys and values. Matrices are in `dtype`; norms and biases, which are
/// small, in f32.
pub struct DeviceNet {
    config: Config,
    /// `[vocab, hidden]`.
    embedding: Tensor<2>,
    layers: Vec<Layer>,
    norm: Tensor<1>,
    /// `[hidden, vocab]`.
    head: Tensor<2>,
    rope: Rope,
    /// `[positions, head_dim]`: cosines, then sines.
    angles: Tensor<2>,
    cache: DeviceCache,
    dtype: DType,
}

struct Layer {
    attention_norm: Tensor<1>,
    qkv: Tensor<2>,
    /// Zeros where the model has none.
    bias: Tensor<1>,
    output: Tensor<2>,
    mlp_norm: Tensor<1>,
    gate_up: Tensor<2>,
    down: Tensor<2>,
}

impl DeviceNet {
    pub fn new(decoder: Decoder, dtype: DType) -> DeviceNet {
        let config = decoder.config().clone();
        let rope = decoder.rope().clone();
        let device = decoder.embedding.val().device();
        let weight = |p: &Projection| p.weight.val().cast(dtype);
        let layers = decoder
            .layers
            .iter()
            .map(|layer| Layer {
                attention_norm: layer.attention_norm.weight.val(),
                qkv: weight(&layer.qkv),
                bias: match &layer.qkv.bias {
                    Some(bias) => bias.val(),
                    None => Tensor::zeros([config.qkv_size()], &device),
                },
                output: weight(&layer.output),
                mlp_norm: layer.mlp_norm.weight.val(),
                gate_up: weight(&layer.gate_up),
                down: weight(&layer.down),
            })
            .collect();
        let embedding = decoder.embedding.val().cast(dtype);
        DeviceNet {
            head: match &decoder.head {
                Some(head) => head.val().cast(dtype).transpose(),
                None => embedding.clone().transpose(),
            },
            embedding,
            layers,
            norm: decoder.norm.weight.val(),
            angles: angles(&rope, POSITIONS, &device),
            rope,
            cache: DeviceCache::new(&config, &device, dtype),
            config,
            dtype,
        }
    }

    /// Makes room for `slots` slots and a table for `positions` positions. True where a tensor moved, so
    /// that what was captured with the old one is void.
    pub fn make_room(&mut self, slots: usize, positions: usize) -> bool {
        let grown = self.cache.grow(slots);
        let longer = positions > self.angles.dims()[0];
        if longer {
            let positions = positions.next_power_of_two();
            self.angles = angles(&self.rope, positions, &self.angles.device());
        }
        grown || longer
    }

    /// Final hidden states of a step's tokens, those that fill it up included: `[tokens, hidden]`. There
    /// must be room for it.
    pub fn forward(&mut self, step: &Step) -> Tensor<2> {
        let epsilon = self.config.rms_norm_eps as f32;
        let heads = self.config.num_attention_heads;
        let mut x = self.embedding.clone().select(0, step.tokens.clone());
        let mut delta = x.zeros_like();
        x = x.cast(DType::F32);
        for (index, layer) in self.layers.iter().enumerate() {
            let (sum, normed) = ops::add_norm(x, delta, layer.attention_norm.clone(), epsilon);
            let qkv = normed.matmul(layer.qkv.clone());
            let (q, pool) = self.cache.write(index, |pool| {
                let (bias, angles) = (layer.bias.clone(), self.angles.clone());
                ops::rotate_and_store(qkv, bias, angles, step.places.clone(), pool, heads)
            });
            let attended = ops::attend(q, pool, &step.paths).matmul(layer.output.clone());
            let (sum, normed) = ops::add_norm(sum, attended, layer.mlp_norm.clone(), epsilon);
            x = sum;
            delta = ops::swiglu(normed.matmul(layer.gate_up.clone())).matmul(layer.down.clone());
        }
        ops::add_norm(x, delta, self.norm.clone(), epsilon).1
    }

    /// Tokens that the model knows.
    pub fn vocab(&self) -> usize {
        self.config.vocab_size
    }

    /// `[n, hidden]` to logits in f32, `[n, vocab]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        ops::multiply_wide(hidden.cast(self.dtype), self.head.clone())
    }
}

/// Cosines and sines of the first `positions` positions, `[positions, head_dim]`.
fn angles(rope: &Rope, positions: usize, device: &Device) -> Tensor<2> {
    let mut data = Vec::with_capacity(positions * 2 * rope.half());
    let mut sines = Vec::with_capacity(rope.half());
    for position in 0..positions {
        sines.clear();
        rope.extend(position, &mut data, &mut sines);
        data.extend_from_slice(&sines);
    }
    let shape = [positions, 2 * rope.half()];
    Tensor::from_data(TensorData::new(data, shape), (device, DType::F32))
}
