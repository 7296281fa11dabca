//! Logistic regression with a ridge, by Newton's method: iteratively reweighted least squares.

use super::monotone::Point;
use crate::model::Blend;
use crate::model::blend::FEATURES;

/// Weight of the squares of the coefficients, for features of mean 0 and standard deviation 1, against the
/// mean cross-entropy: enough to keep them finite where the data do not.
const RIDGE: f64 = 1e-3;

/// The bias, then a coefficient for each feature.
const N: usize = FEATURES + 1;

type Vector = [f64; N];

/// The blend that minimises the mean cross-entropy with what the points want, by their weights, plus half
/// of [`RIDGE`] times the squared coefficients of the standardised features and of the bias. Features that
/// are the same everywhere get no weight.
pub(super) fn blend(points: &[Point]) -> Blend {
    let total: f64 = points.iter().map(|point| point.weight).sum();
    let mean_of = |of: &dyn Fn(&Point) -> f64| {
        let each = points.iter().map(|point| point.weight * of(point));
        each.sum::<f64>() / total
    };
    let means: [f64; FEATURES] = std::array::from_fn(|j| mean_of(&|point| point.features[j]));
    let scales: [f64; FEATURES] = std::array::from_fn(|j| {
        let variance = mean_of(&|point| (point.features[j] - means[j]).powi(2));
        // One over the standard deviation.
        if variance > 1e-12 {
            variance.sqrt().recip()
        } else {
            0.0
        }
    });
    let rows: Vec<(Vector, f64, f64)> = points
        .iter()
        .map(|point| {
            let mut row = [1.0; N];
            for j in 0..FEATURES {
                row[j + 1] = (point.features[j] - means[j]) * scales[j];
            }
            (row, point.wanted, point.weight / total)
        })
        .collect();
    let found = newton(&rows);
    let weights: [f64; FEATURES] = std::array::from_fn(|j| found[j + 1] * scales[j]);
    let shift: f64 = weights.iter().zip(means).map(|(w, m)| w * m).sum();
    Blend::new(found[0] - shift, weights)
}

/// The minimum over rows of numbers, what is wanted of them, and shares that add up to 1: Newton's steps,
/// halved until they help. The ridge makes it the only one.
fn newton(rows: &[(Vector, f64, f64)]) -> Vector {
    let loss = |at: &Vector| -> f64 {
        let each = rows.iter().map(|(row, wanted, share)| {
            let z = dot(row, at);
            share * (z.max(0.0) + (-z.abs()).exp().ln_1p() - z * wanted)
        });
        each.sum::<f64>() + RIDGE / 2.0 * dot(at, at)
    };
    let mut at = [0.0; N];
    for _ in 0..100 {
        let mut slope = at.map(|x| RIDGE * x);
        let mut bend = [[0.0; N]; N];
        for (row, wanted, share) in rows {
            let p = 1.0 / (1.0 + (-dot(row, &at)).exp());
            for i in 0..N {
                slope[i] += share * (p - wanted) * row[i];
                for j in 0..=i {
                    bend[i][j] += share * p * (1.0 - p) * row[i] * row[j];
                }
            }
        }
        for (i, row) in bend.iter_mut().enumerate() {
            row[i] += RIDGE;
        }
        let step = solve(bend, slope);
        let here = loss(&at);
        let moved = (0..30)
            .map(|halvings| 0.5f64.powi(halvings))
            .map(|part| std::array::from_fn(|i| at[i] - part * step[i]))
            .find(|there| loss(there) < here);
        match moved {
            Some(there) => at = there,
            None => break,
        }
    }
    at
}

fn dot(a: &Vector, b: &Vector) -> f64 {
    a.iter().zip(b).map(|(x, y)| x * y).sum()
}

