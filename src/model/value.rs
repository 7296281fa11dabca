//! The value head: what a return in [-1, 1] is expected after a prefix.

use super::decoder::{Decoder, matrix, vector};
use super::layout::{Get, Weight, floats};
use burn::module::{Module, Param};
use burn::tensor::activation::{gelu, tanh};
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The form of a value head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// One linear map to the logit; what transformers calls `score`.
    Linear,
    /// `hidden -> width -> 1` with GELU between.
    Mlp,
}

/// Maps hidden states to the logit of a correct final answer. The value is `tanh(logit / 2)`,
/// which is `2 * sigmoid(logit) - 1`: the expected return where returns are +1 and -1.
#[derive(Module, Debug)]
pub struct ValueHead {
    /// `[hidden, width]` and `[width]`, for an MLP.
    pub inner: Option<Inner>,
    /// `[hidden or width, 1]`.
    pub score: Param<Tensor<2>>,
    /// `[1]`.
    pub bias: Param<Tensor<1>>,
}

/// The hidden layer of an MLP head.
#[derive(Module, Debug)]
pub struct Inner {
    pub weight: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
}

impl ValueHead {
    /// A head that says 0 everywhere: the last map is zero, an MLP's first one
    /// normal with standard deviation `1/sqrt(hidden)`. `width` is used by an MLP only.
    pub fn init(kind: HeadKind, hidden: usize, width: usize, seed: u64, device: &Device) -> Self {
        let inner = (kind == HeadKind::Mlp).then(|| {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let scale = (hidden as f32).sqrt().recip();
            let data = (0..hidden * width)
                .map(|_| {
                    scale * {
                        let x: f32 = StandardNormal.sample(&mut rng);
                        x
                    }
                })
                .collect();
            Inner {
                weight: matrix(data, [hidden, width], device),
                bias: vector(vec![0.0; width], device),
            }
        });
        let last = if inner.is_some() { width } else { hidden };
        ValueHead {
            inner,
            score: matrix(vec![0.0; last], [last, 1], device),
            bias: vector(vec![0.0], device),
        }
    }

    /// Builds the head from tensors named as in [`ValueHead::weights`].
    ///
    /// # Errors
    /// Whatever `get` returns for a tensor that it cannot supply.
    pub fn from_weights<E>(
        kind: HeadKind,
        hidden: usize,
        width: usize,
        device: &Device,
        get: Get<'_, E>,
    ) -> Result<Self, E> {
        let inner = match kind {
            HeadKind::Linear => None,
            HeadKind::Mlp => Some(Inner {
                weight: matrix(
                    get("inner.weight", &[hidden, width])?,
                    [hidden, width],
                    device,
                ),
                bias: vector(get("inner.bias", &[width])?, device),
            }),
        };
        let last = if inner.is_some() { width } else { hidden };
        Ok(ValueHead {
            inner,
            // `[1, last]` as transformers stores it and `[last, 1]` are the same numbers.
            score: matrix(get("score.weight", &[1, last])?, [last, 1], device),
            bias: vector(get("score.bias", &[1])?, device),
        })
    }

    /// The tensors: `score.weight` `[1, last]`, `score.bias` `[1]`, and for an MLP `inner.weight`
    /// `[hidden, width]`, `inner.bias` `[width]`.
    pub fn weights(&self) -> Vec<Weight> {
        let mut all = Vec::new();
        let mut push = |name: &str, shape: Vec<usize>, data: Vec<f32>| {
            all.push(Weight {
                name: name.into(),
                shape,
                data,
            });
        };
        if let Some(inner) = &self.inner {
            let [hidden, width] = inner.weight.val().dims();
            push(
                "inner.weight",
                vec![hidden, width],
                floats(inner.weight.val()),
            );
            push("inner.bias", vec![width], floats(inner.bias.val()));
        }
        let [last, _] = self.score.val().dims();
        push("score.weight", vec![1, last], floats(self.score.val()));
        push("score.bias", vec![1], floats(self.bias.val()));
        all
    }

    /// Linear or MLP.
    pub fn kind(&self) -> HeadKind {
        match self.inner {
            Some(_) => HeadKind::Mlp,
            None => HeadKind::Linear,
        }
    }

    /// Width of the hidden layer; 0 for a linear head.
    pub fn width(&self) -> usize {
        self.inner.as_ref().map_or(0, |i| i.bias.val().dims()[0])
    }

    /// Logits: `[n, hidden] -> [n]`.
    pub fn logit(&self, hidden: Tensor<2>) -> Tensor<1> {
        let x = match &self.inner {
            Some(inner) => gelu(hidden.matmul(inner.weight.val()) + inner.bias.val().unsqueeze()),
            None => hidden,
        };
        let [n, last] = x.dims();
        // Not a matmul: with one column its sums would depend on the number of rows.
        let score = self.score.val().reshape([1, last]);
        (x * score).sum_dim(1).reshape([n]) + self.bias.val()
    }

    /// Values in (-1, 1): `[n, hidden] -> [n]`.
    pub fn value(&self, hidden: Tensor<2>) -> Tensor<1> {
        tanh(self.logit(hidden).mul_scalar(0.5))
    }
}

/// A value net: a head on the policy's own trunk, or on a trunk of its own.
#[derive(Debug, Clone)]
#[expect(
    clippy::large_enum_variant,
    reason = "a process holds a handful of these, and weights dwarf them"
)]
pub enum Value {
    /// One forward pass gives prior and value.
    Shared(ValueHead),
    /// Every token is forwarded twice.
    Separate { trunk: Decoder, head: ValueHead },
}

impl Value {
    /// The trunk of its own, where it has one, and the head.
    pub fn into_parts(self) -> (Option<Decoder>, Option<ValueHead>) {
        match self {
            Value::Shared(head) => (None, Some(head)),
            Value::Separate { trunk, head } => (Some(trunk), Some(head)),
        }
    }

    /// The head, wherever its trunk is.
    pub fn head(&self) -> &ValueHead {
        match self {
            Value::Shared(head) | Value::Separate { head, .. } => head,
        }
    }
}
