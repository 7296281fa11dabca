//! The operations on the host, in f32.

use super::Ops;
use crate::kernels::lanes::{dot, exp_sum, max};
use burn::backend::flex::FlexTensor;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Flex, TensorMetadata};
use burn::tensor::TensorData;
use rayon::prelude::*;

/// The numbers of a tensor in row-major order.
struct Plain<E>(FlexTensor, std::marker::PhantomData<E>);

impl<E: burn::tensor::Element + bytemuck::Pod> Plain<E> {
    fn new(tensor: FlexTensor) -> Plain<E> {
        let tensor = match tensor.as_slice::<E>() {
            Some(_) => tensor,
            None => tensor.to_contiguous(),
        };
        Plain(tensor, std::marker::PhantomData)
    }

    fn slice(&self) -> &[E] {
        self.0.as_slice().unwrap_or_default()
    }

    fn dims<const D: usize>(&self) -> [usize; D] {
        let shape = self.0.shape();
        std::array::from_fn(|i| shape[i])
    }
}

fn tensor<const D: usize>(data: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(data, shape))
}

impl Ops for Flex {
    fn add_norm(
        x: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, delta, weight) = (Plain::new(x), Plain::new(delta), Plain::new(weight));
        let shape: [usize; 2] = x.dims();
        let weight: &[f32] = weight.slice();
        let sum: Vec<f32> = x
            .slice()
            .iter()
            .zip(delta.slice())
            .map(|(x, d): (&f32, &f32)| x + d)
            .collect();
        let mut normed = sum.clone();
        normed.par_chunks_mut(shape[1]).for_each(|row| {
            let mean = dot(row, row) / row.len() as f32;
            let scale = (mean + epsilon).sqrt().recip();
            for (x, w) in row.iter_mut().zip(weight) {
                *x *= scale * w;
            }
        });
        (tensor(sum, shape), tensor(normed, shape))
    }

    fn rotate_and_store(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        angles: FloatTensor<Self>,
        places: IntTensor<Self>,
        mut pool: FloatTensor<Self>,
        heads: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (qkv, bias) = (Plain::<f32>::new(qkv), Plain::<f32>::new(bias));
        let (angles, places) = (Plain::<f32>::new(angles), Plain::<u32>::new(places));
        let [_, _, kv, d] = Plain::<f32>::new(pool.clone()).dims();
        let [n, width] = qkv.dims();
        let (positions, own) = places.slice().split_at(n);
        let mut q = Vec::with_capacity(n * heads * d);
        let stored = pool.storage_mut::<f32>();
        for (i, row) in qkv.slice().chunks_exact(width).enumerate() {
            let angle = &angles.slice()[positions[i] as usize * d..][..d];
            let (cos, sin) = angle.split_at(d / 2);
            let place = own[i] as usize * 2 * kv * d;
            let mut row: Vec<f32> = row.iter().zip(bias.slice()).map(|(x, b)| x + b).collect();
            for head in row[..(heads + kv) * d].chunks_exact_mut(d) {
                let (low, high) = head.split_at_mut(d / 2);
                for ((a, b), (c, s)) in low.iter_mut().zip(high).zip(cos.iter().zip(sin)) {
                    (*a, *b) = (*a * c - *b * s, *b * c + *a * s);
                }
            }
            q.extend_from_slice(&row[..heads * d]);
            stored[place..][..2 * kv * d].copy_from_slice(&row[heads * d..]);
        }
        (tensor(q, [n, heads, d]), pool)
    }

    fn attend(
        q: FloatTensor<Self>,
        pool: FloatTensor<Self>,
        paths: IntTensor<Self>,
        tokens: IntTensor<Self>,
        _blocks: IntTensor<Self>,
        _tile: usize,
    ) -> FloatTensor<Self> {
        let (q, pool) = (Plain::<f32>::new(q), Plain::<f32>::new(pool));
        let (paths, tokens) = (Plain::<u32>::new(paths), Plain::<u32>::new(tokens));
        let [n, h, d] = q.dims();
        let [_, _, kv, _] = pool.dims();
        let [_, longest] = paths.dims();
        let (rows, lengths) = tokens.slice().split_at(n);
        let scale = (d as f32).sqrt().recip();
        let mut out = vec![0.0f32; n * h * d];
        let heads = out.par_chunks_mut(d).zip(q.slice().par_chunks(d));
        heads.enumerate().for_each(|(at, (out, q))| {
            let (i, head) = (at / h, at % h / (h / kv));
            let seen = &paths.slice()[rows[i] as usize * longest..][..lengths[i] as usize];
            let of = |slot: u32, which: usize| {
                &pool.slice()[((slot as usize * 2 + which) * kv + head) * d..][..d]
            };
            let mut weights: Vec<f32> = seen.iter().map(|&s| dot(q, of(s, 0)) * scale).collect();
            let peak = max(&weights);
            let total = exp_sum(&weights, peak) as f32;
            for w in &mut weights {
                *w = (*w - peak).exp() / total;
            }
            for (&slot, w) in seen.iter().zip(&weights) {
                for (o, v) in out.iter_mut().zip(of(slot, 1)) {
                    *o += w * v;
                }
            }
        });
        tensor(out, [n, h * d])
    }

    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self> {
        let gate_up = Plain::<f32>::new(gate_up);
        let [n, twice] = gate_up.dims();
        let mut out = Vec::with_capacity(n * twice / 2);
        for row in gate_up.slice().chunks_exact(twice) {
            let (gate, up) = row.split_at(twice / 2);
            out.extend(gate.iter().zip(up).map(|(g, u)| g / (1.0 + (-g).exp()) * u));
        }
        tensor(out, [n, twice / 2])
    }

    fn multiply_wide(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        use burn::backend::ops::FloatTensorOps;
        Flex::float_matmul(x, weight)
    }

    fn top(logits: FloatTensor<Self>, k: usize) -> FloatTensor<Self> {
        let logits = Plain::<f32>::new(logits);
        let [n, vocab] = logits.dims();
        let mut out = Vec::with_capacity(n * (1 + 2 * k));
        for row in logits.slice().chunks_exact(vocab) {
            let peak = max(row);
            let mut ids: Vec<u32> = (0..vocab as u32).collect();
            let k = k.min(vocab);
            let order =
                |a: &u32, b: &u32| row[*b as usize].total_cmp(&row[*a as usize]).then(a.cmp(b));
            if k < vocab {
                ids.select_nth_unstable_by(k, order);
                ids.truncate(k);
            }
            ids.sort_by(order);
            out.push(peak + exp_sum(row, peak).ln() as f32);
            out.extend(ids.iter().map(|&id| row[id as usize]));
            out.extend(ids.iter().map(|&id| id as f32));
        }
        tensor(out, [n, 1 + 2 * k])
    }

    fn draw(logits: FloatTensor<Self>, dice: FloatTensor<Self>) -> FloatTensor<Self> {
        let (logits, dice) = (Plain::<f32>::new(logits), Plain::<f32>::new(dice));
        let [n, vocab] = logits.dims();
        let mut out = Vec::with_capacity(n * 2);
        let dice = dice.slice().chunks_exact(2);
        for (row, dice) in logits.slice().chunks_exact(vocab).zip(dice) {
            let peak = max(row);
            let weight = |x: &f32| f64::from(((x - peak) / dice[0]).exp());
            let wanted = row.iter().map(weight).sum::<f64>() * f64::from(dice[1]);
            let mut sum = 0.0;
            let passed = row.iter().position(|x| {
                sum += weight(x);
                sum > wanted
            });
            // Rounding may leave the last step out.
            let id =
                passed.unwrap_or_else(|| row.iter().rposition(|x| weight(x) > 0.0).unwrap_or(0));
            out.extend([id as f32, row[id]]);
        }
        tensor(out, [n, 2])
    }

    fn overwrite(_into: FloatTensor<Self>, from: FloatTensor<Self>) -> FloatTensor<Self> {
        from
    }

    fn overwrite_ints(_into: IntTensor<Self>, from: IntTensor<Self>) -> IntTensor<Self> {
        from
    }
}
