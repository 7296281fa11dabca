//! A distribution in equally wide buckets.

/// Buckets of a histogram whose values are not all equal; TensorBoard's default.
const BUCKETS: usize = 30;

/// The moments of a set of finite numbers and their counts in equally wide buckets.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    /// Smallest value.
    pub min: f64,
    /// Largest value.
    pub max: f64,
    /// Number of values.
    pub count: u64,
    /// Sum of the values.
    pub sum: f64,
    /// Sum of the squares of the values.
    pub sum_squares: f64,
    /// Right edge of each bucket, ascending; the last is `max`.
    pub limits: Vec<f64>,
    /// Number of values in each bucket: as many as `limits`, adding up to `count`.
    pub counts: Vec<u64>,
}

impl Histogram {
    /// Summarises the finite ones of `values`; `None` if there are none. Infinite
    /// values and NaN have no bucket and are left out.
    pub fn of(values: &[f64]) -> Option<Self> {
        let finite = || values.iter().copied().filter(|v| v.is_finite());
        let min = finite().reduce(f64::min)?;
        let max = finite().reduce(f64::max)?;
        // Halved before subtracting: the width of the whole f64 range overflows.
        let half_width = max / 2.0 - min / 2.0;
        let buckets = if half_width > 0.0 { BUCKETS } else { 1 };
        let mut counts = vec![0; buckets];
        for value in finite() {
            let share = if buckets == 1 {
                0.0
            } else {
                (value / 2.0 - min / 2.0) / half_width
            };
            counts[((share * buckets as f64) as usize).min(buckets - 1)] += 1;
        }
        let mut limits: Vec<f64> = (1..=buckets)
            .map(|i| i as f64 / buckets as f64)
            .map(|share| min * (1.0 - share) + max * share)
            .collect();
        limits[buckets - 1] = max;
        Some(Self {
            min,
            max,
            count: finite().count() as u64,
            sum: finite().sum(),
            sum_squares: finite().map(|v| v * v).sum(),
            limits,
            counts,
        })
    }

    /// Arithmetic mean.
    pub fn mean(&self) -> f64 {
        self.sum / self.count as f64
    }

    /// Standard deviation of the values themselves (divisor `count`).
    pub fn std(&self) -> f64 {
        (self.sum_squares / self.count as f64 - self.mean().powi(2))
            .max(0.0)
            .sqrt()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finite_value_has_one_bucket() {
        let values: Vec<f64> = (0..=60).map(f64::from).chain([f64::NAN]).collect();
        let histogram = Histogram::of(&values).unwrap();
        assert_eq!(histogram.count, 61);
        assert_eq!(histogram.counts.iter().sum::<u64>(), 61);
        assert_eq!(histogram.counts.len(), BUCKETS);
        assert_eq!(histogram.counts[0], 2);
        assert_eq!(histogram.counts[BUCKETS - 1], 3, "the maximum is inside");
        assert!((histogram.limits[0] - 2.0).abs() < 1e-12);
        assert_eq!(histogram.limits[BUCKETS - 1], 60.0);
        assert_eq!((histogram.min, histogram.max), (0.0, 60.0));
        assert_eq!(histogram.mean(), 30.0);
        assert!((histogram.std() - 17.606_816_8).abs() < 1e-6);
    }

    #[test]
    fn equal_values_fill_one_bucket() {
        let histogram = Histogram::of(&[0.1; 3]).unwrap();
        assert_eq!(histogram.counts, [3]);
        assert_eq!(histogram.limits, [0.1]);
        assert!(histogram.std() < 1e-8);
    }

    #[test]
    fn nothing_finite_is_no_histogram() {
        assert_eq!(Histogram::of(&[f64::NAN, f64::INFINITY]), None);
        assert_eq!(Histogram::of(&[]), None);
    }

    #[test]
    fn the_widest_range_does_not_overflow() {
        let histogram = Histogram::of(&[f64::MIN, 0.0, f64::MAX]).unwrap();
        assert_eq!(histogram.counts.iter().sum::<u64>(), 3);
        assert!(histogram.limits.iter().all(|l| l.is_finite()));
    }
}
