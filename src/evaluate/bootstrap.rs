//! The percentile bootstrap over questions, and over the seeds that answered them (Efron and Tibshirani
//! 1993, chapter 13).
//!
//! All seeds answer the same questions, so that a resample draws questions once and every seed in it answers
//! those (the pigeonhole bootstrap, Owen 2007). Questions drawn anew for each seed would pass the luck of
//! the questions off as averaged out over seeds, and give intervals that are too narrow.

use super::statistics::Interval;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Resamples behind an interval.
pub const RESAMPLES: usize = 10_000;

/// Seeds the resamples; the same for all, so that figures of the same questions share their resamples.
const SEED: u64 = 0;

/// A figure with the 95% interval of its resamples.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Estimate {
    pub mean: f64,
    #[serde(flatten)]
    pub interval: Interval,
}

/// Calls `take` for each of `resamples` with how often it holds each seed, and each question.
pub fn each_resample(
    seeds: usize,
    questions: usize,
    resamples: usize,
    mut take: impl FnMut(&[u32], &[u32]),
) {
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    let (mut of_seeds, mut of_questions) = (vec![0; seeds], vec![0; questions]);
    for _ in 0..resamples {
        for counts in [&mut of_seeds, &mut of_questions] {
            counts.fill(0);
            let count = counts.len();
            for _ in 0..count {
                counts[rng.random_range(0..count)] += 1;
            }
        }
        take(&of_seeds, &of_questions);
    }
}

/// The means of several methods in each resample: `right[method][seed][question]`, all of one shape.
pub fn resampled_means(right: &[Vec<Vec<bool>>], resamples: usize) -> Vec<Vec<f64>> {
    let Some(first) = right.first() else {
        return Vec::new();
    };
    let (seeds, questions) = (first.len(), first.first().map_or(0, Vec::len));
    let marks: Vec<Vec<Vec<u32>>> = right
        .iter()
        .map(|method| {
            let numbers = |seed: &Vec<bool>| seed.iter().map(|&right| u32::from(right)).collect();
            method.iter().map(numbers).collect()
        })
        .collect();
    let mut means = vec![Vec::with_capacity(resamples); right.len()];
    each_resample(seeds, questions, resamples, |of_seeds, of_questions| {
        for (method, means) in marks.iter().zip(&mut means) {
            let mut right = 0;
            for (seed, &times) in method.iter().zip(of_seeds) {
                if times > 0 {
                    let hits = seed
                        .iter()
                        .zip(of_questions)
                        .map(|(mark, times)| mark * times);
                    right += times * hits.sum::<u32>();
                }
            }
            means.push(f64::from(right) / (seeds * questions).max(1) as f64);
        }
    });
    means
}

/// The 2.5th and the 97.5th percentile, interpolated between neighbours as NumPy does; those that are no
/// numbers are left out. Without numbers: not-a-numbers.
pub fn percentiles(mut values: Vec<f64>) -> Interval {
    values.retain(|value| !value.is_nan());
    values.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let Some(last) = values.len().checked_sub(1) else {
            return f64::NAN;
        };
        let place = share * last as f64;
        let below = place.floor() as usize;
        let above = (below + 1).min(last);
        values[below] + (place - below as f64) * (values[above] - values[below])
    };
    Interval {
        low: at(0.025),
        high: at(0.975),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `numpy.percentile(x, [2.5, 97.5])`.
    #[test]
    fn percentiles_are_those_of_numpy() {
        let found = percentiles(vec![3.0, 1.0, 4.0, f64::NAN, 1.0, 5.0]);
        assert!((found.low - 1.0).abs() < 1e-12 && (found.high - 4.9).abs() < 1e-12);
        assert!(percentiles(Vec::new()).low.is_nan());
    }

    fn marks(rows: &[&str]) -> Vec<Vec<bool>> {
        let row = |row: &&str| row.chars().map(|c| c == '1').collect();
        rows.iter().map(row).collect()
    }

    /// All 2^2 draws of seeds by all 4^4 draws of questions.
    fn every_resample(right: &[Vec<bool>]) -> Vec<f64> {
        let mut all = Vec::new();
        for seeds in 0..4usize {
            for draw in 0..256usize {
                let of = |s: usize| (0..4).filter(|q| right[s][draw >> (2 * q) & 3]).count();
                let total = of(seeds & 1) + of(seeds >> 1);
                all.push(total as f64 / 8.0);
            }
        }
        all
    }

    #[test]
    fn resamples_are_distributed_as_all_of_them() {
        let right = marks(&["1101", "0100"]);
        let found = resampled_means(std::slice::from_ref(&right), 40_000).remove(0);
        let all = every_resample(&right);
        for k in 0..=8 {
            let share = |of: &[f64]| {
                let hits = of.iter().filter(|&&x| x == f64::from(k) / 8.0).count();
                hits as f64 / of.len() as f64
            };
            assert!((share(&found) - share(&all)).abs() < 0.01, "{k} of 8");
        }
        let (a, b) = (percentiles(found), percentiles(all));
        assert_eq!((a.low, a.high), (b.low, b.high));
    }

    #[test]
    fn one_seed_gives_the_quantiles_of_a_binomial() {
        let right = vec![(0..200).map(|q| q % 5 < 2).collect()];
        let found = percentiles(resampled_means(&[right], RESAMPLES).remove(0));
        // scipy.stats.binom.ppf([.025, .975], 200, .4) / 200.
        assert!(
            (found.low - 0.335).abs() < 0.006 && (found.high - 0.47).abs() < 0.006,
            "{found:?}"
        );
    }

    /// Three seeds that answer alike leave the luck of the questions as it was; the bootstrap that draws
    /// questions anew for each seed would shrink it by the square root of three.
    #[test]
    fn seeds_that_answer_alike_do_not_narrow_the_interval() {
        let one: Vec<bool> = (0..120).map(|q| q % 3 == 0).collect();
        let width = |right: Vec<Vec<bool>>| {
            let found = percentiles(resampled_means(&[right], RESAMPLES).remove(0));
            found.high - found.low
        };
        let (alone, thrice) = (width(vec![one.clone()]), width(vec![one; 3]));
        assert!((thrice / alone - 1.0).abs() < 0.08, "{alone} {thrice}");
    }

    #[test]
    fn seeds_that_differ_widen_the_interval() {
        let seed = |every: usize| -> Vec<bool> { (0..400).map(|q| q % 12 < every).collect() };
        let found =
            percentiles(resampled_means(&[vec![seed(3), seed(6), seed(9)]], RESAMPLES).remove(0));
        // Three draws of .25, .5 and .75: all of one kind happens once in 27, more than 2.5%.
        assert!(found.low < 0.3 && found.high > 0.7, "{found:?}");
    }

    #[test]
    fn the_same_resamples_serve_all_methods() {
        let right = marks(&["1101", "0100"]);
        let means = resampled_means(&[right.clone(), right], 50);
        assert_eq!(means[0], means[1]);
        assert!(resampled_means(&[], 50).is_empty());
    }
}
