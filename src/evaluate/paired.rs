//! Two methods on the same questions, each with one checkpoint or several.

use super::bootstrap::Estimate;
use super::statistics::sign_flip;
use serde::Serialize;

/// Chance of one false verdict or more in a whole comparison.
const LEVEL: f64 = 0.05;

/// One method against another.
#[derive(Debug, Clone, Serialize)]
pub struct Paired {
    /// Answers, over all checkpoints, that only the first, or only the second, has right.
    pub gains: u64,
    pub losses: u64,
    /// Accuracy of the first less that of the second, with its 95% interval by a bootstrap over
    /// checkpoints and questions in pairs.
    pub difference: Estimate,
    /// Of the exact paired randomisation test over questions ([`sign_flip`]; McNemar's with one
    /// checkpoint); whoever makes several comparisons corrects it by Holm's method.
    pub p: f64,
}

impl Paired {
    /// Of `[checkpoint][question]`, right or not, both of one shape, and the means of both in the same
    /// resamples.
    pub(super) fn of(
        [own, other]: [&[Vec<bool>]; 2],
        [own_means, other_means]: [&[f64]; 2],
    ) -> Paired {
        let questions = own.first().map_or(0, Vec::len);
        let (mut gains, mut losses) = (0, 0);
        let mut differences = vec![0; questions];
        for (a, b) in own.iter().zip(other) {
            for ((a, b), difference) in a.iter().zip(b).zip(&mut differences) {
                gains += u64::from(*a && !b);
                losses += u64::from(*b && !a);
                *difference += i64::from(*a) - i64::from(*b);
            }
        }
        let all = (own.len() * questions).max(1) as f64;
        let resampled = own_means.iter().zip(other_means).map(|(a, b)| a - b);
        Paired {
            gains,
            losses,
            difference: Estimate {
                mean: (gains as f64 - losses as f64) / all,
                interval: super::bootstrap::percentiles(resampled.collect()),
            },
            p: sign_flip(&differences),
        }
    }

    /// What the statistics allow to be said: "better than", "worse than" or "no better than".
    pub(super) fn words(&self) -> &'static str {
        match (self.p < LEVEL, self.difference.mean > 0.0) {
            (true, true) => "better than",
            (true, false) => "worse than",
            (false, _) => "no better than",
        }
    }

    /// What has to be added where the test, which is of `seeds` checkpoints, says more than the interval,
    /// which is of others too.
    pub(super) fn limits(&self, seeds: usize) -> &'static str {
        let interval = self.difference.interval;
        let level = interval.low <= 0.0 && interval.high >= 0.0;
        match seeds > 1 && self.p < LEVEL && level {
            true => " with these checkpoints, which does not show that others would be",
            false => "",
        }
    }

    /// The difference in points with its interval, and p.
    pub(super) fn figures(&self) -> String {
        let Estimate { mean, interval } = self.difference;
        let signed = |x: f64| format!("{:+.1}", 100.0 * x);
        let p = match self.p < 0.001 {
            true => "p < .001".to_string(),
            false => format!("p = {:.3}", self.p).replace("0.", "."),
        };
        format!(
            "{} points (95% interval {} to {}), {p}",
            signed(mean),
            signed(interval.low),
            signed(interval.high),
        )
    }
}
