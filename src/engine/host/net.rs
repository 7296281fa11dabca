//! A decoder, packed for the host. Between kernels, activations lie panel by panel,
//! `[panels, tokens, 32]`: what a product with one panel leaves.

use super::attention::{Layout, attend_group};
use super::cache::SharedCache;
use crate::engine::batch::Batch;
use crate::kernels::lanes::{rms_norm, rotate, swiglu};
use crate::kernels::{Panels, Team, Tiles, WIDTH, multiply};
use crate::model::decoder::{Layer, Projection};
use crate::model::layout::floats;
use crate::model::{Config, Decoder};
use std::cell::RefCell;
use std::ops::Range;

/// Gates, and ups, in a panel of both.
const HALF: usize = WIDTH / 2;

/// The weights of a decoder.
pub struct HostNet {
    config: Config,
    /// `[hidden, vocab]`; also the head where it is tied.
    embedding: Panels,
    layers: Vec<HostLayer>,
    norm: Vec<f32>,
    head: Option<Panels>,
}

struct HostLayer {
    attention_norm: Vec<f32>,
    qkv: Panels,
    /// Filled up to whole panels; empty where there is none.
    bias: Vec<f32>,
    output: Panels,
    mlp_norm: Vec<f32>,
    /// A panel holds sixteen gates and their ups.
    gate_up: Panels,
    down: Panels,
}

/// Buffers of a forward pass.
#[derive(Default)]
pub struct Work {
    tiles: Tiles,
    /// The residual stream, `[panels, tokens, 32]`.
    x: Vec<f32>,
    qkv: Vec<f32>,
    /// `[tokens, heads * head_dim]`.
    queries: Vec<f32>,
    attended: Vec<f32>,
    /// `[panels, tokens, 16]`.
    gated: Vec<f32>,
    logits: Vec<f32>,
}

thread_local! {
    static SCORES: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    static KEY_VALUE: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
}

impl HostLayer {
    fn pack(config: &Config, layer: Layer, bf16: bool) -> HostLayer {
        let ff = config.intermediate_size;
        let qkv_panels = config.qkv_size().div_ceil(WIDTH);
        let bias = layer.qkv.bias.as_ref().map(|bias| {
            let mut bias = floats(bias.val());
            bias.resize(qkv_panels * WIDTH, 0.0);
            bias
        });
        let gate_up = floats(layer.gate_up.weight.val());
        HostLayer {
            attention_norm: floats(layer.attention_norm.weight.val()),
            bias: bias.unwrap_or_default(),
            qkv: pack(&layer.qkv, bf16),
            output: pack(&layer.output, bf16),
            mlp_norm: floats(layer.mlp_norm.weight.val()),
            gate_up: Panels::pack(
                config.hidden_size,
                ff.div_ceil(HALF) * WIDTH,
                bf16,
                |i, j| {
                    let column = j / WIDTH * HALF + j % HALF;
                    let up = j % WIDTH >= HALF;
                    match column < ff {
                        true => gate_up[i * 2 * ff + column + usize::from(up) * ff],
                        false => 0.0,
                    }
                },
            ),
            down: pack(&layer.down, bf16),
        }
    }

    fn bytes(&self) -> usize {
        [&self.qkv, &self.output, &self.gate_up, &self.down]
            .iter()
            .map(|panels| panels.bytes())
            .sum()
    }
}

fn pack(projection: &Projection, bf16: bool) -> Panels {
    let [k, n] = projection.weight.dims();
    let weight = floats(projection.weight.val());
    Panels::pack(k, n, bf16, |i, j| weight[i * n + j])
}

/// Row `i` of activations `[panels, m, W]`.
fn gather<const W: usize>(panels: &[f32], m: usize, i: usize, row: &mut [f32]) {
    let mut panels = panels.chunks_exact(m * W);
    let (whole, rest) = row.as_chunks_mut::<W>();
    for (part, panel) in whole.iter_mut().zip(&mut panels) {
        // Of a known size, so that this is two loads and not a call.
        part.copy_from_slice(&panel[i * W..][..W]);
    }
    if let (false, Some(panel)) = (rest.is_empty(), panels.next()) {
        rest.copy_from_slice(&panel[i * W..][..rest.len()]);
    }
}

