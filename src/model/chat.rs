//! Chat templates, rendered as transformers renders them.
//!
//! A model's template is a Jinja program. transformers runs it with `trim_blocks` and
//! `lstrip_blocks`, Python's string methods, and four additions: `raise_exception`,
//! `strftime_now`, a `tojson` that does not escape HTML, and `{% generation %}` marks.

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value, ValueKind};
use minijinja::{AutoEscape, Environment, Error as JinjaError, ErrorKind, context};

use crate::task::Message;

const NAME: &str = "chat_template";

/// Instructions of a rendering at most; long conversations take some tens of thousands.
const FUEL: u64 = 5_000_000;

/// Why a conversation could not be rendered.
#[derive(Debug, thiserror::Error)]
pub enum ChatError {
    #[error(
        "the model's chat template does not parse: {0}; mend chat_template in tokenizer_config.json"
    )]
    Parse(#[source] JinjaError),
    #[error(
        "the model's chat template refused the conversation: {0}; mend chat_template in tokenizer_config.json"
    )]
    Render(#[source] JinjaError),
}

/// A compiled chat template and the special tokens it may name.
#[derive(Debug, Clone)]
pub struct ChatTemplate {
    environment: Environment<'static>,
    special: Vec<(String, String)>,
}

impl ChatTemplate {
    /// Compiles `source`. `special` holds variables such as `("bos_token", "<s>")`.
    ///
    /// # Errors
    /// A template that does not parse.
    pub fn new(source: &str, special: Vec<(String, String)>) -> Result<ChatTemplate, ChatError> {
        let mut environment = Environment::new();
        let syntax = SyntaxConfig::builder()
            .trim_blocks(true)
            .lstrip_blocks(true)
            .build()
            .map_err(ChatError::Parse)?;
        environment.set_syntax(syntax);
        environment.set_auto_escape_callback(|_| AutoEscape::None);
        // Templates come with models from anywhere; one that never ends must end.
        environment.set_fuel(Some(FUEL));
        environment
            .set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        environment.add_filter("tojson", to_json);
        environment
            .add_template_owned(NAME, without_generation_marks(source))
            .map_err(ChatError::Parse)?;
        Ok(ChatTemplate {
            environment,
            special,
        })
    }

    /// The text of a conversation, with the opening of the assistant's turn if
    /// `add_generation_prompt`.
    ///
    /// # Errors
    /// A conversation that the template rejects, such as two user turns in a row for some models.
    pub fn render(
        &self,
        messages: &[Message],
        add_generation_prompt: bool,
    ) -> Result<String, ChatError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|m| {
                Value::from_pairs([("role", m.role.as_str()), ("content", m.content.as_str())])
            })
            .collect();
        let special = Value::from_pairs(
            self.special
                .iter()
                .map(|(name, token)| (name.as_str(), token.as_str())),
        );
        let context = context! {
            messages,
            add_generation_prompt,
            tools => Value::from(()),
            documents => Value::from(()),
            ..special
        };
        self.environment
            .get_template(NAME)
            .and_then(|template| template.render(context))
            .map_err(ChatError::Render)
    }
}

/// `{% generation %}` marks the assistant's words for training masks and prints nothing; Jinja
/// knows it only through an extension. As `if true` it keeps its effect on white space.
fn without_generation_marks(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        let Some((inner, after)) = tag[2..].split_once("%}") else {
            break;
        };
        let word = inner.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+');
        let replacement = match word {
            "generation" => "if true",
            "endgeneration" => "endif",
            other => other,
        };
        out.push_str(before);
        out.push_str("{%");
        out.push_str(&inner.replacen(word, replacement, 1));
        out.push_str("%}");
        rest = after;
    }
    out.push_str(rest);
    out
}

fn raise_exception(message: String) -> Result<Value, JinjaError> {
    Err(JinjaError::new(ErrorKind::InvalidOperation, message))
}

