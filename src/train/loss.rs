//! Losses over selected positions, each a weighted sum; the caller has divided the weights.

use super::hl_gauss::histogram;
use crate::model::Readout;
use crate::model::readout::expectation;
use burn::tensor::activation::{log_sigmoid, log_softmax, tanh};
use burn::tensor::{Int, Tensor, TensorData};

/// What a value head is fitted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueLoss {
    /// Cross-entropy of `sigmoid(logit)` with the probability `(target + 1) / 2`.
    Bce,
    /// Squared error of `tanh(logit / 2)`.
    Mse,
    /// Cross-entropy of the softmax of several logits with a histogram around the target.
    HlGauss,
}

/// A value loss with its numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Criterion {
    pub loss: ValueLoss,
    /// Standard deviation of a histogram, in bins.
    pub sigma: f64,
    /// Weight of the loss that ranks siblings, beside the other.
    pub ranking: f64,
    /// What differences of values are divided by in it.
    pub temperature: f64,
}

impl From<ValueLoss> for Criterion {
    /// Without ranking, and with the customary width of a histogram.
    fn from(loss: ValueLoss) -> Criterion {
        Criterion {
            loss,
            sigma: 0.75,
            ranking: 0.0,
            temperature: 1.0,
        }
    }
}

/// The value of a member's logits, in [-1, 1].
pub fn value_of(logits: &[f64]) -> f64 {
    match logits {
        [logit] => (logit / 2.0).tanh(),
        bins => expectation(bins).1,
    }
}

/// [`value_of`], and its derivatives with respect to the logits.
pub fn value_and_slopes(logits: &[f64]) -> (f64, Vec<f64>) {
    if let [logit] = logits {
        let value = (logit / 2.0).tanh();
        return (value, vec![0.5 * (1.0 - value * value)]);
    }
    let (mut shares, value) = expectation(logits);
    for (i, share) in shares.iter_mut().enumerate() {
        *share *= crate::model::readout::centre(i, logits.len()) - value;
    }
    (value, shares)
}

/// `ln(1 + e^x)` without overflow.
fn softplus(x: f64) -> f64 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}

impl Criterion {
    /// Whether this loss is one of heads that are read like this.
    pub fn fits(&self, readout: &Readout) -> bool {
        (self.loss == ValueLoss::HlGauss) == (readout.bins > 1)
    }

    /// The loss of a member's logits.
    pub fn of(&self, logits: &[f64], target: f64) -> f64 {
        match (self.loss, logits) {
            (ValueLoss::Bce, logits) => {
                let logit = logits[0];
                softplus(logit) - logit * (target + 1.0) / 2.0
            }
            (ValueLoss::Mse, logits) => ((logits[0] / 2.0).tanh() - target).powi(2),
            (ValueLoss::HlGauss, bins) => {
                let wanted = histogram(target, bins.len(), self.sigma);
                let peak = bins.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let total: f64 = bins.iter().map(|x| (x - peak).exp()).sum();
                let normaliser = peak + total.ln();
                wanted
                    .iter()
                    .zip(bins)
                    .map(|(share, x)| share * (normaliser - x))
                    .sum()
            }
        }
    }

    /// The derivatives of [`Criterion::of`] with respect to the logits.
    pub fn slopes(&self, logits: &[f64], target: f64) -> Vec<f64> {
        match (self.loss, logits) {
            (ValueLoss::Bce, logits) => {
                vec![1.0 / (1.0 + (-logits[0]).exp()) - (target + 1.0) / 2.0]
            }
            (ValueLoss::Mse, logits) => {
                let value = (logits[0] / 2.0).tanh();
                vec![(value - target) * (1.0 - value * value)]
            }
            (ValueLoss::HlGauss, bins) => {
                let (mut shares, _) = expectation(bins);
                let wanted = histogram(target, bins.len(), self.sigma);
                shares.iter_mut().zip(wanted).for_each(|(p, q)| *p -= q);
                shares
            }
        }
    }

    /// `logits` is `[n, bins]`, `targets` (in [-1, 1]) and `weights` have `n`; the sum of the weighted
    /// losses.
    pub fn sum(&self, logits: Tensor<2>, targets: &[f32], weights: Tensor<1>) -> Tensor<1> {
        let ([n, bins], device) = (logits.dims(), logits.device());
        let one = |logits: Tensor<2>| logits.reshape([n]);
        let wanted = || Tensor::<1>::from_data(TensorData::new(targets.to_vec(), [n]), &device);
        let losses = match self.loss {
            // softplus(x) - p x, with softplus(x) = -log sigmoid(-x): finite for any logit.
            ValueLoss::Bce => {
                let logits = one(logits);
                let probability = wanted().add_scalar(1.0).mul_scalar(0.5);
                (log_sigmoid(logits.clone().neg()) + logits * probability).neg()
            }
            ValueLoss::Mse => {
                let error = tanh(one(logits).mul_scalar(0.5)) - wanted();
                error.clone() * error
            }
            ValueLoss::HlGauss => {
                let shares: Vec<f32> = targets
                    .iter()
                    .flat_map(|&t| histogram(t.into(), bins, self.sigma))
                    .map(|share| share as f32)
                    .collect();
                let wanted = Tensor::<2>::from_data(TensorData::new(shares, [n, bins]), &device);
                one((log_softmax(logits, 1) * wanted).sum_dim(1)).neg()
            }
        };
        (losses * weights).sum()
    }

