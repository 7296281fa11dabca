//! Root-mean-square normalisation and its gradient.

use crate::kernels::lanes::{dispatch, multiply_add, reduce};

/// A norm's weight, and what its forward pass leaves for the backward one.
pub struct Normed {
    /// `[m, hidden]`: the output.
    pub y: Vec<f32>,
    /// `[m]`: the reciprocal root mean squares.
    pub scale: Vec<f32>,
}

/// Normalises the rows of `x`, `[m, weight.len()]`.
pub fn forward(x: &[f32], weight: &[f32], epsilon: f32) -> Normed {
    let h = weight.len();
    let mut y = vec![0.0; x.len()];
    let mut scale = vec![0.0; x.len() / h];
    for ((x, y), scale) in x.chunks_exact(h).zip(y.chunks_exact_mut(h)).zip(&mut scale) {
        forward_row(x, weight, epsilon, y, scale);
    }
    Normed { y, scale }
}

/// Adds to `dx` what the gradient `dy` of the output means for the input, and to `dw` what it means
/// for the weight.
pub fn backward(
    x: &[f32],
    weight: &[f32],
    scale: &[f32],
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
) {
    let h = weight.len();
    let rows = x.chunks_exact(h).zip(dy.chunks_exact(h));
    for (((x, dy), dx), &scale) in rows.zip(dx.chunks_exact_mut(h)).zip(scale) {
        backward_row(x, weight, scale, dy, dx, dw);
    }
}

#[inline(always)]
fn forward_row_body<const FMA: bool>(
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
    y: &mut [f32],
    scale: &mut f32,
) {
    let squares = reduce(x, |x, sum| multiply_add::<FMA>(x, x, sum));
    *scale = 1.0 / (squares / x.len() as f32 + epsilon).sqrt();
    for ((y, x), w) in y.iter_mut().zip(x).zip(weight) {
        *y = x * *scale * w;
    }
}

dispatch!(forward_row, forward_row_body, (
    x: &[f32],
    weight: &[f32],
    epsilon: f32,
    y: &mut [f32],
    scale: &mut f32
));

/// With `r` the scale and `g = w dy`: `dx = r g - r^3 x (g . x) / h`.
#[inline(always)]
fn backward_row_body<const FMA: bool>(
    x: &[f32],
    weight: &[f32],
    scale: f32,
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32],
) {
    const LANES: usize = 16;
    let mut sums = [0.0f32; LANES];
    let whole = x.len() - x.len() % LANES;
    for at in (0..whole).step_by(LANES) {
        let (x, w) = (&x[at..at + LANES], &weight[at..at + LANES]);
        let dy = &dy[at..at + LANES];
        for l in 0..LANES {
            sums[l] = multiply_add::<FMA>(w[l] * dy[l], x[l], sums[l]);
        }
    }
    let mut dot = 0.0;
    for sum in sums {
        dot += sum;
    }
    for at in whole..x.len() {
        dot += weight[at] * dy[at] * x[at];
    }
    let back = scale * scale * scale * dot / x.len() as f32;
    for (dw, (x, dy)) in dw.iter_mut().zip(x.iter().zip(dy)) {
        *dw = multiply_add::<FMA>(x * scale, *dy, *dw);
    }
    for ((dx, x), (w, dy)) in dx.iter_mut().zip(x).zip(weight.iter().zip(dy)) {
        *dx += scale * w * dy - back * x;
    }
}

dispatch!(backward_row, backward_row_body, (
    x: &[f32],
    weight: &[f32],
    scale: f32,
    dy: &[f32],
    dx: &mut [f32],
    dw: &mut [f32]
));
