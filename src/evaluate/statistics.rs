//! Intervals and paired tests for accuracies, mean and spread over seeds.

use serde::{Deserialize, Serialize};

/// The 0.975 quantile of the standard normal distribution.
const Z95: f64 = 1.959_963_984_540_054;

/// A two-sided confidence interval of a proportion, both ends in [0, 1].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Interval {
    /// Wilson's score interval at 95% for `correct` successes in `total` trials
    /// (Wilson 1927). The ends are exact where they are known: `low` is 0 when
    /// nothing was correct, `high` is 1 when everything was. No trials: [0, 1].
    pub fn wilson(correct: u64, total: u64) -> Self {
        debug_assert!(correct <= total, "{correct} correct of {total}");
        if total == 0 {
            return Self {
                low: 0.0,
                high: 1.0,
            };
        }
        let n = total as f64;
        let p = correct as f64 / n;
        let z2 = Z95 * Z95;
        let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
        Self {
            low: if correct == 0 {
                0.0
            } else {
                (centre - half).max(0.0)
            },
            high: if correct == total {
                1.0
            } else {
                (centre + half).min(1.0)
            },
        }
    }
}

/// McNemar's exact test of two methods on the same questions.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct McNemar {
    /// Questions that only the first method answers correctly.
    pub b: u64,
    /// Questions that only the second method answers correctly.
    pub c: u64,
    /// Two-sided p-value: how often a fair coin splits `b + c` at least this
    /// unevenly. 1 when there is no discordant question.
    pub p: f64,
}

impl McNemar {
    /// Tests paired outcomes: (first correct, second correct), one a question.
    pub fn of(pairs: impl IntoIterator<Item = (bool, bool)>) -> Self {
        let (mut b, mut c) = (0, 0);
        for pair in pairs {
            match pair {
                (true, false) => b += 1,
                (false, true) => c += 1,
                _ => {}
            }
        }
        Self::from_counts(b, c)
    }

    /// Tests the two discordant counts.
    pub fn from_counts(b: u64, c: u64) -> Self {
        let p = (2.0 * fair_tail(b.min(c), b + c)).min(1.0);
        Self { b, c, p }
    }
}

/// P(X <= k) for X binomial(n, 1/2), with 2k <= n. The largest term is formed
/// from logarithms, the others from ratios of at most 1, so that neither
/// overflows nor loses digits for large n.
fn fair_tail(k: u64, n: u64) -> f64 {
    let log_choose: f64 = (1..=k).map(|i| ((n - k + i) as f64 / i as f64).ln()).sum();
    let largest = (log_choose - n as f64 * std::f64::consts::LN_2).exp();
    let (mut sum, mut ratio) = (1.0, 1.0);
    for i in (1..=k).rev() {
        ratio *= i as f64 / (n - i + 1) as f64;
        sum += ratio;
        if ratio < sum * f64::EPSILON {
            break;
        }
    }
    largest * sum
}

/// The exact two-sided p-value of the paired randomisation test (Fisher 1935, section 21; Pitman 1937):
/// how often a sum at least as far from 0 as that of `differences` comes out where the sign of each is a
/// fair coin's. 1 where all are 0.
///
/// A difference belongs to a question: answers that one method gets right and the other does not, less the
/// opposite, over all seeds. Seeds that answer one question are not independent, so the question is what is
/// flipped; this is McNemar's test for clustered pairs (Obuchowski 1998) in its exact form, and with one
/// seed [`McNemar`]'s.
pub fn sign_flip(differences: &[i64]) -> f64 {
    let most: usize = differences.iter().map(|d| d.unsigned_abs() as usize).sum();
    let observed = differences.iter().sum::<i64>().unsigned_abs() as usize;
    // chance[f]: that the flipped ones sum to f, where the sum is `most - 2 f`.
    let mut chance = vec![0.0; most + 1];
    chance[0] = 1.0;
    let mut reach = 0;
    for size in differences.iter().map(|d| d.unsigned_abs() as usize) {
        if size == 0 {
            continue;
        }
        reach += size;
        for flipped in (0..=reach).rev() {
            let before = flipped.checked_sub(size).map_or(0.0, |at| chance[at]);
            chance[flipped] = 0.5 * (chance[flipped] + before);
        }
    }
    // The distribution is symmetric: twice the tail up to the observed one.
    let tail: f64 = chance[..=(most - observed) / 2].iter().sum();
    if observed == 0 {
        1.0
    } else {
        (2.0 * tail).min(1.0)
    }
}

