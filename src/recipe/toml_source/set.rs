//! One `--set a.b=c`: reading it, applying it, finding its parts again.

use std::ops::Range;
use std::sync::Arc;

use miette::NamedSource;
use toml_edit::{InlineTable, Item, Key, TableLike, Value};

use super::error::{Error, Kind};
use super::place::Part;

/// An amendment, shown to the user as the argument it was.
#[derive(Debug, Clone)]
pub(super) struct Set {
    /// `--set a.b=c`, under the name "command line".
    source: Arc<NamedSource<String>>,
    path: Vec<String>,
    /// Where each part of the path lies in the source.
    keys: Vec<Range<usize>>,
    value: Range<usize>,
}

impl Set {
    /// Reads `a.b=c`.
    pub fn parse(argument: &str) -> Result<(Self, Value), Error> {
        const FLAG: &str = "--set ";
        let text = format!("{FLAG}{argument}");
        let end = text.len();
        let source = Arc::new(NamedSource::new("command line", text.clone()));
        let wrong = |message: String, range, label: &str, help: &str| {
            Error::at(
                Kind::BadSet,
                message,
                Arc::clone(&source),
                range,
                label.into(),
            )
            .with_help(help.into())
        };
        let form = "write `--set a.b=c`: the dotted path of a key, `=`, its value";
        let Some((left, right)) = argument.split_once('=') else {
            let message = format!("`{text}` gives no value");
            return Err(wrong(message, FLAG.len()..end, "there is no `=`", form));
        };
        let path: Vec<String> = match Key::parse(left) {
            Ok(keys) => keys.iter().map(|key| key.get().to_owned()).collect(),
            Err(_) => {
                let message = format!("`{text}` names no key");
                let range = FLAG.len()..FLAG.len() + left.len();
                return Err(wrong(message, range, "not a dotted path of keys", form));
            }
        };
        let mut keys = Vec::with_capacity(path.len());
        let mut from = FLAG.len();
        for name in &path {
            // A quoted key with escapes is not found as it is written: mark the rest.
            let to = FLAG.len() + left.len();
            let range = text[from..to]
                .find(name.as_str())
                .map_or(from..to, |offset| from + offset..from + offset + name.len());
            from = range.end;
            keys.push(range);
        }
        let written = right.trim();
        let start = end - right.trim_start().len();
        let range = match written.len() {
            // Nothing to mark but the `=`.
            0 => end - right.len() - 1..end - right.len(),
            length => start..start + length,
        };
        let value = match written.parse::<Value>() {
            Ok(value) => value,
            Err(_) if is_number(written) => {
                let message = format!("`{written}` in `{text}` is too large a number");
                let help = "whole numbers reach from -9223372036854775808 to 9223372036854775807";
                return Err(wrong(message, range, "out of range", help));
            }
            Err(cause) if written.starts_with(['"', '\'', '[', '{']) => {
                let message = format!("the value in `{text}` breaks off: {}", cause.message());
                let help = "close the quotes and brackets, and quote the whole argument for the \
                            shell: `--set 'a.b=[\"c\"]'`";
                return Err(wrong(message, range, "not a TOML value", help));
            }
            Err(_) => Value::from(written),
        };
        let set = Self {
            source,
            path,
            keys,
            value: range,
        };
        Ok((set, value))
    }

    /// Puts the value into a document. Tables on the way are made where they are
    /// missing; a list's entries must exist.
    pub fn apply(&self, root: &mut dyn TableLike, value: Value) -> Result<(), Error> {
        self.put_in_table(root, 0, value)
    }

    fn put_in_table(
        &self,
        table: &mut dyn TableLike,
        depth: usize,
        value: Value,
    ) -> Result<(), Error> {
        let name = &self.path[depth];
        if depth + 1 < self.path.len() {
            if !table.contains_key(name) {
                table.insert(name, Item::Value(InlineTable::new().into()));
            }
            return match table.get_mut(name) {
                Some(item) => self.put_in_item(item, depth + 1, value),
                None => Ok(()),
            };
        }
        match table.get_mut(name) {
            Some(Item::Value(old)) => replace(old, value),
            _ => {
                table.insert(name, Item::Value(value));
            }
        }
        Ok(())
    }

