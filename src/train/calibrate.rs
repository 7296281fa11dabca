//! Calibration of a fitted value on the held-out questions: a scale and a shift of its logit, an isotonic
//! map, or a blend of its logit with the policy's probabilities.

use super::assess::{assess, values};
use super::batch::VisitWeight;
use super::example::{ValueExample, mix};
use super::fit::Context;
use super::logistic::blend;
use super::loss::Criterion;
use super::monotone::{Point, pool, table, temperature};
use super::report::FitReport;
use crate::model::blend::FEATURES;
use crate::model::{Calibration, Decoder, Trail, ValueHead};
use serde::{Deserialize, Serialize};

/// How a value is calibrated after its fit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Calibrate {
    /// Not at all.
    #[default]
    None,
    /// A scale and a shift of the logit.
    Temperature,
    /// A monotone table.
    Isotonic,
    /// A logistic regression on the logit and on what the policy's probabilities say of the text.
    Features,
}

/// How far values are to be believed: at every held-out position the value, as a probability, beside
/// the mean return there, weighted as in the fit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Trust {
    /// Mean squared difference.
    pub brier: f64,
    /// Expected calibration error over ten bins.
    pub ece: f64,
}

/// What a calibration did.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Calibrated {
    /// The map, fitted on all held-out questions.
    pub map: Calibration,
    /// Positions that it was fitted to.
    pub positions: usize,
    /// As the fit left the values.
    pub before: Trust,
    /// Of each half of the held-out questions through a map that was fitted on the other half; absent
    /// where a half has none.
    pub after: Option<Trust>,
}

/// Fits a map to `values` of the targeted positions of `examples`, and tells what it does.
pub(crate) fn calibrate(
    how: Calibrate,
    values: &[Vec<f64>],
    examples: &[ValueExample],
    weight: VisitWeight,
) -> Option<Calibrated> {
    let mut points = Vec::new();
    for (row, example) in values.iter().zip(examples) {
        let features = match how {
            // Without probabilities an example has no place among the points.
            Calibrate::Features => features(row, &example.probabilities),
            _ => vec![[0.0; FEATURES]; row.len()],
        };
        let targets = example.targets.iter().zip(&example.weights);
        let known = row.iter().zip(features);
        for ((&value, features), (&target, &visits)) in known.zip(targets) {
            points.push(Point {
                value,
                features,
                wanted: (f64::from(target) + 1.0) / 2.0,
                weight: weight.of(visits).into(),
                half: mix(example.question ^ 0x63a1) & 1 == 1,
            });
        }
    }
    points.retain(|point| point.weight > 0.0);
    if how == Calibrate::None || points.is_empty() {
        return None;
    }
    let (one, other): (Vec<Point>, Vec<Point>) = points.iter().partition(|point| point.half);
    let after = (!one.is_empty() && !other.is_empty()).then(|| {
        let mut crossed = through(&fit(how, &one), &other);
        crossed.extend(through(&fit(how, &other), &one));
        trust(&crossed)
    });
    Some(Calibrated {
        map: fit(how, &points),
        positions: points.len(),
        before: trust(&points),
        after,
    })
}

/// The features at each position, from the values there and the policy's probabilities.
fn features(values: &[f64], probabilities: &[[f32; 2]]) -> Vec<[f64; FEATURES]> {
    let mut trail = Trail::default();
    let at = |(place, (&value, &[own, next])): (usize, (&f64, &[f32; 2]))| {
        if place > 0 {
            trail.push(own);
        }
        // As the engine gives it.
        trail.features(value as f32, next)
    };
    values
        .iter()
        .zip(probabilities)
        .enumerate()
        .map(at)
        .collect()
}

/// A net as its fit ends.
pub(crate) struct Fitted<'a> {
    pub trunk: &'a Decoder,
    pub head: ValueHead,
    /// The held-out trajectories.
    pub valid: &'a [ValueExample],
    pub criterion: Criterion,
    pub weight: VisitWeight,
    pub calibrate: Calibrate,
}

impl Fitted<'_> {
    /// Judges the net on its held-out trajectories, calibrates its head there, and adds both to `report`.
    pub fn conclude(self, context: &Context<'_>, report: &mut FitReport) -> ValueHead {
        let (trunk, head, valid) = (self.trunk, self.head, self.valid);
        if valid.is_empty() {
            return head;
        }
        let judged = assess(trunk, &head, valid, self.criterion, self.weight);
        judged.report(context, report.steps);
        report.value = Some(judged);
        if self.calibrate == Calibrate::None {
            return head;
        }
        let said = values(trunk, &head, valid);
        let Some(calibrated) = calibrate(self.calibrate, &said, valid, self.weight) else {
            return head;
        };
        let step = context.first_step + report.steps as u64;
        let tag = |name: &str, trust: &Trust| {
            let tags = ["brier", "ece"].map(|of| format!("value/{of}_{name}"));
            let figures = [
                (tags[0].as_str(), trust.brier),
                (tags[1].as_str(), trust.ece),
            ];
            context.monitor.scalars(&figures, step);
        };
        tag("uncalibrated", &calibrated.before);
        if let Some(after) = &calibrated.after {
            tag("calibrated", after);
        }
        let head = head.calibrated(calibrated.map.clone());
        report.calibration = Some(calibrated);
        head
    }
}

