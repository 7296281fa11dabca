//! Checks of the numbers that a fit's parameters hold.

use super::error::Error;
use super::loss::{Criterion, ValueLoss};
use crate::model::Readout;

/// Checks for the fit of this name; each fails with the key, what it holds and what it should.
pub(crate) struct Check(pub &'static str);

impl Check {
    pub fn positive(&self, key: &'static str, value: f64) -> Result<(), Error> {
        self.require(
            key,
            value,
            value.is_finite() && value > 0.0,
            "a positive number",
        )
    }

    pub fn not_negative(&self, key: &'static str, value: f64) -> Result<(), Error> {
        self.require(
            key,
            value,
            value.is_finite() && value >= 0.0,
            "a number of at least 0",
        )
    }

    /// In [0, 1).
    pub fn fraction(&self, key: &'static str, value: f64) -> Result<(), Error> {
        self.require(
            key,
            value,
            (0.0..1.0).contains(&value),
            "a fraction of at least 0 and below 1",
        )
    }

    /// In [0, 1].
    pub fn share(&self, key: &'static str, value: f64) -> Result<(), Error> {
        self.require(
            key,
            value,
            (0.0..=1.0).contains(&value),
            "a number from 0 to 1",
        )
    }

    pub fn at_least_one(&self, key: &'static str, value: usize) -> Result<(), Error> {
        self.require(key, value, value >= 1, "at least 1")
    }

    /// Siblings are ranked only where they stand in a batch together.
    pub fn ranked(&self, key: &'static str, siblings: usize, ranking: f64) -> Result<(), Error> {
        let expected = "0 or at least 2 for a ranking loss";
        self.require(key, siblings, siblings != 1 || ranking == 0.0, expected)
    }

    /// That the head's logits are those that the loss is one of.
    pub fn head(&self, criterion: &Criterion, readout: &Readout) -> Result<(), Error> {
        let expected = match readout.bins {
            1 => "bce or mse for a head with one logit, or hl_gauss with learn.bins of at least 2",
            _ => "hl_gauss for a head with bins, or bce or mse with learn.bins = 1",
        };
        let found = match criterion.loss {
            ValueLoss::Bce => "bce",
            ValueLoss::Mse => "mse",
            ValueLoss::HlGauss => "hl_gauss",
        };
        self.require("loss", found, criterion.fits(readout), expected)
    }

    fn require(
        &self,
        key: &'static str,
        value: impl ToString,
        holds: bool,
        expected: &'static str,
    ) -> Result<(), Error> {
        if holds {
            return Ok(());
        }
        Err(Error::Param {
            fit: self.0,
            key,
            found: value.to_string(),
            expected,
        })
    }
}

/// The methods that the parameters of every fit of a value have.
macro_rules! value_methods {
    ($params:ty, $fit:expr) => {
        impl $params {
            fn check_value(&self) -> Result<(), $crate::train::Error> {
                let check = $crate::train::check::Check($fit);
                check.positive("weight_cap", self.weight_cap)?;
                check.not_negative("weight_power", self.weight_power)?;
                check.positive("sigma", self.sigma)?;
                check.not_negative("ranking", self.ranking)?;
                check.positive("ranking_temperature", self.ranking_temperature)?;
                check.ranked("siblings", self.siblings, self.ranking)
            }

            /// How visits weigh.
            pub fn visit_weight(&self) -> $crate::train::batch::VisitWeight {
                $crate::train::batch::VisitWeight {
                    cap: self.weight_cap as f32,
                    power: self.weight_power as f32,
                }
            }

            /// What the value is fitted by.
            pub fn criterion(&self) -> $crate::train::loss::Criterion {
                $crate::train::loss::Criterion {
                    loss: self.loss,
                    sigma: self.sigma,
                    ranking: self.ranking,
                    temperature: self.ranking_temperature,
                }
            }

            /// How the trajectories of `train` go into the steps that fit `head`.
            fn drawing(
                &self,
                train: &[$crate::train::ValueExample],
                head: &$crate::model::ValueHead,
            ) -> $crate::train::passes::Drawing {
                let questions = train.iter().map(|e| e.question);
                let members = head.readout.members;
                $crate::train::passes::Drawing {
                    draw: self.draw,
                    siblings: self.siblings,
                    ranked: self.ranking > 0.0,
                    resample: $crate::train::siblings::Resample::new(questions, members, self.seed),
                }
            }
        }
    };
}
pub(crate) use value_methods;

/// The methods that the parameters of every fit have: what its optimiser needs.
macro_rules! optimiser_methods {
    ($params:ty, $fit:expr) => {
        impl $params {
            fn check_optimiser(&self) -> Result<(), $crate::train::Error> {
                let check = $crate::train::check::Check($fit);
                check.positive("lr", self.lr)?;
                check.positive("clip_norm", self.clip_norm)?;
                check.positive("epsilon", self.epsilon)?;
                check.not_negative("warmup", self.warmup)?;
                check.not_negative("weight_decay", self.weight_decay)?;
                check.share("final_lr_fraction", self.final_lr_fraction)?;
                check.fraction("beta1", self.beta1)?;
                check.fraction("beta2", self.beta2)?;
                check.fraction("validation", self.validation)?;
                check.at_least_one("accumulation", self.accumulation)?;
                match self.steps {
                    0 => check.positive("epochs", self.epochs),
                    _ => Ok(()),
                }
            }

            fn settings(&self) -> $crate::train::optimiser::Settings {
                $crate::train::optimiser::Settings {
                    beta1: self.beta1 as f32,
                    beta2: self.beta2 as f32,
                    epsilon: self.epsilon as f32,
                    weight_decay: self.weight_decay as f32,
                }
            }

            fn schedule(&self, steps: usize) -> $crate::train::schedule::Schedule {
                $crate::train::schedule::Schedule::new(
                    self.decay,
                    self.lr,
                    self.warmup,
                    self.final_lr_fraction,
                    steps,
                )
            }
        }
    };
}
pub(crate) use optimiser_methods;