    fn put_in_item(&self, item: &mut Item, depth: usize, value: Value) -> Result<(), Error> {
        match item {
            Item::ArrayOfTables(list) => {
                let index = self.index(depth, list.len())?;
                match (list.get_mut(index), depth + 1 < self.path.len()) {
                    (Some(table), true) => self.put_in_table(table, depth + 1, value),
                    _ => Err(self.no_table(depth + 1, "a table; set its keys one by one")),
                }
            }
            Item::Value(inner) => self.put_in_value(inner, depth, value),
            _ => match item.as_table_like_mut() {
                Some(table) => self.put_in_table(table, depth, value),
                None => Err(self.no_table(depth, "no table")),
            },
        }
    }

    fn put_in_value(&self, inner: &mut Value, depth: usize, value: Value) -> Result<(), Error> {
        match inner {
            Value::InlineTable(table) => self.put_in_table(table, depth, value),
            Value::Array(list) => {
                let index = self.index(depth, list.len())?;
                match list.get_mut(index) {
                    Some(entry) if depth + 1 < self.path.len() => {
                        self.put_in_value(entry, depth + 1, value)
                    }
                    Some(entry) => {
                        replace(entry, value);
                        Ok(())
                    }
                    None => Err(self.no_table(depth, "no list")),
                }
            }
            _ => Err(self.no_table(depth, "a single value, which has no keys")),
        }
    }

    /// The list position that a part of the path names.
    fn index(&self, depth: usize, length: usize) -> Result<usize, Error> {
        let name = &self.path[depth];
        if let Some(index) = name.parse().ok().filter(|index| *index < length) {
            return Ok(index);
        }
        let list = dotted(&self.path[..depth]);
        let entries = match length {
            0 => "is empty".to_owned(),
            1 => "has one entry, 0".to_owned(),
            _ => format!("has the entries 0 to {}", length - 1),
        };
        let message = format!(
            "`{name}` in `{}` is no entry of the list `{list}`",
            self.argument()
        );
        Err(self
            .wrong(message, self.keys[depth].clone(), "no such entry")
            .with_help(format!(
                "`{list}` {entries}; to set it whole, write `--set '{list}=[...]'`"
            )))
    }

    fn no_table(&self, depth: usize, what: &str) -> Error {
        let path = dotted(&self.path[..depth]);
        let message = format!("`{path}` in `{}` is {what}", self.argument());
        self.wrong(message, self.keys[depth - 1].clone(), what)
            .with_help(format!(
                "check the path, or set `{path}` itself in the file"
            ))
    }

    fn wrong(&self, message: String, range: Range<usize>, label: &str) -> Error {
        Error::at(Kind::BadSet, message, self.source(), range, label.into())
    }

    pub fn source(&self) -> Arc<NamedSource<String>> {
        Arc::clone(&self.source)
    }

    /// `--set a.b=c`.
    pub fn argument(&self) -> &str {
        self.source.inner()
    }

    /// Whether the value at `path` was given by this argument.
    pub fn covers(&self, path: &[String]) -> bool {
        path.starts_with(&self.path)
    }

    /// Whether `path` is a table on the way of this argument.
    pub fn passes(&self, path: &[String]) -> bool {
        self.path.starts_with(path)
    }

    /// Where `path`, which this argument covers or passes, lies in the source.
    pub fn range(&self, path: &[String], part: Part) -> Range<usize> {
        if path.len() > self.path.len() || path.len() == self.path.len() && part == Part::Value {
            self.value.clone()
        } else {
            self.keys[path.len() - 1].clone()
        }
    }
}

/// Replaces a value and keeps the blanks and comments around it.
fn replace(old: &mut Value, mut new: Value) {
    *new.decor_mut() = old.decor().clone();
    *old = new;
}

fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.chars().all(|c| c.is_ascii_digit())
}

/// A path as TOML writes it: keys that need quotes have them.
pub(super) fn dotted(path: &[String]) -> String {
    let parts: Vec<String> = path.iter().map(|name| Key::new(name).to_string()).collect();
    parts.join(".")
}
