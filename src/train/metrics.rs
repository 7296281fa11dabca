//! How good a value is: plain f64 code over predictions and outcomes.

use crate::monitor::Bin;
use std::collections::BTreeMap;

/// Mean squared difference between a probability and what happened (Brier, 1950). `None` without
/// data.
pub fn brier(predictions: &[(f64, bool)]) -> Option<f64> {
    let total: f64 = predictions
        .iter()
        .map(|&(p, correct)| (p - f64::from(u8::from(correct))).powi(2))
        .sum();
    (!predictions.is_empty()).then(|| total / predictions.len() as f64)
}

/// `predictions` in ten bins of equal width, empty ones left out.
pub fn reliability(predictions: &[(f64, bool)]) -> Vec<Bin> {
    const BINS: usize = 10;
    let mut sums = [(0.0, 0, 0); BINS];
    for &(p, correct) in predictions {
        let bin = ((p * BINS as f64) as usize).min(BINS - 1);
        sums[bin].0 += p;
        sums[bin].1 += usize::from(correct);
        sums[bin].2 += 1;
    }
    sums.iter()
        .filter(|(_, _, count)| *count > 0)
        .map(|&(sum, correct, count)| Bin {
            predicted: sum / count as f64,
            share: correct as f64 / count as f64,
            count,
        })
        .collect()
}

/// Expected calibration error (Naeini et al., 2015): how far prediction and share lie apart, averaged
/// over the bins by their counts. `None` without data.
pub fn ece(bins: &[Bin]) -> Option<f64> {
    let total: usize = bins.iter().map(|bin| bin.count).sum();
    let apart = |bin: &Bin| (bin.predicted - bin.share).abs() * bin.count as f64;
    (total > 0).then(|| bins.iter().map(apart).sum::<f64>() / total as f64)
}

/// Share of the targets' variance that the predictions explain, `1 - Var(target - prediction) /
/// Var(target)`, over items `(prediction, target, weight)`: 1 at best, 0 for a constant. `None` where
/// the targets do not vary.
pub fn explained_variance(items: &[(f64, f64, f64)]) -> Option<f64> {
    let variance = |of: fn(&(f64, f64, f64)) -> f64| {
        let weight: f64 = items.iter().map(|item| item.2).sum();
        let mean = items.iter().map(|item| item.2 * of(item)).sum::<f64>() / weight;
        items
            .iter()
            .map(|item| item.2 * (of(item) - mean).powi(2))
            .sum::<f64>()
            / weight
    };
    let whole = variance(|item| item.1);
    (whole > 0.0).then(|| 1.0 - variance(|item| item.1 - item.0) / whole)
}

/// Area under the ROC curve: the chance that a random correct item scores above a random wrong one,
/// ties counted half (the Mann-Whitney statistic). `None` without both kinds.
pub fn auc(scores: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let positives = sorted.iter().filter(|s| s.1).count() as f64;
    let negatives = sorted.len() as f64 - positives;
    if positives == 0.0 || negatives == 0.0 {
        return None;
    }
    // Ranks from 1; items of one score share the mean of their ranks.
    let mut rank_sum = 0.0;
    let mut at = 0;
    while at < sorted.len() {
        let end = at + sorted[at..].partition_point(|s| s.0 == sorted[at].0);
        let rank = (at + 1 + end) as f64 / 2.0;
        rank_sum += rank * sorted[at..end].iter().filter(|s| s.1).count() as f64;
        at = end;
    }
    Some((rank_sum - positives * (positives + 1.0) / 2.0) / (positives * negatives))
}

/// A scored trajectory of a question.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    pub question: u64,
    pub score: f64,
    pub correct: bool,
}

