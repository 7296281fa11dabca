//! What the statistics allow to be said of each method of a frontier, beside votes at the same tokens.

use super::bootstrap::{Estimate, RESAMPLES, percentiles, resampled_means};
use super::frontier::Frontier;
use super::statistics::{holm, sign_flip};
use serde::Serialize;

/// Chance of one false verdict or more in a whole comparison.
const LEVEL: f64 = 0.05;

/// A method against majority vote with at least as many tokens.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Indices in [`Frontier::points`].
    pub point: usize,
    pub control: usize,
    /// Answers, over all checkpoints, that only this method, or only the vote, has right.
    pub gains: u64,
    pub losses: u64,
    /// Accuracy less that of the vote, with its 95% interval by a bootstrap over checkpoints and questions
    /// in pairs.
    pub difference: Estimate,
    /// Of the exact paired randomisation test over questions ([`sign_flip`]; McNemar's with one
    /// checkpoint), corrected for all verdicts by Holm's method.
    pub p: f64,
    /// In words.
    pub text: String,
}

impl Frontier {
    /// Gives each method its verdict, and points of several checkpoints their intervals.
    pub fn judge(&mut self) {
        let mut found: Vec<Verdict> = Vec::new();
        let mut sources: Vec<String> = self.points.iter().map(|p| p.source.clone()).collect();
        sources.dedup();
        for source in sources {
            let own = |i: &usize| self.points[*i].source == source;
            let points: Vec<usize> = (0..self.points.len()).filter(own).collect();
            let right: Vec<_> = points.iter().map(|&i| self.right[i].clone()).collect();
            let means = resampled_means(&right, RESAMPLES);
            for (&index, means) in points.iter().zip(&means) {
                if self.right[index].len() > 1 {
                    let interval = percentiles(means.clone());
                    self.points[index].report.low = interval.low;
                    self.points[index].report.high = interval.high;
                }
            }
            for (place, &index) in points.iter().enumerate() {
                let Some(control) = self.control(index) else {
                    continue;
                };
                let Some(other) = points.iter().position(|&i| i == control) else {
                    continue;
                };
                let pairs = means[place].iter().zip(&means[other]);
                let resampled = pairs.map(|(a, b)| a - b).collect();
                found.push(self.pair(index, control, resampled));
            }
        }
        let p: Vec<f64> = found.iter().map(|verdict| verdict.p).collect();
        for (verdict, p) in found.iter_mut().zip(holm(&p)) {
            verdict.p = p;
            verdict.text = self.sentence(verdict);
        }
        self.verdicts = found;
    }

    /// The comparison of two points, its p-value not corrected yet.
    fn pair(&self, point: usize, control: usize, resampled: Vec<f64>) -> Verdict {
        let (own, other) = (&self.right[point], &self.right[control]);
        let (mut gains, mut losses) = (0, 0);
        let mut differences = vec![0; self.questions];
        for (a, b) in own.iter().zip(other) {
            for ((a, b), difference) in a.iter().zip(b).zip(&mut differences) {
                gains += u64::from(*a && !b);
                losses += u64::from(*b && !a);
                *difference += i64::from(*a) - i64::from(*b);
            }
        }
        let accuracy = |index: usize| self.points[index].report.accuracy;
        Verdict {
            point,
            control,
            gains,
            losses,
            difference: Estimate {
                mean: accuracy(point) - accuracy(control),
                interval: percentiles(resampled),
            },
            p: sign_flip(&differences),
            text: String::new(),
        }
    }

    /// The vote, greedy being the vote of one, of the same source with the fewest tokens that are at
    /// least those of `point`; the largest where all are smaller. None for votes themselves.
    fn control(&self, point: usize) -> Option<usize> {
        let is_vote = |i: usize| matches!(self.points[i].method.as_str(), "vote" | "greedy");
        if is_vote(point) {
            return None;
        }
        let source = &self.points[point].source;
        let tokens = |&i: &usize| self.points[i].report.forward_tokens;
        let votes =
            || (0..self.points.len()).filter(|&i| is_vote(i) && self.points[i].source == *source);
        let by_tokens = |a: &usize, b: &usize| tokens(a).total_cmp(&tokens(b));
        let enough = votes().filter(|i| tokens(i) >= tokens(&point));
        enough
            .min_by(by_tokens)
            .or_else(|| votes().max_by(by_tokens))
    }