/// `x` with `matrix x = vector`, by Cholesky's decomposition; of the matrix, which is positive definite, the
/// lower half is read.
fn solve(mut matrix: [Vector; N], vector: Vector) -> Vector {
    for j in 0..N {
        for k in 0..j {
            for i in j..N {
                matrix[i][j] -= matrix[i][k] * matrix[j][k];
            }
        }
        let root = matrix[j][j].sqrt();
        for row in &mut matrix[j..] {
            row[j] /= root;
        }
    }
    let mut x = vector;
    for i in 0..N {
        for k in 0..i {
            x[i] -= matrix[i][k] * x[k];
        }
        x[i] /= matrix[i][i];
    }
    for i in (0..N).rev() {
        for k in i + 1..N {
            x[i] -= matrix[k][i] * x[k];
        }
        x[i] /= matrix[i][i];
    }
    x
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(features: [f64; FEATURES], wanted: f64, weight: f64) -> Point {
        Point {
            value: 0.0,
            wanted,
            weight,
            half: false,
            features,
        }
    }

    fn points() -> Vec<Point> {
        let feature = |i: usize, j: usize| {
            ((i * i * 3 + j * j * 5 + i * j * 4 + i * 7) % 11) as f64 / 3.0 - 1.5
        };
        let one = |i: usize| {
            let features = std::array::from_fn(|j| feature(i, j));
            point(features, ((i * 5) % 7) as f64 / 6.0, 0.5 + (i % 4) as f64)
        };
        (0..40).map(one).collect()
    }

    #[test]
    fn coefficients_are_those_of_scipy() {
        // scipy.optimize.minimize (BFGS) on the same loss over standardised features, polished to a
        // gradient of 1e-16.
        let expected = (
            -0.09941267957776209,
            [
                -0.19666190238728998,
                0.16166803923800538,
                -0.09635491042299973,
                -1.1101179358014508,
                -0.4823718648163731,
                0.36884559439805975,
            ],
        );
        let found = blend(&points());
        assert!((found.bias - expected.0).abs() < 1e-8, "{found:?}");
        for (found, expected) in found.weights().iter().zip(expected.1) {
            assert!((found - expected).abs() < 1e-8, "{found} {expected}");
        }
    }

    #[test]
    fn no_neighbour_of_the_minimum_is_lower() {
        let rows: Vec<(Vector, f64, f64)> = (points().iter())
            .map(|point| {
                let mut row = [1.0; N];
                row[1..].copy_from_slice(&point.features);
                (row, point.wanted, point.weight / 80.0)
            })
            .collect();
        let at = newton(&rows);
        let loss = |at: &Vector| -> f64 {
            let one = |(row, wanted, share): &(Vector, f64, f64)| {
                let p = 1.0 / (1.0 + (-dot(row, at)).exp());
                -share * (wanted * p.ln() + (1.0 - wanted) * (1.0 - p).ln())
            };
            rows.iter().map(one).sum::<f64>() + RIDGE / 2.0 * dot(at, at)
        };
        for i in 0..N {
            let moved = |by: f64| {
                let mut there = at;
                there[i] += by;
                loss(&there)
            };
            let slope = (moved(1e-4) - moved(-1e-4)) / 2e-4;
            assert!(slope.abs() < 1e-8, "{i}: {slope}");
            assert!(moved(1e-2) > loss(&at) && moved(-1e-2) > loss(&at));
        }
    }

    #[test]
    fn what_the_data_do_not_bound_stays_finite() {
        let apart = [-1.0, 1.0].map(|x| point([x, 0.0, 0.0, 0.0, 0.0, 7.0], (x + 1.0) / 2.0, 1.0));
        let found = blend(&apart);
        assert!(found.logit > 1.0 && found.logit < 20.0, "{found:?}");
        assert_eq!((found.mean_log_prob, found.log_tokens), (0.0, 0.0));
        let all_right = blend(&apart.map(|one| Point { wanted: 1.0, ..one }));
        assert!(
            all_right.bias > 3.0 && all_right.bias < 10.0,
            "{all_right:?}"
        );
    }
}
