//! Learning-rate schedules, as burn's `LrScheduler`.

use burn::optim::lr_scheduler::{LrScheduler, LrSchedulerRecord};

/// How the learning rate falls after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decay {
    /// Half a cosine from 1 to the final fraction (Loshchilov & Hutter, 2017).
    Cosine,
    /// A straight line from 1 to the final fraction.
    Linear,
    /// None.
    Constant,
}

/// A warm-up times a decay: the learning rate of step `s` (from 0) of `steps` is
/// `lr * min(1, (s + 1) / warmup) * decay(s / steps)`.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    decay: Decay,
    lr: f64,
    warmup: f64,
    final_fraction: f64,
    steps: usize,
    next: usize,
}

impl Schedule {
    /// A schedule over `steps` optimiser steps.
    ///
    /// `warmup` of 1 or more is a number of steps, below 1 a fraction of `steps`.
    /// `final_fraction` is what the decay leaves of `lr` after the last step.
    pub fn new(decay: Decay, lr: f64, warmup: f64, final_fraction: f64, steps: usize) -> Self {
        let warmup = if warmup < 1.0 {
            warmup * steps as f64
        } else {
            warmup
        };
        Schedule {
            decay,
            lr,
            warmup: warmup.max(1.0),
            final_fraction,
            steps: steps.max(1),
            next: 0,
        }
    }

    /// What `lr` is multiplied by at `step`, counted from 0.
    pub fn multiplier(&self, step: usize) -> f64 {
        let warm = (((step + 1) as f64) / self.warmup).min(1.0);
        let progress = (step as f64 / self.steps as f64).min(1.0);
        let left = match self.decay {
            Decay::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * progress).cos()),
            Decay::Linear => 1.0 - progress,
            Decay::Constant => 1.0,
        };
        warm * (self.final_fraction + (1.0 - self.final_fraction) * left)
    }
}

const NEXT: &str = "next";

impl LrScheduler for Schedule {
    fn step(&mut self) -> f64 {
        let lr = self.lr * self.multiplier(self.next);
        self.next += 1;
        lr
    }

    fn to_record(&self) -> LrSchedulerRecord {
        LrSchedulerRecord::new().with_scalar(NEXT, self.next)
    }

    fn load_record(&mut self, record: LrSchedulerRecord) {
        if let Some(next) = record.scalar::<usize>(NEXT) {
            self.next = next;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_brings_the_schedule_back() {
        let mut one = Schedule::new(Decay::Cosine, 1e-3, 0.05, 0.1, 100);
        for _ in 0..37 {
            one.step();
        }
        let mut two = Schedule::new(Decay::Cosine, 1e-3, 0.05, 0.1, 100);
        two.load_record(one.to_record());
        assert_eq!(one.step().to_bits(), two.step().to_bits());
    }

    #[test]
    fn a_schedule_warms_up_and_ends_at_its_final_fraction() {
        let cosine = Schedule::new(Decay::Cosine, 1.0, 10.0, 0.1, 1000);
        assert!((cosine.multiplier(0) - 0.1).abs() < 1e-3);
        assert!((cosine.multiplier(9) - 1.0).abs() < 1e-3);
        assert!((cosine.multiplier(1000) - 0.1).abs() < 1e-12);
        let linear = Schedule::new(Decay::Linear, 1.0, 0.0, 0.05, 10);
        assert!((linear.multiplier(5) - 0.525).abs() < 1e-12);
    }
}
