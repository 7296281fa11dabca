//! The operations on a GPU, in CubeCL. Every reduction has a fixed order, so that a row's result
//! depends on that row alone.

mod attend;
mod elementwise;
mod norm;
mod vocabulary;

use super::Ops;
use burn::backend::TensorMetadata;
use burn::backend::cubecl::dtype_to_storage_type;
use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::tensor::{DType, Shape};
use burn_cubecl::CubeBackend;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::kernel::matmul::{MatmulStrategy, matmul};
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

/// Units that work on a row together.
const UNITS: usize = 256;

/// An uninitialised tensor beside `like`.
fn empty<const D: usize>(like: &CubeTensor, shape: [usize; D], dtype: DType) -> CubeTensor {
    let (client, device) = (like.client.clone(), like.device.clone());
    empty_device_contiguous_dtype(client, device, Shape::from(shape), dtype)
}

fn dims<const D: usize>(tensor: &CubeTensor) -> [usize; D] {
    let shape = tensor.shape();
    std::array::from_fn(|i| shape[i])
}

/// A cube for each row.
fn rows(n: usize) -> CubeCount {
    // A dimension of the grid holds 65,535 cubes at least, and no step has that many rows.
    CubeCount::Static(n as u32, 1, 1)
}

impl Ops for CubeBackend {
    fn add_norm(
        x: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (x, delta, weight) = (
            into_contiguous(x),
            into_contiguous(delta),
            into_contiguous(weight),
        );
        let [n, width] = dims(&x);
        let (dtype, client) = (delta.dtype, x.client.clone());
        let sum = empty(&x, [n, width], DType::F32);
        let normed = empty(&x, [n, width], dtype);
        norm::add_norm::launch(
            &client,
            rows(n),
            CubeDim::new_1d(UNITS as u32),
            x.into_buffer_arg(),
            delta.into_buffer_arg(),
            weight.into_buffer_arg(),
            sum.clone().into_buffer_arg(),
            normed.clone().into_buffer_arg(),
            epsilon,
            width,
            UNITS,
            dtype_to_storage_type(dtype),
        );
        (sum, normed)
    }

    fn rotate_and_store(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        angles: FloatTensor<Self>,
        places: IntTensor<Self>,
        pool: FloatTensor<Self>,
        heads: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        let (qkv, bias) = (into_contiguous(qkv), into_contiguous(bias));
        let (angles, places) = (into_contiguous(angles), into_contiguous(places));
        let [n, _] = dims(&qkv);
        let [_, _, kv, d] = dims(&pool);
        let (dtype, client) = (qkv.dtype, qkv.client.clone());
        let q = empty(&qkv, [n, heads, d], dtype);
        let pairs = n * (heads + 2 * kv) * d / 2;
        elementwise::rotate_and_store::launch(
            &client,
            rows(pairs.div_ceil(UNITS)),
            CubeDim::new_1d(UNITS as u32),
            qkv.into_buffer_arg(),
            bias.into_buffer_arg(),
            angles.into_buffer_arg(),
            places.into_buffer_arg(),
            pool.clone().into_buffer_arg(),
            q.clone().into_buffer_arg(),
            n as u32,
            heads,
            kv,
            d,
            dtype_to_storage_type(dtype),
        );
        (q, pool)
    }

    fn attend(
        q: FloatTensor<Self>,
        pool: FloatTensor<Self>,
        paths: IntTensor<Self>,
        tokens: IntTensor<Self>,
        blocks: IntTensor<Self>,
        tile: usize,
    ) -> FloatTensor<Self> {
        let (q, paths) = (into_contiguous(q), into_contiguous(paths));
        let (tokens, blocks) = (into_contiguous(tokens), into_contiguous(blocks));
        let [n, heads, d] = dims(&q);
        let [_, _, kv, _] = dims(&pool);
        let [_, longest] = dims(&paths);
        let [_, count] = dims(&blocks);
        let (dtype, client) = (q.dtype, q.client.clone());
        let out = empty(&q, [n, heads * d], dtype);
        let units = attend::units(d);
        attend::attend::launch(
            &client,
            CubeCount::Static(kv as u32, count as u32, 1),
            CubeDim::new_1d(units as u32),
            q.into_buffer_arg(),
            pool.into_buffer_arg(),
            paths.into_buffer_arg(),
            tokens.into_buffer_arg(),
            blocks.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            n as u32,
            longest as u32,
            count as u32,
            (d as f32).sqrt().recip(),
            heads,
            kv,
            d,
            tile,
            units,
            dtype_to_storage_type(dtype),
        );
        out
    }

    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self> {
        let gate_up = into_contiguous(gate_up);
        let [n, twice] = dims(&gate_up);
        let (dtype, client) = (gate_up.dtype, gate_up.client.clone());
        let out = empty(&gate_up, [n, twice / 2], dtype);
        elementwise::swiglu::launch(
            &client,
            rows((n * twice / 2).div_ceil(UNITS)),
            CubeDim::new_1d(UNITS as u32),
            gate_up.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            n as u32,
            twice / 2,
            dtype_to_storage_type(dtype),
        );
        out
    }

    fn multiply_wide(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self> {
        match matmul(x, weight, None, MatmulStrategy::default(), DType::F32) {
            Ok(product) => product,
            Err(error) => panic!("the device cannot multiply these matrices: {error:?}"),
        }
    }

    fn top(logits: FloatTensor<Self>, k: usize) -> FloatTensor<Self> {
        let logits = into_contiguous(logits);
        let [n, vocab] = dims(&logits);
        let k = k.min(vocab);
        let client = logits.client.clone();
        let out = empty(&logits, [n, 1 + 2 * k], DType::F32);
        vocabulary::top::launch(
            &client,
            rows(n),
            CubeDim::new_1d(UNITS as u32),
            logits.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            vocab as u32,
            k as u32,
            UNITS,
        );
        out
    }

    fn draw(logits: FloatTensor<Self>, dice: FloatTensor<Self>) -> FloatTensor<Self> {
        let (logits, dice) = (into_contiguous(logits), into_contiguous(dice));
        let [n, vocab] = dims(&logits);
        let client = logits.client.clone();
        let out = empty(&logits, [n, 2], DType::F32);
        vocabulary::draw::launch(
            &client,
            rows(n),
            CubeDim::new_1d(UNITS as u32),
            logits.into_buffer_arg(),
            dice.into_buffer_arg(),
            out.clone().into_buffer_arg(),
            vocab as u32,
            UNITS,
        );
        out
    }

    fn overwrite(into: FloatTensor<Self>, from: FloatTensor<Self>) -> FloatTensor<Self> {
        overwrite(into, from)
    }

    fn overwrite_ints(into: IntTensor<Self>, from: IntTensor<Self>) -> IntTensor<Self> {
        overwrite(into, from)
    }
}

fn overwrite(into: CubeTensor, from: CubeTensor) -> CubeTensor {
    assert_eq!(into.dtype, from.dtype, "numbers of another type");
    let from = into_contiguous(from);
    let count = into.shape().num_elements();
    let client = into.client.clone();
    elementwise::copy::launch(
        &client,
        rows(count.div_ceil(UNITS)),
        CubeDim::new_1d(UNITS as u32),
        from.clone().into_buffer_arg(),
        into.clone().into_buffer_arg(),
        count as u32,
        dtype_to_storage_type(from.dtype),
    );
    into
}
