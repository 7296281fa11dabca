//! Questions by what they resemble, without their texts.

use crate::search::seed_of;
use std::collections::HashMap;

/// Words of a sequence; a shorter question is one sequence.
const WORDS: usize = 8;

/// Hashes of the word sequences of questions.
#[derive(Debug, Default)]
pub struct Known {
    /// The questions that have a sequence.
    having: HashMap<u64, Vec<u32>>,
    /// Distinct sequences of each question.
    sizes: Vec<usize>,
}

impl Known {
    /// Remembers a question.
    pub fn add(&mut self, question: &str) {
        let sequences = sequences(question);
        let number = self.sizes.len() as u32;
        self.sizes.push(sequences.len());
        for sequence in sequences {
            self.having.entry(sequence).or_default().push(number);
        }
    }

    /// Whether a question shares at least `share` of its sequences, or of theirs where these are fewer, with
    /// a remembered one.
    pub fn resembles(&self, question: &str, share: f64) -> bool {
        let sequences = sequences(question);
        let mut shared: HashMap<u32, usize> = HashMap::new();
        for sequence in &sequences {
            for &number in self.having.get(sequence).into_iter().flatten() {
                *shared.entry(number).or_default() += 1;
            }
        }
        shared.into_iter().any(|(number, count)| {
            let shorter = sequences.len().min(self.sizes[number as usize]);
            count as f64 >= share * shorter as f64
        })
    }
}

/// Hashes of the distinct sequences of words, without case, spaces and punctuation.
fn sequences(text: &str) -> Vec<u64> {
    let words: Vec<u64> = text
        .split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(|word| {
            let letters: Vec<u64> = word.to_lowercase().chars().map(u64::from).collect();
            seed_of(0, &letters)
        })
        .collect();
    let mut all: Vec<u64> = match words.len() {
        0 => Vec::new(),
        few if few < WORDS => vec![seed_of(few as u64, &words)],
        _ => words.windows(WORDS).map(|run| seed_of(0, run)).collect(),
    };
    all.sort_unstable();
    all.dedup();
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUESTION: &str = "Tom has 12 coins. He finds 5 more in the park and gives 3 of them to Ann. How many \
                            coins does Tom have now?";

    fn known(questions: &[&str]) -> Known {
        let mut known = Known::default();
        questions.iter().for_each(|question| known.add(question));
        known
    }

    #[test]
    fn the_same_question_in_other_clothes_is_known() {
        let known = known(&["Something else entirely", QUESTION]);
        assert!(known.resembles(QUESTION, 1.0));
        assert!(known.resembles(&QUESTION.to_uppercase().replace('.', "!\n"), 1.0));
        // Whatever is put around it.
        let longer = format!(
            "Here is one. {QUESTION} Think well before you answer, and show your work please."
        );
        assert!(known.resembles(&longer, 1.0));
        assert!(!known.resembles("", 0.1));
    }

    #[test]
    fn resemblance_is_the_share_of_the_shorter() {
        // 24 words, 17 sequences: another last word changes one of them.
        let known = known(&[QUESTION]);
        assert_eq!(sequences(QUESTION).len(), QUESTION.split(' ').count() - 7);
        let other_end = QUESTION.replace("now", "left");
        assert!(known.resembles(&other_end, 0.9));
        assert!(!known.resembles(&other_end, 0.99));
        let other_numbers = QUESTION
            .replace("12", "40")
            .replace('5', "8")
            .replace('3', "6");
        assert!(!known.resembles(&other_numbers, 0.5), "numbers are words");
    }

    #[test]
    fn short_questions_are_compared_as_a_whole() {
        let known = known(&["1 2 3 make 6"]);
        assert!(known.resembles("1 2 3 make 6", 1.0));
        assert!(!known.resembles("1 2 3 make 7", 0.1));
        assert!(!known.resembles("2 3 make 6", 0.1));
    }
}