impl HostNet {
    /// Packs the weights of `decoder`, in bfloat16 or f32; its own go layer by layer.
    pub fn pack(mut decoder: Decoder, bf16: bool) -> HostNet {
        let config = decoder.config().clone();
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let layers = std::mem::take(&mut decoder.layers)
            .into_iter()
            .map(|layer| HostLayer::pack(&config, layer, bf16))
            .collect();
        let norm = floats(decoder.norm.weight.val());
        let turn =
            |weight: Vec<f32>| Panels::pack(hidden, vocab, bf16, |i, j| weight[j * hidden + i]);
        let head = decoder
            .head
            .take()
            .map(|head| turn(floats(head.into_value())));
        let embedding = turn(floats(decoder.embedding.into_value()));
        HostNet {
            config,
            embedding,
            layers,
            norm,
            head,
        }
    }

    /// The shape.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Bytes that a step reads at least.
    pub fn bytes(&self) -> usize {
        let layers: usize = self.layers.iter().map(HostLayer::bytes).sum();
        layers + self.head.as_ref().unwrap_or(&self.embedding).bytes()
    }

    /// Runs the layers on the batch's `tokens`; what comes out of the last one stays in `work`.
    pub fn forward(
        &self,
        team: Team,
        batch: &Batch,
        tokens: Range<usize>,
        cache: &SharedCache,
        work: &mut Work,
    ) {
        let hidden = self.config.hidden_size;
        let m = tokens.len();
        let ids = &batch.tokens[tokens.clone()];
        work.x.resize(hidden.div_ceil(WIDTH) * m * WIDTH, 0.0);
        team.chunks(&mut work.x, m * WIDTH, |panel, x| {
            let first = panel * WIDTH;
            let part = WIDTH.min(hidden - first);
            for (row, &token) in x.chunks_exact_mut(WIDTH).zip(ids) {
                self.embedding
                    .column(token as usize, first, &mut row[..part]);
                row[part..].fill(0.0);
            }
        });
        for index in 0..self.layers.len() {
            self.attend(team, index, batch, tokens.clone(), cache, work);
            self.feed(team, index, m, work);
        }
    }

    /// Normalises the rows of the residual stream.
    fn norm_rows(&self, team: Team, m: usize, weight: &[f32], work: &mut Work) {
        let (x, epsilon) = (&work.x, self.config.rms_norm_eps as f32);
        work.tiles.fill(team, m, self.config.hidden_size, |i, row| {
            gather::<WIDTH>(x, m, i, row);
            rms_norm(row, weight, epsilon);
        });
    }

