//! Text to token ids and back, with the stop tokens and chat template that belong to them.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::Model;

use super::chat::{ChatError, ChatTemplate};
use super::config::token_ids;
use crate::guard::guarded;
use crate::task::Message;

const TOKENIZER: &str = "tokenizer.json";
const TOKENIZER_CONFIG: &str = "tokenizer_config.json";
const GENERATION_CONFIG: &str = "generation_config.json";
const CHAT_TEMPLATE: &str = "chat_template.jinja";
/// The end of a turn in ChatML, the format of Qwen's, SmolLM's and many other templates.
const CHATML_END: &str = "<|im_end|>";

/// Why a tokenizer could not be read or used.
#[derive(Debug, thiserror::Error)]
pub enum TokenizerError {
    #[error(
        "{}: no tokenizer.json here; copy it from the Hugging Face repository that the weights came from", .0.display()
    )]
    NotFound(PathBuf),
    #[error("{}: {source}", .path.display())]
    Io {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{}: {reason}; fetch the file again", .path.display())]
    Invalid { path: PathBuf, reason: String },
    #[error(
        "{}: nothing says which token ends a text; expected `eos_token_id` in generation_config.json or config.json, or `eos_token` in tokenizer_config.json", .0.display()
    )]
    NoStopToken(PathBuf),
    #[error("{text:?} cannot be tokenised: {reason}")]
    Encode { text: String, reason: String },
    #[error(transparent)]
    Chat(#[from] ChatError),
}

/// The files of a tokenizer as they lie in a model directory, kept so that a checkpoint carries
/// them on unchanged.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Files {
    pub tokenizer: String,
    pub tokenizer_config: Option<String>,
    pub generation_config: Option<String>,
    pub chat_template: Option<String>,
}

/// A Hugging Face tokenizer, its stop tokens and its chat template.
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    files: Files,
    template: Option<ChatTemplate>,
    stop: Vec<u32>,
    vocab_size: usize,
}

impl Tokenizer {
    /// Reads `tokenizer.json` and, where they exist, `tokenizer_config.json`,
    /// `generation_config.json`, `chat_template.jinja` and the stop tokens of `config.json`.
    ///
    /// # Errors
    /// No `tokenizer.json`, a file that does not parse, or no stop token anywhere.
    pub fn load(dir: &Path) -> Result<Tokenizer, TokenizerError> {
        let read = |name: &str| {
            let path = dir.join(name);
            match std::fs::read_to_string(&path) {
                Ok(text) => Ok(Some(text)),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
                Err(source) => Err(TokenizerError::Io { path, source }),
            }
        };
        let files = Files {
            tokenizer: read(TOKENIZER)?
                .ok_or_else(|| TokenizerError::NotFound(dir.to_path_buf()))?,
            tokenizer_config: read(TOKENIZER_CONFIG)?,
            generation_config: read(GENERATION_CONFIG)?,
            chat_template: read(CHAT_TEMPLATE)?,
        };
        Tokenizer::from_files(files, read("config.json")?.as_deref(), dir)
    }

