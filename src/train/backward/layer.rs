//! One layer of the decoder, forward with what the backward pass needs, and backward.

use super::attention::Heads;
use super::norm::{self, Normed};
use crate::kernels::lanes::{dispatch, exp, rotate};
use crate::kernels::{Left, Panels, Team, Tiles, multiply_rows};
use crate::model::Config;
use crate::model::decoder::Layer;
use crate::model::layout::floats;
use crate::train::trie::{Branch, Trie};
use burn::tensor::Tensor;

/// A weight `[k, n]` and its transpose, packed.
pub struct Packed {
    forward: Panels,
    backward: Panels,
}

/// The numbers of a tensor, whether it is differentiated or not.
pub fn plain<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    match tensor.is_autodiff() {
        true => floats(tensor.inner()),
        false => floats(tensor),
    }
}

impl Packed {
    pub fn new(weight: Tensor<2>) -> Packed {
        let [k, n] = weight.dims();
        let weight = plain(weight);
        Packed {
            forward: Panels::of_rows(k, n, &weight),
            backward: Panels::of_columns(n, k, &weight),
        }
    }

    /// The other way round: for a matrix that lies `[n, k]`.
    pub fn turned(weight: Tensor<2>) -> Packed {
        let Packed { forward, backward } = Packed::new(weight);
        Packed {
            forward: backward,
            backward: forward,
        }
    }

    /// `x w`, `[m, n]`.
    pub fn forward(&self, team: Team, x: &[f32]) -> Vec<f32> {
        product(team, x, &self.forward)
    }

    /// `dy w^T`, `[m, k]`.
    pub fn backward(&self, team: Team, dy: &[f32]) -> Vec<f32> {
        product(team, dy, &self.backward)
    }
}

fn product(team: Team, x: &[f32], w: &Panels) -> Vec<f32> {
    let (k, n) = (w.k(), w.n());
    let m = x.len() / k;
    let mut out = vec![0.0; m * n];
    multiply_rows(team, Left::Rows { x, m, k }, w, &mut out, false);
    out
}

/// `dw += x^T dy`, with `x` `[m, k]` and `dy` `[m, n]`.
pub fn add_outer(team: Team, tiles: &mut Tiles, x: &[f32], dy: &[f32], m: usize, dw: &mut [f32]) {
    let (k, n) = (x.len() / m, dy.len() / m);
    tiles.fill_transposed(team, x, m, k);
    multiply_rows(
        team,
        Left::Tiles(tiles),
        &Panels::of_rows(m, n, dy),
        dw,
        true,
    );
}

/// A layer's weights.
pub struct LayerWeights {
    attention_norm: Vec<f32>,
    qkv: Packed,
    bias: Option<Vec<f32>>,
    output: Packed,
    mlp_norm: Vec<f32>,
    gate_up: Packed,
    down: Packed,
}

impl LayerWeights {
    pub fn new(layer: &Layer) -> LayerWeights {
        LayerWeights {
            attention_norm: plain(layer.attention_norm.weight.val()),
            qkv: Packed::new(layer.qkv.weight.val()),
            bias: layer.qkv.bias.as_ref().map(|bias| plain(bias.val())),
            output: Packed::new(layer.output.weight.val()),
            mlp_norm: plain(layer.mlp_norm.weight.val()),
            gate_up: Packed::new(layer.gate_up.weight.val()),
            down: Packed::new(layer.down.weight.val()),
        }
    }
}

/// Gradients of a layer's weights, in the layout of the weights.
#[derive(Default)]
pub struct LayerGrads {
    pub attention_norm: Vec<f32>,
    pub qkv: Vec<f32>,
    pub bias: Vec<f32>,
    pub output: Vec<f32>,
    pub mlp_norm: Vec<f32>,
    pub gate_up: Vec<f32>,
    pub down: Vec<f32>,
}

