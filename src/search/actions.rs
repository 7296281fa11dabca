//! What a search moves by: tokens, spans of tokens, or steps that end by a rule.

use super::decode::Spell;
use crate::engine::Until;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a continuation of a node is, for the selection rule. The tree has a node a token in any case;
/// a simulation ends at the end of an option.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "snake_case", tag = "kind")]
pub enum Actions {
    /// One of the `top_k` most probable tokens: `{ kind = "token" }`.
    #[default]
    Token,
    /// `tokens` tokens that the policy draws, as the mini-steps of Marco-o1 (Zhao et al. 2024):
    /// `{ kind = "span", tokens = 32, options = { count = 4, temperature = 1.0, greedy = true, prior =
    /// "probability", min_distance = 0.0, max_cosine = 1.0 } }`. Of the `count` options of a node the first
    /// is the greedy one, or with `greedy = false` a draw like the others. A token's prior is its share of
    /// theirs: by `"probability"` the softmax of their mean log-probabilities, or all `"equal"`; equal
    /// options add up. One is left out whose edit distance to an earlier one that was kept, in shares of the
    /// longer, is below `min_distance`, or whose embedding, the mean of the policy's final hidden states over
    /// its tokens, has a cosine above `max_cosine` with that of such a one. An embedding costs the forward
    /// pass of the option's last token, and of all its tokens where the tree has some of them from a greedy
    /// rollout.
    Span {
        /// Tokens of an option; fewer at the end of the text.
        tokens: usize,
        /// How they are drawn.
        #[serde(default)]
        options: Options,
    },
    /// Tokens up to the first one with which the option's text holds one of the strings in `stop`, or up
    /// to `max_tokens` (0: no limit), as the options of AlphaLLM (Tian et al. 2024) and the sentences of
    /// TS-LLM (Feng et al. 2024): `{ kind = "step", stop = ["\n", ". "], max_tokens = 64, options = { ... }
    /// }`. Without a `stop` and a limit an option is a whole solution.
    Step {
        /// Strings that end a step.
        #[serde(default)]
        stop: Vec<String>,
        /// Tokens of a step at most.
        #[serde(default)]
        max_tokens: usize,
        /// How they are drawn.
        #[serde(default)]
        options: Options,
    },
}

/// How the options of a node are drawn and weighed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Options of a node at most: equal ones merge, and near the end of a budget of tokens only those are
    /// drawn that it pays for. Default 4.
    pub count: usize,
    /// Softmax temperature of the draws. Default 1.
    pub temperature: f32,
    /// Whether the first option is the policy's most probable continuation, token by token. What a
    /// greedy rollout left of it costs nothing. Default true.
    pub greedy: bool,
    /// What an option weighs in the priors. Default `probability`.
    pub prior: Prior,
    /// Smallest edit distance between siblings, in shares of the longer one; 0 keeps all. Default 0.
    pub min_distance: f32,
    /// Largest cosine between the embeddings of siblings; 1 keeps all and embeds none. Default 1.
    pub max_cosine: f32,
}

/// What an option weighs in the priors of its node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prior {
    /// Its share in the softmax of the options' mean log-probabilities.
    #[default]
    Probability,
    /// As much as the others: a prior counts draws.
    Equal,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            count: 4,
            temperature: 1.0,
            greedy: true,
            prior: Prior::Probability,
            min_distance: 0.0,
            max_cosine: 1.0,
        }
    }
}

impl Options {
    /// Whether options are told apart by their embeddings.
    pub(super) fn embeds(&self) -> bool {
        self.max_cosine < 1.0
    }

    /// Tokens of `limit` at most that are forwarded again to embed the greedy option.
    pub(super) fn again(&self, limit: usize) -> usize {
        match self.embeds() && self.greedy {
            true => limit,
            false => 0,
        }
    }
}

impl Actions {
    /// How options are drawn; none where the search moves by tokens.
    pub(crate) fn options(&self) -> Option<&Options> {
        match self {
            Actions::Token => None,
            Actions::Span { options, .. } | Actions::Step { options, .. } => Some(options),
        }
    }

    /// Tokens of an option where `left` fit into the text.
    pub(crate) fn limit(&self, left: usize) -> usize {
        match self {
            Actions::Token => left.min(1),
            Actions::Span { tokens, .. } => left.min(*tokens),
            Actions::Step { max_tokens: 0, .. } => left,
            Actions::Step { max_tokens, .. } => left.min(*max_tokens),
        }
    }

    /// Whether a string ends an option of these tokens.
    pub(super) fn stops(&self, tokens: &[u32], spell: &Spell) -> bool {
        match self {
            Actions::Step { stop, .. } if !stop.is_empty() => {
                let text = spell(tokens);
                stop.iter().any(|end| text.contains(end.as_str()))
            }
            _ => false,
        }
    }

