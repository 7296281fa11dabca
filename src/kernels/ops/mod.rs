//! The operations of a forward pass that plain tensor operations do badly: behind Burn's backend
//! extension, with one CubeCL version for every GPU and one in Rust for the host.
//!
//! Types: activations and keys and values are of one float type `T` (f32 or bfloat16), index tensors
//! are `u32`, sums run in f32. `n` is the number of tokens of a step, `h` and `kv` those of query and
//! key heads, `d` the width of a head.

#[cfg(feature = "cube")]
mod cube;
mod flex;
#[cfg(test)]
mod tests;

use burn::backend::tensor::{FloatTensor, IntTensor};
use burn::backend::{Backend, Dispatch, backend_extension};
use burn::tensor::{Device, Int, Tensor, TensorData};

/// The operations, on a backend's own tensors. Called through the functions of this module.
#[backend_extension(Cube: cfg(feature = "cube"), Flex)]
pub trait Ops: Backend {
    /// See [`add_norm`].
    fn add_norm(
        x: FloatTensor<Self>,
        delta: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f32,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`rotate_and_store`].
    fn rotate_and_store(
        qkv: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        angles: FloatTensor<Self>,
        places: IntTensor<Self>,
        pool: FloatTensor<Self>,
        heads: usize,
    ) -> (FloatTensor<Self>, FloatTensor<Self>);

    /// See [`attend`].
    fn attend(
        q: FloatTensor<Self>,
        pool: FloatTensor<Self>,
        paths: IntTensor<Self>,
        tokens: IntTensor<Self>,
        blocks: IntTensor<Self>,
        tile: usize,
    ) -> FloatTensor<Self>;

    /// See [`swiglu`].
    fn swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`multiply_wide`].
    fn multiply_wide(x: FloatTensor<Self>, weight: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`top`].
    fn top(logits: FloatTensor<Self>, k: usize) -> FloatTensor<Self>;

    /// See [`draw`].
    fn draw(logits: FloatTensor<Self>, dice: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`overwrite`].
    fn overwrite(into: FloatTensor<Self>, from: FloatTensor<Self>) -> FloatTensor<Self>;

    /// See [`overwrite_ints`].
    fn overwrite_ints(into: IntTensor<Self>, from: IntTensor<Self>) -> IntTensor<Self>;
}

/// `x + delta`, and that sum's RMS norm times `weight`: the residual stream `[n, width]` in f32, what a
/// block adds to it `[n, width]` in `T`, weights `[width]` in f32; returns the stream and the norm in
/// `T`. Root mean square as in Zhang and Sennrich (2019), `epsilon` under the root.
pub fn add_norm(
    x: Tensor<2>,
    delta: Tensor<2>,
    weight: Tensor<1>,
    epsilon: f32,
) -> (Tensor<2>, Tensor<2>) {
    let (x, normed) = <Dispatch as Ops>::add_norm(
        x.into_dispatch(),
        delta.into_dispatch(),
        weight.into_dispatch(),
        epsilon,
    );
    (Tensor::from_dispatch(x), Tensor::from_dispatch(normed))
}

/// What follows the fused projection `qkv` `[n, (h + 2 kv) d]`: adds `bias` `[(h + 2 kv) d]` (f32),
/// rotates queries and keys by split halves, and writes keys and values into `pool`
/// `[slots, 2, kv, d]`, in place where nothing else holds it.
///
/// `angles` `[positions, d]` (f32) are the cosines of each position and then its sines; `places`
/// `[2, n]` the position of each token and its slot. Returns the queries `[n, h, d]` and the pool.
pub fn rotate_and_store(
    qkv: Tensor<2>,
    bias: Tensor<1>,
    angles: Tensor<2>,
    places: Tensor<2, Int>,
    pool: Tensor<4>,
    heads: usize,
) -> (Tensor<3>, Tensor<4>) {
    let (q, pool) = <Dispatch as Ops>::rotate_and_store(
        qkv.into_dispatch(),
        bias.into_dispatch(),
        angles.into_dispatch(),
        places.into_dispatch(),
        pool.into_dispatch(),
        heads,
    );
    (Tensor::from_dispatch(q), Tensor::from_dispatch(pool))
}

/// Tokens that share the keys and values they read, in [`attend`].
///
/// The tokens of a block follow each other in one row. A token's result does not depend on the block
/// that it is in, nor on other rows.
#[derive(Debug, Clone)]
pub struct Paths {
    /// `[rows, longest]`: the slots of each row, padded with anything that is a slot.
    pub slots: Tensor<2, Int>,
    /// `[2, n]`: each token's row, and how many of its slots it sees.
    pub tokens: Tensor<2, Int>,
    /// `[2, blocks]`: each block's first token, and how many it has.
    pub blocks: Tensor<2, Int>,
    /// Tokens of a block at most.
    pub tile: usize,
}

/// Tokens of a block where rows bring several.
pub const TILE: usize = 4;

impl Paths {
    /// From the slots of each row and, for each token, its row and the number of slots it sees. The
    /// tokens of a row stand together, in order. Lists are padded to a multiple of 64 slots, so that
    /// kernels see few shapes.
    pub fn new(rows: &[&[u32]], tokens: &[(u32, u32)], device: &Device) -> Paths {
        let longest = rows.iter().map(|r| r.len()).max().unwrap_or(0).max(1);
        Self::with_room(rows, tokens, longest.next_multiple_of(64), device)
    }

