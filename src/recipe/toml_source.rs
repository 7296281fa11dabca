//! Typed TOML with exact complaints: a file or a text, the `--set` arguments
//! that amend it, and the value they deserialise to.
//!
//! Any type with `Deserialize` will do; `#[serde(deny_unknown_fields)]` makes
//! misspelt keys errors. Every [`Error`] points at the offending key or value,
//! in the file or in the `--set` argument it came from.

mod error;
mod explain;
mod place;
mod set;
mod suggest;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::Arc;

use miette::NamedSource;
use serde::Serialize;
use serde::de::DeserializeOwned;
use toml_edit::{Document, DocumentMut};

use crate::trace::fs::sha256;

pub use error::{Error, Kind};
pub use suggest::suggest;

use place::{Part, Places};
use set::Set;

/// A TOML text that parses, and the amendments made to it.
#[derive(Debug, Clone)]
pub struct Source {
    /// The text as it was given, without a byte order mark and with plain line ends,
    /// under its name.
    original: Arc<NamedSource<String>>,
    /// The text with all amendments applied: what is deserialised.
    amended: String,
    sets: Vec<Set>,
}

impl Source {
    /// Reads a file. Errors: it is missing, a directory, unreadable, not UTF-8,
    /// empty, or not TOML.
    pub fn read(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        if path.is_dir() {
            return Err(Error::directory(path));
        }
        let bytes = std::fs::read(path).map_err(|cause| Error::unreadable(path, &cause))?;
        match String::from_utf8(bytes) {
            Ok(text) => Self::from_text(&name, &text),
            Err(cause) => Err(Error::not_utf8(&name, &cause)),
        }
    }

    /// Takes a text; `name` is what complaints call it. Errors: the text says
    /// nothing, or is not TOML.
    pub fn from_text(name: &str, text: &str) -> Result<Self, Error> {
        // Text over several lines must not depend on the editor's line ends.
        let mut text = text
            .strip_prefix('\u{feff}')
            .unwrap_or(text)
            .replace("\r\n", "\n");
        // A label at the very end is drawn only where a line ends there.
        if !text.ends_with('\n') {
            text.push('\n');
        }
        let original = Arc::new(NamedSource::new(name, text.clone()).with_language("TOML"));
        match Document::parse(text.as_str()) {
            Ok(document) if document.is_empty() => Err(Error::empty(name)),
            Ok(_) => Ok(Self {
                original,
                amended: text,
                sets: Vec::new(),
            }),
            Err(cause) => Err(explain::syntax(original, cause.message(), cause.span())),
        }
    }

    /// Applies arguments of the form `a.b=c`, in order; the last wins. `c` is read
    /// as a TOML value, and as text where it is none. A number in the path is a
    /// position in a list (`phases.0.steps=3`). A path that the recipe does not
    /// know is reported by [`parse`](Self::parse), like an unknown key. On an error
    /// nothing is applied.
    pub fn apply_sets(&mut self, arguments: &[String]) -> Result<(), Error> {
        if arguments.is_empty() {
            return Ok(());
        }
        let mut sets = Vec::with_capacity(arguments.len());
        let mut document: DocumentMut = self.amended.parse().map_err(|cause| self.lost(cause))?;
        for argument in arguments {
            let (set, value) = Set::parse(argument)?;
            set.apply(document.as_table_mut(), value)?;
            sets.push(set);
        }
        let amended = document.to_string();
        Document::parse(amended.as_str()).map_err(|cause| self.lost(cause))?;
        self.amended = amended;
        self.sets.append(&mut sets);
        Ok(())
    }

    /// Deserialises the amended text. Errors: an unknown or missing key, a value
    /// of the wrong type or out of range.
    pub fn parse<T: DeserializeOwned>(&self) -> Result<T, Error> {
        toml::from_str(&self.amended).map_err(|cause| {
            let places = Places::of(&self.amended);
            let told = explain::value(&places, cause.message(), cause.span().unwrap_or(0..0));
            self.point(&told.path, told.part, told.kind, told.message, told.label)
                .with_help(told.help)
        })
    }

    /// A complaint of the caller's own about the value at a dotted path, for
    /// checks that a type cannot state.
    pub fn invalid(
        &self,
        path: &str,
        message: impl Into<String>,
        help: impl Into<String>,
    ) -> Error {
        let path: Vec<String> = path.split('.').map(str::to_owned).collect();
        let message = message.into();
        self.point(&path, Part::Value, Kind::Invalid, message, "here".into())
            .with_help(help.into())
    }

    /// Points a complaint about the amended text at what the user wrote: the
    /// latest `--set` that decided the place, or else the original text.
    fn point(
        &self,
        path: &[String],
        part: Part,
        kind: Kind,
        message: String,
        label: String,
    ) -> Error {
        let at_set = |set: &Set, range| {
            let label = format!("{label}, from `{}`", set.argument());
            Error::at(kind, message.clone(), set.source(), range, label)
        };
        if let Some(set) = self.sets.iter().rev().find(|set| set.covers(path)) {
            return at_set(set, set.range(path, part));
        }
        let original = Places::of(self.original.inner());
        if original.get(path).is_none()
            && !path.is_empty()
            && let Some(set) = self.sets.iter().rev().find(|set| set.passes(path))
        {
            return at_set(set, set.range(path, part));
        }
        let range = original.nearest(path, part);
        Error::at(kind, message, Arc::clone(&self.original), range, label)
    }

    /// The amended text is no TOML any more: a fault of this module, told rather
    /// than hidden.
    fn lost(&self, cause: toml_edit::TomlError) -> Error {
        let message = format!(
            "the --set arguments do not fit the file: {}",
            cause.message()
        );
        let source = Arc::clone(&self.original);
        Error::at(Kind::BadSet, message, source, 0..0, "in this file".into())
            .with_help("write the keys into the file instead".into())
    }
}

/// The value as TOML: every key, in the order of the type's fields.
///
/// # Panics
/// If the type cannot be written as TOML at all (its top level is no table, a map
/// has keys that are no text): a fault of the type, whatever the values.
pub fn render<T: Serialize>(value: &T) -> String {
    toml::to_string(value).expect("a recipe type can be written as TOML")
}

/// SHA-256, in hexadecimal, of the value's canonical rendering: TOML with all keys
/// sorted, so that neither the order in a file nor the order of a type's fields
/// changes it.
///
/// # Panics
/// As [`render`].
pub fn fingerprint<T: Serialize>(value: &T) -> String {
    let mut table = toml::Table::try_from(value).expect("a recipe type can be written as TOML");
    sort(&mut table);
    sha256(render(&table).as_bytes())
}

fn sort(table: &mut toml::Table) {
    let mut entries: Vec<_> = std::mem::take(table).into_iter().collect();
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    for (_, value) in &mut entries {
        sort_within(value);
    }
    table.extend(entries);
}

fn sort_within(value: &mut toml::Value) {
    match value {
        toml::Value::Table(table) => sort(table),
        toml::Value::Array(items) => items.iter_mut().for_each(sort_within),
        _ => {}
    }
}
