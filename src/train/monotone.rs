//! Monotone maps from values to probabilities: a scale and a shift of the logit, and isotonic regression.

use crate::model::Calibration;
use crate::model::blend::FEATURES;
use crate::model::calibration::logit_of;

/// A held-out position: a value in [-1, 1], and the probability that it should be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Point {
    pub value: f64,
    pub wanted: f64,
    pub weight: f64,
    /// Which half of the questions it belongs to.
    pub half: bool,
    /// Of its text, as a blend weighs them; 0 where nobody asks.
    pub features: [f64; FEATURES],
}

/// The scale, between 0.01 and 100, and the shift of the logits that minimise the cross-entropy: Newton's
/// method on a convex function of two numbers (Platt, 1999), with steps halved until they help.
pub(super) fn temperature(points: &[Point]) -> (f64, f64) {
    const LIMITS: (f64, f64) = (0.01, 100.0);
    let total: f64 = points.iter().map(|p| p.weight).sum();
    let logits: Vec<f64> = points.iter().map(|p| logit_of(p.value)).collect();
    let loss = |(scale, bias): (f64, f64)| -> f64 {
        let each = points.iter().zip(&logits).map(|(point, x)| {
            let z = scale * x + bias;
            point.weight * (z.max(0.0) + (-z.abs()).exp().ln_1p() - z * point.wanted)
        });
        each.sum::<f64>() / total
    };
    let mut at = (1.0, 0.0);
    for _ in 0..100 {
        // Gradient and Hessian, whose diagonal is lifted off 0 where all logits are the same.
        let (mut ga, mut gb, mut aa, mut ab, mut bb) = (0.0, 0.0, 1e-9, 0.0, 1e-9);
        for (point, x) in points.iter().zip(&logits) {
            let p = 1.0 / (1.0 + (-(at.0 * x + at.1)).exp());
            let weight = point.weight / total;
            let (error, bend) = (weight * (p - point.wanted), weight * p * (1.0 - p));
            ga += error * x;
            gb += error;
            aa += bend * x * x;
            ab += bend * x;
            bb += bend;
        }
        let held = (at.0 <= LIMITS.0 && ga > 0.0) || (at.0 >= LIMITS.1 && ga < 0.0);
        let (da, db) = if held {
            (0.0, gb / bb)
        } else {
            let determinant = aa * bb - ab * ab;
            (
                (bb * ga - ab * gb) / determinant,
                (aa * gb - ab * ga) / determinant,
            )
        };
        let here = loss(at);
        let moved = (0..30)
            .map(|halvings| 0.5f64.powi(halvings))
            .map(|step| {
                (
                    (at.0 - step * da).clamp(LIMITS.0, LIMITS.1),
                    at.1 - step * db,
                )
            })
            .find(|&there| loss(there) < here);
        match moved {
            Some(there) => at = there,
            None => break,
        }
    }
    at
}

/// Neighbours in the order of their values that share one probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Block {
    /// Mean value.
    value: f64,
    /// Mean probability.
    share: f64,
    weight: f64,
}

/// The isotonic regression of the probabilities on the values: neighbours out of order are pooled
/// (Ayer et al., 1955). Equal values are one point.
pub(super) fn pool(points: &[Point]) -> Vec<Block> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
    let mut blocks: Vec<Block> = Vec::new();
    let merge = |a: &Block, b: &Block| {
        let weight = a.weight + b.weight;
        let mean = |x: f64, y: f64| (a.weight * x + b.weight * y) / weight;
        Block {
            value: mean(a.value, b.value),
            share: mean(a.share, b.share),
            weight,
        }
    };
    for same in sorted.chunk_by(|a, b| a.value == b.value) {
        let mut block = same
            .iter()
            .map(|point| Block {
                value: point.value,
                share: point.wanted,
                weight: point.weight,
            })
            .reduce(|a, b| merge(&a, &b));
        while let (Some(now), Some(before)) = (block, blocks.last())
            && before.share >= now.share
        {
            block = Some(merge(before, &now));
            blocks.pop();
        }
        blocks.extend(block);
    }
    blocks
}

