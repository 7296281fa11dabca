//! What the logits of a value head mean: the value of each of its members, and one value of them all.

use super::calibration::Calibration;
use burn::tensor::Tensor;
use burn::tensor::activation::{softmax, tanh};

/// How the logits of a value head are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Readout {
    /// Logits of a member. One is that of a right answer, and the value is `tanh(logit / 2)`; several
    /// are a distribution over as many bins of equal width on [-1, 1], and the value is its
    /// expectation.
    pub bins: usize,
    /// Heads of an ensemble, side by side on the same hidden state.
    pub members: usize,
    /// What the mean of the members' values goes through.
    pub calibration: Calibration,
}

/// A value, and how far the members of an ensemble disagree about it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Opinion {
    /// In [-1, 1]: the calibrated mean of the members' values.
    pub value: f32,
    /// Standard deviation of the members' calibrated values (of the population); 0 for one member.
    pub spread: f32,
}

impl Opinion {
    /// The lower bound `value - kappa * spread`, not below -1.
    pub fn bound(self, kappa: f32) -> f32 {
        match kappa == 0.0 {
            true => self.value,
            false => (self.value - kappa * self.spread).clamp(-1.0, 1.0),
        }
    }
}

/// The middle of bin `index` of `bins` on [-1, 1].
pub fn centre(index: usize, bins: usize) -> f64 {
    (2 * index + 1) as f64 / bins as f64 - 1.0
}

/// `softmax(logits)`, and the mean of the bins' middles under it.
pub fn expectation(logits: &[f64]) -> (Vec<f64>, f64) {
    let peak = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let mut shares: Vec<f64> = logits.iter().map(|x| (x - peak).exp()).collect();
    let total: f64 = shares.iter().sum();
    shares.iter_mut().for_each(|share| *share /= total);
    let middles = (0..shares.len()).map(|i| centre(i, shares.len()));
    let mean = shares.iter().zip(middles).map(|(p, c)| p * c).sum();
    (shares, mean)
}

impl Readout {
    /// One logit of one member.
    pub fn plain() -> Readout {
        Readout {
            bins: 1,
            members: 1,
            calibration: Calibration::None,
        }
    }

    /// Logits of all members together.
    pub fn outputs(&self) -> usize {
        self.bins * self.members
    }

    /// The value of one member, before calibration.
    pub fn member(&self, logits: &[f32]) -> f32 {
        match logits {
            [logit] => (0.5 * logit).tanh(),
            bins => {
                let bins: Vec<f64> = bins.iter().map(|&x| f64::from(x)).collect();
                expectation(&bins).1 as f32
            }
        }
    }

    /// The values of all members, `[n, members * bins] -> [n, members]`, before calibration.
    pub fn members(&self, logits: Tensor<2>) -> Tensor<2> {
        if self.bins == 1 {
            return tanh(logits.mul_scalar(0.5));
        }
        let [n, _] = logits.dims();
        // The middles of the bins, made on the device: a captured step cannot wait for the host's.
        let ones = Tensor::<2>::ones([1, self.bins], (&logits.device(), logits.dtype()));
        let odd = ones.cumsum(1).mul_scalar(2.0).sub_scalar(1.0);
        let middles = odd.div_scalar(self.bins as f64).sub_scalar(1.0);
        let shares = softmax(logits.reshape([n * self.members, self.bins]), 1);
        (shares * middles).sum_dim(1).reshape([n, self.members])
    }

    /// One value of the members'.
    pub fn merge(&self, members: &[f32]) -> Opinion {
        let map = |value: f32| self.calibration.apply(value);
        if let [value] = members {
            return Opinion {
                value: map(*value),
                spread: 0.0,
            };
        }
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let raw: Vec<f64> = members.iter().map(|&v| v.into()).collect();
        let mapped: Vec<f64> = members.iter().map(|&v| map(v).into()).collect();
        let middle = mean(&mapped);
        let squares: Vec<f64> = mapped.iter().map(|v| (v - middle).powi(2)).collect();
        Opinion {
            value: map(mean(&raw) as f32),
            spread: mean(&squares).sqrt() as f32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn::tensor::TensorData;

    #[test]
    fn an_expectation_of_hand_made_numbers() {
        assert_eq!(
            [0, 1, 2, 3].map(|i| centre(i, 4)),
            [-0.75, -0.25, 0.25, 0.75]
        );
        let logits = [0.0, 1.0f64.ln(), 2.0f64.ln(), 4.0f64.ln()];
        let (shares, mean) = expectation(&logits);
        assert!((shares[3] - 0.5).abs() < 1e-12);
        assert!((mean - (-0.75 - 0.25 + 0.5 + 3.0) / 8.0).abs() < 1e-12);
        let readout = Readout {
            bins: 4,
            ..Readout::plain()
        };
        let logits = logits.map(|x| x as f32);
        assert!((f64::from(readout.member(&logits)) - mean).abs() < 1e-6);
    }

    #[test]
    fn tensors_are_read_as_rows_are() {
        let logits: Vec<f32> = (0..24).map(|i| ((i * 7) % 11) as f32 / 3.0 - 1.5).collect();
        for (bins, members) in [(1, 1), (1, 3), (4, 1), (4, 3)] {
            let readout = Readout {
                bins,
                members,
                ..Readout::plain()
            };
            let outputs = readout.outputs();
            let data = TensorData::new(logits.clone(), [24 / outputs, outputs]);
            let tensor = Tensor::<2>::from_data(data, &burn::tensor::Device::flex());
            let found = super::super::layout::floats(readout.members(tensor));
            let expected = logits.chunks(bins).map(|l| readout.member(l));
            for (found, expected) in found.iter().zip(expected) {
                assert!((found - expected).abs() < 1e-6, "{bins} {members}");
            }
        }
    }

    #[test]
    fn a_bound_is_the_mean_less_kappa_standard_deviations() {
        let readout = Readout {
            members: 3,
            ..Readout::plain()
        };
        let opinion = readout.merge(&[0.1, 0.4, 0.7]);
        // Population variance of three numbers 0.3 apart: 2 * 0.09 / 3.
        let spread = 0.06f32.sqrt();
        assert!((opinion.value - 0.4).abs() < 1e-6);
        assert!((opinion.spread - spread).abs() < 1e-6);
        assert!((opinion.bound(1.5) - (0.4 - 1.5 * spread)).abs() < 1e-6);
        assert_eq!(opinion.bound(0.0), opinion.value);
        assert_eq!(opinion.bound(100.0), -1.0);
        let alone = Readout::plain().merge(&[0.3]);
        assert_eq!((alone.value, alone.spread), (0.3, 0.0));
    }

    #[test]
    fn the_mean_is_calibrated_and_the_spread_is_that_of_calibrated_members() {
        let readout = Readout {
            bins: 1,
            members: 2,
            calibration: Calibration::Isotonic {
                from: vec![-1.0, 1.0],
                to: vec![-0.5, 0.5],
            },
        };
        let opinion = readout.merge(&[0.2, 0.6]);
        assert!((opinion.value - 0.2).abs() < 1e-6);
        assert!((opinion.spread - 0.1).abs() < 1e-6);
    }
}
