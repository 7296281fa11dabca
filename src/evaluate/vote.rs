//! Choosing one of several completions: majority vote, value-weighted vote, and
//! best-of-n by value or by probability.
//!
//! A completion without an answer never wins unless none has one. Ties go to the
//! candidate seen first, so a choice depends on the order of the candidates only.

/// One completion of a question, as the chooser sees it: never its grade.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The canonical final answer; `None` where the completion gives none.
    pub answer: Option<String>,
    /// The value of the finished completion, in [-1, 1].
    pub value: f32,
    /// Its log-probability under the policy.
    pub log_prob: f32,
}

/// The index of the first candidate with the most frequent answer; `None` for no
/// candidates.
pub fn majority(candidates: &[Candidate]) -> Option<usize> {
    vote(candidates, |_| 1.0)
}

/// As [`majority`], each candidate's vote weighted by (value + 1) / 2, the
/// probability of being correct that its value states. A value that is no number
/// weighs nothing.
pub fn weighted(candidates: &[Candidate]) -> Option<usize> {
    vote(candidates, |c| {
        if c.value.is_nan() {
            0.0
        } else {
            ((f64::from(c.value) + 1.0) / 2.0).clamp(0.0, 1.0)
        }
    })
}

/// The index of the candidate with the highest value; `None` for no candidates.
/// A value that is no number is below all others.
pub fn best_of_n(candidates: &[Candidate]) -> Option<usize> {
    best_by(candidates, |c| c.value)
}

/// As [`best_of_n`], by log-probability: what needs no value net.
pub fn most_probable(candidates: &[Candidate]) -> Option<usize> {
    best_by(candidates, |c| c.log_prob)
}

fn best_by(candidates: &[Candidate], score: impl Fn(&Candidate) -> f32) -> Option<usize> {
    let rank = |c: &Candidate| {
        let score = score(c);
        let score = if score.is_nan() {
            f32::NEG_INFINITY
        } else {
            score
        };
        (c.answer.is_some(), score)
    };
    first_max(candidates.iter().map(rank))
}

/// The first candidate of the answer with the largest sum of weights.
fn vote(candidates: &[Candidate], weight: impl Fn(&Candidate) -> f64) -> Option<usize> {
    // (index of the answer's first candidate, the answer, weight); a question has
    // few distinct answers, so a list in order of appearance does.
    let mut tally: Vec<(usize, &str, f64)> = Vec::new();
    for (index, candidate) in candidates.iter().enumerate() {
        let Some(answer) = candidate.answer.as_deref() else {
            continue;
        };
        match tally.iter_mut().find(|entry| entry.1 == answer) {
            Some(entry) => entry.2 += weight(candidate),
            None => tally.push((index, answer, weight(candidate))),
        }
    }
    match first_max(tally.iter().map(|entry| entry.2)) {
        Some(winner) => Some(tally[winner].0),
        None => (!candidates.is_empty()).then_some(0),
    }
}

/// The position of the first of the largest items.
fn first_max<T: PartialOrd>(items: impl Iterator<Item = T>) -> Option<usize> {
    let mut best: Option<(usize, T)> = None;
    for (index, item) in items.enumerate() {
        if best.as_ref().is_none_or(|(_, top)| item > *top) {
            best = Some((index, item));
        }
    }
    best.map(|(index, _)| index)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidates(list: &[(&str, f32)]) -> Vec<Candidate> {
        list.iter()
            .map(|&(answer, value)| Candidate {
                answer: (!answer.is_empty()).then(|| answer.to_owned()),
                value,
                log_prob: -value,
            })
            .collect()
    }

    #[test]
    fn each_method_has_its_own_winner() {
        let c = candidates(&[
            ("7", -0.9),
            ("7", -0.8),
            ("9", 0.3),
            ("7", -0.9),
            ("9", 0.2),
            ("4", 0.9),
        ]);
        assert_eq!(majority(&c), Some(0));
        // 7: .05 + .1 + .05; 9: .65 + .6; 4: .95.
        assert_eq!(weighted(&c), Some(2));
        assert_eq!(best_of_n(&c), Some(5));
        assert_eq!(most_probable(&c), Some(0));
    }

    #[test]
    fn ties_go_to_the_first_seen() {
        let c = candidates(&[("a", 0.5), ("b", 0.5), ("b", -1.0), ("a", -1.0)]);
        assert_eq!(majority(&c), Some(0));
        assert_eq!(weighted(&c), Some(0));
        assert_eq!(best_of_n(&c), Some(0));
        // The first seen is the answer's first candidate, not the one that completes its count.
        let c = candidates(&[("b", 0.0), ("a", 0.0), ("a", 0.0), ("b", 0.0)]);
        assert_eq!(majority(&c), Some(0));
        // All weights nothing: still the first.
        assert_eq!(
            weighted(&candidates(&[("", 1.0), ("x", -1.0), ("y", -1.0)])),
            Some(1)
        );
    }

    #[test]
    fn without_an_answer_nothing_wins_unless_none_has_one() {
        let c = candidates(&[("", 1.0), ("", 1.0), ("3", -1.0)]);
        assert_eq!(
            (majority(&c), weighted(&c), best_of_n(&c)),
            (Some(2), Some(2), Some(2))
        );
        let c = candidates(&[("", -0.5), ("", 0.5)]);
        assert_eq!(
            (majority(&c), weighted(&c), best_of_n(&c)),
            (Some(0), Some(0), Some(1))
        );
        assert_eq!(
            (majority(&[]), weighted(&[]), best_of_n(&[])),
            (None, None, None)
        );
    }

    #[test]
    fn a_value_that_is_no_number_never_wins() {
        let c = candidates(&[("1", f32::NAN), ("2", -1.0), ("3", 0.1), ("1", f32::NAN)]);
        assert_eq!((weighted(&c), best_of_n(&c)), (Some(2), Some(2)));
    }
}
