//! Does the value tell right from wrong? Drawn texts of the same question, right ones against wrong ones,
//! ranked by the value at every prefix and, on the same pairs, by what costs nothing: the log-probability
//! of the prefix, its sum and its mean a token.

use super::answers::{Answer, Method};
use super::bootstrap::{Estimate, RESAMPLES, each_resample, percentiles};
use super::pairs::{Tally, Text};
use super::{Entry, Error, Run, SplitName, grade};
use crate::monitor::{Dot, Line, Monitor, Plot, Progress, Scale};
use crate::search::Ledger;
use crate::task::{HeldOut, Problem};
use serde::{Deserialize, Serialize};

/// What ranks a prefix, in the order of [`Place::scores`].
pub const SCORES: [&str; 3] = ["value", "log_prob_sum", "log_prob_mean"];

/// Numbers of tokens at which prefixes are compared, as far as texts go: each one at first, then fewer.
fn depths(longest: usize) -> impl Iterator<Item = usize> {
    let doubling = (2..).flat_map(|power| {
        let from = 1usize << power;
        (0..4).map(move |quarter| from + quarter * (from / 4))
    });
    (0..4)
        .chain(doubling)
        .take_while(move |&depth| depth <= longest)
}

/// How well texts of the same question are ranked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ranking {
    pub split: SplitName,
    /// Questions, texts drawn for each, and how many of all texts are right.
    pub questions: usize,
    pub draws: usize,
    pub right: usize,
    /// Questions with both right and wrong texts: those that have pairs, and that the bootstrap resamples.
    pub mixed: usize,
    /// Forward tokens a question.
    pub forward_tokens: f64,
    /// After 0, 1/8, ... of each text's own tokens; the stop token is not one of them.
    pub by_fraction: Vec<Place>,
    /// After so many tokens, among the texts that have them.
    pub by_depth: Vec<Place>,
}

/// Prefixes of one length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Place {
    /// The fraction, or the number of tokens.
    pub at: f64,
    /// Questions that have pairs, and pairs.
    pub questions: usize,
    pub pairs: u64,
    /// Share of the pairs whose prefixes differ; the others are ties for every score.
    pub apart: f64,
    /// Share of the pairs in which the right text's prefix has the higher value, or log-probability; ties
    /// count half. With 95% intervals over questions.
    pub value: Estimate,
    pub log_prob_sum: Estimate,
    pub log_prob_mean: Estimate,
    /// How much more the value ranks right than the log-probability does, on the same pairs.
    pub value_over_sum: Estimate,
    pub value_over_mean: Estimate,
}

impl Place {
    /// By [`SCORES`].
    pub fn scores(&self) -> [Estimate; 3] {
        [self.value, self.log_prob_sum, self.log_prob_mean]
    }
}

/// Draws texts for `problems` and ranks them.
pub(super) fn rank<S: HeldOut>(
    run: &Run<'_>,
    problems: &[Problem<S>],
    draws: usize,
    bar: &Progress,
) -> Result<Ranking, Error> {
    let entry = Entry {
        names: (0..draws).map(|draw| draw.to_string()).collect(),
        method: Method::Traced {
            count: draws,
            sampling: run.params.sampling.clone(),
            seed: run.setting.seed,
        },
    };
    let results = run.answer(vec![entry], bar)?;
    let mut texts: Vec<Vec<Text>> = problems.iter().map(|_| Vec::new()).collect();
    let mut ledger = Ledger::default();
    for (_, answers, _) in results {
        for ((problem, answer), texts) in problems.iter().zip(answers).zip(&mut texts) {
            ledger += answer.ledger;
            let right = grade(run.setting, problem, &answer).correct;
            let Answer {
                along, completion, ..
            } = answer;
            texts.extend(along.map(|along| Text {
                right,
                tokens: completion.tokens,
                along,
            }));
        }
    }
    Ok(Ranking {
        split: run.params.split,
        draws,
        forward_tokens: ledger.per_question(problems.len() as u64),
        ..of_texts(&texts)
    })
}

/// Ranks `texts`, those of a question together.
fn of_texts(texts: &[Vec<Text>]) -> Ranking {
    let is_mixed = |texts: &&Vec<Text>| {
        texts.iter().any(|text| text.right) && texts.iter().any(|text| !text.right)
    };
    let mixed: Vec<&Vec<Text>> = texts.iter().filter(is_mixed).collect();
    let tallies = |cut: &dyn Fn(&Text) -> Option<usize>| -> Vec<Tally> {
        mixed.iter().map(|texts| Tally::of(texts, cut)).collect()
    };
    let eighths = (0..=8u32).map(|eighth| {
        let fraction = f64::from(eighth) / 8.0;
        let cut = move |text: &Text| Some((fraction * text.length() as f64).round() as usize);
        (fraction, tallies(&cut))
    });
    let longest = mixed
        .iter()
        .flat_map(|texts| texts.iter().map(Text::length))
        .max();
    let lengths = depths(longest.unwrap_or(0)).map(|depth| {
        let cut = move |text: &Text| (text.length() >= depth).then_some(depth);
        (depth as f64, tallies(&cut))
    });
    Ranking {
        split: SplitName::default(),
        questions: texts.len(),
        draws: 0,
        right: texts.iter().flatten().filter(|text| text.right).count(),
        mixed: mixed.len(),
        forward_tokens: 0.0,
        by_fraction: places(eighths.collect()),
        by_depth: places(lengths.collect()),
    }
}

