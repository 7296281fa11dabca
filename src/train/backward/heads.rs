//! What stands on the final hidden states: the next-token loss and the value loss.

use super::layer::{Packed, add_outer, plain};
use crate::kernels::lanes::gelu;
use crate::kernels::{Team, Tiles};
use crate::model::{Readout, ValueHead};
use crate::train::batch::Targets;
use crate::train::goal::Goal;
use crate::train::loss::Criterion;
use crate::train::pull::Want;

/// Rows `index` of `x`, `[.., width]`.
fn pick(x: &[f32], width: usize, index: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(index.len() * width);
    for &i in index {
        out.extend_from_slice(&x[i * width..][..width]);
    }
    out
}

/// Adds the rows of `from` to rows `index` of `x`.
fn put(x: &mut [f32], width: usize, index: &[usize], from: &[f32]) {
    for (&i, from) in index.iter().zip(from.chunks_exact(width)) {
        for (x, from) in x[i * width..][..width].iter_mut().zip(from) {
            *x += from;
        }
    }
}

/// The policy's loss of `targets`, whose positions are the rows `index` of `hidden`. Its gradients
/// are added to `dhidden` and to `dhead`, `[vocab, hidden]`. Logits are held for `at_once` positions.
#[expect(clippy::too_many_arguments, reason = "inputs and gradients of a loss")]
pub fn policy(
    team: Team,
    tiles: &mut Tiles,
    head: &Packed,
    hidden: &[f32],
    width: usize,
    targets: &Targets<Want>,
    index: &[usize],
    at_once: usize,
    dhidden: &mut [f32],
    dhead: &mut [f32],
) -> f64 {
    let vocab = dhead.len() / width;
    let mut loss = 0.0;
    for first in (0..index.len()).step_by(at_once) {
        let range = first..(first + at_once).min(index.len());
        let index = &index[range.clone()];
        let states = pick(hidden, width, index);
        let mut logits = head.forward(team, &states);
        let wants = &targets.wanted[range.clone()];
        let weights = &targets.weights[range];
        let mut losses = vec![0.0f64; index.len()];
        let mut rows: Vec<_> = logits
            .chunks_exact_mut(vocab)
            .zip(&mut losses)
            .zip(wants.iter().zip(weights))
            .collect();
        team.chunks(&mut rows, 1, |_, rows| {
            for ((row, loss), (want, weight)) in rows {
                **loss = want.apply(row, f64::from(**weight) / targets.total);
            }
        });
        loss += losses.iter().sum::<f64>();
        let dstates = head.backward(team, &logits);
        put(dhidden, width, index, &dstates);
        add_outer(team, tiles, &logits, &states, index.len(), dhead);
    }
    loss
}

/// Gradients of a value head's weights, in the layout of the weights.
#[derive(Default)]
pub struct HeadGrads {
    pub inner_weight: Vec<f32>,
    pub inner_bias: Vec<f32>,
    pub score: Vec<f32>,
    pub bias: Vec<f32>,
}

/// A value head's weights.
pub struct HeadWeights {
    inner: Option<(Packed, Vec<f32>)>,
    /// `[members * bins, hidden or width]`.
    score: Vec<f32>,
    bias: Vec<f32>,
    readout: Readout,
}

impl HeadWeights {
    pub fn new(head: &ValueHead) -> HeadWeights {
        HeadWeights {
            inner: head
                .inner
                .as_ref()
                .map(|inner| (Packed::new(inner.weight.val()), plain(inner.bias.val()))),
            score: plain(head.score.val().transpose()),
            bias: plain(head.bias.val()),
            readout: head.readout.clone(),
        }
    }

    /// Numbers that a member reads.
    fn last(&self) -> usize {
        self.score.len() / self.bias.len()
    }

    /// Where the numbers that output `output` reads begin in a row of features: an MLP's members have a
    /// part of the hidden layer each.
    fn first(&self, output: usize) -> usize {
        match self.inner {
            Some(_) => output / self.readout.bins * self.last(),
            None => 0,
        }
    }

