//! The decoder, from projection to layer to model. Weights are read through `&self`; whatever
//! remembers keys and values comes in as an argument ([`Attend`]).

use super::attention::{Attend, CausalAttention};
use super::config::Config;
use super::layout::{self, Get, Weight};
use super::rope::Rope;
use burn::module::{Module, Param};
use burn::tensor::activation::silu;
use burn::tensor::{DType, Device, Int, Tensor, TensorData};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A linear map; `weight` is `[in, out]`.
#[derive(Module, Debug)]
pub struct Projection {
    pub weight: Param<Tensor<2>>,
    pub bias: Option<Param<Tensor<1>>>,
}

impl Projection {
    /// The part of the map that gives the outputs in `range`.
    pub fn columns(&self, range: std::ops::Range<usize>) -> Columns {
        let weight = self.weight.val();
        let [rows, _] = weight.dims();
        Columns {
            weight: weight.slice([0..rows, range.clone()]),
            bias: self.bias.as_ref().map(|bias| bias.val().slice([range])),
        }
    }

    /// `[n, in] -> [n, out]`, in the type of `x`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let whole = Columns {
            weight: self.weight.val(),
            bias: self.bias.as_ref().map(Param::val),
        };
        whole.forward(x)
    }
}

/// Some output columns of a [`Projection`].
pub struct Columns {
    pub weight: Tensor<2>,
    pub bias: Option<Tensor<1>>,
}

impl Columns {
    /// `[n, in] -> [n, columns]`, in the type of `x`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let dtype = x.dtype();
        let y = x.matmul(in_type(self.weight.clone(), dtype));
        match &self.bias {
            Some(bias) => y + in_type(bias.clone(), dtype).unsqueeze(),
            None => y,
        }
    }
}

/// `x` in `dtype`; gradients come back in the type that `x` has.
pub(super) fn in_type<const D: usize>(x: Tensor<D>, dtype: DType) -> Tensor<D> {
    match x.dtype() == dtype {
        true => x,
        false => x.cast(dtype),
    }
}

/// Root-mean-square normalisation (Zhang & Sennrich, 2019); `weight` is `[hidden]`.
#[derive(Module, Debug)]
pub struct RmsNorm {
    pub weight: Param<Tensor<1>>,
    pub epsilon: f64,
}

impl RmsNorm {
    /// `[n, hidden] -> [n, hidden]`.
    pub fn forward(&self, x: Tensor<2>) -> Tensor<2> {
        let scale = (x.clone() * x.clone())
            .mean_dim(1)
            .add_scalar(self.epsilon)
            .sqrt()
            .recip();
        x * scale * self.weight.val().unsqueeze()
    }
}

/// One block: attention and a gated feed-forward network, each behind a norm and a residual.
#[derive(Module, Debug)]
pub struct Layer {
    pub attention_norm: RmsNorm,
    /// Query, key and value, fused: `[hidden, (heads + 2 * kv_heads) * head_dim]`.
    pub qkv: Projection,
    pub output: Projection,
    pub mlp_norm: RmsNorm,
    /// Gate and up, fused: `[hidden, 2 * intermediate]`.
    pub gate_up: Projection,
    pub down: Projection,
}

impl Layer {
    /// `[n, hidden] -> [n, hidden]`. Products and attention are computed in `compute`, norms and the
    /// residual stream in f32.
    pub fn forward(
        &self,
        index: usize,
        x: Tensor<2>,
        compute: DType,
        attend: &mut impl Attend,
    ) -> Tensor<2> {
        let seen = in_type(self.attention_norm.forward(x.clone()), compute);
        let attended = attend.attend(index, &self.qkv, seen);
        let x = x + in_type(self.output.forward(attended), DType::F32);
        let (gate, up) = self.gate_and_up(in_type(self.mlp_norm.forward(x.clone()), compute));
        x + in_type(self.down.forward(silu(gate) * up), DType::F32)
    }

    /// `[n, hidden] -> 2 x [n, intermediate]`.
    fn gate_and_up(&self, x: Tensor<2>) -> (Tensor<2>, Tensor<2>) {
        let [_, both] = self.gate_up.weight.dims();
        if x.is_autodiff() {
            // Cutting the weight costs far less to differentiate than cutting the product.
            let gate = self.gate_up.columns(0..both / 2).forward(x.clone());
            return (gate, self.gate_up.columns(both / 2..both).forward(x));
        }
        let product = self.gate_up.forward(x);
        let [n, _] = product.dims();
        (
            product.clone().slice([0..n, 0..both / 2]),
            product.slice([0..n, both / 2..both]),
        )
    }
}

/// A Qwen2 or Llama decoder with its vocabulary projection.
#[derive(Module, Debug)]
pub struct Decoder {
    /// `[vocab, hidden]`; also the head where it is tied.
    pub embedding: Param<Tensor<2>>,
    pub layers: Vec<Layer>,
    pub norm: RmsNorm,
    /// `[vocab, hidden]`, where the head is untied.
    pub head: Option<Param<Tensor<2>>>,
    #[module(skip)]
    config: Config,
    #[module(skip)]
    rope: Rope,
    #[module(skip)]
    compute: DType,
}

