//! What the statistics allow to be said of each method of a frontier, beside votes at the same tokens.

use super::bootstrap::{RESAMPLES, percentiles, resampled_means};
use super::frontier::Frontier;
use super::paired::Paired;
use super::statistics::holm;
use serde::Serialize;

/// A method against majority vote with at least as many tokens.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Indices in [`Frontier::points`].
    pub point: usize,
    pub control: usize,
    /// Corrected for all verdicts by Holm's method.
    #[serde(flatten)]
    pub paired: Paired,
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
                found.push(Verdict {
                    point: index,
                    control,
                    paired: Paired::of(
                        [&right[place], &right[other]],
                        [&means[place], &means[other]],
                    ),
                    text: String::new(),
                });
            }
        }
        let p: Vec<f64> = found.iter().map(|verdict| verdict.paired.p).collect();
        for (verdict, p) in found.iter_mut().zip(holm(&p)) {
            verdict.paired.p = p;
            verdict.text = self.sentence(verdict);
        }
        self.verdicts = found;
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
        let percent = |x: f64| format!("{:.1}", 100.0 * x);
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
            "{} {} at {:.0} tokens ({}%{of_seeds}): {} {control} ({}% at {:.0}) {tokens}{}, {}",
            own.source,
            own.method,
            own.report.forward_tokens,
            percent(own.report.accuracy),
            verdict.paired.words(),
            percent(vote.report.accuracy),
            vote.report.forward_tokens,
            verdict.paired.limits(seeds),
            verdict.paired.figures(),
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
        assert_eq!((verdict.paired.gains, verdict.paired.losses), (60, 0));
        assert!((verdict.paired.difference.mean - 20.0 / 60.0).abs() < 1e-12);
        // Twenty questions won by all seeds: 2 / 2^20, as with one seed.
        assert!((verdict.paired.p - 2f64.powi(-19)).abs() < 1e-15);
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
            verdict.paired.p < 1e-6 && verdict.paired.difference.interval.low <= 0.0,
            "{verdict:?}"
        );
        let text = &verdict.text;
        assert!(
            text.contains("with these checkpoints, which does not show"),
            "{text}"
        );
    }
}