/// P-values corrected for testing all of them, by Holm's step-down method (Holm 1979), in their order.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.0; p.len()];
    let mut least = 0.0f64;
    for (rank, &index) in order.iter().enumerate() {
        least = least.max(p[index] * (p.len() - rank) as f64).min(1.0);
        corrected[index] = least;
    }
    corrected
}

/// Arithmetic mean; `None` for no values.
pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Sample standard deviation (divisor n - 1); `None` for fewer than two values.
pub fn sd(values: &[f64]) -> Option<f64> {
    if values.len() < 2 {
        return None;
    }
    let m = mean(values)?;
    let squares: f64 = values.iter().map(|v| (v - m) * (v - m)).sum();
    Some((squares / (values.len() - 1) as f64).sqrt())
}

/// Quantiles at 0.975 of Student's distribution with 1, 2, ... degrees of freedom.
const T975: [f64; 30] = [
    12.706_205, 4.302_653, 3.182_446, 2.776_445, 2.570_582, 2.446_912, 2.364_624, 2.306_004,
    2.262_157, 2.228_139, 2.200_985, 2.178_813, 2.160_369, 2.144_787, 2.131_450, 2.119_905,
    2.109_816, 2.100_922, 2.093_024, 2.085_963, 2.079_614, 2.073_873, 2.068_658, 2.063_899,
    2.059_539, 2.055_529, 2.051_831, 2.048_407, 2.045_230, 2.042_272,
];

