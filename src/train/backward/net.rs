//! A pass of the whole net.

use super::heads::{self, HeadGrads, HeadWeights};
use super::layer::{self, LayerGrads, LayerWeights, Packed, Sequences, Tape, plain};
use super::norm;
use crate::kernels::{Team, Tiles};
use crate::model::{Config, Decoder, ValueHead};
use crate::train::batch::{Rows, Targets};
use crate::train::learner::{Batch, Objective, Source, ints};
use crate::train::passes::SMALL;
use crate::train::pull::Want;
use crate::train::report::StepReport;
use crate::train::trie::Trie;
use burn::module::Param;
use burn::optim::GradientsParams;
use burn::tensor::{Device, Tensor, TensorData};
use std::collections::HashMap;

/// The weights of a net for the pieces of one step. Those of a small net are packed before the pieces
/// begin, and what a layer's forward pass leaves is kept for the backward one; with a large net, whose
/// step is one piece, both would take too much memory and are made again layer by layer.
pub(crate) struct Weights<'a> {
    decoder: &'a Decoder,
    kept: Option<(Vec<LayerWeights>, Packed)>,
}

impl<'a> Weights<'a> {
    pub fn new(decoder: &'a Decoder) -> Weights<'a> {
        let small = decoder.config().parameters() < SMALL;
        Weights {
            kept: small.then(|| {
                let layers = decoder.layers.iter().map(LayerWeights::new).collect();
                (layers, head(decoder))
            }),
            decoder,
        }
    }

    fn with_layer<T>(&self, index: usize, run: impl FnOnce(&LayerWeights) -> T) -> T {
        match &self.kept {
            Some((layers, _)) => run(&layers[index]),
            None => run(&LayerWeights::new(&self.decoder.layers[index])),
        }
    }

    fn with_head<T>(&self, run: impl FnOnce(&Packed) -> T) -> T {
        match &self.kept {
            Some((_, head)) => run(head),
            None => run(&head(self.decoder)),
        }
    }
}

fn head(decoder: &Decoder) -> Packed {
    let head = decoder.head.as_ref().unwrap_or(&decoder.embedding);
    Packed::turned(head.val())
}

fn sequences<'a>(config: &'a Config, decoder: &Decoder, rows: &Rows) -> Sequences<'a> {
    let (cos, sin) = decoder.rope().table(rows.time);
    Sequences {
        config,
        trie: Trie::new(rows),
        cos,
        sin,
    }
}

/// The nodes at positions of padded rows.
fn places<T>(targets: &Targets<T>, rows: &Rows, trie: &Trie) -> Vec<usize> {
    let at = |&p: &i32| trie.paths[p as usize / rows.time][p as usize % rows.time];
    targets.positions.iter().map(at).collect()
}

/// `targets` at the nodes `places`, with those that want the same of a node as one: the weights of equal
/// losses add up.
fn merged(targets: &Targets<Want>, places: &[usize]) -> (Targets<Want>, Vec<usize>) {
    let mut at: HashMap<usize, Vec<usize>> = HashMap::new();
    let mut all = Targets::empty();
    let mut nodes = Vec::new();
    all.total = targets.total;
    let each = places.iter().zip(&targets.positions);
    let wants = targets.wanted.iter().zip(&targets.weights);
    for ((&node, &position), (&want, &weight)) in each.zip(wants) {
        let here = at.entry(node).or_default();
        if let Some(&same) = here.iter().find(|&&i| all.wanted[i] == want) {
            all.weights[same] += weight;
            continue;
        }
        here.push(nodes.len());
        nodes.push(node);
        all.positions.push(position);
        all.wanted.push(want);
        all.weights.push(weight);
    }
    (all, nodes)
}

fn embed(decoder: &Decoder, tokens: &[usize]) -> Vec<f32> {
    let ids: Vec<i32> = tokens.iter().map(|&t| t as i32).collect();
    let device = decoder.embedding.val().device().inner();
    plain(decoder.embed(ints(&ids, &device)))
}

