//! A decoder on an accelerator: its weights in the type that the device computes in, and the forward
//! pass of one step.

use super::cache::DeviceCache;
use crate::engine::batch::Batch;
use crate::kernels::ops::{self, Paths};
use crate::model::decoder::Projection;
use crate::model::{Config, Decoder, Rope};
use burn::tensor::{DType, Device, Int, Tensor, TensorData};

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

/// A step as tensors, its tokens filled up to a bucket.
pub struct Step {
    tokens: Tensor<1, Int>,
    /// `[2, tokens]`: positions and slots.
    places: Tensor<2, Int>,
    paths: Paths,
    positions: usize,
}

/// The number of rows that a step of `n` is filled up to, so that kernels see few shapes: powers of
/// two up to 64, then multiples of 64.
pub fn bucket(n: usize) -> usize {
    match n {
        0..=64 => n.max(1).next_power_of_two(),
        _ => n.next_multiple_of(64),
    }
}

/// Where the tokens of a step stand: positions, own slots, and each token's row with the number of
/// slots that it sees.
#[derive(Default)]
struct Places {
    positions: Vec<u32>,
    own: Vec<u32>,
    seen: Vec<(u32, u32)>,
}

impl Places {
    fn push(&mut self, row: usize, position: usize, own: u32) {
        self.positions.push(position as u32);
        self.own.push(own);
        self.seen.push((row as u32, position as u32 + 1));
    }

    /// Fills up to `filled` tokens: each is a row of its own behind `rows`, and sees nobody's slot.
    fn fill(&mut self, rows: usize, filled: usize) {
        for extra in 0..filled - self.own.len() {
            self.push(rows + extra, 0, 0);
        }
    }

    /// Positions that the table of angles must have.
    fn longest(&self) -> usize {
        self.positions.iter().max().map_or(0, |&p| p as usize + 1)
    }

    fn tensor(&self, device: &Device) -> Tensor<2, Int> {
        let both = [self.positions.as_slice(), &self.own].concat();
        ops::indices(both, [2, self.own.len()], device)
    }
}

impl Step {
    pub fn new(batch: &Batch, device: &Device) -> Step {
        let filled = bucket(batch.len());
        let mut places = Places::default();
        for (i, &row) in batch.rows.iter().enumerate() {
            let position = batch.positions[i];
            places.push(
                row,
                position,
                DeviceCache::place(batch.paths[row][position]),
            );
        }
        places.fill(batch.paths.len(), filled);
        Step {
            tokens: tokens(batch, filled, device),
            places: places.tensor(device),
            paths: paths(batch, filled, &places.seen, device),
            positions: places.longest(),
        }
    }

    /// The steps of a decode: token `i` of `batch` is row `i`, which goes on for `left[i]` steps and has
    /// the slots for them. Then it fills its place in the step: it sees what it saw last and writes to
    /// nobody's slot. Every step has the tokens of the first, until [`Step::follow`].
    pub fn decode(batch: &Batch, left: &[usize], device: &Device) -> Vec<Step> {
        let filled = bucket(batch.len());
        let count = left.iter().copied().max().unwrap_or(0);
        let mut steps: Vec<Step> = Vec::with_capacity(count);
        for number in 0..count {
            let mut places = Places::default();
            for (row, (&first, &left)) in batch.positions.iter().zip(left).enumerate() {
                let position = first + number.min(left - 1);
                let own = match number < left {
                    true => DeviceCache::place(batch.paths[row][position]),
                    false => 0,
                };
                places.push(row, position, own);
            }
            places.fill(batch.paths.len(), filled);
            let (tokens, paths) = match steps.first() {
                None => (
                    tokens(batch, filled, device),
                    paths(batch, filled, &places.seen, device),
                ),
                Some(first) => (
                    first.tokens.clone(),
                    first.paths.moved(&places.seen, device),
                ),
            };
            steps.push(Step {
                tokens,
                places: places.tensor(device),
                paths,
                positions: places.longest(),
            });
        }
        steps
    }

    /// Goes on with `tokens`, those that the step before it chose.
    pub fn follow(&mut self, tokens: Tensor<1, Int>) {
        self.tokens = tokens;
    }
}

/// The tokens of a batch, filled up.
fn tokens(batch: &Batch, filled: usize, device: &Device) -> Tensor<1, Int> {
    let mut tokens: Vec<i32> = batch.tokens.iter().map(|&t| t as i32).collect();
    tokens.resize(filled, 0);
    Tensor::from_data(TensorData::new(tokens, [filled]), device)
}

/// The slots of a batch's rows and of what fills it up, which is nobody's slot.
fn paths(batch: &Batch, filled: usize, seen: &[(u32, u32)], device: &Device) -> Paths {
    let places = |path: &&[u32]| path.iter().map(|&slot| DeviceCache::place(slot)).collect();
    let mut paths: Vec<Vec<u32>> = batch.paths.iter().map(places).collect();
    paths.resize(paths.len() + filled - batch.len(), vec![0]);
    let rows: Vec<&[u32]> = paths.iter().map(Vec::as_slice).collect();
    Paths::new(&rows, seen, device)
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

    /// Final hidden states of a step's tokens, those that fill it up included: `[tokens, hidden]`.
    pub fn forward(&mut self, step: &Step, slots: usize) -> Tensor<2> {
        self.cache.grow(slots);
        if step.positions > self.angles.dims()[0] {
            let positions = step.positions.next_power_of_two();
            self.angles = angles(&self.rope, positions, &self.angles.device());
        }
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