    /// As [`Paths::new`], with lists padded to `longest` slots.
    pub fn with_room(
        rows: &[&[u32]],
        tokens: &[(u32, u32)],
        longest: usize,
        device: &Device,
    ) -> Paths {
        let mut slots = Vec::with_capacity(rows.len() * longest);
        for row in rows {
            slots.extend_from_slice(row);
            slots.resize(
                slots.len() + longest - row.len(),
                row.first().copied().unwrap_or(0),
            );
        }
        let single = tokens.windows(2).all(|pair| pair[0].0 != pair[1].0);
        let tile = if single { 1 } else { TILE };
        let (mut firsts, mut counts) = (Vec::new(), Vec::new());
        for (at, token) in tokens.iter().enumerate() {
            let joins = at > 0
                && tokens[at - 1].0 == token.0
                && counts.last().is_some_and(|&c| c < tile as u32);
            match counts.last_mut() {
                Some(count) if joins => *count += 1,
                _ => {
                    firsts.push(at as u32);
                    counts.push(1);
                }
            }
        }
        let count = firsts.len();
        firsts.extend(counts);
        Paths {
            slots: indices(slots, [rows.len(), longest], device),
            tokens: Self::tokens(tokens, device),
            blocks: indices(firsts, [2, count], device),
            tile,
        }
    }

    /// The same rows with other tokens, as many from each row in the same order.
    pub fn moved(&self, tokens: &[(u32, u32)], device: &Device) -> Paths {
        Paths {
            tokens: Self::tokens(tokens, device),
            ..self.clone()
        }
    }

    fn tokens(tokens: &[(u32, u32)], device: &Device) -> Tensor<2, Int> {
        let both = tokens.iter().map(|t| t.0).chain(tokens.iter().map(|t| t.1));
        indices(both.collect(), [2, tokens.len()], device)
    }
}

/// `u32` indices on `device`.
pub fn indices<const D: usize>(
    data: Vec<u32>,
    shape: [usize; D],
    device: &Device,
) -> Tensor<D, Int> {
    Tensor::from_data(
        TensorData::new(data, shape),
        (device, burn::tensor::DType::U32),
    )
}

/// Softmax attention of `q` `[n, h, d]` over the slots of `pool` `[slots, 2, kv, d]` that each token
/// sees; a group of `h / kv` query heads shares a key head. Returns `[n, h d]`.
pub fn attend(q: Tensor<3>, pool: Tensor<4>, paths: &Paths) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Ops>::attend(
        q.into_dispatch(),
        pool.into_dispatch(),
        paths.slots.clone().into_dispatch(),
        paths.tokens.clone().into_dispatch(),
        paths.blocks.clone().into_dispatch(),
        paths.tile,
    ))
}

/// `silu(gate) * up` of a fused projection `[n, gate | up]` (Shazeer, 2020): `[n, width]`.
pub fn swiglu(gate_up: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Ops>::swiglu(gate_up.into_dispatch()))
}

/// `x` `[n, k]` times `weight` `[k, m]`, both in `T`, with the sums in f32 kept: `[n, m]` in f32.
pub fn multiply_wide(x: Tensor<2>, weight: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Ops>::multiply_wide(
        x.into_dispatch(),
        weight.into_dispatch(),
    ))
}

/// For each row of `logits` `[n, vocab]` (f32): its log-sum-exp, the `k` largest by descending value,
/// ties by ascending id, and their ids as floats, which are exact below 2^24: `[n, 1 + 2 k]` in f32.
/// A row with a number that is not finite has a log-sum-exp that is not.
pub fn top(logits: Tensor<2>, k: usize) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Ops>::top(logits.into_dispatch(), k))
}

/// A draw from the softmax of each row of `logits` `[n, vocab]` (f32): `dice` `[n, 2]` (f32) are its
/// temperature, above 0, and a number in [0, 1). Returns id and logit, `[n, 2]` in f32.
pub fn draw(logits: Tensor<2>, dice: Tensor<2>) -> Tensor<2> {
    Tensor::from_dispatch(<Dispatch as Ops>::draw(
        logits.into_dispatch(),
        dice.into_dispatch(),
    ))
}

/// Writes the numbers of `from` over those of `into`, of the same shape and type, and returns them. On a
/// GPU they are written in place whoever else holds `into`, as a captured graph does; on the host the
/// result is another tensor.
pub fn overwrite<const D: usize>(into: Tensor<D>, from: Tensor<D>) -> Tensor<D> {
    Tensor::from_dispatch(<Dispatch as Ops>::overwrite(
        into.into_dispatch(),
        from.into_dispatch(),
    ))
}

/// [`overwrite`] for indices.
pub fn overwrite_ints<const D: usize>(
    into: Tensor<D, Int>,
    from: Tensor<D, Int>,
) -> Tensor<D, Int> {
    Tensor::from_dispatch(<Dispatch as Ops>::overwrite_ints(
        into.into_dispatch(),
        from.into_dispatch(),
    ))
}