    /// The same as the engine asks it of what it generates, behind the option's `known` tokens.
    pub(super) fn until(&self, known: Vec<u32>, spell: &Spell) -> Until {
        let (actions, spell) = (self.clone(), spell.clone());
        Until(Arc::new(move |generated: &[u32]| {
            actions.stops(&[&known, generated].concat(), &spell)
        }))
    }

    /// Slots that a node's options take at worst, where `left` tokens fit into the text.
    pub(super) fn slots(&self, left: usize) -> usize {
        let limit = self.limit(left);
        self.options().map_or(0, |options| {
            options.count * (limit + 1) + options.again(limit)
        })
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// The first key out of its range, what it is, and what to write.
    pub fn check(&self) -> Result<(), (&'static str, String, &'static str)> {
        if let Actions::Span { tokens: 0, .. } = self {
            let help = "write a number of at least 1";
            return Err(("tokens", "a span has no tokens".into(), help));
        }
        if let Actions::Step { stop, .. } = self
            && stop.iter().any(String::is_empty)
        {
            let help = "leave it out, or write what a step ends in";
            return Err(("stop", "an empty string ends every step".into(), help));
        }
        let Some(options) = self.options() else {
            return Ok(());
        };
        if options.count == 0 || options.count > 1000 {
            let found = format!("a node has {} options", options.count);
            return Err(("options.count", found, "write a number from 1 to 1000"));
        }
        if !(options.temperature > 0.0 && options.temperature.is_finite()) {
            let found = format!("temperature is {}", options.temperature);
            return Err(("options.temperature", found, "write a number above 0"));
        }
        if !(0.0..=1.0).contains(&options.min_distance) {
            let found = format!("min_distance is {}", options.min_distance);
            return Err(("options.min_distance", found, "write a number from 0 to 1"));
        }
        if !(0.0..=1.0).contains(&options.max_cosine) {
            let found = format!("max_cosine is {}", options.max_cosine);
            return Err(("options.max_cosine", found, "write a number from 0 to 1"));
        }
        Ok(())
    }
}

/// The fewest tokens to insert, delete or replace to make `a` of `b`, in shares of the longer one
/// (Levenshtein 1966).
pub(super) fn distance(a: &[u32], b: &[u32]) -> f32 {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut corner = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = corner + usize::from(x != y);
            corner = row[j + 1];
            row[j + 1] = replaced.min(corner + 1).min(row[j] + 1);
        }
    }
    row[b.len()] as f32 / a.len().max(b.len()).max(1) as f32
}

/// Cosine of the angle between two vectors; 0 where one has no length.
pub(super) fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        let products = a.iter().zip(b).map(|(&x, &y)| f64::from(x) * f64::from(y));
        products.sum()
    };
    let length = (dot(a, a) * dot(b, b)).sqrt();
    match length > 0.0 {
        true => dot(a, b) / length,
        false => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn distances_by_hand() {
        let of = |a: &str, b: &str| {
            let ids = |text: &str| text.bytes().map(u32::from).collect::<Vec<_>>();
            distance(&ids(a), &ids(b))
        };
        assert_eq!(of("kitten", "sitting"), 3.0 / 7.0);
        assert_eq!(of("abc", "abc"), 0.0);
        assert_eq!(of("", "ab"), 1.0);
        assert_eq!(of("ab", "ba"), 1.0);
        assert_eq!(of("", ""), 0.0);
    }

    #[test]
    fn cosines_by_hand() {
        assert_eq!(cosine(&[3.0, 4.0], &[3.0, 4.0]), 1.0);
        assert_eq!(cosine(&[1.0, 0.0], &[0.0, 2.0]), 0.0);
        assert!((cosine(&[1.0, 2.0], &[2.0, 1.0]) - 0.8).abs() < 1e-12);
        assert_eq!(cosine(&[1.0, 0.0], &[-2.0, 0.0]), -1.0);
        assert_eq!(cosine(&[0.0, 0.0], &[1.0, 0.0]), 0.0);
    }

    #[test]
    fn a_step_ends_where_its_text_holds_a_string() {
        let spell: Spell = Arc::new(|tokens: &[u32]| {
            let letters = tokens.iter().filter_map(|&t| char::from_u32(t));
            letters.collect()
        });
        let ids = |text: &str| text.chars().map(u32::from).collect::<Vec<_>>();
        let step = Actions::Step {
            stop: vec!["\n".into(), ". ".into()],
            max_tokens: 5,
            options: Options::default(),
        };
        assert!(!step.stops(&ids("a.b"), &spell));
        assert!(step.stops(&ids("a. b"), &spell));
        assert!(step.stops(&ids("a\n"), &spell));
        assert_eq!((step.limit(9), step.limit(3)), (5, 3));
        let whole: Actions = serde_json::from_str(r#"{"kind":"step"}"#).unwrap();
        assert!(!whole.stops(&ids("a\n"), &spell));
        assert_eq!(whole.limit(9), 9);
        assert_eq!(whole.slots(9), 40);
        assert_eq!(whole.check(), Ok(()));
    }
}
