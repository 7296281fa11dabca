//! The generator of one word problem with its worked solution.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

const NAMES: [&str; 16] = [
    "Tom", "Mia", "Sam", "Ana", "Ben", "Lea", "Max", "Eva", "Leo", "Amy", "Dan", "Zoe", "Jack",
    "Emma", "Noah", "Lily",
];
const ITEMS: [&str; 12] = [
    "apples", "marbles", "books", "coins", "stamps", "cards", "shells", "pens", "stickers",
    "cookies", "beads", "toys",
];
const BOXES: [&str; 4] = ["boxes", "bags", "packs", "jars"];
const ADD: [&str; 4] = [
    "{n} buys {b} more {i}.",
    "A friend gives {n} {b} more {i}.",
    "Then {n} finds {b} {i}.",
    "{n} gets {b} {i} as a gift.",
];
const SUBTRACT: [&str; 4] = [
    "{n} gives {b} {i} to {m}.",
    "Then {n} loses {b} {i}.",
    "{n} sells {b} of the {i}.",
    "{n} gives away {b} {i}.",
];
const MULTIPLY: [&str; 2] = [
    "Then {n} gets enough to have {b} times as many {i}.",
    "The number of {i} then grows to {b} times as many.",
];
const RARE_ADD: [&str; 4] = [
    "{n} wins {b} {i}.",
    "{n} picks {b} {i}.",
    "{n} collects {b} {i}.",
    "{n} earns {b} {i}.",
];
const RARE_SUBTRACT: [&str; 4] = [
    "{n} drops {b} {i}.",
    "{n} spends {b} {i}.",
    "{n} breaks {b} {i}.",
    "{n} donates {b} {i}.",
];
const RARE_MULTIPLY: [&str; 1] = ["{n} doubles the {i}."];

const PLAIN_ENDINGS: [&str; 2] = [
    "How many {i} does {n} have now?",
    "How many {i} are left with {n} in the end?",
];

/// The words that the base model has hardly seen: each is one token of the tokenizer, the space
/// before it included.
pub const RARE_WORDS: [&str; 9] = [
    " wins",
    " picks",
    " collects",
    " earns",
    " drops",
    " spends",
    " breaks",
    " donates",
    " doubles",
];

/// The most arithmetic steps of a problem.
pub const MAX_STEPS: usize = 5;
/// The largest number that a person may have.
const MAX_VALUE: u32 = 60;

/// A word problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Story {
    pub question: String,
    /// One sentence a step and the answer, `... #### 17`.
    pub solution: String,
    pub answer: u32,
}

#[derive(Clone, Copy)]
enum Event {
    Add,
    Subtract,
    Multiply,
    /// Several bags of several items each: two steps.
    AddGroups,
    /// The same amount to each of several friends: two steps.
    SubtractGroups,
}

/// What the sentences are about, and what has been written so far.
struct Draft {
    name: &'static str,
    other: &'static str,
    item: &'static str,
    question: Vec<String>,
    solution: Vec<String>,
}

impl Draft {
    fn fill(&self, template: &str, number: u32) -> String {
        template
            .replace("{n}", self.name)
            .replace("{m}", self.other)
            .replace("{i}", self.item)
            .replace("{b}", &number.to_string())
    }

    fn say(&mut self, template: &str, number: u32) {
        self.question.push(self.fill(template, number));
    }

    /// Writes one worked sentence, with `{e}` as the equation, and returns the result.
    fn work(&mut self, a: u32, op: char, b: u32, template: &str) -> u32 {
        let result = match op {
            '+' => a + b,
            '-' => a - b,
            _ => a * b,
        };
        let equation = format!("{a} {op} {b} = {result}");
        self.solution
            .push(self.fill(template, 0).replace("{e}", &equation));
        result
    }
}

fn pick<T: Copy>(rng: &mut ChaCha8Rng, from: &[T]) -> T {
    from[rng.random_range(0..from.len())]
}