    /// `dir` names the place in errors only.
    pub(crate) fn from_files(
        files: Files,
        config: Option<&str>,
        dir: &Path,
    ) -> Result<Tokenizer, TokenizerError> {
        let invalid = |name: &str, reason: String| TokenizerError::Invalid {
            path: dir.join(name),
            reason,
        };
        let json = |name: &str, text: Option<&str>| match text {
            Some(text) => serde_json::from_str(text).map_err(|e| invalid(name, e.to_string())),
            None => Ok(Value::Null),
        };
        let tokenizer_config = json(TOKENIZER_CONFIG, files.tokenizer_config.as_deref())?;
        let generation_config = json(GENERATION_CONFIG, files.generation_config.as_deref())?;
        let config = json("config.json", config)?;
        let parsed = guarded(|| files.tokenizer.parse());
        let mut inner: tokenizers::Tokenizer =
            parsed
                .map_err(|panic| invalid(TOKENIZER, panic))?
                .map_err(|e: tokenizers::Error| invalid(TOKENIZER, e.to_string()))?;
        // A length limit that was saved with the tokenizer would cut prompts silently.
        inner
            .with_truncation(None)
            .map_err(|e| invalid(TOKENIZER, e.to_string()))?;
        inner.with_padding(None);

        let special = special_tokens(&tokenizer_config);
        for (_, token) in &special {
            if inner.token_to_id(token).is_some() {
                inner
                    .add_special_tokens([AddedToken::from(token.as_str(), true)])
                    .map_err(|e| invalid(TOKENIZER, e.to_string()))?;
            }
        }
        let source = match &files.chat_template {
            Some(text) => Some(text.clone()),
            None => inline_template(&tokenizer_config),
        };

        warn_of_collisions(&inner, dir);
        let named = |token: &str| {
            inner
                .token_to_id(token)
                .filter(|&id| owner(&inner, id).is_none())
        };
        let mut stop: Vec<u32> = special
            .iter()
            .filter(|(name, _)| name == "eos_token")
            .filter_map(|(_, token)| named(token))
            .collect();
        stop.extend(token_ids(&generation_config, "eos_token_id"));
        stop.extend(token_ids(&config, "eos_token_id"));
        if source.as_ref().is_some_and(|s| s.contains(CHATML_END)) {
            stop.extend(named(CHATML_END));
        }
        let mut seen = Vec::new();
        stop.retain(|id| {
            !seen.contains(id) && {
                seen.push(*id);
                true
            }
        });
        if stop.is_empty() {
            return Err(TokenizerError::NoStopToken(dir.to_path_buf()));
        }
        let last = inner.get_vocab(true).into_values().max();
        Ok(Tokenizer {
            template: source
                .map(|text| ChatTemplate::new(&text, special))
                .transpose()?,
            vocab_size: last.map_or(0, |id| id as usize + 1),
            inner,
            files,
            stop,
        })
    }

