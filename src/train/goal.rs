//! The value losses of a pass, over points and pairs of points and over the members of a head: by hand,
//! and by Burn.

use super::batch::Targets;
use super::loss::{Criterion, value_and_slopes};
use super::siblings::Pairs;
use crate::model::Readout;
use burn::tensor::{Int, Tensor, TensorData};

/// What a value head is to learn from a pass.
pub(crate) struct Goal<'a> {
    pub targets: &'a Targets<f32>,
    /// How often each member sees the question of a target, `[targets, members]`; empty for once.
    pub copies: &'a [f32],
    pub pairs: &'a Pairs,
}

impl Goal<'_> {
    /// What the loss of `member` at target `index` counts beside those of the others.
    fn share(&self, index: usize, member: usize, members: usize) -> f64 {
        let copies = self.copies.get(index * members + member);
        f64::from(copies.copied().unwrap_or(1.0)) / members as f64
    }

    /// The loss of `logits`, `[targets, members * bins]`, and the gradient of `factor` times it.
    pub fn apply(
        &self,
        logits: &[f32],
        readout: &Readout,
        criterion: &Criterion,
        factor: f64,
    ) -> (f64, Vec<f32>) {
        let (bins, members) = (readout.bins, readout.members);
        let logits: Vec<f64> = logits.iter().map(|&x| f64::from(x)).collect();
        let own = |index: usize, member: usize| {
            let first = (index * members + member) * bins;
            first..first + bins
        };
        let mut loss = 0.0;
        let mut slopes = vec![0.0; logits.len()];
        let points = self.targets.wanted.iter().zip(&self.targets.weights);
        for (index, (&target, &weight)) in points.enumerate() {
            let weight = f64::from(weight) / self.targets.total;
            for member in 0..members {
                let weight = weight * self.share(index, member, members);
                let range = own(index, member);
                let logits = &logits[range.clone()];
                loss += weight * criterion.of(logits, target.into());
                let by_logit = criterion.slopes(logits, target.into());
                for (slope, d) in slopes[range].iter_mut().zip(by_logit) {
                    *slope = factor * weight * d;
                }
            }
        }
        for pair in &self.pairs.list {
            let weight = criterion.ranking * f64::from(pair.weight) / self.pairs.total;
            for member in 0..members {
                let weight = weight * self.share(pair.better, member, members);
                let ranges = [pair.better, pair.worse].map(|index| own(index, member));
                let [better, worse] = ranges.clone().map(|at| value_and_slopes(&logits[at]));
                let (cost, slope) = criterion.misorder(better.0, worse.0);
                loss += weight * cost;
                for (range, (by_logit, sign)) in
                    ranges.into_iter().zip([(better.1, 1.0), (worse.1, -1.0)])
                {
                    for (total, d) in slopes[range].iter_mut().zip(by_logit) {
                        *total += factor * weight * sign * slope * d;
                    }
                }
            }
        }
        (loss, slopes.into_iter().map(|x| x as f32).collect())
    }

    /// The loss of `logits`, `[targets, members * bins]`.
    pub fn sum(&self, logits: Tensor<2>, readout: &Readout, criterion: &Criterion) -> Tensor<1> {
        let (n, members) = (self.targets.wanted.len(), readout.members);
        let device = logits.device();
        let repeated = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f32> {
            (0..n * members)
                .map(|i| of(i / members, i % members) as f32)
                .collect()
        };
        let weights = repeated(&|i, member| {
            let weight = f64::from(self.targets.weights[i]) / self.targets.total;
            weight * self.share(i, member, members)
        });
        let wanted = repeated(&|i, _| self.targets.wanted[i].into());
        let weights = Tensor::<1>::from_data(TensorData::new(weights, [n * members]), &device);
        let each = logits.clone().reshape([n * members, readout.bins]);
        let loss = criterion.sum(each, &wanted, weights);
        if self.pairs.list.is_empty() {
            return loss;
        }
        let values = readout.members(logits);
        let count = self.pairs.list.len();
        let pick = |places: Vec<i32>| {
            let places = Tensor::<1, Int>::from_data(TensorData::new(places, [count]), &device);
            values.clone().select(0, places)
        };
        let better = pick(self.pairs.list.iter().map(|p| p.better as i32).collect());
        let worse = pick(self.pairs.list.iter().map(|p| p.worse as i32).collect());
        let weights: Vec<f32> = (self.pairs.list.iter())
            .flat_map(|pair| {
                let weight = criterion.ranking * f64::from(pair.weight) / self.pairs.total;
                let share = move |member| self.share(pair.better, member, members);
                (0..members).map(move |member| (weight * share(member)) as f32)
            })
            .collect();
        let weights = Tensor::<2>::from_data(TensorData::new(weights, [count, members]), &device);
        loss + criterion.misorders(better, worse, weights)
    }
}
