//! The value head: what a return in [-1, 1] is expected after a prefix.

use super::calibration::Calibration;
use super::decoder::{Decoder, matrix, vector};
use super::layout::{Get, Weight, floats, transpose};
use super::readout::Readout;
use burn::module::{Module, Param};
use burn::tensor::activation::gelu;
use burn::tensor::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// The form of a value head.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HeadKind {
    /// One linear map to the logits; what transformers calls `score`.
    Linear,
    /// `hidden -> width -> logits` with GELU between.
    Mlp,
}

/// The shape of a value head.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeadShape {
    pub kind: HeadKind,
    /// Width of an MLP's hidden layer, for each member.
    pub width: usize,
    /// Logits of a member: 1, or the number of bins of a distribution over returns.
    pub bins: usize,
    /// Heads of an ensemble.
    pub members: usize,
}

impl HeadShape {
    /// One member with one logit.
    pub fn plain(kind: HeadKind, width: usize) -> HeadShape {
        HeadShape {
            kind,
            width,
            bins: 1,
            members: 1,
        }
    }

    fn readout(&self) -> Readout {
        Readout {
            bins: self.bins,
            members: self.members,
            calibration: Calibration::None,
        }
    }
}

/// Maps hidden states to what a right final answer is worth expecting: the logits of one or several
/// members, which [`Readout`] reads. With one logit the value is `tanh(logit / 2)`, which is
/// `2 * sigmoid(logit) - 1`: the expected return where returns are +1 and -1.
#[derive(Module, Debug)]
pub struct ValueHead {
    /// `[hidden, members * width]` and `[members * width]`, for an MLP.
    pub inner: Option<Inner>,
    /// `[hidden or width, members * bins]`.
    pub score: Param<Tensor<2>>,
    /// `[members * bins]`.
    pub bias: Param<Tensor<1>>,
    /// How the logits are read.
    #[module(skip)]
    pub readout: Readout,
}

/// The hidden layer of an MLP head.
#[derive(Module, Debug)]
pub struct Inner {
    pub weight: Param<Tensor<2>>,
    pub bias: Param<Tensor<1>>,
}

impl ValueHead {
    /// [`ValueHead::shaped`] with one member and one logit.
    pub fn init(kind: HeadKind, hidden: usize, width: usize, seed: u64, device: &Device) -> Self {
        ValueHead::shaped(HeadShape::plain(kind, width), hidden, seed, device)
    }

    /// A head that says 0 everywhere: the last map is zero, an MLP's first one normal with standard
    /// deviation `1/sqrt(hidden)`.
    pub fn shaped(shape: HeadShape, hidden: usize, seed: u64, device: &Device) -> Self {
        let readout = shape.readout();
        let width = shape.width * shape.members;
        let inner = (shape.kind == HeadKind::Mlp).then(|| {
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
        let (last, outputs) = match inner {
            Some(_) => (shape.width, readout.outputs()),
            None => (hidden, readout.outputs()),
        };
        ValueHead {
            inner,
            score: matrix(vec![0.0; last * outputs], [last, outputs], device),
            bias: vector(vec![0.0; outputs], device),
            readout,
        }
    }

    /// Builds the head from tensors named as in [`ValueHead::weights`].
    ///
    /// # Errors
    /// Whatever `get` returns for a tensor that it cannot supply.
    pub fn from_weights<E>(
        shape: HeadShape,
        hidden: usize,
        device: &Device,
        get: Get<'_, E>,
    ) -> Result<Self, E> {
        let readout = shape.readout();
        let width = shape.width * shape.members;
        let inner = match shape.kind {
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
        let last = match inner {
            Some(_) => shape.width,
            None => hidden,
        };
        let outputs = readout.outputs();
        let score = get("score.weight", &[outputs, last])?;
        Ok(ValueHead {
            inner,
            score: matrix(transpose(&score, outputs, last), [last, outputs], device),
            bias: vector(get("score.bias", &[outputs])?, device),
            readout,
        })
    }

    /// The tensors: `score.weight` `[members * bins, last]`, as transformers stores it, `score.bias`
    /// `[members * bins]`, and for an MLP `inner.weight` `[hidden, members * width]`, `inner.bias`
    /// `[members * width]`.
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
        let [last, outputs] = self.score.val().dims();
        let score = transpose(&floats(self.score.val()), last, outputs);
        push("score.weight", vec![outputs, last], score);
        push("score.bias", vec![outputs], floats(self.bias.val()));
        all
    }

    /// The shape; the width is 0 for a linear head.
    pub fn shape(&self) -> HeadShape {
        let width = match &self.inner {
            Some(_) => self.score.val().dims()[0],
            None => 0,
        };
        HeadShape {
            kind: self.kind(),
            width,
            bins: self.readout.bins,
            members: self.readout.members,
        }
    }

    /// Linear or MLP.
    pub fn kind(&self) -> HeadKind {
        match self.inner {
            Some(_) => HeadKind::Mlp,
            None => HeadKind::Linear,
        }
    }

    /// Logits of all members: `[n, hidden] -> [n, members * bins]`.
    pub fn logits(&self, hidden: Tensor<2>) -> Tensor<2> {
        let x = match &self.inner {
            Some(inner) => gelu(hidden.matmul(inner.weight.val()) + inner.bias.val().unsqueeze()),
            None => hidden,
        };
        let ([n, width], [last, outputs]) = (x.dims(), self.score.val().dims());
        let score = self.score.val();
        if outputs == 1 {
            // Not a matmul: with one column its sums would depend on the number of rows.
            let sums = (x * score.reshape([1, last])).sum_dim(1).reshape([n]);
            return (sums + self.bias.val()).reshape([n, 1]);
        }
        let logits = if width == last {
            x.matmul(score)
        } else {
            // Each member reads its own part of the hidden layer.
            let (members, bins) = (self.readout.members, self.readout.bins);
            let parts = x.reshape([n, members, last]).swap_dims(0, 1);
            let score = score.reshape([last, members, bins]).swap_dims(0, 1);
            parts.matmul(score).swap_dims(0, 1).reshape([n, outputs])
        };
        logits + self.bias.val().unsqueeze()
    }

    /// Values of all members in (-1, 1), before calibration: `[n, hidden] -> [n, members]`.
    pub fn members(&self, hidden: Tensor<2>) -> Tensor<2> {
        self.readout.members(self.logits(hidden))
    }

    /// The head whose values go through `calibration`, and through nothing else: into its last map
    /// where that is exact, which is where one logit is scaled and shifted.
    pub fn calibrated(self, calibration: Calibration) -> ValueHead {
        let (score, bias, readout, calibration) = match calibration {
            Calibration::Temperature { scale, bias } if self.readout.outputs() == 1 => (
                self.score.map(|x| x.mul_scalar(scale)),
                self.bias.map(|x| x.mul_scalar(scale).add_scalar(bias)),
                self.readout,
                Calibration::None,
            ),
            other => (self.score, self.bias, self.readout, other),
        };
        ValueHead {
            inner: self.inner,
            score,
            bias,
            readout: Readout {
                calibration,
                ..readout
            },
        }
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