    /// What may be said of a point beside its control.
    fn sentence(&self, verdict: &Verdict) -> String {
        let (own, vote) = (&self.points[verdict.point], &self.points[verdict.control]);
        let control = match vote.method.as_str() {
            "greedy" => "greedy decoding".to_string(),
            _ => format!("a vote of {}", vote.budget),
        };
        let seeds = self.right[verdict.point].len();
        let Estimate { mean, interval } = verdict.difference;
        let significant = verdict.p < LEVEL;
        let words = match (significant, mean > 0.0) {
            (true, true) => "better than",
            (true, false) => "worse than",
            (false, _) => "no better than",
        };
        // The test is of these checkpoints; whether others would do as well only the interval says.
        let elsewhere = seeds > 1 && significant && interval.low <= 0.0 && interval.high >= 0.0;
        let limits = match elsewhere {
            true => " with these checkpoints, which does not show that others would be",
            false => "",
        };
        let p = match verdict.p < 0.001 {
            true => "p < .001".to_string(),
            false => format!("p = {:.3}", verdict.p).replace("0.", "."),
        };
        let percent = |x: f64| format!("{:.1}", 100.0 * x);
        let signed = |x: f64| format!("{:+.1}", 100.0 * x);
        let fewer = own.report.forward_tokens <= vote.report.forward_tokens;
        let tokens = match fewer {
            true => "at no more tokens",
            false => "though with more tokens",
        };
        let of_seeds = match seeds {
            1 => String::new(),
            _ => format!(", mean of {seeds} checkpoints"),
        };
        format!(
            "{} {} at {:.0} tokens ({}%{of_seeds}): {words} {control} ({}% at {:.0}) {tokens}{limits}, {} \
             points (95% interval {} to {}), {p}",
            own.source,
            own.method,
            own.report.forward_tokens,
            percent(own.report.accuracy),
            percent(vote.report.accuracy),
            vote.report.forward_tokens,
            signed(mean),
            signed(interval.low),
            signed(interval.high),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::frontier::tests::frontier;
    use super::super::statistics::Interval;
    use super::*;

    /// 60 questions that begin with these marks; the rest are wrong.
    fn marks(right: &str) -> String {
        format!("{right:0<60}")
    }

    fn pooled(searched: [&str; 3]) -> Frontier {
        let seeds = searched.iter().map(|right| {
            let (search, vote) = (marks(right), marks("1111"));
            let points = [
                ("greedy", 1, 10, vote.as_str()),
                ("vote", 4, 50, vote.as_str()),
                ("vote", 8, 90, vote.as_str()),
                ("searched", 4, 48, search.as_str()),
            ];
            ("seed".to_string(), frontier("x", &points))
        });
        let mut all = Frontier::pool("all", seeds.collect()).unwrap();
        all.judge();
        all
    }

    #[test]
    fn a_method_is_judged_by_the_cheapest_vote_that_has_its_tokens() {
        let won = "1".repeat(24);
        let all = pooled([&won, &won, &won]);
        let [verdict] = &all.verdicts[..] else {
            panic!("{:?}", all.verdicts);
        };
        assert_eq!((verdict.point, verdict.control), (3, 1));
        assert_eq!((verdict.gains, verdict.losses), (60, 0));
        assert!((verdict.difference.mean - 20.0 / 60.0).abs() < 1e-12);
        // Twenty questions won by all seeds: 2 / 2^20, as with one seed.
        assert!((verdict.p - 2f64.powi(-19)).abs() < 1e-15);
        assert!(
            verdict.text.contains("mean of 3 checkpoints"),
            "{}",
            verdict.text
        );
        assert!(
            verdict.text.contains(": better than a vote of 4"),
            "{}",
            verdict.text
        );
        assert!(verdict.text.ends_with("p < .001"), "{}", verdict.text);
        let searched = &all.points[3].report;
        assert!(searched.low < 0.4 && searched.high > 0.4);
        // Of one checkpoint Wilson's interval stays.
        let alone = frontier(
            "x",
            &[("greedy", 1, 10, "1100"), ("searched", 1, 9, "1110")],
        );
        let mut alone = Frontier::pool("x", vec![("a".into(), alone)]).unwrap();
        alone.judge();
        let wilson = Interval::wilson(3, 4);
        assert_eq!(
            (alone.points[1].report.low, alone.points[1].report.high),
            (wilson.low, wilson.high)
        );
        assert!(alone.points[1].seeds.is_empty());
        let text = &alone.verdicts[0].text;
        assert!(
            text.contains("no better than greedy decoding") && text.ends_with("p = 1.000"),
            "{text}"
        );
    }

    #[test]
    fn one_lucky_checkpoint_is_not_said_to_be_a_method() {
        let (won, level) = ("1".repeat(40), "1111");
        let all = pooled([&won, level, level]);
        let verdict = &all.verdicts[0];
        assert!(
            verdict.p < 1e-6 && verdict.difference.interval.low <= 0.0,
            "{verdict:?}"
        );
        let text = &verdict.text;
        assert!(
            text.contains("with these checkpoints, which does not show"),
            "{text}"
        );
    }
}
