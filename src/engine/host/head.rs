//! A value head on the host.

use crate::kernels::lanes::{dot, gelu};
use crate::kernels::{Panels, Team, Tiles, WIDTH, multiply};
use crate::model::layout::floats;
use crate::model::{Opinion, Readout, ValueHead};

/// The weights of a [`ValueHead`].
pub struct HostHead {
    inner: Option<Inner>,
    /// `[members * bins, hidden or width]`.
    score: Vec<f32>,
    bias: Vec<f32>,
    readout: Readout,
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
            score: floats(head.score.val().transpose()),
            bias: floats(head.bias.val()),
            readout: head.readout.clone(),
        }
    }

    /// The opinion of the hidden layer `state`, or where there is none of the hidden state.
    fn opinion(&self, state: &[f32]) -> Opinion {
        let Readout { bins, members, .. } = self.readout;
        let last = self.score.len() / self.bias.len();
        let member = |member: usize| {
            // An MLP's members have a part of the hidden layer each.
            let own = match &self.inner {
                Some(_) => &state[member * last..][..last],
                None => state,
            };
            let logit =
                |output: usize| dot(own, &self.score[output * last..][..last]) + self.bias[output];
            match bins {
                1 => self.readout.member(&[logit(member)]),
                _ => {
                    let outputs = member * bins..(member + 1) * bins;
                    self.readout
                        .member(&outputs.map(logit).collect::<Vec<f32>>())
                }
            }
        };
        match members {
            1 => self.readout.merge(&[member(0)]),
            _ => {
                let values: Vec<f32> = (0..members).map(member).collect();
                self.readout.merge(&values)
            }
        }
    }

    /// What is thought of hidden states `[rows, hidden]`.
    pub fn opinions(&self, team: Team, hidden: &[f32], out: &mut [Opinion]) {
        let m = out.len();
        if m == 0 {
            return;
        }
        let width = hidden.len() / m;
        let Some(inner) = &self.inner else {
            for (opinion, state) in out.iter_mut().zip(hidden.chunks_exact(width)) {
                *opinion = self.opinion(state);
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
        for (i, opinion) in out.iter_mut().enumerate() {
            for (panel, part) in state.chunks_mut(WIDTH).enumerate() {
                part.copy_from_slice(&panels[(panel * m + i) * WIDTH..][..part.len()]);
            }
            for (x, bias) in state.iter_mut().zip(&inner.bias) {
                *x += bias;
            }
            gelu(&mut state);
            *opinion = self.opinion(&state);
        }
    }
}