/// The map through the middles of the blocks, from (-1, -1) to (1, 1): within a block it goes on rising,
/// so that values that a search compares stay apart.
pub(super) fn table(blocks: &[Block]) -> Calibration {
    let (mut from, mut to) = (vec![-1.0], vec![-1.0]);
    for block in blocks {
        let (value, wanted) = (block.value as f32, (2.0 * block.share - 1.0) as f32);
        if value > from[from.len() - 1] && value < 1.0 {
            from.push(value);
            to.push(wanted.clamp(-1.0, 1.0));
        }
    }
    from.push(1.0);
    to.push(1.0);
    Calibration::Isotonic { from, to }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn point(value: f64, wanted: f64, weight: f64) -> Point {
        Point {
            value,
            wanted,
            weight,
            half: false,
            features: [0.0; FEATURES],
        }
    }

    pub fn random(n: usize, seed: u64) -> Vec<Point> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        (0..n)
            .map(|_| {
                let value: f64 = rng.random_range(-0.99..0.99);
                let p = 1.0 / (1.0 + (-(0.4 * logit_of(value) - 0.3)).exp());
                let right = rng.random_range(0.0..1.0) < p;
                point(
                    value,
                    f64::from(u8::from(right)),
                    rng.random_range(0.5..3.0),
                )
            })
            .collect()
    }

    /// The share that the regression gives each point, in the order of the values.
    fn fitted(points: &[Point]) -> Vec<f64> {
        let blocks = pool(points);
        let mut sorted = points.to_vec();
        sorted.sort_by(|a, b| a.value.total_cmp(&b.value));
        let mut left = blocks.iter();
        let mut block = *left.next().unwrap();
        let mut inside = 0.0;
        let mut out = Vec::new();
        for point in sorted {
            if inside > block.weight - 1e-9 {
                block = *left.next().unwrap();
                inside = 0.0;
            }
            inside += point.weight;
            out.push(block.share);
        }
        out
    }

    #[test]
    fn pooling_gives_known_regressions() {
        let of = |wanted: &[f64], weights: &[f64]| {
            let points: Vec<Point> = wanted
                .iter()
                .zip(weights)
                .enumerate()
                .map(|(i, (&y, &w))| point(i as f64 / 100.0, y, w))
                .collect();
            fitted(&points)
        };
        let near = |a: Vec<f64>, b: &[f64]| {
            assert_eq!(a.len(), b.len());
            let far = a.iter().zip(b).any(|(a, b)| (a - b).abs() > 1e-12);
            assert!(!far, "{a:?} instead of {b:?}");
        };
        near(of(&[0.1, 0.2, 0.3], &[1.0; 3]), &[0.1, 0.2, 0.3]);
        near(of(&[0.3, 0.2, 0.1], &[1.0; 3]), &[0.2; 3]);
        // scikit-learn's documentation of IsotonicRegression: 1 3 2 4 3 5, here by a tenth.
        near(
            of(&[0.1, 0.3, 0.2, 0.4, 0.3, 0.5], &[1.0; 6]),
            &[0.1, 0.25, 0.25, 0.35, 0.35, 0.5],
        );
        near(
            of(&[0.0, 0.6, 0.3, 1.0], &[1.0, 1.0, 2.0, 1.0]),
            &[0.0, 0.4, 0.4, 1.0],
        );
        let same = [point(0.5, 1.0, 1.0), point(0.5, 0.0, 3.0)];
        assert_eq!(pool(&same).len(), 1);
        assert_eq!(pool(&same)[0].share, 0.25);
    }

    /// The best non-decreasing fit of all: every way to cut the points into blocks is tried.
    fn brute_force(points: &[Point]) -> f64 {
        let n = points.len();
        let mut best = f64::INFINITY;
        for cuts in 0..1u32 << (n - 1) {
            let (mut error, mut last, mut first) = (0.0, f64::NEG_INFINITY, 0);
            for end in 1..=n {
                if end < n && cuts >> (end - 1) & 1 == 0 {
                    continue;
                }
                let block = &points[first..end];
                let weight: f64 = block.iter().map(|p| p.weight).sum();
                let mean = block.iter().map(|p| p.weight * p.wanted).sum::<f64>() / weight;
                if mean < last {
                    error = f64::INFINITY;
                    break;
                }
                let square = |p: &Point| p.weight * (p.wanted - mean).powi(2);
                error += block.iter().map(square).sum::<f64>();
                (last, first) = (mean, end);
            }
            best = best.min(error);
        }
        best
    }

    #[test]
    fn pooling_is_the_best_of_all_monotone_fits() {
        for seed in 0..40 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let points: Vec<Point> = (0..11)
                .map(|i| {
                    let wanted = rng.random_range(0.0..1.0);
                    point(f64::from(i) / 20.0, wanted, rng.random_range(0.2..4.0))
                })
                .collect();
            let shares = fitted(&points);
            assert!(shares.windows(2).all(|pair| pair[0] <= pair[1]));
            let found: f64 = points
                .iter()
                .zip(&shares)
                .map(|(p, share)| p.weight * (p.wanted - share).powi(2))
                .sum();
            let best = brute_force(&points);
            assert!((found - best).abs() < 1e-9, "{found} instead of {best}");
        }
    }

    #[test]
    fn a_temperature_is_the_best_of_a_fine_grid() {
        let points = random(400, 5);
        let total: f64 = points.iter().map(|p| p.weight).sum();
        let loss = |scale: f64, bias: f64| -> f64 {
            let one = |p: &Point| {
                let probability = 1.0 / (1.0 + (-(scale * logit_of(p.value) + bias)).exp());
                let log = p.wanted * probability.ln() + (1.0 - p.wanted) * (1.0 - probability).ln();
                -p.weight * log
            };
            points.iter().map(one).sum::<f64>() / total
        };
        let (scale, bias) = temperature(&points);
        let mut best = (f64::INFINITY, 0.0, 0.0);
        for i in 0..=200 {
            for j in 0..=200 {
                let (a, b) = (f64::from(i) * 0.005 + 0.01, f64::from(j) * 0.01 - 1.0);
                let here = loss(a, b);
                if here < best.0 {
                    best = (here, a, b);
                }
            }
        }
        assert!(loss(scale, bias) <= best.0 + 1e-12);
        assert!((scale - best.1).abs() < 0.006, "{scale} {best:?}");
        assert!((bias - best.2).abs() < 0.011, "{bias} {best:?}");
    }

    #[test]
    fn a_temperature_stays_finite_where_the_data_do_not_bound_it() {
        let apart = [point(-0.5, 0.0, 1.0), point(0.5, 1.0, 1.0)];
        let (scale, bias) = temperature(&apart);
        assert!(scale > 1.0 && scale <= 100.0 && bias.is_finite());
        // Values that rank the wrong way round are flattened, not turned round.
        let turned = [point(-0.5, 1.0, 1.0), point(0.5, 0.0, 1.0)];
        let (scale, bias) = temperature(&turned);
        assert!((scale, bias.abs() < 1e-6) == (0.01, true), "{scale} {bias}");
        let same = [point(0.5, 1.0, 3.0), point(0.5, 0.0, 1.0)];
        let (scale, bias) = temperature(&same);
        let logit = scale * logit_of(0.5) + bias;
        assert!((logit - 3.0f64.ln()).abs() < 1e-6);
    }
}
