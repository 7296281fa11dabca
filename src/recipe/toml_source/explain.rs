//! The parser's and serde's complaints in plain words, with a remedy.

use std::ops::Range;
use std::sync::Arc;

use miette::NamedSource;

use super::error::{Error, Kind};
use super::place::{Part, Place, Places};
use super::set::dotted;
use super::suggest;

/// A complaint about a path of the text.
#[derive(Debug)]
pub(super) struct Told {
    pub path: Vec<String>,
    pub part: Part,
    pub kind: Kind,
    pub message: String,
    pub label: String,
    pub help: String,
}

/// A complaint about a text that is not TOML.
pub(super) fn syntax(
    source: Arc<NamedSource<String>>,
    raw: &str,
    span: Option<Range<usize>>,
) -> Error {
    let text = source.inner();
    let span = span.unwrap_or(0..0);
    let found = &text[span.clone()];
    let mut kind = Kind::Syntax;
    let (message, label, help) = if raw.starts_with("duplicate key") {
        kind = Kind::DuplicateKey;
        let help = "keep one of the two; a table's keys all go under one header".to_owned();
        (format!("`{found}` is given twice"), "the second time", help)
    } else if raw.starts_with("string values must be quoted") && found.trim().is_empty() {
        let help = "write a value after the `=`, or delete the line".to_owned();
        (
            "a value is missing".to_owned(),
            "nothing after the `=`",
            help,
        )
    } else if raw.starts_with("string values must be quoted") {
        let message = format!("`{}` is not a TOML value", found.trim());
        let help = format!("text needs quotes: \"{}\"", found.trim());
        (message, "not a value", help)
    } else if raw.contains("integer") && raw.contains("overflow") {
        let message = format!("`{found}` is not a number that fits");
        let help = "whole numbers reach from -9223372036854775808 to 9223372036854775807";
        (message, "not a number that fits", help.to_owned())
    } else {
        let message = format!("this is not TOML: {}", raw.replace('\n', ", "));
        let help = match raw.split_once(", expected ") {
            Some((_, wanted)) => format!("expected here: {wanted}"),
            None => "write `key = value` lines under `[table]` headers".to_owned(),
        };
        (message, "the parser stops here", help)
    };
    Error::at(kind, message, Arc::clone(&source), span, label.into()).with_help(help)
}

/// A complaint about a text that is TOML but not the wanted type.
pub(super) fn value(places: &Places, raw: &str, span: Range<usize>) -> Told {
    let (path, part) = match places.find(&span) {
        Some((place, part)) => (place.path.clone(), part),
        None => (Vec::new(), Part::Value),
    };
    let quoted: Vec<&str> = raw.split('`').skip(1).step_by(2).collect();
    match (raw.split(' ').next(), quoted.split_first()) {
        (Some("unknown"), Some((name, valid))) if raw.starts_with("unknown field") => {
            unknown_key(path, part, name, valid)
        }
        (Some("unknown"), Some((name, valid))) if raw.starts_with("unknown variant") => {
            unknown_name(path, name, valid)
        }
        (Some("missing"), Some((name, _))) if raw.starts_with("missing field") => {
            missing_key(path, name)
        }
        _ => wrong_value(places, path, raw),
    }
}

fn unknown_key(mut path: Vec<String>, part: Part, name: &str, valid: &[&str]) -> Told {
    // Tagged enums are buffered by serde, which leaves the table's place only.
    if part == Part::Value || path.last().is_none_or(|last| last != name) {
        path.push(name.to_owned());
    }
    let table = table_name(&path[..path.len() - 1]);
    let help = match suggest(name, valid) {
        Some(near) => format!("did you mean `{near}`?"),
        None if valid.is_empty() => format!("{table} has no keys"),
        None => {
            let mut keys = valid.to_vec();
            keys.sort_unstable();
            format!("the keys of {table} are: {}", keys.join(", "))
        }
    };
    Told {
        kind: Kind::UnknownKey,
        message: format!("unknown key `{}`", dotted(&path)),
        label: "unknown key".into(),
        help,
        part: Part::Key,
        path,
    }
}

fn unknown_name(path: Vec<String>, name: &str, valid: &[&str]) -> Told {
    let all = valid.join(", ");
    let help = match suggest(name, valid) {
        Some(near) => format!("did you mean \"{near}\"? It can be: {all}"),
        None => format!("it can be: {all}"),
    };
    Told {
        kind: Kind::BadValue,
        message: format!("`{}` cannot be \"{name}\"", dotted(&path)),
        label: "not one of its values".into(),
        help,
        part: Part::Value,
        path,
    }
}