    /// The tokens of `text` and nothing else: no beginning-of-text token is added.
    ///
    /// # Errors
    /// Text outside the vocabulary of a tokenizer without an unknown token.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TokenizerError> {
        self.encode_with(text, false)
    }

    fn encode_with(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        let encoded = guarded(|| self.inner.encode_fast(text, add_special));
        let encoded = encoded.map_err(|reason| TokenizerError::Encode {
            text: shortened(text),
            reason,
        })?;
        let encoding = encoded.map_err(|e| {
            let unknown = text
                .split_whitespace()
                .find(|word| self.inner.token_to_id(word).is_none());
            TokenizerError::Encode {
                text: shortened(text),
                reason: match unknown {
                    Some(word) => format!("`{}` is not in the vocabulary", shortened(word)),
                    None => e.to_string(),
                },
            }
        })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// The text of `tokens` without special tokens. Ids beyond the vocabulary give no text.
    pub fn decode(&self, tokens: &[u32]) -> String {
        // A decoder that fails leaves the raw tokens readable, for the grader to call wrong.
        let decoded = guarded(|| self.inner.decode(tokens, true).ok());
        decoded.ok().flatten().unwrap_or_else(|| {
            let tokens = tokens.iter().filter_map(|&id| self.inner.id_to_token(id));
            tokens.collect()
        })
    }

    /// The tokens after which a completion ends, the tokenizer's own end-of-text first. Never
    /// empty. The union of what tokenizer, generation and model configuration name, and ChatML's
    /// `<|im_end|>` where the chat template writes it.
    pub fn stop_tokens(&self) -> &[u32] {
        &self.stop
    }

    /// Whether another one gives the same text the same tokens and ends it by the same ones.
    pub fn same_tokens(&self, other: &Tokenizer) -> bool {
        self.files.tokenizer == other.files.tokenizer && self.stop == other.stop
    }

    /// The token that training appends to a finished text: the first stop token.
    pub fn eos(&self) -> u32 {
        self.stop[0]
    }

    /// The highest id plus one. A model may have a wider embedding, never a narrower one.
    pub fn vocab_size(&self) -> usize {
        self.vocab_size
    }

    /// The id of a token by its exact spelling in the vocabulary.
    pub fn token_to_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// The spelling of a token in the vocabulary (byte-level tokenizers write a space as `Ġ`).
    pub fn id_to_token(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)
    }

    /// Whether the model came with a chat template.
    pub fn has_chat_template(&self) -> bool {
        self.template.is_some()
    }

    /// The conversation as the chat template writes it, up to the assistant's turn; `None` without
    /// a template.
    ///
    /// # Errors
    /// A conversation that the template rejects.
    pub fn render(&self, messages: &[Message]) -> Result<Option<String>, TokenizerError> {
        let rendered = self.template.as_ref().map(|t| t.render(messages, true));
        Ok(rendered.transpose()?)
    }

    /// The tokens of a prompt: of `messages` through the chat template if there are both, else of
    /// `plain` with the special tokens that the tokenizer puts around a text.
    ///
    /// # Errors
    /// A conversation that the template rejects, or text outside the vocabulary.
    pub fn prompt(&self, plain: &str, messages: &[Message]) -> Result<Vec<u32>, TokenizerError> {
        match &self.template {
            Some(template) if !messages.is_empty() => {
                self.encode(&template.render(messages, true)?)
            }
            _ => self.encode_with(plain, true),
        }
    }

    /// Writes the files that [`Tokenizer::load`] read, byte for byte.
    ///
    /// # Errors
    /// A failing disk.
    pub fn save(&self, dir: &Path) -> Result<(), TokenizerError> {
        let files = [
            (TOKENIZER, Some(&self.files.tokenizer)),
            (TOKENIZER_CONFIG, self.files.tokenizer_config.as_ref()),
            (GENERATION_CONFIG, self.files.generation_config.as_ref()),
            (CHAT_TEMPLATE, self.files.chat_template.as_ref()),
        ];
        for (name, text) in files {
            if let Some(text) = text {
                let path = dir.join(name);
                std::fs::write(&path, text)
                    .map_err(|source| TokenizerError::Io { path, source })?;
            }
        }
        Ok(())
    }
}

/// The vocabulary entry that `id` belongs to besides the added token of that id.
fn owner(tokenizer: &tokenizers::Tokenizer, id: u32) -> Option<String> {
    let entry = tokenizer.get_model().id_to_token(id)?;
    (tokenizer.id_to_token(id)? != entry).then_some(entry)
}

/// A converter that leaves special tokens out of the vocabulary makes the tokenizer library number
/// them anew, over other entries. transformers reads such a file alike, so it is used as it is.
fn warn_of_collisions(tokenizer: &tokenizers::Tokenizer, dir: &Path) {
    let mut collisions = tokenizer
        .get_added_tokens_decoder()
        .into_iter()
        .filter_map(|(id, token)| Some((id, token.content, owner(tokenizer, id)?)));
    if let Some((id, token, entry)) = collisions.next() {
        let (path, more) = (dir.join(TOKENIZER), collisions.count());
        tracing::warn!(
            "{}: the special token `{token}` gets id {id}, which is also `{entry}` ({more} more like it); \
             the model will not understand it: fetch the original tokenizer.json",
            path.display()
        );
    }
}

/// The special tokens by their role, as strings: `tokenizer_config.json` writes each as a string or
/// as an object with `content`.
fn special_tokens(config: &Value) -> Vec<(String, String)> {
    let roles = [
        "bos_token",
        "eos_token",
        "unk_token",
        "sep_token",
        "pad_token",
        "cls_token",
        "mask_token",
    ];
    let text = |role: &str| match config.get(role)? {
        Value::String(token) => Some(token.clone()),
        object => Some(object.get("content")?.as_str()?.to_string()),
    };
    let tokens = roles
        .iter()
        .filter_map(|role| Some((role.to_string(), text(role)?)));
    tokens.collect()
}

