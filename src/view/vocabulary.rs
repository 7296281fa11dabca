//! The tokens of a page and the text of each.

use crate::model::Tokenizer;
use serde::Serialize;
use std::collections::HashMap;

/// Tokens, numbered in the order in which they were first met.
#[derive(Debug, Default)]
pub struct Vocabulary {
    ids: Vec<u32>,
    numbers: HashMap<u32, u32>,
}

/// What the page knows of its tokens; `id`, `text` and the keys of `bytes` go by number.
#[derive(Debug, Default, Serialize)]
pub struct Texts {
    pub id: Vec<u32>,
    /// The text that the token adds behind another one.
    pub text: Vec<String>,
    /// Tokens that are no text: special ones, shown by their spelling.
    pub special: Vec<u32>,
    /// Tokens that are a part of a character: their bytes.
    pub bytes: HashMap<u32, Vec<u8>>,
    /// The tokenizer leaves out the space behind a line break.
    pub trims_lines: bool,
}

impl Vocabulary {
    /// The number of `token`.
    pub fn number(&mut self, token: u32) -> u32 {
        *self.numbers.entry(token).or_insert_with(|| {
            self.ids.push(token);
            (self.ids.len() - 1) as u32
        })
    }

    /// The texts of all tokens that have a number.
    pub fn texts(self, tokenizer: &Tokenizer) -> Texts {
        let anchor = anchor(tokenizer);
        let mut texts = Texts {
            text: Vec::with_capacity(self.ids.len()),
            special: Vec::new(),
            bytes: HashMap::new(),
            trims_lines: trims_lines(tokenizer, anchor),
            id: self.ids,
        };
        for (number, &id) in texts.id.iter().enumerate() {
            let text = added(tokenizer, anchor, id);
            let spelling = tokenizer.id_to_token(id);
            if text.contains(char::REPLACEMENT_CHARACTER)
                && let Some(bytes) = spelling.as_deref().and_then(spelled_bytes)
            {
                texts.bytes.insert(number as u32, bytes);
            }
            texts.text.push(match text.is_empty() {
                false => text,
                true => {
                    texts.special.push(number as u32);
                    spelling.unwrap_or_else(|| format!("token {id}"))
                }
            });
        }
        texts
    }
}

/// A token that stands for text without a space: one behind which others show their own.
fn anchor(tokenizer: &Tokenizer) -> Option<u32> {
    let plain = |id: &u32| {
        let text = tokenizer.decode(&[*id]);
        !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric())
    };
    (0..tokenizer.vocab_size() as u32).find(plain)
}

/// What `id` adds to a text. Alone it may lose a space: many decoders trim the head of a text.
fn added(tokenizer: &Tokenizer, anchor: Option<u32>, id: u32) -> String {
    let behind = anchor.and_then(|anchor| {
        let both = tokenizer.decode(&[anchor, id]);
        let head = tokenizer.decode(&[anchor]);
        both.strip_prefix(head.as_str()).map(str::to_owned)
    });
    behind.unwrap_or_else(|| tokenizer.decode(&[id]))
}

fn trims_lines(tokenizer: &Tokenizer, anchor: Option<u32>) -> bool {
    let (Some(anchor), Ok(line)) = (anchor, tokenizer.encode("\n")) else {
        return false;
    };
    let added = added(tokenizer, Some(anchor), anchor);
    let tokens = [&[anchor], &line[..], &[anchor]].concat();
    added.starts_with(' ') && !tokenizer.decode(&tokens).contains("\n ")
}

/// The bytes that a spelling stands for: `<0xE2>`, or letters of GPT-2's byte alphabet.
fn spelled_bytes(spelling: &str) -> Option<Vec<u8>> {
    let hex = spelling
        .strip_prefix("<0x")
        .and_then(|s| s.strip_suffix('>'));
    if let Some(hex) = hex {
        return Some(vec![u8::from_str_radix(hex, 16).ok()?]);
    }
    spelling.chars().map(byte).collect()
}

/// The byte of a letter: printable ones stand for themselves, the others in their order for the
/// letters from U+0100 on.
fn byte(letter: char) -> Option<u8> {
    let plain = |b: &u8| matches!(b, b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff);
    match u8::try_from(letter) {
        Ok(byte) => Some(byte).filter(plain),
        Err(_) => {
            let at = (letter as usize).checked_sub(0x100)?;
            (0..=u8::MAX).filter(|b| !plain(b)).nth(at)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn texts(model: &str, ids: &[u32]) -> Texts {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints");
        let tokenizer = Tokenizer::load(&dir.join(model)).unwrap();
        let mut vocabulary = Vocabulary::default();
        for &id in ids {
            vocabulary.number(id);
        }
        vocabulary.texts(&tokenizer)
    }

    #[test]
    fn words_bring_their_space_and_special_tokens_their_name() {
        let found = texts("countdown-tiny", &[0, 1, 2, 2, 1_000_000]);
        assert_eq!(found.id, [0, 1, 2, 1_000_000]);
        assert_eq!(found.text, ["<eos>", "\n", " make", "token 1000000"]);
        assert_eq!(found.special, [0, 3]);
        assert!(found.trims_lines);
    }

    #[test]
    fn parts_of_a_character_are_bytes() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("checkpoints/arithmetic-tiny");
        let ids = Tokenizer::load(&dir).unwrap().encode(" has €").unwrap();
        let found = texts("arithmetic-tiny", &ids);
        assert!(!found.trims_lines && found.special.is_empty());
        let mut all = Vec::new();
        for (number, text) in found.text.iter().enumerate() {
            let whole = || text.as_bytes().to_vec();
            let bytes = found.bytes.get(&(number as u32)).cloned();
            all.extend(bytes.unwrap_or_else(whole));
        }
        assert_eq!(String::from_utf8(all).unwrap(), " has €");
    }

    #[test]
    fn letters_of_the_byte_alphabet() {
        assert_eq!(spelled_bytes("Ġa"), Some(vec![b' ', b'a']));
        assert_eq!(spelled_bytes("âĤ¬"), Some("€".as_bytes().to_vec()));
        assert_eq!(spelled_bytes("<0xE2>"), Some(vec![0xe2]));
        assert_eq!(spelled_bytes("日"), None);
    }
}
