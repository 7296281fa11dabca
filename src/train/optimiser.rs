//! AdamW with decay on matrices only, and clipping by the global norm.

use crate::model::device::is_cpu;
use crate::model::layout::floats;
use burn::module::{Module, ModuleVisitor, Param};
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, GradientsParams, LearningRate,
    ModuleOptimizer, Optimizer,
};
use burn::tensor::{Device, Tensor, TensorData};
use rayon::prelude::*;

/// AdamW (Loshchilov & Hutter, 2019). Biases and norms (one dimension) are not decayed.
#[derive(Clone)]
struct DecayedMatrices {
    matrices: AdamW,
    vectors: AdamW,
    settings: Settings,
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
        settings: *settings,
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
        if is_cpu(&tensor.device()) {
            let weight_decay = if D > 1 {
                self.settings.weight_decay
            } else {
                0.0
            };
            return on_host(&self.settings, weight_decay, lr as f32, tensor, grad, state);
        }
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

/// [`AdamW::step`] in one pass over the numbers, where Burn makes a dozen.
fn on_host<const D: usize>(
    settings: &Settings,
    weight_decay: f32,
    lr: f32,
    tensor: Tensor<D>,
    grad: Tensor<D>,
    state: Option<AdamWState<D>>,
) -> (Tensor<D>, Option<AdamWState<D>>) {
    /// Numbers that one thread takes at a time.
    const CHUNK: usize = 1 << 15;
    let (shape, device) = (tensor.dims(), tensor.device());
    let (mut x, grad) = (floats(tensor), floats(grad));
    let (time, mut mean, mut square) = match state.map(|state| state.momentum) {
        Some(m) => (m.time + 1, floats(m.moment_1), floats(m.moment_2)),
        None => (1, vec![0.0; x.len()], vec![0.0; x.len()]),
    };
    let &Settings {
        beta1,
        beta2,
        epsilon,
        ..
    } = settings;
    let unbias1 = 1.0 / (1.0 - beta1.powi(time as i32));
    let unbias2 = 1.0 / (1.0 - beta2.powi(time as i32));
    let keep = 1.0 - lr * weight_decay;
    x.par_chunks_mut(CHUNK)
        .zip(grad.par_chunks(CHUNK))
        .zip(mean.par_chunks_mut(CHUNK).zip(square.par_chunks_mut(CHUNK)))
        .for_each(|((x, grad), (mean, square))| {
            for ((x, g), (m, v)) in x.iter_mut().zip(grad).zip(mean.iter_mut().zip(square)) {
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                let step = *m * unbias1 / ((*v * unbias2).sqrt() + epsilon);
                *x = *x * keep - lr * step;
            }
        });
    let tensor = |data: Vec<f32>| Tensor::from_data(TensorData::new(data, shape), &device);
    let momentum = AdaptiveMomentumState::new(time, tensor(mean), tensor(square));
    (tensor(x), Some(AdamWState::new(momentum)))
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
    fn one_pass_steps_as_burn_does() {
        let device = Device::flex();
        let settings = Settings {
            beta1: 0.9,
            beta2: 0.98,
            epsilon: 1e-8,
            weight_decay: 0.1,
        };
        let burn = AdamWConfig::new()
            .with_beta_1(0.9)
            .with_beta_2(0.98)
            .with_epsilon(1e-8)
            .with_weight_decay(0.1)
            .build();
        let start = Tensor::<2>::from_floats([[1.0, -2.0], [0.5, 0.0]], &device);
        let (mut a, mut b) = ((start.clone(), None), (start, None));
        for i in 0..5 {
            let grad = Tensor::from_floats([[0.3 * i as f32, -1.0], [1e-4, 0.2]], &device);
            a = burn.step(1e-2, a.0, grad.clone(), a.1);
            b = on_host(&settings, 0.1, 1e-2, b.0, grad, b.1);
            for (x, y) in floats(a.0.clone()).iter().zip(floats(b.0.clone())) {
                assert!((x - y).abs() < 1e-6, "{x} and {y}");
            }
        }
        let moments = |state: Option<AdamWState<2>>| {
            state.map(|s| (s.momentum.time, floats(s.momentum.moment_2)))
        };
        let (a, b) = (moments(a.1).unwrap(), moments(b.1).unwrap());
        assert_eq!(a.0, b.0);
        assert!(a.1.iter().zip(b.1).all(|(x, y)| (x - y).abs() < 1e-7));
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
