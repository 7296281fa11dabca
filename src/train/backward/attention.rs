//! Causal attention of a stretch of tokens to itself and to what came before, for the query heads that
//! share a key head, and its gradient.
//! Scores are computed row by row and anew in the backward pass; none are kept.

use crate::kernels::lanes::{dispatch, dot_body, exp, max_body, multiply_add, sum_body};

/// Rows of scores are this many numbers longer than they need to be at most.
const LANES: usize = 16;

/// Queries, keys and values of a stretch of `own` tokens after `past` others: `queries` is `[group, own,
/// d]`, the others `[past + own, d]`.
pub struct Heads {
    pub past: usize,
    pub own: usize,
    pub d: usize,
    pub queries: Vec<f32>,
    pub keys: Vec<f32>,
    pub values: Vec<f32>,
}

/// `[time, d]` to `[d, time]`, filled up with zeros to whole vectors.
fn turned(x: &[f32], time: usize, d: usize) -> Vec<f32> {
    let padded = time.next_multiple_of(LANES);
    let mut out = vec![0.0; d * padded];
    for (t, row) in x.chunks_exact(d).enumerate() {
        for (i, x) in row.iter().enumerate() {
            out[i * padded + t] = *x;
        }
    }
    out
}

impl Heads {
    fn scale(&self) -> f32 {
        (self.d as f32).sqrt().recip()
    }

    fn time(&self) -> usize {
        self.past + self.own
    }

    /// What is attended, `[group, own, d]`.
    pub fn forward(&self) -> Vec<f32> {
        let (time, d) = (self.time(), self.d);
        let padded = time.next_multiple_of(LANES);
        let keys = turned(&self.keys, time, d);
        let mut out = vec![0.0; self.queries.len()];
        let mut scores = vec![0.0; padded];
        for (at, (query, out)) in self
            .queries
            .chunks_exact(d)
            .zip(out.chunks_exact_mut(d))
            .enumerate()
        {
            let seen = self.past + at % self.own + 1;
            weigh(query, &keys, seen, self.scale(), &mut scores);
            mix(&scores[..seen], &self.values, out);
        }
        out
    }

    /// From the gradient of what is attended, `[group, own, d]`, to those of queries, keys and
    /// values.
    pub fn backward(&self, dout: &[f32]) -> Heads {
        let (time, d) = (self.time(), self.d);
        let padded = time.next_multiple_of(LANES);
        let keys = turned(&self.keys, time, d);
        let values = turned(&self.values, time, d);
        let mut grads = Heads {
            past: self.past,
            own: self.own,
            d,
            queries: vec![0.0; self.queries.len()],
            keys: vec![0.0; self.keys.len()],
            values: vec![0.0; self.values.len()],
        };
        let (mut weights, mut slopes) = (vec![0.0; padded], vec![0.0; padded]);
        let rows = self.queries.chunks_exact(d).zip(dout.chunks_exact(d));
        for (at, ((query, dout), dquery)) in rows.zip(grads.queries.chunks_exact_mut(d)).enumerate()
        {
            let seen = self.past + at % self.own + 1;
            weigh(query, &keys, seen, self.scale(), &mut weights);
            products(dout, &values, seen, &mut slopes);
            soften(&weights[..seen], &mut slopes[..seen], self.scale());
            mix(&slopes[..seen], &self.keys, dquery);
            spread(&slopes[..seen], query, &mut grads.keys);
            spread(&weights[..seen], dout, &mut grads.values);
        }
        grads
    }
}

/// `out[t] = sum_i x[i] * turned[i][t]` for the first `seen` of `t`, and some more.
#[inline(always)]
fn products_body<const FMA: bool>(x: &[f32], turned: &[f32], seen: usize, out: &mut [f32]) {
    let padded = out.len();
    let end = seen.next_multiple_of(LANES);
    let out = &mut out[..end];
    out.fill(0.0);
    let fours = x.len() / 4 * 4;
    for i in (0..fours).step_by(4) {
        let row = |j: usize| &turned[(i + j) * padded..][..end];
        let (a, b, c, d) = (row(0), row(1), row(2), row(3));
        for t in 0..end {
            let sum = multiply_add::<FMA>(x[i], a[t], out[t]);
            let sum = multiply_add::<FMA>(x[i + 1], b[t], sum);
            let sum = multiply_add::<FMA>(x[i + 2], c[t], sum);
            out[t] = multiply_add::<FMA>(x[i + 3], d[t], sum);
        }
    }
    for i in fours..x.len() {
        for (o, k) in out.iter_mut().zip(&turned[i * padded..][..end]) {
            *o = multiply_add::<FMA>(x[i], *k, *o);
        }
    }
}

dispatch!(products, products_body, (x: &[f32], turned: &[f32], seen: usize, out: &mut [f32]));

/// The softmax over the first `seen` scores of a query.
#[inline(always)]
fn weigh_body<const FMA: bool>(
    query: &[f32],
    turned: &[f32],
    seen: usize,
    scale: f32,
    scores: &mut [f32],
) {
    products_body::<FMA>(query, turned, seen, scores);
    let end = seen.next_multiple_of(LANES);
    scores[seen..end].fill(f32::NEG_INFINITY);
    let scores = &mut scores[..end];
    let max = max_body::<FMA>(scores);
    for s in scores.iter_mut() {
        *s = exp::<FMA>((*s - max) * scale);
    }
    scores[seen..].fill(0.0);
    let total = 1.0 / sum_body::<FMA>(scores);
    for s in scores.iter_mut() {
        *s *= total;
    }
}

dispatch!(weigh, weigh_body, (
    query: &[f32],
    turned: &[f32],
    seen: usize,
    scale: f32,
    scores: &mut [f32]
));

/// `out = sum_t weights[t] * rows[t]`.
#[inline(always)]
fn mix_body<const FMA: bool>(weights: &[f32], rows: &[f32], out: &mut [f32]) {
    let d = out.len();
    out.fill(0.0);
    for (w, row) in weights.iter().zip(rows.chunks_exact(d)) {
        for (o, x) in out.iter_mut().zip(row) {
            *o = multiply_add::<FMA>(*w, *x, *o);
        }
    }
}

dispatch!(mix, mix_body, (weights: &[f32], rows: &[f32], out: &mut [f32]));

/// `rows[t] += weights[t] * x`.
#[inline(always)]
fn spread_body<const FMA: bool>(weights: &[f32], x: &[f32], rows: &mut [f32]) {
    for (w, row) in weights.iter().zip(rows.chunks_exact_mut(x.len())) {
        for (r, x) in row.iter_mut().zip(x) {
            *r = multiply_add::<FMA>(*w, *x, *r);
        }
    }
}

dispatch!(spread, spread_body, (weights: &[f32], x: &[f32], rows: &mut [f32]));

/// The gradient of a softmax: from that of its weights to that of the scores before `scale`.
#[inline(always)]
fn soften_body<const FMA: bool>(weights: &[f32], slopes: &mut [f32], scale: f32) {
    let mean = dot_body::<FMA>(weights, slopes);
    for (w, s) in weights.iter().zip(slopes) {
        *s = w * (*s - mean) * scale;
    }
}

dispatch!(soften, soften_body, (weights: &[f32], slopes: &mut [f32], scale: f32));