/// An index with a probability in proportion to its weight.
pub(super) fn weighted(rng: &mut ChaCha8Rng, weights: &[f64]) -> usize {
    let mut draw = rng.random::<f64>() * weights.iter().sum::<f64>();
    for (i, weight) in weights.iter().enumerate() {
        if draw < *weight {
            return i;
        }
        draw -= weight;
    }
    // Rounding can leave a remainder behind the last weight that is not zero.
    weights.iter().rposition(|w| *w > 0.0).unwrap_or(0)
}

/// One attempt at a problem of exactly `steps` steps, in which an event uses a rare word with
/// probability `rare`. None where a number leaves its range: draw again.
pub(super) fn attempt(rng: &mut ChaCha8Rng, steps: usize, rare: f64) -> Option<Story> {
    let name = rng.random_range(0..NAMES.len());
    let other = (name + rng.random_range(1..NAMES.len())) % NAMES.len();
    let mut draft = Draft {
        name: NAMES[name],
        other: NAMES[other],
        item: pick(rng, &ITEMS),
        question: Vec::new(),
        solution: Vec::new(),
    };
    // The ending: plain, compared with another person (one step), or together (two steps).
    let ending = weighted(rng, &[0.6, 0.2, 0.2]);
    let mut left = steps.checked_sub(ending)?;
    let mut value = start(rng, &mut draft, &mut left);
    while left > 0 {
        value = event(rng, &mut draft, value, &mut left, rare)?;
    }
    let answer = end(rng, &mut draft, value, ending)?;
    Some(Story {
        question: draft.question.join(" "),
        solution: format!("{} #### {answer}", draft.solution.join(" ")),
        answer,
    })
}

fn start(rng: &mut ChaCha8Rng, draft: &mut Draft, left: &mut usize) -> u32 {
    if *left >= 1 && rng.random_bool(0.35) {
        let (k, each) = (rng.random_range(2..=7), rng.random_range(2..=7));
        let template = format!(
            "{{n}} has {k} {} with {each} {{i}} in each.",
            pick(rng, &BOXES)
        );
        draft.say(&template, 0);
        *left -= 1;
        draft.work(k, '*', each, "{n} starts with {e} {i}.")
    } else {
        let value = rng.random_range(3..=25);
        draft.say("{n} has {b} {i}.", value);
        value
    }
}

/// One event; the new value, or none where it leaves its range.
fn event(
    rng: &mut ChaCha8Rng,
    draft: &mut Draft,
    value: u32,
    left: &mut usize,
    rare: f64,
) -> Option<u32> {
    const KINDS: [Event; 5] = [
        Event::Add,
        Event::Subtract,
        Event::Multiply,
        Event::AddGroups,
        Event::SubtractGroups,
    ];
    let now = "Then {n} has {e} {i}.";
    let rare = rng.random_bool(rare);
    let kind = KINDS[weighted(rng, &[3.0, 3.0, 1.0, 1.5, 1.5])];
    match kind {
        Event::Add => {
            let b = rng.random_range(2..=15);
            if value + b > MAX_VALUE {
                return None;
            }
            draft.say(pick(rng, if rare { &RARE_ADD } else { &ADD }), b);
            *left -= 1;
            Some(draft.work(value, '+', b, now))
        }
        Event::Subtract => {
            let b = less_than(rng, value)?;
            draft.say(pick(rng, if rare { &RARE_SUBTRACT } else { &SUBTRACT }), b);
            *left -= 1;
            Some(draft.work(value, '-', b, now))
        }
        Event::Multiply => {
            let k = if rare { 2 } else { rng.random_range(2..=4) };
            if value * k > MAX_VALUE {
                return None;
            }
            let templates: &[&str] = if rare { &RARE_MULTIPLY } else { &MULTIPLY };
            draft.say(pick(rng, templates), k);
            *left -= 1;
            Some(draft.work(value, '*', k, now))
        }
        // Too few steps are left for these two: another event is drawn.
        Event::AddGroups | Event::SubtractGroups if *left < 2 => Some(value),
        Event::AddGroups => {
            let (k, each) = (rng.random_range(2..=5), rng.random_range(2..=7));
            if value + k * each > MAX_VALUE {
                return None;
            }
            let template = format!("{{n}} buys {k} {} of {each} {{i}} each.", pick(rng, &BOXES));
            draft.say(&template, 0);
            *left -= 2;
            let new = draft.work(k, '*', each, "The new ones are {e} {i}.");
            Some(draft.work(value, '+', new, now))
        }
        Event::SubtractGroups => {
            let (k, each) = (rng.random_range(2..=5), rng.random_range(2..=7));
            if value < k * each + 1 {
                return None;
            }
            draft.say(
                &format!("{{n}} gives {each} {{i}} to each of {k} friends."),
                0,
            );
            *left -= 2;
            let given = draft.work(k, '*', each, "The friends get {e} {i}.");
            Some(draft.work(value, '-', given, now))
        }
    }
}