/// `datetime.now().strftime(format)`: Python, too, hands the format to the C library.
fn strftime_now(format: String) -> Result<String, JinjaError> {
    let invalid = |message| JinjaError::new(ErrorKind::InvalidOperation, message);
    let format = std::ffi::CString::new(format)
        .map_err(|_| invalid("strftime_now: the format contains a zero byte"))?;
    let mut buffer = vec![0_u8; 1024];
    // SAFETY: `time` and `localtime_r` fill plain structures that live on this stack frame, and
    // `strftime` writes at most `buffer.len()` bytes, counting the final zero that it leaves out.
    let written = unsafe {
        let now = libc::time(std::ptr::null_mut());
        let mut parts: libc::tm = std::mem::zeroed();
        if libc::localtime_r(&now, &mut parts).is_null() {
            return Err(invalid("strftime_now: the local time is unknown"));
        }
        libc::strftime(
            buffer.as_mut_ptr().cast(),
            buffer.len(),
            format.as_ptr(),
            &parts,
        )
    };
    buffer.truncate(written);
    String::from_utf8(buffer).map_err(|_| invalid("strftime_now: the result is not UTF-8"))
}

/// `json.dumps(value, ensure_ascii=False, indent=..., separators=..., sort_keys=...)`.
fn to_json(value: &Value, kwargs: Kwargs) -> Result<String, JinjaError> {
    let indent: Option<usize> = kwargs.get("indent")?;
    let ensure_ascii: Option<bool> = kwargs.get("ensure_ascii")?;
    let sort_keys: Option<bool> = kwargs.get("sort_keys")?;
    let separators: Option<Vec<String>> = kwargs.get("separators")?;
    kwargs.assert_all_used()?;
    let (item, key) = match separators.as_deref() {
        Some([item, key]) => (item.clone(), key.clone()),
        _ if indent.is_some() => (",".into(), ": ".into()),
        _ => (", ".into(), ": ".into()),
    };
    let style = JsonStyle {
        indent,
        ensure_ascii: ensure_ascii.unwrap_or(false),
        sort_keys: sort_keys.unwrap_or(false),
        item,
        key,
    };
    let mut out = String::new();
    style.write(&mut out, value, 0)?;
    Ok(out)
}

struct JsonStyle {
    indent: Option<usize>,
    ensure_ascii: bool,
    sort_keys: bool,
    item: String,
    key: String,
}

impl JsonStyle {
    fn write(&self, out: &mut String, value: &Value, depth: usize) -> Result<(), JinjaError> {
        match value.kind() {
            ValueKind::Undefined | ValueKind::None => out.push_str("null"),
            ValueKind::Bool => out.push_str(if value.is_true() { "true" } else { "false" }),
            ValueKind::Number => out.push_str(&value.to_string()),
            ValueKind::String => self.string(out, value.as_str().unwrap_or_default()),
            ValueKind::Map => {
                let mut keys: Vec<Value> = value.try_iter()?.collect();
                if self.sort_keys {
                    keys.sort();
                }
                self.items(out, "{", "}", depth, keys.into_iter(), |style, out, key| {
                    style.string(out, &key.to_string());
                    out.push_str(&style.key);
                    style.write(out, &value.get_item(&key)?, depth + 1)
                })?;
            }
            ValueKind::Seq | ValueKind::Iterable => {
                let items = value.try_iter()?;
                self.items(out, "[", "]", depth, items, |style, out, item| {
                    style.write(out, &item, depth + 1)
                })?;
            }
            other => {
                return Err(JinjaError::new(
                    ErrorKind::InvalidOperation,
                    format!("tojson: a {other} has no JSON form"),
                ));
            }
        }
        Ok(())
    }