    /// Logits `[n, members * bins]` of rows of features.
    fn logits(&self, features: &[f32], width: usize) -> Vec<f32> {
        let last = self.last();
        let mut logits = Vec::with_capacity(features.len() / width * self.bias.len());
        for row in features.chunks_exact(width) {
            for (output, (score, bias)) in self.score.chunks_exact(last).zip(&self.bias).enumerate()
            {
                let read = &row[self.first(output)..][..last];
                logits.push(crate::kernels::lanes::dot(read, score) + bias);
            }
        }
        logits
    }
}

/// The value loss of `goal`, whose positions are the rows `index` of `hidden`. The gradients of
/// `factor` times it are added to `dhidden` and returned for the head.
#[expect(clippy::too_many_arguments, reason = "inputs and gradients of a loss")]
pub fn value(
    team: Team,
    tiles: &mut Tiles,
    head: &HeadWeights,
    hidden: &[f32],
    width: usize,
    goal: &Goal<'_>,
    index: &[usize],
    criterion: &Criterion,
    factor: f64,
    dhidden: &mut [f32],
) -> (f64, HeadGrads) {
    let states = pick(hidden, width, index);
    // Before and after the non-linearity.
    let mut before = Vec::new();
    let last = match &head.inner {
        None => None,
        Some((weight, bias)) => {
            before = weight.forward(team, &states);
            for row in before.chunks_exact_mut(bias.len()) {
                for (x, b) in row.iter_mut().zip(bias) {
                    *x += b;
                }
            }
            let mut after = before.clone();
            gelu(&mut after);
            Some(after)
        }
    };
    let features = last.as_ref().unwrap_or(&states);
    let (top, outputs) = (head.last(), head.bias.len());
    let across = features.len() / index.len();
    let logits = head.logits(features, across);
    let (loss, slopes) = goal.apply(&logits, &head.readout, criterion, factor);
    let mut dscore = vec![0.0; head.score.len()];
    let mut grads = HeadGrads {
        bias: vec![0.0; outputs],
        ..HeadGrads::default()
    };
    let mut dfeatures = vec![0.0; features.len()];
    for ((row, drow), slopes) in features
        .chunks_exact(across)
        .zip(dfeatures.chunks_exact_mut(across))
        .zip(slopes.chunks_exact(outputs))
    {
        for (output, &slope) in slopes.iter().enumerate() {
            grads.bias[output] += slope;
            let (first, own) = (head.first(output), output * top..(output + 1) * top);
            for ((x, dx), (s, ds)) in row[first..first + top]
                .iter()
                .zip(&mut drow[first..first + top])
                .zip(head.score[own.clone()].iter().zip(&mut dscore[own]))
            {
                *ds += slope * x;
                *dx += slope * s;
            }
        }
    }
    // Back to the layout of the weights, `[last, outputs]`.
    grads.score = (0..top * outputs)
        .map(|i| dscore[i % outputs * top + i / outputs])
        .collect();
    if let Some((weight, bias)) = &head.inner {
        for (dx, x) in dfeatures.iter_mut().zip(&before) {
            *dx *= gelu_slope(*x);
        }
        grads.inner_bias = vec![0.0; bias.len()];
        for row in dfeatures.chunks_exact(bias.len()) {
            for (db, dx) in grads.inner_bias.iter_mut().zip(row) {
                *db += dx;
            }
        }
        grads.inner_weight = vec![0.0; width * bias.len()];
        add_outer(
            team,
            tiles,
            &states,
            &dfeatures,
            index.len(),
            &mut grads.inner_weight,
        );
        dfeatures = weight.backward(team, &dfeatures);
    }
    put(dhidden, width, index, &dfeatures);
    (loss, grads)
}

/// The derivative of GELU: `cdf(x) + x pdf(x)` of the standard normal distribution.
fn gelu_slope(x: f32) -> f32 {
    // gelu(x) = x cdf(x), so that the cdf is read off it where x is not nearly 0.
    let mut one = [x];
    gelu(&mut one);
    let cdf = if x.abs() > 1e-4 {
        one[0] / x
    } else {
        0.5 + x * 0.398_942_3
    };
    cdf + x * (-0.5 * x * x).exp() * 0.398_942_3
}