    /// How badly two values are ordered, the first of which should be the greater:
    /// `-ln sigmoid((better - worse) / temperature)` (Burges et al., 2005), and its derivative with
    /// respect to the first, which is that to the second with the other sign.
    pub fn misorder(&self, better: f64, worse: f64) -> (f64, f64) {
        let margin = (better - worse) / self.temperature;
        let slope = -1.0 / (1.0 + margin.exp()) / self.temperature;
        (softplus(-margin), slope)
    }

    /// [`Criterion::misorder`] of tensors, weighted and summed.
    pub fn misorders(&self, better: Tensor<2>, worse: Tensor<2>, weights: Tensor<2>) -> Tensor<1> {
        let margins = (better - worse).div_scalar(self.temperature);
        (log_sigmoid(margins) * weights).sum().neg()
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
        for (loss, expected) in [(ValueLoss::Bce, bce), (ValueLoss::Mse, mse)] {
            let loss = Criterion::from(loss);
            let one =
                |i: usize| f64::from(weights[i]) * loss.of(&[logits[i].into()], targets[i].into());
            assert!(((0..3).map(one).sum::<f64>() - expected).abs() < 1e-6);
            let got = loss.sum(row(&logits).reshape([3, 1]), &targets, row(&weights));
            assert!((scalar(got) - expected).abs() < 1e-6);
        }
    }

    #[test]
    fn the_histogram_loss_of_hand_made_numbers() {
        // Two bins, sigma of half a bin: below 0 lies what a normal distribution has below -1 standard
        // deviation of 0.5, above it the rest, both cut off at -1 and 1, which are -3 and 1 away.
        let below = [0.001_349_898, 0.158_655_254, 0.841_344_746];
        let low = (below[1] - below[0]) / (below[2] - below[0]);
        let loss = Criterion {
            sigma: 0.5,
            ..ValueLoss::HlGauss.into()
        };
        let logits = [0.3, -0.4];
        let normaliser = (0.3f64.exp() + (-0.4f64).exp()).ln();
        let expected = low * (normaliser - 0.3) + (1.0 - low) * (normaliser + 0.4);
        assert!((loss.of(&logits, 0.5) - expected).abs() < 1e-6);
        let tensor = Tensor::<2>::from_floats([[0.3, -0.4]], &Device::flex());
        let found = scalar(loss.sum(tensor, &[0.5], row(&[2.0])));
        assert!((found - 2.0 * expected).abs() < 1e-6);
        let slopes = loss.slopes(&logits, 0.5);
        assert!((slopes[0] - ((0.3 - normaliser).exp() - low)).abs() < 1e-6);
        assert!((slopes[0] + slopes[1]).abs() < 1e-12);
    }

    #[test]
    fn the_ranking_loss_of_hand_made_numbers() {
        let loss = Criterion {
            temperature: 0.5,
            ..ValueLoss::Bce.into()
        };
        let (found, slope) = loss.misorder(0.2, 0.3);
        assert!((found - (1.0 + 0.2f64.exp()).ln()).abs() < 1e-12);
        // sigmoid(0.2) = 0.549834.
        assert!((slope + 2.0 * 0.549_833_997_312_478).abs() < 1e-12);
        let one = |x: f32| Tensor::<2>::from_floats([[x]], &Device::flex());
        let tensor = scalar(loss.misorders(one(0.2), one(0.3), one(3.0)));
        assert!((tensor - 3.0 * found).abs() < 1e-6);
    }

    #[test]
    fn slopes_are_those_of_finite_differences() {
        let bins = [0.4, -1.0, 0.7, 0.1, -0.3];
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-7, "{a} instead of {b}");
        for (loss, logits) in [
            (ValueLoss::Bce, &bins[..1]),
            (ValueLoss::Mse, &bins[..1]),
            (ValueLoss::HlGauss, &bins[..]),
        ] {
            let loss = Criterion::from(loss);
            for i in 0..logits.len() {
                let moved = |step: f64| {
                    let mut moved = logits.to_vec();
                    moved[i] += step;
                    moved
                };
                let (up, down) = (moved(1e-5), moved(-1e-5));
                let by_difference = (loss.of(&up, -0.35) - loss.of(&down, -0.35)) / 2e-5;
                near(loss.slopes(logits, -0.35)[i], by_difference);
                let by_difference = (value_of(&up) - value_of(&down)) / 2e-5;
                near(value_and_slopes(logits).1[i], by_difference);
            }
        }
        let loss = Criterion {
            temperature: 0.3,
            ..ValueLoss::Bce.into()
        };
        let at = |step: f64| loss.misorder(0.1 + step, 0.4).0;
        near(loss.misorder(0.1, 0.4).1, (at(1e-5) - at(-1e-5)) / 2e-5);
    }

    #[test]
    fn losses_stay_finite_for_extreme_logits() {
        let logits = row(&[1e4, -1e4]).reshape([2, 1]);
        let bce = Criterion::from(ValueLoss::Bce).sum(logits, &[-1.0, 1.0], row(&[1.0, 1.0]));
        assert!((scalar(bce) - 2e4).abs() < 1.0);
        let device = Device::flex();
        let logits = Tensor::<2>::from_floats([[1e4, -1e4, 0.0]], &device);
        let labels = Tensor::<1, Int>::from_ints([1], &device);
        let loss = scalar(cross_entropy(logits, labels, row(&[1.0])));
        assert!((loss - 2e4).abs() < 1.0, "{loss}");
    }
}