fn fit(how: Calibrate, points: &[Point]) -> Calibration {
    match how {
        Calibrate::None => Calibration::None,
        Calibrate::Temperature => {
            let (scale, bias) = temperature(points);
            Calibration::Temperature { scale, bias }
        }
        Calibrate::Isotonic => table(&pool(points)),
        Calibrate::Features => Calibration::Features(blend(points)),
    }
}

fn through(map: &Calibration, points: &[Point]) -> Vec<Point> {
    let mapped = points.iter().map(|point| Point {
        value: match map {
            Calibration::Features(blend) => blend.value(&point.features).into(),
            map => map.apply(point.value as f32).into(),
        },
        ..*point
    });
    mapped.collect()
}

fn trust(points: &[Point]) -> Trust {
    const BINS: usize = 10;
    let mut sums = [(0.0, 0.0); BINS];
    let (mut squares, mut total) = (0.0, 0.0);
    for point in points {
        let p = (point.value + 1.0) / 2.0;
        squares += point.weight * (p - point.wanted).powi(2);
        total += point.weight;
        let bin = &mut sums[((p * BINS as f64) as usize).min(BINS - 1)];
        bin.0 += point.weight * p;
        bin.1 += point.weight * point.wanted;
    }
    Trust {
        brier: squares / total,
        ece: sums.iter().map(|(p, q)| (p - q).abs()).sum::<f64>() / total,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::monotone::tests::random;

    #[test]
    fn both_maps_mend_values_that_are_too_sure_of_themselves() {
        // 300 questions with two positions each.
        let points = random(600, 8);
        let mut examples = Vec::new();
        let mut values = Vec::new();
        for (question, pair) in points.chunks(2).enumerate() {
            let wanted = |p: &Point| (2.0 * p.wanted - 1.0) as f32;
            examples.push(ValueExample {
                tokens: vec![0, 1],
                first: 0,
                targets: pair.iter().map(wanted).collect(),
                weights: vec![1.0, 2.0],
                question: question as u64,
                outcome: 1.0,
                probabilities: Vec::new(),
            });
            values.push(pair.iter().map(|p| p.value).collect());
        }
        let weight = VisitWeight {
            cap: 8.0,
            power: 1.0,
        };
        assert_eq!(calibrate(Calibrate::None, &values, &examples, weight), None);
        for how in [Calibrate::Temperature, Calibrate::Isotonic] {
            let found = calibrate(how, &values, &examples, weight).unwrap();
            let after = found.after.unwrap();
            assert_eq!(found.positions, 600);
            assert!(after.brier < found.before.brier - 0.01, "{found:?}");
            assert!(after.ece < found.before.ece / 2.0, "{found:?}");
            assert!(found.map.problem().is_none());
            let mapped = [-0.9, -0.3, 0.3, 0.9].map(|v| found.map.apply(v));
            assert!(
                mapped.windows(2).all(|pair| pair[0] < pair[1]),
                "{mapped:?}"
            );
        }
    }
    #[test]
    fn a_blend_finds_what_the_probabilities_know_and_the_value_does_not() {
        // The value says nothing; right texts are those whose tokens were all probable.
        let mut examples = Vec::new();
        let mut values = Vec::new();
        for question in 0..400u64 {
            let draw = mix(question);
            let least = [-0.1, -0.6, -1.2, -2.5][(draw % 4) as usize];
            let right = (draw >> 8) % 100 < [90, 70, 30, 5][(draw % 4) as usize];
            let outcome = if right { 1.0 } else { -1.0 };
            examples.push(ValueExample {
                tokens: vec![0; 4],
                first: 0,
                targets: vec![outcome; 4],
                weights: vec![1.0; 4],
                question,
                outcome,
                probabilities: vec![[0.0, -0.3], [-0.2, -0.1], [least, -0.1], [-0.05, -0.4]],
            });
            values.push(vec![((draw >> 20) % 7) as f64 / 10.0 - 0.3; 4]);
        }
        let weight = VisitWeight {
            cap: 8.0,
            power: 1.0,
        };
        let found = calibrate(Calibrate::Features, &values, &examples, weight).unwrap();
        let after = found.after.unwrap();
        assert_eq!(found.positions, 1600);
        assert!(after.brier < found.before.brier - 0.02, "{found:?}");
        let blend = found.map.blend().unwrap();
        assert!(blend.least_log_prob > 0.3, "{blend:?}");
        // The features are those of the path: the third position of the first question by hand.
        let row = features(&values[0], &examples[0].probabilities)[2];
        let least = examples[0].probabilities[2][0];
        let expected = [
            2.0 * values[0][2].atanh(),
            (-0.2 + f64::from(least)) / 2.0,
            f64::from(least.min(-0.2)),
            f64::from(least),
        ];
        for (found, expected) in row.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-6, "{row:?}");
        }
        for example in &mut examples {
            example.probabilities.clear();
        }
        let unknown = calibrate(Calibrate::Features, &values, &examples, weight);
        assert_eq!(unknown, None);
    }
}