/// Share of the pairs (a correct and a wrong trajectory of the *same* question) that the score puts
/// in the right order, ties counted half. `None` without such a pair.
///
/// This is what predicts whether a search profits from the value: telling hard questions from easy
/// ones raises the AUC, but a search only ever compares continuations of one question.
pub fn ranking(items: &[Scored]) -> Option<f64> {
    let mut questions: BTreeMap<u64, Vec<(f64, bool)>> = BTreeMap::new();
    for item in items {
        let group = questions.entry(item.question).or_default();
        group.push((item.score, item.correct));
    }
    let (mut right, mut pairs) = (0.0, 0.0);
    for group in questions.values() {
        let positives = group.iter().filter(|s| s.1).count() as f64;
        let here = positives * (group.len() as f64 - positives);
        // Within one question the AUC is this very share.
        if let Some(share) = auc(group) {
            right += share * here;
            pairs += here;
        }
    }
    (pairs > 0.0).then(|| right / pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brier_of_hand_made_numbers() {
        assert_eq!(brier(&[]), None);
        let b = brier(&[(1.0, true), (0.5, false), (0.2, true)]).unwrap();
        assert!((b - (0.0 + 0.25 + 0.64) / 3.0).abs() < 1e-15);
    }

    #[test]
    fn calibration_of_hand_made_numbers() {
        assert_eq!(ece(&reliability(&[])), None);
        let bins = reliability(&[(0.1, false), (0.14, true), (0.95, true), (1.0, true)]);
        let places: Vec<_> = bins.iter().map(|bin| (bin.share, bin.count)).collect();
        assert_eq!(places, [(0.5, 2), (1.0, 2)]);
        assert!((bins[0].predicted - 0.12).abs() < 1e-12);
        let error = ece(&bins).unwrap();
        assert!((error - (0.38 + 0.025) / 2.0).abs() < 1e-12, "{error}");
    }

    #[test]
    fn explained_variance_of_hand_made_numbers() {
        assert_eq!(explained_variance(&[]), None);
        assert_eq!(explained_variance(&[(0.5, 1.0, 2.0)]), None);
        let exact = [(1.0, 1.0, 1.0), (-1.0, -1.0, 3.0)];
        assert_eq!(explained_variance(&exact), Some(1.0));
        let constant = [(0.3, 1.0, 1.0), (0.3, -1.0, 3.0)];
        assert!(explained_variance(&constant).unwrap().abs() < 1e-12);
        // Targets 1 and 0, residuals 0.5 and -0.5: variances 1/4 and 1/4.
        let items = [(0.5, 1.0, 1.0), (0.5, 0.0, 1.0), (0.5, 0.0, 0.0)];
        assert!(explained_variance(&items).unwrap().abs() < 1e-12);
        // Residuals 0.25 and -0.25: 1 - (1/16) / (1/4).
        let items = [(0.75, 1.0, 1.0), (0.25, 0.0, 1.0)];
        assert!((explained_variance(&items).unwrap() - 0.75).abs() < 1e-12);
    }

    #[test]
    fn auc_of_hand_made_numbers() {
        assert_eq!(auc(&[(0.3, true)]), None);
        assert_eq!(auc(&[(0.1, false), (0.2, true)]), Some(1.0));
        assert_eq!(auc(&[(0.2, false), (0.1, true)]), Some(0.0));
        assert_eq!(auc(&[(0.5, false), (0.5, true)]), Some(0.5));
        // Pairs (correct, wrong): (3,1) (3,2) (2,1) right, (2,2) half: 3.5 of 4.
        let scores = [(1.0, false), (2.0, false), (2.0, true), (3.0, true)];
        assert_eq!(auc(&scores), Some(3.5 / 4.0));
    }

    #[test]
    fn ranking_compares_within_a_question_only() {
        let item = |question, score, correct| Scored {
            question,
            score,
            correct,
        };
        assert_eq!(ranking(&[item(1, 0.1, true), item(2, 0.9, false)]), None);
        // Question 1: 0.9 and 0.3 against 0.3: one right, one tie. Question 2: wrong once.
        // Question 3 has no pair.
        let items = [
            item(1, 0.9, true),
            item(1, 0.3, true),
            item(1, 0.3, false),
            item(2, 0.1, true),
            item(2, 0.8, false),
            item(3, 0.0, true),
        ];
        assert_eq!(ranking(&items), Some(1.5 / 3.0));
    }
}