fn missing_key(path: Vec<String>, name: &str) -> Told {
    let table = table_name(&path);
    let mut full = path.clone();
    full.push(name.to_owned());
    Told {
        kind: Kind::MissingKey,
        message: format!("{table} lacks the key `{name}`"),
        label: format!("`{name}` is missing here"),
        help: format!(
            "give `{name}` a value in {table}, or add --set {}=...",
            dotted(&full)
        ),
        part: Part::Value,
        path,
    }
}

fn wrong_value(places: &Places, mut path: Vec<String>, raw: &str) -> Told {
    let (found, expected) = match raw.rsplit_once(", expected ") {
        Some((found, expected)) => (found, expected),
        None => (raw, ""),
    };
    let found = ["invalid type: ", "invalid value: "]
        .iter()
        .find_map(|prefix| found.strip_prefix(prefix));
    // As above: the table's place only, so look for the value in it.
    if let Some(scalar) = found.and_then(scalar)
        && places.get(&path).is_none_or(|place| place.scalar.is_none())
    {
        let same = |place: &&Place| place.scalar.as_deref() == Some(scalar);
        let inside: Vec<&Place> = places.children(&path).filter(same).collect();
        if let [only] = inside[..] {
            path = only.path.clone();
        }
    }
    let name = dotted(&path);
    let subject = if path.is_empty() {
        "the file".to_owned()
    } else {
        format!("`{name}`")
    };
    let is_date = places.get(&path).is_some_and(|place| place.is_date);
    let (message, help) = match found {
        Some(found) => {
            let (wanted, help) = wanted(expected, path.last().map_or("", String::as_str), &name);
            let found = if is_date {
                "a date".to_owned()
            } else {
                plain(found)
            };
            (
                format!("{subject} must be {wanted}, but it is {found}"),
                help,
            )
        }
        None => (
            format!("{subject} is not what it should be: {raw}"),
            format!("correct the value of {subject}"),
        ),
    };
    Told {
        kind: Kind::BadValue,
        message,
        label: "this value".into(),
        help,
        part: Part::Value,
        path,
    }
}

/// The top level, or a table's header.
fn table_name(path: &[String]) -> String {
    if path.is_empty() {
        "the top level".into()
    } else {
        format!("[{}]", dotted(path))
    }
}

/// serde's name of a scalar that it found, without quotes.
fn scalar(found: &str) -> Option<&str> {
    let text = found
        .strip_prefix("string ")
        .map(|text| text.trim_matches('"'));
    text.or_else(|| found.split('`').nth(1))
}

/// serde's name of what it found, in plain words.
fn plain(found: &str) -> String {
    match found {
        "map" => "a table".into(),
        "sequence" => "a list".into(),
        _ => match (found.strip_prefix("string "), found.split('`').nth(1)) {
            (Some(text), _) => format!("the text {text}"),
            (None, Some(number)) => number.to_owned(),
            (None, None) => found.to_owned(),
        },
    }
}

/// What serde expected, in plain words, and how to write it.
fn wanted(expected: &str, key: &str, path: &str) -> (String, String) {
    let number = expected.strip_prefix("a nonzero ");
    let range = match number.unwrap_or(expected) {
        "u8" => Some((0, u8::MAX.into())),
        "u16" => Some((0, u16::MAX.into())),
        "u32" => Some((0, u32::MAX.into())),
        "u64" | "usize" => Some((0, i64::MAX)),
        "i8" => Some((i8::MIN.into(), i8::MAX.into())),
        "i16" => Some((i16::MIN.into(), i16::MAX.into())),
        "i32" => Some((i32::MIN.into(), i32::MAX.into())),
        "i64" | "isize" => Some((i64::MIN, i64::MAX)),
        _ => None,
    };
    if let Some((mut low, high)) = range {
        if number.is_some() && low == 0 {
            low = 1;
        }
        let help = format!(
            "write a whole number without quotes: `{key} = {}`",
            low.max(3)
        );
        return (format!("a whole number from {low} to {high}"), help);
    }
    match expected {
        "f32" | "f64" => (
            "a number".into(),
            format!("write it without quotes: `{key} = 0.5`"),
        ),
        "a boolean" => (
            "true or false".into(),
            format!("write `{key} = true` or `{key} = false`, without quotes"),
        ),
        "a string" | "path string" => (
            "text".into(),
            format!(
                "put it in quotes: `{key} = \"...\"` (on the command line: --set '{path}=\"...\"')"
            ),
        ),
        "a sequence" => (
            "a list".into(),
            format!("write it in brackets: `{key} = [...]`"),
        ),
        other if other.starts_with("struct ") || other == "a map" => (
            "a table".into(),
            format!("write its keys under a header `[{path}]`"),
        ),
        other => (other.to_owned(), format!("correct the value of `{path}`")),
    }
}
