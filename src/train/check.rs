//! Checks of the numbers that a fit's parameters hold.

use super::error::Error;

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
