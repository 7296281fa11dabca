//! Settings of a sweep against one of them, their control, on the same questions.

use super::bootstrap::{RESAMPLES, resampled_means};
use super::paired::Paired;
use super::statistics::holm;
use serde::Serialize;
use std::collections::BTreeMap;

/// One setting, over its seeds.
#[derive(Debug, Clone)]
pub struct Entrant {
    pub name: String,
    /// By method, `[seed][question]`: right or not.
    right: BTreeMap<String, Vec<Vec<bool>>>,
    /// By method, the seeds, and the questions of the first of them.
    asked: BTreeMap<String, (Vec<u64>, Vec<String>)>,
    /// Forward tokens of its collections, a seed each.
    collected: Vec<f64>,
}

impl Entrant {
    /// Without a seed.
    pub fn new(name: &str) -> Entrant {
        Entrant {
            name: name.into(),
            right: BTreeMap::new(),
            asked: BTreeMap::new(),
            collected: Vec::new(),
        }
    }

    /// Adds a seed: the forward tokens of its collections, and by method and question whether it
    /// answered right. A method that was asked other questions than by the first seed is left out.
    pub fn add(
        &mut self,
        seed: u64,
        collected: f64,
        graded: BTreeMap<String, BTreeMap<String, bool>>,
    ) {
        self.collected.push(collected);
        for (method, answers) in graded {
            let (asked, right): (Vec<_>, Vec<_>) = answers.into_iter().unzip();
            let (seeds, questions) = self.asked.entry(method.clone()).or_default();
            if seeds.is_empty() {
                *questions = asked;
            } else if *questions != asked {
                continue;
            }
            seeds.push(seed);
            self.right.entry(method).or_default().push(right);
        }
    }

    /// By a method, `[seed][question]`: right or not.
    pub fn right(&self, method: &str) -> Option<&[Vec<bool>]> {
        self.right.get(method).map(Vec::as_slice)
    }

    /// Mean forward tokens of all its collections.
    pub fn collected(&self) -> f64 {
        self.collected.iter().sum::<f64>() / self.collected.len().max(1) as f64
    }
}

/// A setting against the control, by one way of answering.
#[derive(Debug, Clone, Serialize)]
pub struct Ruling {
    pub setting: String,
    pub control: String,
    /// `greedy`, or a search.
    pub method: String,
    /// Mean accuracies of setting and control.
    pub accuracy: f64,
    pub control_accuracy: f64,
    /// Forward tokens that the setting's collections took, by those of the control; not a number where
    /// that collected nothing.
    pub tokens: f64,
    #[serde(flatten)]
    pub paired: Paired,
    /// In words.
    pub text: String,
}

/// Judges every entrant but `control` by each of `methods`; p-values are corrected for all of them by
/// Holm's method. What was not answered by the same seeds, or not on the same questions, as the control's is
/// left out.
pub fn judge(entrants: &[Entrant], control: &str, methods: &[&str]) -> Vec<Ruling> {
    let Some(control) = entrants.iter().find(|entrant| entrant.name == control) else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for &method in methods {
        let Some(other) = control.right(method) else {
            continue;
        };
        for entrant in entrants {
            let alike = entrant.asked.get(method) == control.asked.get(method);
            let own = entrant.right(method);
            let Some(own) = own.filter(|_| alike && entrant.name != control.name) else {
                continue;
            };
            let means = resampled_means(&[own.to_vec(), other.to_vec()], RESAMPLES);
            let ruling = Ruling {
                setting: entrant.name.clone(),
                control: control.name.clone(),
                method: method.into(),
                accuracy: share(own),
                control_accuracy: share(other),
                tokens: entrant.collected() / control.collected(),
                paired: Paired::of([own, other], [&means[0], &means[1]]),
                text: String::new(),
            };
            found.push((other.len(), ruling));
        }
    }
    let p: Vec<f64> = found.iter().map(|(_, ruling)| ruling.paired.p).collect();
    let corrected = found.into_iter().zip(holm(&p));
    corrected
        .map(|((seeds, mut ruling), p)| {
            ruling.paired.p = p;
            ruling.text = ruling.sentence(seeds);
            ruling
        })
        .collect()
}

/// Of `[seed][question]`, the mean.
pub fn share(right: &[Vec<bool>]) -> f64 {
    let all = right.iter().flatten();
    let hits = all.clone().filter(|right| **right).count();
    hits as f64 / all.count().max(1) as f64
}

impl Ruling {
    fn sentence(&self, seeds: usize) -> String {
        let percent = |x: f64| format!("{:.1}%", 100.0 * x);
        let mean = match seeds {
            1 => String::new(),
            _ => format!(", means of {seeds} seeds"),
        };
        let tokens = match self.tokens.is_finite() {
            true => format!(" at {:.2} times its forward tokens", self.tokens),
            false => String::new(),
        };
        format!(
            "{}, {}: {} {}{tokens}{} ({} against {}{mean}), {}",
            self.setting,
            self.method,
            self.paired.words(),
            self.control,
            self.paired.limits(seeds),
            percent(self.accuracy),
            percent(self.control_accuracy),
            self.paired.figures(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entrant(name: &str, collected: f64, seeds: &[&str]) -> Entrant {
        let mut made = Entrant::new(name);
        for (number, seed) in seeds.iter().enumerate() {
            let marks = format!("{seed:0<40}");
            let answers = marks.chars().enumerate();
            let answers = answers.map(|(question, mark)| (question.to_string(), mark == '1'));
            made.add(
                number as u64,
                collected,
                BTreeMap::from([("greedy".into(), answers.collect())]),
            );
        }
        made
    }

    #[test]
    fn settings_are_judged_by_the_control_on_the_same_questions() {
        let won = "1".repeat(16);
        let all = [
            entrant("better", 90.0, &[&won, &won]),
            entrant("control", 60.0, &["11", "11"]),
            entrant("level", 60.0, &["111", "1"]),
            entrant("cut", 60.0, &["111"]),
            entrant("other questions", 60.0, &[&"1".repeat(41), &won]),
        ];
        let found = judge(&all, "control", &["greedy", "searched"]);
        let names: Vec<&str> = found.iter().map(|r| r.setting.as_str()).collect();
        assert_eq!(names, ["better", "level"]);
        let better = &found[0];
        assert_eq!((better.paired.gains, better.paired.losses), (28, 0));
        assert!((better.accuracy - 0.4).abs() < 1e-12 && (better.tokens - 1.5).abs() < 1e-12);
        // Fourteen questions won by both seeds, 2 / 2^14, and twice that for two comparisons.
        assert!((better.paired.p - 2f64.powi(-12)).abs() < 1e-12);
        assert!(
            better.text.starts_with(
                "better, greedy: better than control at 1.50 times its forward tokens (40.0% against 5.0%, \
                 means of 2 seeds), +35.0 points"
            ),
            "{}",
            better.text
        );
        assert!(
            found[1]
                .text
                .contains("level, greedy: no better than control")
        );
        assert!(judge(&all, "nobody", &["greedy"]).is_empty());
    }
}