/// The places that have pairs, with intervals over questions; all share their resamples.
fn places(tallies: Vec<(f64, Vec<Tally>)>) -> Vec<Place> {
    let tallies: Vec<(f64, Vec<Tally>)> = tallies
        .into_iter()
        .filter(|(_, tallies)| tallies.iter().any(|tally| tally.pairs > 0.0))
        .collect();
    let questions = tallies.first().map_or(0, |(_, tallies)| tallies.len());
    // Shares by score; a resample of questions without a pair has none.
    let shares = |tallies: &[Tally], times: &[u32]| -> [f64; 3] {
        let mut hits = [0.0; 3];
        let mut pairs = 0.0;
        for (tally, &times) in tallies.iter().zip(times) {
            let times = f64::from(times);
            pairs += times * tally.pairs;
            for (sum, own) in hits.iter_mut().zip(tally.hits) {
                *sum += times * own;
            }
        }
        hits.map(|hits| hits / pairs)
    };
    let mut resampled: Vec<Vec<[f64; 3]>> = vec![Vec::with_capacity(RESAMPLES); tallies.len()];
    each_resample(1, questions, RESAMPLES, |_, times| {
        for ((_, tallies), found) in tallies.iter().zip(&mut resampled) {
            found.push(shares(tallies, times));
        }
    });
    let all = vec![1; questions];
    let mut places = Vec::new();
    for ((at, tallies), resampled) in tallies.iter().zip(&resampled) {
        let found = shares(tallies, &all);
        let estimate = |of: fn(&[f64; 3]) -> f64| Estimate {
            mean: of(&found),
            interval: percentiles(resampled.iter().map(of).collect()),
        };
        let pairs: f64 = tallies.iter().map(|tally| tally.pairs).sum();
        places.push(Place {
            at: *at,
            questions: tallies.iter().filter(|tally| tally.pairs > 0.0).count(),
            pairs: pairs as u64,
            apart: tallies.iter().map(|tally| tally.apart).sum::<f64>() / pairs,
            value: estimate(|s| s[0]),
            log_prob_sum: estimate(|s| s[1]),
            log_prob_mean: estimate(|s| s[2]),
            value_over_sum: estimate(|s| s[0] - s[1]),
            value_over_mean: estimate(|s| s[0] - s[2]),
        });
    }
    places
}

impl Ranking {
    /// Ranking over the fraction of the text, a line for each score.
    pub fn plot(&self) -> Plot {
        Plot {
            title: format!(
                "Right before wrong: {} draws for each of {} questions, {} with both",
                self.draws, self.questions, self.mixed
            ),
            x: "share of the text".into(),
            y: "pairs in the right order".into(),
            scale: Scale::Eighths,
            from: 3,
            lines: lines(&self.by_fraction),
        }
    }

    /// Reports the ranking of whole texts as `eval/ranking_<score>`, and the plot.
    pub(super) fn report(&self, monitor: &Monitor, step: u64) {
        if let Some(end) = self.by_fraction.last() {
            for (name, Estimate { mean, interval }) in SCORES.iter().zip(end.scores()) {
                let tag = |end: &str| format!("eval/ranking_{name}{end}");
                monitor.scalars(
                    &[
                        (&tag(""), mean),
                        (&tag("_low"), interval.low),
                        (&tag("_high"), interval.high),
                    ],
                    step,
                );
            }
        }
        monitor.picture("eval/ranking", step, self.plot().picture());
    }
}