/// 2 to 15, and less than the value; none where the value is too small.
fn less_than(rng: &mut ChaCha8Rng, value: u32) -> Option<u32> {
    (value >= 4).then(|| rng.random_range(2..=15.min(value - 1)))
}

/// The question sentence and the steps of the ending; the answer, or none where it is too large.
fn end(rng: &mut ChaCha8Rng, draft: &mut Draft, value: u32, ending: usize) -> Option<u32> {
    if ending == 0 {
        draft.say(pick(rng, &PLAIN_ENDINGS), 0);
        return Some(value);
    }
    let (op, b, template) = match rng.random_range(0..3) {
        0 => (
            '*',
            rng.random_range(2..=4),
            "{m} has {b} times as many {i} as {n}.",
        ),
        1 => (
            '+',
            rng.random_range(2..=15),
            "{m} has {b} more {i} than {n}.",
        ),
        _ => (
            '-',
            less_than(rng, value)?,
            "{m} has {b} fewer {i} than {n}.",
        ),
    };
    draft.say(template, b);
    let theirs = draft.work(value, op, b, "{m} has {e} {i}.");
    if theirs > MAX_VALUE {
        return None;
    }
    if ending == 1 {
        draft.say("How many {i} does {m} have?", 0);
        return Some(theirs);
    }
    if value + theirs > MAX_VALUE {
        return None;
    }
    let together = draft.work(value, '+', theirs, "Together they have {e} {i}.");
    draft.say("How many {i} do they have together?", 0);
    Some(together)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    fn story(rng: &mut ChaCha8Rng, steps: usize, rare: f64) -> Story {
        loop {
            if let Some(story) = attempt(rng, steps, rare) {
                return story;
            }
        }
    }

    #[test]
    fn every_story_has_its_steps_and_right_equations() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for i in 0..2000 {
            let steps = i % MAX_STEPS + 1;
            let story = story(&mut rng, steps, 0.5);
            assert!(
                !story.question.contains('{') && !story.solution.contains('{'),
                "{story:?}"
            );
            let (work, stated) = story.solution.split_once(" #### ").unwrap();
            assert_eq!(stated, story.answer.to_string());
            let words: Vec<&str> = work.split(' ').collect();
            let equations: Vec<usize> = (0..words.len()).filter(|i| words[*i] == "=").collect();
            assert_eq!(equations.len(), steps, "{story:?}");
            for at in equations {
                let n = |i: usize| words[i].parse::<u32>().unwrap();
                let right = match words[at - 2] {
                    "+" => n(at - 3) + n(at - 1),
                    "-" => n(at - 3) - n(at - 1),
                    _ => n(at - 3) * n(at - 1),
                };
                assert_eq!(n(at + 1), right);
                assert!((1..=MAX_VALUE).contains(&right));
            }
        }
    }

    #[test]
    fn rare_words_come_when_asked() {
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let mut share = |rare| {
            let hits = (0..500)
                .filter(|_| {
                    let question = story(&mut rng, 3, rare).question;
                    RARE_WORDS.iter().any(|word| question.contains(word))
                })
                .count();
            hits as f64 / 500.0
        };
        assert_eq!(share(0.0), 0.0);
        assert!(share(0.005) < 0.05);
        assert!(share(0.7) > 0.6);
    }
}
