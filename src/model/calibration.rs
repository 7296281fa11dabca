//! A map from what a value head says to what it should have said.

use super::blend::Blend;
use serde::{Deserialize, Serialize};

/// Values this close to -1 or 1 count as that close, so that their logits are finite.
const EDGE: f64 = 1e-7;

/// A map of values in [-1, 1], fitted on held-out questions.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Calibration {
    /// Values as they are.
    #[default]
    None,
    /// The logit `ln((1 + v) / (1 - v))` times `scale` plus `bias` (Platt, 1999; without the bias the
    /// temperature scaling of Guo et al., 2017).
    Temperature { scale: f64, bias: f64 },
    /// Linear between the points `(from, to)`, both ascending.
    Isotonic { from: Vec<f32>, to: Vec<f32> },
    /// The logit weighed with what the policy's probabilities say of the text. Searches, which know these,
    /// apply it; to a value alone it does nothing.
    Features(Blend),
}

/// The logit whose value is `value`: `2 atanh(value)`.
pub fn logit_of(value: f64) -> f64 {
    2.0 * value.clamp(EDGE - 1.0, 1.0 - EDGE).atanh()
}

impl Calibration {
    /// The calibrated value of `value`.
    pub fn apply(&self, value: f32) -> f32 {
        match self {
            Calibration::None | Calibration::Features(_) => value,
            Calibration::Temperature { scale, bias } => {
                (0.5 * (scale * logit_of(value.into()) + bias)).tanh() as f32
            }
            Calibration::Isotonic { from, to } => {
                let next = from.partition_point(|&x| x < value);
                match next {
                    0 => to.first().copied().unwrap_or(value),
                    _ if next == from.len() => to[next - 1],
                    _ => {
                        let (x0, x1) = (from[next - 1], from[next]);
                        let part = (value - x0) / (x1 - x0);
                        to[next - 1] + part * (to[next] - to[next - 1])
                    }
                }
            }
        }
    }

    /// The blend with the policy's probabilities, where it is one.
    pub fn blend(&self) -> Option<Blend> {
        match self {
            Calibration::Features(blend) => Some(*blend),
            _ => None,
        }
    }

    /// What is wrong with a map that was read from a file.
    pub fn problem(&self) -> Option<&'static str> {
        match self {
            Calibration::None => None,
            Calibration::Temperature { scale, bias } => {
                let sound = scale.is_finite() && *scale > 0.0 && bias.is_finite();
                (!sound).then_some("its calibration's scale is not a positive number")
            }
            Calibration::Isotonic { from, to } => {
                let inside = |x: &f32| (-1.0..=1.0).contains(x);
                let sound = from.len() == to.len()
                    && !from.is_empty()
                    && from.iter().chain(to).all(inside)
                    && from.windows(2).all(|pair| pair[0] < pair[1])
                    && to.windows(2).all(|pair| pair[0] <= pair[1]);
                (!sound).then_some("its calibration's points do not ascend in [-1, 1]")
            }
            Calibration::Features(blend) => {
                let numbers = [&blend.weights()[..], &[blend.bias]].concat();
                let sound = numbers.iter().all(|x| x.is_finite());
                (!sound).then_some("its calibration's weights are not all numbers")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_of_hand_made_numbers() {
        assert_eq!(Calibration::None.apply(0.3), 0.3);
        let scaled = Calibration::Temperature {
            scale: 0.5,
            bias: 0.2,
        };
        // The value of logit 1 becomes that of 0.7.
        let found = scaled.apply(0.5f32.tanh());
        assert!((found - 0.35f32.tanh()).abs() < 1e-6, "{found}");
        assert!(scaled.apply(1.0) < 1.0 && scaled.apply(-1.0) > -1.0);
        let table = Calibration::Isotonic {
            from: vec![-1.0, 0.0, 0.5, 1.0],
            to: vec![-1.0, -0.5, 0.5, 0.5],
        };
        for (value, expected) in [
            (-1.0, -1.0),
            (-0.5, -0.75),
            (0.0, -0.5),
            (0.25, 0.0),
            (0.75, 0.5),
            (1.0, 0.5),
        ] {
            assert!((table.apply(value) - expected).abs() < 1e-6, "{value}");
        }
    }

    #[test]
    fn a_blend_is_kept_by_name_and_leaves_a_value_alone_as_it_is() {
        let map = Calibration::Features(Blend::new(0.5, [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]));
        assert_eq!(map.apply(0.3), 0.3);
        let json = serde_json::to_value(&map).unwrap();
        assert_eq!(
            (&json["kind"], &json["least_log_prob"]),
            (&"features".into(), &3.0.into())
        );
        assert_eq!(serde_json::from_value::<Calibration>(json).unwrap(), map);
    }

    #[test]
    fn maps_that_are_none_are_named() {
        let table = |from: &[f32], to: &[f32]| {
            let (from, to) = (from.to_vec(), to.to_vec());
            Calibration::Isotonic { from, to }.problem()
        };
        assert!(table(&[-1.0, 1.0], &[-0.5, 0.5]).is_none());
        for (from, to) in [
            (&[-1.0, 1.0][..], &[0.5, -0.5][..]),
            (&[0.0, 0.0], &[0.0, 0.1]),
            (&[0.0, 2.0], &[0.0, 0.1]),
            (&[0.0], &[0.0, 0.1]),
            (&[], &[]),
        ] {
            assert!(table(from, to).is_some(), "{from:?} {to:?}");
        }
        let blend = Blend::new(0.5, [f64::NAN; 6]);
        assert!(Calibration::Features(blend).problem().is_some());
        let (scale, bias) = (-1.0, 0.0);
        assert!(Calibration::Temperature { scale, bias }.problem().is_some());
    }
}
