//! The tokenizers of the two tiny models, made from nothing.

use std::path::Path;

use tokenizers::decoders::byte_level::ByteLevel as ByteLevelDecoder;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::sequence::Sequence as DecoderSequence;
use tokenizers::decoders::wordpiece::WordPiece;
use tokenizers::models::bpe::{BPE, BpeTrainer};
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::normalizers::replace::{Replace, ReplacePattern};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::sequence::Sequence;
use tokenizers::pre_tokenizers::split::{Split, SplitPattern};
use tokenizers::tokenizer::SplitDelimiterBehavior::{Isolated, Removed};
use tokenizers::{AddedToken, DecoderWrapper, PreTokenizerWrapper, TokenizerImpl};

use super::tokenizer::{Files, Tokenizer, TokenizerError};

/// A tokenizer with one token a word: a word's place in `vocabulary` is its id, and the first is the
/// stop token. Words are separated by single spaces, and a line break, where it is a word, needs
/// none around it. A word outside the vocabulary is an error, never a token.
///
/// # Errors
/// None in practice: the tokenizer crate's builders are fallible.
pub fn word_level(vocabulary: &[String]) -> Result<Tokenizer, TokenizerError> {
    let eos = vocabulary.first().map_or("", String::as_str);
    let build = || -> tokenizers::Result<_> {
        let ids = vocabulary.iter().cloned().zip(0..).collect();
        // This unknown token is in no vocabulary, which makes an unknown word an error.
        let model = WordLevel::builder()
            .vocab(ids)
            .unk_token("<unk>".into())
            .build()?;
        let mut tokenizer = tokenizers::Tokenizer::new(model);
        tokenizer.with_pre_tokenizer(Some(Sequence::new(vec![
            PreTokenizerWrapper::Split(Split::new(" ", Removed, false)?),
            PreTokenizerWrapper::Split(Split::new("\n", Isolated, false)?),
        ])));
        // A prefix that no word has makes WordPiece put a space before each word but the first;
        // then line breaks lose the spaces around them.
        let breaks = ReplacePattern::Regex(" ?\n ?".into());
        tokenizer.with_decoder(Some(DecoderSequence::new(vec![
            DecoderWrapper::WordPiece(WordPiece::new("\0".into(), false)),
            DecoderWrapper::Fuse(Fuse::new()),
            DecoderWrapper::Replace(Replace::new(breaks, "\n")?),
        ])));
        tokenizer.add_special_tokens([AddedToken::from(eos, true)])?;
        tokenizer.to_string(true)
    };
    finish(build(), eos)
}

/// Entries of the byte-level tokenizer before its whole words, at most. Generated text runs out of
/// pairs to merge a little below it.
const BYTE_LEVEL_ENTRIES: usize = 503;
const SPECIALS: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];

/// A byte-level BPE tokenizer trained on `texts`: any text can be written, a digit is one token, and
/// each of `words` (with its leading space) is one token from the start, however rare it is in the
/// texts. The same texts give the same tokenizer. The stop token is `<|endoftext|>`, id 0.
///
/// # Errors
/// None in practice: the tokenizer crate's builders are fallible.
pub fn byte_level<I>(texts: I, words: &[&str]) -> Result<Tokenizer, TokenizerError>
where
    I: IntoIterator<Item = String>,
    I::IntoIter: Send,
{
    let build = || -> tokenizers::Result<_> {
        let mut tokenizer: TokenizerImpl<
            BPE,
            tokenizers::NormalizerWrapper,
            PreTokenizerWrapper,
            tokenizers::PostProcessorWrapper,
            DecoderWrapper,
        > = TokenizerImpl::new(BPE::default());
        let pieces = SplitPattern::Regex(r" ?\p{N}| ?\p{L}+| ?[^\s\p{L}\p{N}]+|\s+".into());
        let pre_tokenizer = Sequence::new(vec![
            PreTokenizerWrapper::Split(Split::new(pieces, Isolated, false)?),
            PreTokenizerWrapper::ByteLevel(ByteLevel::new(false, true, false)),
        ]);
        tokenizer.with_pre_tokenizer(Some(pre_tokenizer));
        tokenizer.with_decoder(Some(ByteLevelDecoder::default()));
        let mut trainer = BpeTrainer::builder()
            .vocab_size(BYTE_LEVEL_ENTRIES)
            .special_tokens(SPECIALS.map(|t| AddedToken::from(t, true)).to_vec())
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .show_progress(false)
            .build();
        tokenizer.train(&mut trainer, texts.into_iter())?;
        tokenizer.add_tokens(words.iter().map(|&word| AddedToken::from(word, false)))?;
        tokenizer.to_string(true)
    };
    finish(build(), SPECIALS[0])
}