/// A line for each of [`SCORES`].
pub fn lines(places: &[Place]) -> Vec<Line> {
    let dot = |place: &Place, score: usize| {
        let Estimate { mean, interval } = place.scores()[score];
        Dot {
            x: place.at,
            y: mean,
            low: interval.low,
            high: interval.high,
        }
    };
    let line = |(score, name): (usize, &&str)| Line {
        name: (*name).into(),
        dots: places.iter().map(|place| dot(place, score)).collect(),
        band: true,
    };
    SCORES.iter().enumerate().map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::super::answers::Along;
    use super::*;

    fn text(right: bool, tokens: &[u32], values: &[f32], log_probs: &[f32]) -> Text {
        Text {
            right,
            tokens: tokens.to_vec(),
            along: Along {
                values: values.to_vec(),
                log_probs: log_probs.to_vec(),
            },
        }
    }

    /// Two questions with pairs and one without. Stop token 0.
    fn texts() -> Vec<Vec<Text>> {
        vec![
            vec![
                text(true, &[5, 6, 0], &[0.1, 0.4, 0.9], &[-1.0, -0.2, 0.0]),
                // Parts from it after one token; longer.
                text(
                    false,
                    &[5, 7, 8, 0],
                    &[0.1, 0.4, 0.2, 0.3],
                    &[-1.0, -0.1, -0.3, 0.0],
                ),
                text(false, &[9, 6, 0], &[0.1, 0.5, -0.9], &[-3.0, -0.2, 0.0]),
            ],
            vec![
                text(true, &[4, 0], &[0.7, -0.5], &[-2.0, 0.0]),
                text(false, &[3, 0], &[0.7, 0.5], &[-1.0, 0.0]),
            ],
            vec![text(true, &[1, 0], &[0.0, 0.0], &[-1.0, 0.0])],
        ]
    }

    #[test]
    fn hand_made_texts_are_ranked_by_fraction() {
        let found = of_texts(&texts());
        assert_eq!((found.questions, found.mixed, found.right), (3, 2, 3));
        let [start, .., end] = &found.by_fraction[..] else {
            panic!("{found:?}");
        };
        assert_eq!(found.by_fraction.len(), 9);
        // Before the first token all are ties.
        assert_eq!(
            (start.at, start.pairs, start.questions, start.apart),
            (0.0, 3, 2, 0.0)
        );
        assert!(start.scores().iter().all(|score| score.mean == 0.5));
        // Whole texts: .9 above .3 and -.9, -.5 below .5.
        assert_eq!((end.at, end.apart, end.value.mean), (1.0, 1.0, 2.0 / 3.0));
        // Sums -1.2 against -1.4 and -3.2, -2 against -1.
        assert_eq!(end.log_prob_sum.mean, 2.0 / 3.0);
        // Means -.6 against -.467 and -1.6, -2 against -1.
        assert_eq!(end.log_prob_mean.mean, 1.0 / 3.0);
        assert_eq!(end.value_over_sum.mean, 0.0);
        assert!((end.value_over_mean.mean - 1.0 / 3.0).abs() < 1e-12);
        // Halves: one token of two, two (1.5 rounded up) of three, one of two; one token of one (.5 up).
        let half = &found.by_fraction[4];
        // .4 above .2, below .5; -.5 below .5.
        assert_eq!(half.value.mean, 1.0 / 3.0);
        // -1 above -1.1 and -3; -2 below -1.
        assert_eq!(half.log_prob_sum.mean, 2.0 / 3.0);
    }

    #[test]
    fn hand_made_texts_are_ranked_by_depth() {
        let found = of_texts(&texts()).by_depth;
        let at: Vec<f64> = found.iter().map(|place| place.at).collect();
        // No right text has three tokens.
        assert_eq!(at, [0.0, 1.0, 2.0]);
        let one = &found[1];
        // The first pair shares its token: a tie. Then .4 below .5, and -.5 below .5.
        assert_eq!((one.pairs, one.questions), (3, 2));
        assert!((one.apart - 2.0 / 3.0).abs() < 1e-12);
        assert!((one.value.mean - 0.5 / 3.0).abs() < 1e-12);
        assert_eq!(one.log_prob_sum.mean, one.log_prob_mean.mean);
        let two = &found[2];
        assert_eq!((two.pairs, two.questions, two.value.mean), (2, 1, 1.0));
    }

    #[test]
    fn intervals_are_over_questions() {
        let found = of_texts(&texts());
        // The first question has both pairs in order, the second none: draws of two give 0, 2/3 or 1.
        let end = &found.by_fraction[8];
        assert_eq!(
            (end.value.interval.low, end.value.interval.high),
            (0.0, 1.0)
        );
        // A score against itself never differs.
        assert_eq!(
            (
                end.value_over_sum.interval.low,
                end.value_over_sum.interval.high
            ),
            (0.0, 0.0)
        );
    }

    #[test]
    fn without_pairs_there_are_no_places() {
        let found = of_texts(&texts()[2..]);
        assert_eq!(found.mixed, 0);
        assert!(found.by_fraction.is_empty() && found.by_depth.is_empty());
        assert!(found.plot().picture().width > 0);
        let text = serde_json::to_string(&of_texts(&texts())).unwrap();
        assert_eq!(
            serde_json::from_str::<Ranking>(&text).unwrap(),
            of_texts(&texts())
        );
    }

    #[test]
    fn depths_are_dense_at_first() {
        let found: Vec<usize> = depths(40).collect();
        let expected = [
            0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28, 32, 40,
        ];
        assert_eq!(found, expected);
    }
}