/// Final hidden states of padded rows, `[rows * time, hidden]`; those of padding are zero.
pub(crate) fn hidden(decoder: &Decoder, rows: &Rows) -> Vec<f32> {
    let config = decoder.config();
    let sequences = sequences(config, decoder, rows);
    let mut x = embed(decoder, &sequences.trie.tokens);
    for layer in &decoder.layers {
        x = layer::forward(Team::All, &LayerWeights::new(layer), &sequences, &x).0;
    }
    let normed = norm::forward(
        &x,
        &plain(decoder.norm.weight.val()),
        config.rms_norm_eps as f32,
    );
    let width = config.hidden_size;
    let mut padded = vec![0.0; rows.rows * rows.time * width];
    for (path, row) in
        (sequences.trie.paths.iter()).zip(padded.chunks_mut((rows.time * width).max(1)))
    {
        for (&node, to) in path.iter().zip(row.chunks_exact_mut(width)) {
            to.copy_from_slice(&normed.y[node * width..][..width]);
        }
    }
    padded
}

/// Losses and gradients of one piece of a pass through `decoder` and `head`. Only parameters that
/// require a gradient get one.
pub(crate) fn pass(
    team: Team,
    weights: &Weights<'_>,
    head: Option<&ValueHead>,
    batch: &Batch,
    objective: &Objective,
) -> (StepReport, GradientsParams) {
    let mut report = batch.tokens();
    let mut gradients = GradientsParams::new();
    let Source::Tokens(rows) = &batch.source else {
        return (report, gradients);
    };
    let decoder = weights.decoder;
    let config = decoder.config();
    let (width, vocab) = (config.hidden_size, config.vocab_size);
    let sequences = sequences(config, decoder, rows);
    let trie = &sequences.trie;
    let mut tiles = Tiles::default();
    // The inputs of all layers, and of the final norm.
    let mut inputs = vec![embed(decoder, &trie.tokens)];
    let mut tapes: Vec<Option<Tape>> = Vec::new();
    for index in 0..decoder.layers.len() {
        let x = &inputs[index];
        let run = |w: &LayerWeights| layer::forward(team, w, &sequences, x);
        let (out, tape) = weights.with_layer(index, run);
        inputs.push(out);
        tapes.push(weights.kept.is_some().then_some(tape));
    }
    let last = inputs.pop().unwrap_or_default();
    let final_norm = plain(decoder.norm.weight.val());
    let normed = norm::forward(&last, &final_norm, config.rms_norm_eps as f32);

    let mut dhidden = vec![0.0; normed.y.len()];
    let mut dhead = vec![0.0; vocab * width];
    let mut dvalue = HeadGrads::default();
    report.tokens = trie.tokens.len() as u64;
    if let (Some(goal), Some(head)) = (batch.goal(), head) {
        let (loss, grads) = heads::value(
            team,
            &mut tiles,
            &HeadWeights::new(head),
            &normed.y,
            width,
            &goal,
            &places(goal.targets, rows, trie),
            &objective.criterion,
            objective.value_scale,
            &mut dhidden,
        );
        report.value_loss = Some(loss);
        dvalue = grads;
    }
    if let Some(targets) = some(&batch.policy) {
        let (targets, places) = merged(targets, &places(targets, rows, trie));
        let loss = weights.with_head(|head| {
            heads::policy(
                team,
                &mut tiles,
                head,
                &normed.y,
                width,
                &targets,
                &places,
                (objective.logits_at_once / vocab).max(1),
                &mut dhidden,
                &mut dhead,
            )
        });
        report.policy_loss = Some(loss);
    }
    report.combine(objective.value_scale);
    if !report.loss.is_finite() {
        return (report, gradients);
    }

    let mut dx = vec![0.0; last.len()];
    let mut dnorm = vec![0.0; width];
    norm::backward(
        &last,
        &final_norm,
        &normed.scale,
        &dhidden,
        &mut dx,
        &mut dnorm,
    );
    let mut keep = Keep {
        device: decoder.embedding.val().device().inner(),
        gradients: &mut gradients,
    };
    keep.vector(&decoder.norm.weight, dnorm);
    let embedded = decoder.embedding.val().is_require_grad();
    // Below the first layer that learns there is nothing to do, unless the embedding learns.
    let lowest = match embedded {
        true => 0,
        false => (decoder.layers.iter())
            .position(|layer| layer.qkv.weight.val().is_require_grad())
            .unwrap_or(decoder.layers.len()),
    };
    for index in (lowest..decoder.layers.len()).rev() {
        let x = inputs.pop().unwrap_or_default();
        let tape = tapes.pop().flatten();
        let mut grads = LayerGrads::zeros(config);
        weights.with_layer(index, |w| {
            let tape = tape.unwrap_or_else(|| layer::forward(team, w, &sequences, &x).1);
            let (dx, grads) = (&mut dx, &mut grads);
            layer::backward(team, &mut tiles, w, &sequences, &x, &tape, dx, grads);
        });
        keep.layer(&decoder.layers[index], grads);
    }
    let mut dembedding = match &decoder.head {
        None => dhead,
        Some(head) => {
            keep.matrix(head, dhead);
            vec![0.0; vocab * width]
        }
    };
    if embedded {
        for (&token, dx) in trie.tokens.iter().zip(dx.chunks_exact(width)) {
            for (d, dx) in dembedding[token * width..][..width].iter_mut().zip(dx) {
                *d += dx;
            }
        }
        keep.matrix(&decoder.embedding, dembedding);
    }
    if let (Some(head), true) = (head, report.value_loss.is_some()) {
        if let Some(inner) = &head.inner {
            keep.matrix(&inner.weight, dvalue.inner_weight);
            keep.vector(&inner.bias, dvalue.inner_bias);
        }
        keep.matrix(&head.score, dvalue.score);
        keep.vector(&head.bias, dvalue.bias);
    }
    (report, gradients)
}