impl LayerGrads {
    pub fn zeros(config: &Config) -> LayerGrads {
        let (h, ff) = (config.hidden_size, config.intermediate_size);
        let width = config.num_attention_heads * config.head_dim;
        LayerGrads {
            attention_norm: vec![0.0; h],
            qkv: vec![0.0; h * config.qkv_size()],
            bias: vec![0.0; config.qkv_size()],
            output: vec![0.0; width * h],
            mlp_norm: vec![0.0; h],
            gate_up: vec![0.0; h * 2 * ff],
            down: vec![0.0; ff * h],
        }
    }
}

/// The tokens of a pass, each beginning that sequences share once.
pub struct Sequences<'a> {
    pub config: &'a Config,
    pub trie: Trie,
    /// `[longest, head_dim / 2]`.
    pub cos: Vec<f32>,
    pub sin: Vec<f32>,
}

/// `[index, d]` of a column block of the rows `index` of `x`.
fn block(x: &[f32], width: usize, first: usize, d: usize, index: &[usize]) -> Vec<f32> {
    let mut out = Vec::with_capacity(index.len() * d);
    for &at in index {
        out.extend_from_slice(&x[at * width + first..][..d]);
    }
    out
}

/// Adds `[index, d]` to a column block of the rows `index` of `x`.
fn add_block(from: &[f32], x: &mut [f32], width: usize, first: usize, d: usize, index: &[usize]) {
    for (&at, row) in index.iter().zip(from.chunks_exact(d)) {
        for (x, from) in x[at * width + first..][..d].iter_mut().zip(row) {
            *x += from;
        }
    }
}

impl Sequences<'_> {
    /// Tokens together.
    pub fn len(&self) -> usize {
        self.trie.tokens.len()
    }

    /// Rotates the queries and keys in `qkv`; `back` undoes it, which is also its gradient.
    fn rotate(&self, qkv: &mut [f32], back: bool) {
        let (d, half) = (self.config.head_dim, self.config.head_dim / 2);
        let heads = self.config.num_attention_heads + self.config.num_key_value_heads;
        let negative: Vec<f32> = match back {
            true => self.sin.iter().map(|s| -s).collect(),
            false => Vec::new(),
        };
        let sin = if back { &negative } else { &self.sin };
        for branch in &self.trie.branches {
            for i in 0..branch.own {
                let position = branch.past + i;
                let angle = position * half..(position + 1) * half;
                let row = &mut qkv[(branch.first + i) * self.config.qkv_size()..][..heads * d];
                for head in row.chunks_exact_mut(d) {
                    rotate(head, &self.cos[angle.clone()], &sin[angle.clone()]);
                }
            }
        }
    }

    /// Which branch and which key head each item of attention is of.
    fn items(&self) -> impl Iterator<Item = (&Branch, usize)> {
        let kv = self.config.num_key_value_heads;
        let branches = self.trie.branches.iter();
        branches.flat_map(move |branch| (0..kv).map(move |head| (branch, head)))
    }

    /// `[group, own, d]` of the rows of `x`, each `width` long, that a branch has to itself: the columns
    /// of the query heads of key head `head`.
    fn queries(&self, x: &[f32], width: usize, branch: &Branch, head: usize) -> Vec<f32> {
        let c = self.config;
        let group = c.num_attention_heads / c.num_key_value_heads;
        let own = &self.trie.path(branch)[branch.past..];
        let heads = head * group..(head + 1) * group;
        let each = heads.map(|h| block(x, width, h * c.head_dim, c.head_dim, own));
        each.collect::<Vec<_>>().concat()
    }

    /// The reverse of [`Sequences::queries`].
    fn add_queries(&self, from: &[f32], x: &mut [f32], width: usize, branch: &Branch, head: usize) {
        let c = self.config;
        let (d, group) = (c.head_dim, c.num_attention_heads / c.num_key_value_heads);
        let own = &self.trie.path(branch)[branch.past..];
        for (g, from) in from.chunks_exact(branch.own * d).enumerate() {
            add_block(from, x, width, (head * group + g) * d, d, own);
        }
    }

    fn heads(&self, qkv: &[f32], branch: &Branch, head: usize) -> Heads {
        let c = self.config;
        let (h, kv, d, width) = (
            c.num_attention_heads,
            c.num_key_value_heads,
            c.head_dim,
            c.qkv_size(),
        );
        let path = self.trie.path(branch);
        Heads {
            past: branch.past,
            own: branch.own,
            d,
            queries: self.queries(qkv, width, branch, head),
            keys: block(qkv, width, (h + head) * d, d, path),
            values: block(qkv, width, (h + kv + head) * d, d, path),
        }
    }

    /// `[m, qkv]` after the rotation to `[m, heads * d]`.
    fn attend(&self, team: Team, qkv: &[f32]) -> Vec<f32> {
        let width = self.config.num_attention_heads * self.config.head_dim;
        let mut items: Vec<_> = self.items().map(|item| (item, Vec::new())).collect();
        team.chunks(&mut items, 1, |_, some| {
            for ((branch, head), out) in some {
                *out = self.heads(qkv, branch, *head).forward();
            }
        });
        let mut attended = vec![0.0; self.len() * width];
        for ((branch, head), out) in items {
            self.add_queries(&out, &mut attended, width, branch, head);
        }
        attended
    }

    /// From the gradient of what is attended to that of `qkv` before the rotation.
    fn attend_back(&self, team: Team, qkv: &[f32], dattended: &[f32]) -> Vec<f32> {
        let c = self.config;
        let (h, kv, d, width) = (
            c.num_attention_heads,
            c.num_key_value_heads,
            c.head_dim,
            c.qkv_size(),
        );
        let mut items: Vec<_> = self.items().map(|item| (item, None)).collect();
        team.chunks(&mut items, 1, |_, some| {
            for ((branch, head), grads) in some {
                let dout = self.queries(dattended, h * d, branch, *head);
                *grads = Some(self.heads(qkv, branch, *head).backward(&dout));
            }
        });
        let mut dqkv = vec![0.0; self.len() * width];
        // A node's key and value are seen from every branch below it; the order of the sum is fixed.
        for ((branch, head), grads) in items {
            let Some(grads) = grads else { continue };
            let path = self.trie.path(branch);
            self.add_queries(&grads.queries, &mut dqkv, width, branch, head);
            add_block(&grads.keys, &mut dqkv, width, (h + head) * d, d, path);
            let values = (h + kv + head) * d;
            add_block(&grads.values, &mut dqkv, width, values, d, path);
        }
        self.rotate(&mut dqkv, true);
        dqkv
    }
}

