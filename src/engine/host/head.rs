//! A value head on the host.

use crate::kernels::lanes::{dot, gelu};
use crate::kernels::{Panels, Team, Tiles, WIDTH, multiply};
use crate::model::ValueHead;
use crate::model::layout::floats;

/// The weights of a [`ValueHead`].
pub struct HostHead {
    inner: Option<Inner>,
    /// `[hidden or width]`.
    score: Vec<f32>,
    bias: f32,
}

struct Inner {
    weight: Panels,
    bias: Vec<f32>,
}

impl HostHead {
    /// Packs `head`; its few weights stay in f32.
    pub fn pack(head: &ValueHead) -> HostHead {
        HostHead {
            inner: head.inner.as_ref().map(|inner| {
                let weight = floats(inner.weight.val());
                let [k, n] = inner.weight.dims();
                Inner {
                    weight: Panels::pack(k, n, false, |i, j| weight[i * n + j]),
                    bias: floats(inner.bias.val()),
                }
            }),
            score: floats(head.score.val()),
            bias: floats(head.bias.val())[0],
        }
    }

    /// Values in (-1, 1) of hidden states `[rows, hidden]`.
    pub fn values(&self, team: Team, hidden: &[f32], out: &mut [f32]) {
        let m = out.len();
        if m == 0 {
            return;
        }
        let width = hidden.len() / m;
        let value = |state: &[f32]| (0.5 * (dot(state, &self.score) + self.bias)).tanh();
        let Some(inner) = &self.inner else {
            for (value_of, state) in out.iter_mut().zip(hidden.chunks_exact(width)) {
                *value_of = value(state);
            }
            return;
        };
        let mut tiles = Tiles::default();
        tiles.fill(team, m, width, |i, row| {
            row.copy_from_slice(&hidden[i * width..][..width]);
        });
        let mut panels = vec![0.0; inner.weight.count() * m * WIDTH];
        multiply(
            team,
            &tiles,
            &inner.weight,
            &mut panels,
            m * WIDTH,
            |_, product, out| out.copy_from_slice(product),
        );
        let mut state = vec![0.0; inner.bias.len()];
        for (i, value_of) in out.iter_mut().enumerate() {
            for (panel, part) in state.chunks_mut(WIDTH).enumerate() {
                part.copy_from_slice(&panels[(panel * m + i) * WIDTH..][..part.len()]);
            }
            for (x, bias) in state.iter_mut().zip(&inner.bias) {
                *x += bias;
            }
            gelu(&mut state);
            *value_of = value(&state);
        }
    }
}