fn some<T>(targets: &Option<Targets<T>>) -> Option<&Targets<T>> {
    targets
        .as_ref()
        .filter(|targets| !targets.wanted.is_empty())
}

/// Hands gradients over to the optimiser.
struct Keep<'a> {
    device: Device,
    gradients: &'a mut GradientsParams,
}

impl Keep<'_> {
    fn vector(&mut self, param: &Param<Tensor<1>>, gradient: Vec<f32>) {
        let shape = param.val().dims();
        self.put(param, gradient, shape);
    }

    fn matrix(&mut self, param: &Param<Tensor<2>>, gradient: Vec<f32>) {
        let shape = param.val().dims();
        self.put(param, gradient, shape);
    }

    fn put<const D: usize>(
        &mut self,
        param: &Param<Tensor<D>>,
        gradient: Vec<f32>,
        shape: [usize; D],
    ) {
        if param.val().is_require_grad() {
            let data = TensorData::new(gradient, shape);
            let gradient = Tensor::<D>::from_data(data, &self.device);
            self.gradients.register(param.id, gradient);
        }
    }

    fn layer(&mut self, layer: &crate::model::decoder::Layer, grads: LayerGrads) {
        self.vector(&layer.attention_norm.weight, grads.attention_norm);
        self.matrix(&layer.qkv.weight, grads.qkv);
        if let Some(bias) = &layer.qkv.bias {
            self.vector(bias, grads.bias);
        }
        self.matrix(&layer.output.weight, grads.output);
        self.vector(&layer.mlp_norm.weight, grads.mlp_norm);
        self.matrix(&layer.gate_up.weight, grads.gate_up);
        self.matrix(&layer.down.weight, grads.down);
    }
}