/// What the forward pass of a layer leaves for the backward one; `x` is the layer's input.
pub struct Tape {
    normed: Normed,
    /// After the rotation.
    qkv: Vec<f32>,
    attended: Vec<f32>,
    middle: Vec<f32>,
    mlp_normed: Normed,
    gate_up: Vec<f32>,
    gated: Vec<f32>,
}

/// Runs a layer on `x`, `[m, hidden]`.
pub fn forward(
    team: Team,
    weights: &LayerWeights,
    sequences: &Sequences<'_>,
    x: &[f32],
) -> (Vec<f32>, Tape) {
    let epsilon = sequences.config.rms_norm_eps as f32;
    let normed = norm::forward(x, &weights.attention_norm, epsilon);
    let mut qkv = weights.qkv.forward(team, &normed.y);
    if let Some(bias) = &weights.bias {
        for row in qkv.chunks_exact_mut(bias.len()) {
            add(row, bias);
        }
    }
    sequences.rotate(&mut qkv, false);
    let attended = sequences.attend(team, &qkv);
    let mut middle = weights.output.forward(team, &attended);
    add(&mut middle, x);
    let mlp_normed = norm::forward(&middle, &weights.mlp_norm, epsilon);
    let gate_up = weights.gate_up.forward(team, &mlp_normed.y);
    let ff = sequences.config.intermediate_size;
    let mut gated = vec![0.0; gate_up.len() / 2];
    for (both, out) in gate_up.chunks_exact(2 * ff).zip(gated.chunks_exact_mut(ff)) {
        gate(both, out);
    }
    let mut out = weights.down.forward(team, &gated);
    add(&mut out, &middle);
    let tape = Tape {
        normed,
        qkv,
        attended,
        middle,
        mlp_normed,
        gate_up,
        gated,
    };
    (out, tape)
}