impl Decoder {
    /// A decoder with random weights: normal with standard deviation `1/sqrt(fan_in)`, half that on
    /// the two projections that write to the residual, 0.02 on the embedding, biases zero.
    pub fn init(config: &Config, seed: u64, device: &Device) -> Decoder {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let result = Self::from_weights(config, device, &mut |name, shape| {
            Ok::<_, std::convert::Infallible>(initial(&mut rng, name, shape))
        });
        match result {
            Ok(decoder) => decoder,
            Err(never) => match never {},
        }
    }

    /// Builds the decoder from tensors under their Hugging Face names and shapes
    /// (`model.layers.0.self_attn.q_proj.weight`, `[out, in]`), asked for one by one.
    ///
    /// # Errors
    /// Whatever `get` returns for a tensor that it cannot supply.
    pub fn from_weights<E>(
        config: &Config,
        device: &Device,
        get: Get<'_, E>,
    ) -> Result<Decoder, E> {
        let (vocab, hidden) = (config.vocab_size, config.hidden_size);
        let embedding = matrix(
            get("model.embed_tokens.weight", &[vocab, hidden])?,
            [vocab, hidden],
            device,
        );
        let mut layers = Vec::with_capacity(config.num_hidden_layers);
        for index in 0..config.num_hidden_layers {
            layers.push(layout::read_layer(config, index, device, get)?);
        }
        let norm = RmsNorm {
            weight: vector(get("model.norm.weight", &[hidden])?, device),
            epsilon: config.rms_norm_eps,
        };
        let head = if config.tie_word_embeddings {
            None
        } else {
            let data = get("lm_head.weight", &[vocab, hidden])?;
            Some(matrix(data, [vocab, hidden], device))
        };
        Ok(Decoder {
            embedding,
            layers,
            norm,
            head,
            config: config.clone(),
            rope: Rope::new(config),
            compute: DType::F32,
        })
    }

    /// All weights under their Hugging Face names, shapes and layout; adapters merged.
    pub fn weights(&self) -> Vec<Weight> {
        layout::write_decoder(self)
    }

    /// The shape this decoder was built with.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// The same decoder, its products and attention computed in `compute` from weights that stay in
    /// f32: what trains masters in f32 by passes in bfloat16 (Micikevicius et al., 2018).
    pub fn computing_in(mut self, compute: DType) -> Decoder {
        self.compute = compute;
        self
    }

    /// The rotary frequencies.
    pub fn rope(&self) -> &Rope {
        &self.rope
    }

    /// Token embeddings: `[n] -> [n, hidden]`.
    pub fn embed(&self, tokens: Tensor<1, Int>) -> Tensor<2> {
        self.embedding.val().select(0, tokens)
    }

    /// Runs the layers of `range`: `[n, hidden] -> [n, hidden]`.
    pub fn run_layers(
        &self,
        range: std::ops::Range<usize>,
        mut x: Tensor<2>,
        attend: &mut impl Attend,
    ) -> Tensor<2> {
        for index in range {
            x = self.layers[index].forward(index, x, self.compute, attend);
        }
        x
    }

    /// Final hidden states of flattened tokens, `[n] -> [n, hidden]`; `attend` knows which token
    /// belongs to which sequence.
    pub fn forward(&self, tokens: Tensor<1, Int>, attend: &mut impl Attend) -> Tensor<2> {
        let x = self.run_layers(0..self.layers.len(), self.embed(tokens), attend);
        self.norm.forward(x)
    }

    /// Final hidden states of a right-padded batch without a cache:
    /// `[batch, time] -> [batch, time, hidden]`.
    pub fn hidden(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [batch, time] = tokens.dims();
        let mut attend = self.causal(batch, time, &tokens.device());
        let x = self.forward(tokens.reshape([batch * time]), &mut attend);
        x.reshape([batch, time, self.config.hidden_size])
    }

    /// Causal attention tables for a right-padded batch.
    pub fn causal(&self, batch: usize, time: usize, device: &Device) -> CausalAttention {
        CausalAttention::new(&self.config, &self.rope, batch, time, device)
    }

    /// Next-token logits: `[n, hidden] -> [n, vocab]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let head = self.head.as_ref().unwrap_or(&self.embedding).val();
        let logits = in_type(hidden, self.compute).matmul(in_type(head, self.compute).transpose());
        in_type(logits, DType::F32)
    }
}

fn initial(rng: &mut impl Rng, name: &str, shape: &[usize]) -> Vec<f32> {
    let n = shape.iter().product();
    if name.ends_with(".bias") {
        return vec![0.0; n];
    }
    if shape.len() == 1 {
        return vec![1.0; n];
    }
    let scale = if name.contains("embed_tokens") || name.starts_with("lm_head") {
        0.02
    } else {
        let residual = name.contains("o_proj") || name.contains("down_proj");
        (shape[1] as f32).sqrt().recip() * if residual { 0.5 } else { 1.0 }
    };
    (0..n)
        .map(|_| {
            scale * {
                let x: f32 = StandardNormal.sample(rng);
                x
            }
        })
        .collect()
}

/// A trainable matrix.
pub(super) fn matrix(data: Vec<f32>, shape: [usize; 2], device: &Device) -> Param<Tensor<2>> {
    Param::from_data(TensorData::new(data, shape), device)
}

/// A trainable vector.
pub(super) fn vector(data: Vec<f32>, device: &Device) -> Param<Tensor<1>> {
    let n = data.len();
    Param::from_data(TensorData::new(data, [n]), device)
}
