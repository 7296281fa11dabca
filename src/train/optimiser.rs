//! AdamW with decay on matrices only, and clipping by the global norm.

use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, GradientsParams, LearningRate, ModuleOptimizer, Optimizer,
};
use burn::tensor::{Device, Tensor};

/// AdamW (Loshchilov & Hutter, 2019). Biases and norms (one dimension) are not decayed.
#[derive(Clone)]
struct DecayedMatrices {
    matrices: AdamW,
    vectors: AdamW,
}

/// What an optimiser step needs besides the gradients.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    pub beta1: f32,
    pub beta2: f32,
    pub epsilon: f32,
    pub weight_decay: f32,
}

/// The optimiser of a whole module.
pub fn adamw(settings: &Settings) -> ModuleOptimizer {
    let build = |weight_decay| {
        AdamWConfig::new()
            .with_beta_1(settings.beta1)
            .with_beta_2(settings.beta2)
            .with_epsilon(settings.epsilon)
            .with_weight_decay(weight_decay)
            .build()
    };
    DecayedMatrices {
        matrices: build(settings.weight_decay),
        vectors: build(0.0),
    }
    .into()
}

impl Optimizer for DecayedMatrices {
    type State<const D: usize> = AdamWState<D>;

    fn step<const D: usize>(
        &self,
        lr: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        if D > 1 {
            self.matrices.step(lr, tensor, grad, state)
        } else {
            self.vectors.step(lr, tensor, grad, state)
        }
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        AdamW::to_device(state, device)
    }
}

/// The Euclidean norm of all gradients of `module` taken together; one read from the device.
pub fn global_norm<M: Module>(module: &M, grads: &GradientsParams) -> f64 {
    struct Squares<'a> {
        grads: &'a GradientsParams,
        sums: Vec<Tensor<1>>,
    }
    impl ModuleVisitor for Squares<'_> {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.get::<D>(param.id) {
                self.sums.push(grad.square().sum());
            }
        }
    }
    let mut squares = Squares {
        grads,
        sums: Vec::new(),
    };
    module.visit(&mut squares);
    if squares.sums.is_empty() {
        return 0.0;
    }
    let total = Tensor::cat(squares.sums, 0).sum();
    f64::from(total.into_scalar::<f32>()).sqrt()
}

/// Scales all gradients by one factor so that their global norm is at most `limit`, as
/// PyTorch's `clip_grad_norm_` does. `norm` is what [`global_norm`] returned.
pub fn clip<M: Module>(
    module: &M,
    grads: GradientsParams,
    norm: f64,
    limit: f64,
) -> GradientsParams {
    struct Scale {
        grads: GradientsParams,
        factor: f64,
    }
    impl ModuleVisitor for Scale {
        fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
            if let Some(grad) = self.grads.remove::<D>(param.id) {
                self.grads.register(param.id, grad.mul_scalar(self.factor));
            }
        }
    }
    let factor = limit / (norm + 1e-6);
    if factor >= 1.0 {
        return grads;
    }
    let mut scale = Scale { grads, factor };
    module.visit(&mut scale);
    scale.grads
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Module, Debug)]
    struct Pair {
        matrix: Param<Tensor<2>>,
        vector: Param<Tensor<1>>,
    }

    fn pair(device: &Device) -> Pair {
        Pair {
            matrix: Param::from_tensor(Tensor::from_floats([[1.0, 2.0]], device)),
            vector: Param::from_tensor(Tensor::from_floats([4.0], device)),
        }
    }

    #[test]
    fn the_norm_is_global_and_clipping_keeps_the_direction() {
        let device = Device::flex().autodiff();
        let pair = pair(&device);
        let loss = pair.matrix.val().mul_scalar(3.0).sum() + pair.vector.val().mul_scalar(4.0);
        let grads = GradientsParams::from_grads(loss.backward(), &pair);
        let norm = global_norm(&pair, &grads);
        assert!((norm - 34f64.sqrt()).abs() < 1e-5);
        let clipped = clip(&pair, grads, norm, 1.0);
        assert!((global_norm(&pair, &clipped) - 1.0).abs() < 1e-5);
        let vector = clipped
            .get::<1>(pair.vector.id)
            .map(|g| g.into_scalar::<f32>());
        assert!((vector.unwrap_or(0.0) - 4.0 / 34f32.sqrt()).abs() < 1e-5);
        let kept = clip(&pair, clipped, 1.0, 2.0);
        assert!((global_norm(&pair, &kept) - 1.0).abs() < 1e-5);
    }

    #[test]
    fn only_matrices_are_decayed() {
        let device = Device::flex().autodiff();
        let settings = Settings {
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            weight_decay: 0.5,
        };
        let start = pair(&device);
        let loss = start.matrix.val().mul_scalar(0.0).sum() + start.vector.val().mul_scalar(0.0);
        let grads = GradientsParams::from_grads(loss.backward(), &start);
        let end = adamw(&settings).step(0.1, start, grads);
        let matrix = end.matrix.val().into_data_as::<f32>();
        assert_eq!(matrix.as_slice::<f32>().ok(), Some(&[0.95f32, 1.9][..]));
        assert_eq!(end.vector.val().into_scalar::<f32>(), 4.0);
    }
}