    /// The attention half of layer `index`.
    fn attend(
        &self,
        team: Team,
        index: usize,
        batch: &Batch,
        tokens: Range<usize>,
        cache: &SharedCache,
        work: &mut Work,
    ) {
        let layer = &self.layers[index];
        let (h, kv, d) = (
            self.config.num_attention_heads,
            self.config.num_key_value_heads,
            self.config.head_dim,
        );
        let m = tokens.len();
        self.norm_rows(team, m, &layer.attention_norm, work);
        work.qkv.resize(layer.qkv.count() * m * WIDTH, 0.0);
        multiply(
            team,
            &work.tiles,
            &layer.qkv,
            &mut work.qkv,
            m * WIDTH,
            |panel, product, out| {
                out.copy_from_slice(product);
                if let Some(bias) = layer.bias.get(panel * WIDTH..(panel + 1) * WIDTH) {
                    for row in out.chunks_exact_mut(WIDTH) {
                        for (x, b) in row.iter_mut().zip(bias) {
                            *x += b;
                        }
                    }
                }
            },
        );
        let slots = &cache.layers[index];
        let qkv = &work.qkv;
        work.queries.resize(m * h * d, 0.0);
        team.chunks(&mut work.queries, h * d, |i, queries| {
            KEY_VALUE.with_borrow_mut(|row| {
                row.resize(self.config.qkv_size(), 0.0);
                gather::<WIDTH>(qkv, m, i, row);
                let (cos, sin) = cache.angles(batch.positions[tokens.start + i]);
                for head in row[..(h + kv) * d].chunks_exact_mut(d) {
                    rotate(head, cos, sin);
                }
                queries.copy_from_slice(&row[..h * d]);
                let visible = batch.visible(tokens.start + i);
                slots.write(visible[visible.len() - 1], &row[h * d..]);
            });
        });
        let group = h / kv;
        let queries = &work.queries;
        work.attended.resize(m * h * d, 0.0);
        team.chunks(&mut work.attended, group * d, |at, out| {
            let (i, head) = (at / kv, at % kv);
            let visible = batch.visible(tokens.start + i);
            let layout = Layout {
                key: head * d,
                value: (kv + head) * d,
                head_dim: d,
                scale: (d as f32).sqrt().recip(),
            };
            SCORES.with_borrow_mut(|scores| {
                scores.resize(group * visible.len(), 0.0);
                let queries = &queries[at * group * d..][..group * d];
                attend_group(queries, slots, visible, layout, scores, out);
            });
        });
        let attended = &work.attended;
        work.tiles.fill(team, m, h * d, |i, row| {
            row.copy_from_slice(&attended[i * h * d..][..h * d]);
        });
        multiply(
            team,
            &work.tiles,
            &layer.output,
            &mut work.x,
            m * WIDTH,
            add,
        );
    }

    /// The feed-forward half of layer `index`.
    fn feed(&self, team: Team, index: usize, m: usize, work: &mut Work) {
        let layer = &self.layers[index];
        self.norm_rows(team, m, &layer.mlp_norm, work);
        work.gated.resize(layer.gate_up.count() * m * HALF, 0.0);
        multiply(
            team,
            &work.tiles,
            &layer.gate_up,
            &mut work.gated,
            m * HALF,
            |_, product, out| swiglu(product, out),
        );
        let gated = &work.gated;
        work.tiles
            .fill(team, m, self.config.intermediate_size, |i, row| {
                gather::<HALF>(gated, m, i, row);
            });
        multiply(team, &work.tiles, &layer.down, &mut work.x, m * WIDTH, add);
    }

    /// Final hidden states of the tokens `rows` of the last forward pass, which had `m`:
    /// `[rows, hidden]`.
    pub fn hidden(&self, team: Team, m: usize, rows: &[usize], work: &Work, out: &mut [f32]) {
        team.chunks(out, self.config.hidden_size, |i, row| {
            gather::<WIDTH>(&work.x, m, rows[i], row);
            rms_norm(row, &self.norm, self.config.rms_norm_eps as f32);
        });
    }

    /// Logits `[rows, vocab]` of hidden states `[rows, hidden]`.
    pub fn logits(&self, team: Team, hidden: &[f32], work: &mut Work, out: &mut [f32]) {
        let (width, vocab) = (self.config.hidden_size, self.config.vocab_size);
        let m = hidden.len() / width;
        work.tiles.fill(team, m, width, |i, row| {
            row.copy_from_slice(&hidden[i * width..][..width]);
        });
        let head = self.head.as_ref().unwrap_or(&self.embedding);
        work.logits.resize(head.count() * m * WIDTH, 0.0);
        multiply(
            team,
            &work.tiles,
            head,
            &mut work.logits,
            m * WIDTH,
            |_, product, out| out.copy_from_slice(product),
        );
        let logits = &work.logits;
        team.chunks(out, vocab, |i, row| gather::<WIDTH>(logits, m, i, row));
    }
}

fn add(_: usize, product: &[f32], x: &mut [f32]) {
    for (x, p) in x.iter_mut().zip(product) {
        *x += p;
    }
}
