//! Losses over selected positions, each a weighted sum; the caller has divided the weights.

use burn::tensor::activation::{log_sigmoid, log_softmax, tanh};
use burn::tensor::{Int, Tensor};

/// What a value head is fitted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ValueLoss {
    /// Cross-entropy of `sigmoid(logit)` with the probability `(target + 1) / 2`.
    Bce,
    /// Squared error of `tanh(logit / 2)`.
    Mse,
}

impl ValueLoss {
    /// The loss of one logit.
    pub fn of(self, logit: f64, target: f64) -> f64 {
        match self {
            ValueLoss::Bce => {
                let softplus = logit.max(0.0) + (-logit.abs()).exp().ln_1p();
                softplus - logit * (target + 1.0) / 2.0
            }
            ValueLoss::Mse => ((logit / 2.0).tanh() - target).powi(2),
        }
    }

    /// The derivative of [`ValueLoss::of`] with respect to the logit.
    pub fn slope(self, logit: f64, target: f64) -> f64 {
        match self {
            ValueLoss::Bce => 1.0 / (1.0 + (-logit).exp()) - (target + 1.0) / 2.0,
            ValueLoss::Mse => {
                let value = (logit / 2.0).tanh();
                (value - target) * (1.0 - value * value)
            }
        }
    }

    /// `logits`, `targets` (in [-1, 1]) and `weights` are `[n]`; the sum of the weighted losses.
    pub fn sum(self, logits: Tensor<1>, targets: Tensor<1>, weights: Tensor<1>) -> Tensor<1> {
        let losses = match self {
            // softplus(x) - p x, with softplus(x) = -log sigmoid(-x): finite for any logit.
            ValueLoss::Bce => {
                let probability = targets.add_scalar(1.0).mul_scalar(0.5);
                (log_sigmoid(logits.clone().neg()) + logits * probability).neg()
            }
            ValueLoss::Mse => {
                let error = tanh(logits.mul_scalar(0.5)) - targets;
                error.clone() * error
            }
        };
        (losses * weights).sum()
    }
}

/// `logits` is `[n, vocab]`, `labels` and `weights` are `[n]`; the weighted sum of
/// `-log softmax(logits)[label]`.
pub fn cross_entropy(logits: Tensor<2>, labels: Tensor<1, Int>, weights: Tensor<1>) -> Tensor<1> {
    let [n] = labels.dims();
    let log_probs = log_softmax(logits, 1).gather(1, labels.reshape([n, 1]));
    (log_probs.reshape([n]) * weights).sum().neg()
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::Device;

    fn row(values: &[f32]) -> Tensor<1> {
        Tensor::from_floats(values, &Device::flex())
    }

    fn scalar(t: Tensor<1>) -> f64 {
        f64::from(t.into_scalar::<f32>())
    }

    #[test]
    fn value_losses_of_hand_made_numbers() {
        let logits = [0.7f32, -1.2, 0.0];
        let targets = [1.0f32, -0.5, 0.25];
        let weights = [1.0f32, 2.0, 0.5];
        let (mut bce, mut mse) = (0.0f64, 0.0f64);
        for i in 0..3 {
            let (x, t, w) = (logits[i] as f64, targets[i] as f64, weights[i] as f64);
            let (p, q) = (1.0 / (1.0 + (-x).exp()), (t + 1.0) / 2.0);
            bce -= w * (q * p.ln() + (1.0 - q) * (1.0 - p).ln());
            mse += w * ((2.0 * p - 1.0) - t).powi(2);
        }
        let got = |l: ValueLoss| scalar(l.sum(row(&logits), row(&targets), row(&weights)));
        for (loss, expected) in [(ValueLoss::Bce, bce), (ValueLoss::Mse, mse)] {
            let one =
                |i: usize| f64::from(weights[i]) * loss.of(logits[i].into(), targets[i].into());
            assert!(((0..3).map(one).sum::<f64>() - expected).abs() < 1e-6);
        }
        assert!((got(ValueLoss::Bce) - bce).abs() < 1e-6);
        assert!((got(ValueLoss::Mse) - mse).abs() < 1e-6);
    }

    #[test]
    fn losses_stay_finite_for_extreme_logits() {
        let bce = ValueLoss::Bce.sum(row(&[1e4, -1e4]), row(&[-1.0, 1.0]), row(&[1.0, 1.0]));
        assert!((scalar(bce) - 2e4).abs() < 1.0);
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1e4, -1e4, 0.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([1], &device);
        let loss = scalar(cross_entropy(logits, labels, row(&[1.0])));
        assert!((loss - 2e4).abs() < 1.0, "{loss}");
    }
}