/// Student's interval at 95% for the mean that `values` are drawn around, seeds of one setting for example;
/// `None` for fewer than two. Above 31 values the normal distribution stands for Student's.
pub fn student(values: &[f64]) -> Option<Interval> {
    let (mean, sd) = (mean(values)?, sd(values)?);
    let quantile = T975.get(values.len() - 2).copied().unwrap_or(Z95);
    let half = quantile * sd / (values.len() as f64).sqrt();
    Some(Interval {
        low: mean - half,
        high: mean + half,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// statsmodels 0.14, `multipletests(p, method="holm")`.
    #[test]
    fn holm_is_that_of_statsmodels() {
        let corrected = holm(&[0.01, 0.04, 0.03, 0.005, 0.6]);
        let expected = [0.04, 0.09, 0.09, 0.025, 0.6];
        for (a, b) in corrected.iter().zip(expected) {
            assert!((a - b).abs() < 1e-12, "{a} instead of {b}");
        }
        assert_eq!(holm(&[0.7, 0.9]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    /// statsmodels 0.14, `proportion_confint(k, n, method="wilson")`.
    #[test]
    fn wilson_matches_statsmodels() {
        for (k, n, low, high) in [
            (0, 10, 0.0, 0.277_532_799_862_889_26),
            (10, 10, 0.722_467_200_137_110_6, 1.0),
            (0, 1, 0.0, 0.793_450_685_622_762_7),
            (1, 1, 0.206_549_314_377_237_4, 1.0),
            (5, 10, 0.236_593_090_512_563_94, 0.763_406_909_487_436_1),
            // Newcombe (1998), table I, method 3: .2553 to .3662, .0624 to .1605, .0061 to .1718.
            (81, 263, 0.255_288_519_878_274_2, 0.366_209_576_982_800_04),
            (15, 148, 0.062_386_399_530_736_28, 0.160_487_241_723_308_03),
            (1, 29, 0.006_113_214_292_762_667, 0.171_755_218_793_203_3),
            (292, 500, 0.540_316_577_595_605_6, 0.626_402_533_206_853_7),
            (437, 1319, 0.306_432_342_473_02, 0.357_170_580_588_738_7),
        ] {
            let found = Interval::wilson(k, n);
            assert!((found.low - low).abs() < 1e-12, "{k}/{n}: {found:?}");
            assert!((found.high - high).abs() < 1e-12, "{k}/{n}: {found:?}");
        }
    }

    #[test]
    fn wilson_is_exact_at_the_ends_and_symmetric() {
        for n in 1..2000 {
            assert_eq!(Interval::wilson(0, n).low, 0.0);
            assert_eq!(Interval::wilson(n, n).high, 1.0);
            let (a, b) = (Interval::wilson(n / 3, n), Interval::wilson(n - n / 3, n));
            assert!((a.low - (1.0 - b.high)).abs() < 1e-12);
            assert!(a.low <= (n / 3) as f64 / n as f64 && (n / 3) as f64 / n as f64 <= a.high);
        }
        assert_eq!(
            Interval::wilson(0, 0),
            Interval {
                low: 0.0,
                high: 1.0
            }
        );
    }

    /// scipy 1.x, `binomtest(min(b, c), b + c).pvalue`; statsmodels'
    /// `mcnemar(exact=True)` gives the same.
    #[test]
    fn mcnemar_matches_scipy() {
        for (b, c, p) in [
            (0, 0, 1.0),
            (5, 5, 1.0),
            (4, 3, 1.0),
            (0, 6, 0.031_25),
            (10, 2, 0.038_574_218_75),
            (59, 121, 4.434_449_263_764_755e-6),
            (86, 150, 3.715_936_139_571_386_6e-5),
            (40, 12, 1.275_387_838_557_407e-4),
            (1000, 1100, 0.030_720_707_864_242_49),
            (5000, 4800, 0.044_404_148_799_846_31),
        ] {
            for (b, c) in [(b, c), (c, b)] {
                let found = McNemar::from_counts(b, c);
                assert_eq!((found.b, found.c), (b, c));
                assert!((found.p / p - 1.0).abs() < 1e-8, "{b}, {c}: {found:?}");
            }
        }
        assert!(McNemar::from_counts(0, 2000).p < 1e-300);
    }

    #[test]
    fn mcnemar_counts_discordant_pairs_only() {
        let pairs = [
            (true, true),
            (true, false),
            (false, true),
            (false, true),
            (false, false),
        ];
        assert_eq!(McNemar::of(pairs), McNemar { b: 1, c: 2, p: 1.0 });
    }

    /// scipy 1.17, `t.interval(.95, n - 1, mean, sem)`.
    #[test]
    fn student_matches_scipy() {
        for (values, low, high) in [
            (vec![0.532, 0.551, 0.498], 0.460_297_317_4, 0.593_702_682_6),
            (vec![1.0, 2.0], -4.853_102_368_1, 7.853_102_368_1),
        ] {
            let found = student(&values).unwrap();
            assert!((found.low - low).abs() < 1e-6, "{found:?}");
            assert!((found.high - high).abs() < 1e-6, "{found:?}");
        }
        assert_eq!(student(&[1.0]), None);
    }

    /// Every way to flip the signs.
    fn all_flips(differences: &[i64]) -> f64 {
        let observed = differences.iter().sum::<i64>().abs();
        let flips = 1u32 << differences.len();
        let as_far = (0..flips).filter(|mask| {
            let flipped = differences
                .iter()
                .enumerate()
                .map(|(i, d)| match mask >> i & 1 {
                    1 => -d,
                    _ => *d,
                });
            flipped.sum::<i64>().abs() >= observed
        });
        as_far.count() as f64 / f64::from(flips)
    }

    #[test]
    fn sign_flips_are_those_of_brute_force() {
        for differences in [
            vec![],
            vec![0, 0],
            vec![1],
            vec![3, -1, 2, 0, 2, 3],
            vec![-3, -3, -2, -1, -1, 0, 1, 2, 3],
            vec![3; 12],
            vec![2, 2, -1, 3, 3, 1, -2, 1, 3, 2, 1, 1, -3, 2],
        ] {
            let (found, expected) = (sign_flip(&differences), all_flips(&differences));
            assert!(
                (found - expected).abs() < 1e-12,
                "{differences:?}: {found} {expected}"
            );
        }
    }

    #[test]
    fn with_one_seed_sign_flips_are_mcnemar() {
        for (b, c) in [(0, 0), (5, 5), (0, 6), (10, 2), (59, 121), (437, 320)] {
            let mut differences = vec![1; b];
            differences.extend(vec![-1; c]);
            differences.extend(vec![0; 7]);
            let test = McNemar::from_counts(b as u64, c as u64);
            let found = sign_flip(&differences);
            assert!(
                (found / test.p - 1.0).abs() < 1e-9,
                "{b}, {c}: {found} {test:?}"
            );
        }
        assert!(sign_flip(&[3; 1400]) < 1e-300);
    }

    /// Three seeds that answer alike say no more than one of them.
    #[test]
    fn seeds_that_answer_alike_are_no_evidence() {
        let one: Vec<i64> = vec![1, 1, 1, -1, 1, 1, 0, 1];
        let three: Vec<i64> = one.iter().map(|d| 3 * d).collect();
        assert_eq!(sign_flip(&one), sign_flip(&three));
    }

    #[test]
    fn mean_and_sd_match_numpy() {
        let x = [0.532, 0.551, 0.498];
        assert!((mean(&x).unwrap() - 0.527).abs() < 1e-12);
        assert!((sd(&x).unwrap() - 0.026_851_443_164_195_13).abs() < 1e-12);
        assert_eq!((mean(&[]), sd(&[]), sd(&[1.0])), (None, None, None));
        assert_eq!(mean(&[1.0]), Some(1.0));
    }
}
