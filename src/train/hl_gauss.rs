//! Returns as histograms (HL-Gauss): a distribution over bins, whose target is a Gaussian around the
//! return, is fitted by cross-entropy (Imani and White, 2018; Farebrother et al., 2024, equation 3.4).

/// The share of each of `bins` bins of equal width on [-1, 1] in a normal distribution around `target`,
/// whose standard deviation is `sigma` bins, cut off at -1 and 1.
pub fn histogram(target: f64, bins: usize, sigma: f64) -> Vec<f64> {
    let width = 2.0 / bins as f64;
    let scale = (sigma * width * std::f64::consts::SQRT_2).recip();
    let below = |edge: usize| erf((edge as f64 * width - 1.0 - target) * scale);
    let edges: Vec<f64> = (0..=bins).map(below).collect();
    let inside = edges[bins] - edges[0];
    let shares = edges.windows(2).map(|pair| (pair[1] - pair[0]) / inside);
    shares.collect()
}

/// The error function, to within 1e-14 or so: `2/sqrt(pi) e^(-x^2) sum of 2^n x^(2n+1) / (2n+1)!!`,
/// whose terms all have one sign (Abramowitz and Stegun, 7.1.6).
fn erf(x: f64) -> f64 {
    if x.abs() > 6.0 {
        return x.signum();
    }
    let (mut term, mut sum, mut n) = (x, x, 0.0);
    while term.abs() > 1e-17 * sum.abs() {
        n += 1.0;
        term *= 2.0 * x * x / (2.0 * n + 1.0);
        sum += term;
    }
    std::f64::consts::FRAC_2_SQRT_PI * (-x * x).exp() * sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_function_of_tables() {
        // Abramowitz and Stegun, table 7.1; the last from W. J. Cody's erfc.
        for (x, expected) in [
            (0.0, 0.0),
            (0.1, 0.112_462_916_018_284_9),
            (0.5, 0.520_499_877_813_046_5),
            (1.0, 0.842_700_792_949_714_9),
            (2.0, 0.995_322_265_018_952_7),
            (3.5, 0.999_999_256_901_627_7),
        ] {
            assert!((erf(x) - expected).abs() < 1e-14, "{x}: {}", erf(x));
            assert_eq!(erf(-x), -erf(x));
        }
    }

    #[test]
    fn histograms_of_hand_made_numbers() {
        // Four bins, sigma of 0.75 bins: 0.375. The edges are -1, -.5, 0, .5, 1; about 0.25 they lie at
        // -10/3, -2, -2/3, 2/3 and 2 standard deviations. The normal distribution below these, from a
        // table: 0.000429060, 0.022750132, 0.252492538, 0.747507462, 0.977249868.
        let below = [
            0.000_429_060,
            0.022_750_132,
            0.252_492_538,
            0.747_507_462,
            0.977_249_868,
        ];
        let inside = below[4] - below[0];
        let found = histogram(0.25, 4, 0.75);
        for (i, share) in found.iter().enumerate() {
            let expected = (below[i + 1] - below[i]) / inside;
            assert!((share - expected).abs() < 1e-6, "{i}: {share} {expected}");
        }
        // At the edge half of the distribution is cut off and the rest counts for all.
        let edge = histogram(1.0, 51, 0.75);
        assert!((edge.iter().sum::<f64>() - 1.0).abs() < 1e-12);
        assert!(edge.windows(2).all(|pair| pair[0] <= pair[1]));
        let mirrored = histogram(-1.0, 51, 0.75);
        assert!((edge[50] - mirrored[0]).abs() < 1e-12);
    }
}