/// From the gradient `dx` of a layer's output to that of its input, in place, and to those of its
/// weights, which are added to `grads`.
#[expect(
    clippy::too_many_arguments,
    reason = "a layer, its tape and its gradients"
)]
pub fn backward(
    team: Team,
    tiles: &mut Tiles,
    weights: &LayerWeights,
    sequences: &Sequences<'_>,
    x: &[f32],
    tape: &Tape,
    dx: &mut [f32],
    grads: &mut LayerGrads,
) {
    let m = sequences.len();
    let ff = sequences.config.intermediate_size;
    add_outer(team, tiles, &tape.gated, dx, m, &mut grads.down);
    let dgated = weights.down.backward(team, dx);
    let mut dgate_up = vec![0.0; tape.gate_up.len()];
    for ((both, dgated), dboth) in tape
        .gate_up
        .chunks_exact(2 * ff)
        .zip(dgated.chunks_exact(ff))
        .zip(dgate_up.chunks_exact_mut(2 * ff))
    {
        gate_back(both, dgated, dboth);
    }
    add_outer(
        team,
        tiles,
        &tape.mlp_normed.y,
        &dgate_up,
        m,
        &mut grads.gate_up,
    );
    let dy = weights.gate_up.backward(team, &dgate_up);
    let scale = &tape.mlp_normed.scale;
    norm::backward(
        &tape.middle,
        &weights.mlp_norm,
        scale,
        &dy,
        dx,
        &mut grads.mlp_norm,
    );
    add_outer(team, tiles, &tape.attended, dx, m, &mut grads.output);
    let dattended = weights.output.backward(team, dx);
    let dqkv = sequences.attend_back(team, &tape.qkv, &dattended);
    if weights.bias.is_some() {
        for row in dqkv.chunks_exact(grads.bias.len()) {
            add(&mut grads.bias, row);
        }
    }
    add_outer(team, tiles, &tape.normed.y, &dqkv, m, &mut grads.qkv);
    let dy = weights.qkv.backward(team, &dqkv);
    let scale = &tape.normed.scale;
    norm::backward(
        x,
        &weights.attention_norm,
        scale,
        &dy,
        dx,
        &mut grads.attention_norm,
    );
}

#[inline(always)]
fn add_body<const FMA: bool>(to: &mut [f32], from: &[f32]) {
    for (to, from) in to.iter_mut().zip(from) {
        *to += from;
    }
}

dispatch!(add, add_body, (to: &mut [f32], from: &[f32]));

/// `silu(gate) * up`, where `both` is gates, then ups.
#[inline(always)]
fn gate_body<const FMA: bool>(both: &[f32], out: &mut [f32]) {
    let (gate, up) = both.split_at(out.len());
    for ((out, g), u) in out.iter_mut().zip(gate).zip(up) {
        *out = g / (1.0 + exp::<FMA>(-g)) * u;
    }
}

dispatch!(gate, gate_body, (both: &[f32], out: &mut [f32]));

#[inline(always)]
fn gate_back_body<const FMA: bool>(both: &[f32], dout: &[f32], dboth: &mut [f32]) {
    let (gate, up) = both.split_at(dout.len());
    let (dgate, dup) = dboth.split_at_mut(dout.len());
    for i in 0..dout.len() {
        let (g, u) = (gate[i], up[i]);
        let sigmoid = 1.0 / (1.0 + exp::<FMA>(-g));
        dup[i] = dout[i] * g * sigmoid;
        dgate[i] = dout[i] * u * sigmoid * (1.0 + g * (1.0 - sigmoid));
    }
}

dispatch!(gate_back, gate_back_body, (both: &[f32], dout: &[f32], dboth: &mut [f32]));
