//! Keys and values in the memory of an accelerator, and attention over them in tensor operations.

use crate::engine::batch::Batch;
use crate::model::decoder::Projection;
use crate::model::{Attend, Config, Rope};
use burn::tensor::activation::softmax;
use burn::tensor::{Device, IndexingUpdateOp, Int, Tensor, TensorData};

/// One tensor a layer: `[slots, (keys | values) * kv_heads * head_dim]`.
pub struct DeviceCache {
    layers: Vec<Tensor<2>>,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    slots: usize,
    device: Device,
}

impl DeviceCache {
    pub fn new(config: &Config, device: &Device) -> DeviceCache {
        DeviceCache {
            layers: vec![Tensor::zeros([1, config.kv_size()], device); config.num_hidden_layers],
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            slots: 1,
            device: device.clone(),
        }
    }

    /// Makes room for `slots` slots.
    pub fn grow(&mut self, slots: usize) {
        if slots <= self.slots {
            return;
        }
        let target = slots.max(self.slots * 3 / 2).max(1024);
        for layer in &mut self.layers {
            let width = layer.dims()[1];
            let more = Tensor::zeros([target - self.slots, width], &self.device);
            *layer = Tensor::cat(vec![layer.clone(), more], 0);
        }
        self.slots = target;
    }
}

/// A step's view of a [`DeviceCache`].
pub struct DeviceAttention<'a> {
    cache: &'a mut DeviceCache,
    tokens: usize,
    longest: usize,
    /// `[tokens]`: where each token writes.
    own: Tensor<1, Int>,
    /// `[tokens * longest]`: what each token sees, padded with its first slot.
    seen: Tensor<1, Int>,
    /// `[tokens, 1, 1, longest]`: 0 or a large negative number.
    mask: Tensor<4>,
    /// `[tokens, 1, head_dim]`.
    cos: Tensor<3>,
    /// `[tokens, 1, head_dim]`, the first half negated.
    sin: Tensor<3>,
}

impl<'a> DeviceAttention<'a> {
    pub fn new(cache: &'a mut DeviceCache, batch: &Batch, rope: &Rope) -> Self {
        let n = batch.len();
        let longest = batch.positions.iter().max().map_or(1, |p| p + 1);
        let device = cache.device.clone();
        let (mut cos, mut sin) = (Vec::<f32>::new(), Vec::<f32>::new());
        let mut own = Vec::with_capacity(n);
        let mut seen = Vec::with_capacity(n * longest);
        let mut mask = Vec::with_capacity(n * longest);
        for i in 0..n {
            let visible = batch.visible(i);
            own.push(visible[visible.len() - 1] as i32);
            seen.extend(visible.iter().map(|&s| s as i32));
            seen.extend(std::iter::repeat_n(
                visible[0] as i32,
                longest - visible.len(),
            ));
            mask.extend((0..longest).map(|t| if t < visible.len() { 0.0f32 } else { -1e9 }));
            let (mut c, mut s) = (Vec::new(), Vec::new());
            rope.extend(batch.positions[i], &mut c, &mut s);
            cos.extend(c.iter().chain(&c));
            sin.extend(s.iter().map(|x| -x).chain(s.iter().copied()));
        }
        let d = cache.head_dim;
        let ints = |data: Vec<i32>| {
            let n = data.len();
            Tensor::<1, Int>::from_data(TensorData::new(data, [n]), &device)
        };
        DeviceAttention {
            tokens: n,
            longest,
            own: ints(own),
            seen: ints(seen),
            mask: Tensor::from_data(TensorData::new(mask, [n, 1, 1, longest]), &device),
            cos: Tensor::from_data(TensorData::new(cos, [n, 1, d]), &device),
            sin: Tensor::from_data(TensorData::new(sin, [n, 1, d]), &device),
            cache,
        }
    }
}

impl Attend for DeviceAttention<'_> {
    fn attend(&mut self, layer: usize, projection: &Projection, x: Tensor<2>) -> Tensor<2> {
        let qkv = projection.forward(x);
        let (h, kv, d) = (self.cache.heads, self.cache.kv_heads, self.cache.head_dim);
        let (n, t, group) = (self.tokens, self.longest, h / kv);
        let x = qkv
            .clone()
            .slice([0..n, 0..(h + kv) * d])
            .reshape([n, h + kv, d]);
        let swapped = Tensor::cat(
            vec![
                x.clone().slice([0..n, 0..h + kv, d / 2..d]),
                x.clone().slice([0..n, 0..h + kv, 0..d / 2]),
            ],
            2,
        );
        let x = x * self.cos.clone() + swapped * self.sin.clone();
        let keys = x.clone().slice([0..n, h..h + kv]).reshape([n, kv * d]);
        let values = qkv.slice([0..n, (h + kv) * d..(h + 2 * kv) * d]);
        let fresh = Tensor::cat(vec![keys, values], 1);
        // The buffer is taken out while it is written, so that the write can be in place.
        let buffer = std::mem::replace(
            &mut self.cache.layers[layer],
            Tensor::empty([1, 1], &self.cache.device),
        );
        let buffer = buffer.select_assign(0, self.own.clone(), fresh, IndexingUpdateOp::Assign);
        let seen = buffer
            .clone()
            .select(0, self.seen.clone())
            .reshape([n, t, 2 * kv, d]);
        self.cache.layers[layer] = buffer;
        let keys = seen
            .clone()
            .slice([0..n, 0..t, 0..kv])
            .permute([0, 2, 3, 1]);
        let values = seen.slice([0..n, 0..t, kv..2 * kv]).permute([0, 2, 1, 3]);
        let q = x
            .slice([0..n, 0..h])
            .mul_scalar((d as f64).sqrt().recip())
            .reshape([n, kv, group, d]);
        let weights = softmax(q.matmul(keys) + self.mask.clone(), 3);
        weights.matmul(values).reshape([n, h * d])
    }
}