/// `chat_template` as a string, or the one named `default` of a list.
fn inline_template(config: &Value) -> Option<String> {
    match config.get("chat_template")? {
        Value::String(text) => Some(text.clone()),
        Value::Array(all) => {
            let default = all
                .iter()
                .find(|t| t.get("name").and_then(Value::as_str) == Some("default"))?;
            Some(default.get("template")?.as_str()?.to_string())
        }
        _ => None,
    }
}

/// At most 60 characters, for messages.
fn shortened(text: &str) -> String {
    match text.char_indices().nth(60) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORDS: &str = r#"{"version":"1.0","truncation":{"direction":"Right","max_length":1,"strategy":"LongestFirst","stride":0},
        "padding":null,"added_tokens":[],"normalizer":null,"pre_tokenizer":{"type":"WhitespaceSplit"},
        "post_processor":null,"decoder":null,
        "model":{"type":"WordLevel","vocab":{"<eos>":0,"a":1,"b":2,"<|im_end|>":3},"unk_token":"<unk>"}}"#;

    fn tokenizer(config: &str, generation: &str) -> Result<Tokenizer, TokenizerError> {
        let files = Files {
            tokenizer: WORDS.into(),
            tokenizer_config: Some(config.into()),
            generation_config: Some(generation.into()),
            chat_template: None,
        };
        Tokenizer::from_files(files, None, Path::new("model"))
    }

    #[test]
    fn stop_tokens_are_the_union_with_the_tokenizers_own_first() {
        let config = r#"{"eos_token":{"content":"b"},"chat_template":"{{ messages[0].content }}<|im_end|>"}"#;
        let t = tokenizer(config, r#"{"eos_token_id":[0,2]}"#).unwrap();
        assert_eq!(t.stop_tokens(), [2, 0, 3]);
        assert_eq!(t.eos(), 2);
        assert!(matches!(
            tokenizer("{}", "{}"),
            Err(TokenizerError::NoStopToken(_))
        ));
    }

    #[test]
    fn a_special_token_with_anothers_id_does_not_stop_a_text() {
        let added = r#""added_tokens":[{"id":7,"content":"</s>","single_word":false,"lstrip":false,
            "rstrip":false,"normalized":false,"special":true}]"#;
        // Three words, the last of which has the id that the library gives to the fourth.
        let words = WORDS
            .replace("\"added_tokens\":[]", added)
            .replace(",\"b\":2,\"<|im_end|>\":3", ",\"b\":3");
        let files = Files {
            tokenizer: words,
            tokenizer_config: Some(r#"{"eos_token":"</s>"}"#.into()),
            generation_config: Some(r#"{"eos_token_id":0}"#.into()),
            chat_template: None,
        };
        let t = Tokenizer::from_files(files, None, Path::new("model")).unwrap();
        assert_eq!(t.token_to_id("</s>"), t.token_to_id("b"));
        assert_eq!(t.stop_tokens(), [0]);
    }

    #[test]
    fn prompts_are_never_cut_and_unknown_words_are_named() {
        let t = tokenizer(r#"{"eos_token":"<eos>"}"#, "{}").unwrap();
        assert_eq!(t.encode("a b a").unwrap(), [1, 2, 1]);
        assert_eq!(t.decode(&[1, 2, 0]), "a b");
        assert_eq!(t.vocab_size(), 4);
        let message = t.encode("a what b").unwrap_err().to_string();
        assert!(message.contains("`what`"), "{message}");
    }

    #[test]
    fn the_template_is_used_only_for_messages() {
        let config = r#"{"eos_token":"<eos>","chat_template":[{"name":"tool_use","template":"b b b"},{"name":"default","template":"b {{ messages[0].content }}"}]}"#;
        let t = tokenizer(config, "{}").unwrap();
        let messages = [Message {
            role: "user".into(),
            content: "a".into(),
        }];
        assert_eq!(t.prompt("a a", &messages).unwrap(), [2, 1]);
        assert_eq!(t.prompt("a a", &[]).unwrap(), [1, 1]);
    }
}