    fn items(
        &self,
        out: &mut String,
        open: &str,
        close: &str,
        depth: usize,
        items: impl Iterator<Item = Value>,
        write: impl Fn(&Self, &mut String, Value) -> Result<(), JinjaError>,
    ) -> Result<(), JinjaError> {
        out.push_str(open);
        let mut any = false;
        for item in items {
            if any {
                out.push_str(&self.item);
            }
            any = true;
            self.line(out, depth + 1);
            write(self, out, item)?;
        }
        if any {
            self.line(out, depth);
        }
        out.push_str(close);
        Ok(())
    }

    fn line(&self, out: &mut String, depth: usize) {
        if let Some(width) = self.indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', width * depth));
        }
    }

    fn string(&self, out: &mut String, text: &str) {
        out.push('"');
        for c in text.chars() {
            match c {
                '"' => out.push_str("\\\""),
                '\\' => out.push_str("\\\\"),
                '\n' => out.push_str("\\n"),
                '\r' => out.push_str("\\r"),
                '\t' => out.push_str("\\t"),
                '\u{8}' => out.push_str("\\b"),
                '\u{c}' => out.push_str("\\f"),
                c if c < ' ' || (self.ensure_ascii && !c.is_ascii()) => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        out.push_str(&format!("\\u{unit:04x}"));
                    }
                }
                c => out.push(c),
            }
        }
        out.push('"');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(role: &str, content: &str) -> Message {
        Message {
            role: role.into(),
            content: content.into(),
        }
    }

    fn render(source: &str, messages: &[Message]) -> Result<String, ChatError> {
        let special = vec![("eos_token".to_string(), "</s>".to_string())];
        ChatTemplate::new(source, special)?.render(messages, true)
    }

    #[test]
    fn blocks_take_their_line_with_them() {
        let source = "{% for m in messages %}\n    {{ m['content'].strip() + eos_token }}\n{% endfor %}\n{% if add_generation_prompt %}\n>{% endif %}";
        let text = render(source, &[message("user", " 1 < 2 & 'x' ")]).unwrap();
        assert_eq!(text, "    1 < 2 & 'x'</s>\n>");
    }

    #[test]
    fn an_undefined_token_prints_nothing_and_tools_are_none() {
        let text = render("{{ bos_token }}{% if tools is none %}no{% endif %}", &[]).unwrap();
        assert_eq!(text, "no");
    }

    #[test]
    fn the_template_can_refuse() {
        let error = render("{{ raise_exception('roles must alternate') }}", &[]).unwrap_err();
        assert!(
            format!("{error}").contains("roles must alternate"),
            "{error}"
        );
        assert!(matches!(render("{% for %}", &[]), Err(ChatError::Parse(_))));
    }

    #[test]
    fn json_is_pythons() {
        let source = r#"{{ {"a": [1, 2.5, true, none], "é<'": "x\n\"y"} | tojson }}|{{ [] | tojson(indent=2) }}|{{ {"b": {}, "a": [1]} | tojson(indent=2, sort_keys=true) }}|{{ "é" | tojson(ensure_ascii=true) }}"#;
        assert_eq!(
            render(source, &[]).unwrap(),
            "{\"a\": [1, 2.5, true, null], \"é<'\": \"x\\n\\\"y\"}|[]|{\n  \"a\": [\n    1\n  ],\n  \"b\": {}\n}|\"\\u00e9\""
        );
    }

    #[test]
    fn a_tag_that_closes_as_it_opens_is_refused() {
        // The search for `%}` used to find that of `{%}`.
        assert!(render("{%} endif %}", &[]).is_err());
        assert_eq!(without_generation_marks("{%} x {%"), "{%} x {%");
    }

    #[test]
    fn generation_marks_print_nothing() {
        let source = "a\n{%- generation -%}\n b \n{%- endgeneration %}c";
        assert_eq!(render(source, &[]).unwrap(), "abc");
    }

    #[test]
    fn the_date_is_formatted() {
        let year = render("{{ strftime_now('%Y') }}", &[]).unwrap();
        assert!(year.len() == 4 && year.parse::<u32>().is_ok(), "{year}");
    }
}