fn finish(built: tokenizers::Result<String>, eos: &str) -> Result<Tokenizer, TokenizerError> {
    let place = Path::new("the tokenizer under construction");
    let tokenizer = built.map_err(|e| TokenizerError::Invalid {
        path: place.to_path_buf(),
        reason: e.to_string(),
    })?;
    let tokenizer_config = serde_json::json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_prefix_space": false,
        "add_bos_token": false,
        "bos_token": null,
        "eos_token": eos,
        "pad_token": eos,
        "unk_token": null,
        "clean_up_tokenization_spaces": false,
    });
    // Both end-of-text tokens are the first of their vocabulary.
    let generation_config = serde_json::json!({
        "eos_token_id": 0,
        "pad_token_id": 0,
        "do_sample": false,
    });
    let files = Files {
        tokenizer: tokenizer + "\n",
        tokenizer_config: Some(format!("{tokenizer_config:#}\n")),
        generation_config: Some(format!("{generation_config:#}\n")),
        chat_template: None,
    };
    Tokenizer::from_files(files, None, place)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::task::{arithmetic, countdown};

    fn words() -> Tokenizer {
        word_level(&countdown::vocabulary()).unwrap()
    }

    fn bytes() -> Tokenizer {
        let texts = arithmetic::tokenizer_text(7, 5000);
        byte_level(texts, &arithmetic::RARE_WORDS).unwrap()
    }

    #[test]
    fn countdown_has_one_token_a_word() {
        let t = words();
        let number = |n: u32| 9 + n;
        assert_eq!(
            t.encode("1 4 9 11 make 35\n").unwrap(),
            [
                number(1),
                number(4),
                number(9),
                number(11),
                2,
                number(35),
                1
            ]
        );
        assert_eq!(t.encode("> <").unwrap(), [109, 110]);
        assert_eq!(t.vocab_size(), 111);
        assert_eq!(t.stop_tokens(), [0]);
        assert!(t.encode("100").is_err());
    }

    #[test]
    fn countdown_text_comes_back() {
        let t = words();
        let solution = "11 * 1 = 11 left 4 9 11\n35 = 35\n#### 35";
        for text in [solution, "1 4 make 35\n", "\n\n7", "7", ""] {
            let mut tokens = t.encode(text).unwrap();
            tokens.push(t.eos());
            assert_eq!(t.decode(&tokens), text);
        }
    }

    #[test]
    fn arithmetic_has_one_token_a_digit_and_a_rare_word() {
        let t = bytes();
        let pieces = |text: &str| -> Vec<String> {
            let tokens = t.encode(text).unwrap();
            tokens.iter().map(|&id| t.decode(&[id])).collect()
        };
        assert_eq!(
            pieces("Tom wins 125 coins."),
            ["Tom", " wins", " 1", "2", "5", " coins", "."]
        );
        for word in arithmetic::RARE_WORDS {
            assert_eq!(pieces(word), [word]);
        }
        let text = "Tom has 12 + 5 = 17 coins.\nÉtienne doubles the #### 17";
        assert_eq!(t.decode(&t.encode(text).unwrap()), text);
        assert_eq!(t.stop_tokens(), [0]);
        assert!((480..=512).contains(&t.vocab_size()), "{}", t.vocab_size());
    }

    #[test]
    fn the_same_texts_give_the_same_tokenizer() {
        let save = |t: Tokenizer| {
            let dir = tempfile::tempdir().unwrap();
            t.save(dir.path()).unwrap();
            std::fs::read_to_string(dir.path().join("tokenizer.json")).unwrap()
        };
        let first = save(bytes());
        for _ in 0..3 {
            assert_eq!(save(bytes()), first);
        }
    }
}
