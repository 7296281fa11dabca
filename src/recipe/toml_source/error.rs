//! What can be wrong with a TOML source, as one message with a place and a remedy.

use std::fmt;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::string::FromUtf8Error;
use std::sync::Arc;

use miette::{Diagnostic, LabeledSpan, NamedSource, SourceCode};

/// The ways to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// No such file.
    Missing,
    /// A directory where a file was expected.
    Directory,
    /// The file exists and cannot be read.
    Unreadable,
    /// The file is not UTF-8.
    NotUtf8,
    /// Nothing but blanks and comments.
    Empty,
    /// Not TOML.
    Syntax,
    /// A key or table given twice.
    DuplicateKey,
    /// A key that the recipe does not have.
    UnknownKey,
    /// A key that the recipe needs and the text lacks.
    MissingKey,
    /// A value of the wrong type or out of range.
    BadValue,
    /// A `--set` argument that cannot be read or applied.
    BadSet,
    /// A check of the caller's own.
    Invalid,
}

/// One complaint. `Display` is the message alone; miette's handlers add the
/// source line with its label, and the help.
#[derive(Debug, Clone)]
pub struct Error {
    kind: Kind,
    message: String,
    label: String,
    help: String,
    source: Option<Arc<NamedSource<String>>>,
    range: Range<usize>,
}

impl Error {
    /// Which way it failed.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The byte range of the offending text in its source; empty where the whole
    /// source is meant.
    pub fn range(&self) -> Range<usize> {
        self.range.clone()
    }

    /// `name:line:column`, counted from 1, columns in characters; `None` for a file
    /// that could not be read.
    pub fn place(&self) -> Option<String> {
        let source = self.source.as_ref()?;
        let before = &source.inner()[..self.range.start];
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        Some(format!("{}:{line}:{column}", source.name()))
    }

    /// What to do about it.
    pub fn remedy(&self) -> &str {
        &self.help
    }

    /// The offending text.
    #[cfg(test)]
    pub(super) fn marked(&self) -> &str {
        self.source
            .as_ref()
            .map_or("", |source| &source.inner()[self.range.clone()])
    }

    pub(super) fn at(
        kind: Kind,
        message: String,
        source: Arc<NamedSource<String>>,
        range: Range<usize>,
        label: String,
    ) -> Self {
        Self {
            kind,
            message,
            label,
            help: String::new(),
            source: Some(source),
            range,
        }
    }

    pub(super) fn with_help(mut self, help: String) -> Self {
        self.help = help;
        self
    }

    fn without_place(kind: Kind, message: String, help: String) -> Self {
        Self {
            kind,
            message,
            label: String::new(),
            help,
            source: None,
            range: 0..0,
        }
    }

    pub(super) fn directory(path: &Path) -> Self {
        Self::without_place(
            Kind::Directory,
            format!("`{}` is a directory, not a TOML file", path.display()),
            format!(
                "name a file, for example `{}`",
                path.join("recipe.toml").display()
            ),
        )
    }

    pub(super) fn unreadable(path: &Path, cause: &io::Error) -> Self {
        if cause.kind() == io::ErrorKind::NotFound {
            let here = std::env::current_dir().map_or(String::new(), |dir| {
                format!(" (it is looked up from `{}`)", dir.display())
            });
            Self::without_place(
                Kind::Missing,
                format!("there is no file `{}`", path.display()),
                format!("check the path{here}"),
            )
        } else {
            Self::without_place(
                Kind::Unreadable,
                format!("cannot read `{}`: {cause}", path.display()),
                "make the file readable for this user, or name another".into(),
            )
        }
    }

    pub(super) fn not_utf8(name: &str, cause: &FromUtf8Error) -> Self {
        let start = cause.utf8_error().valid_up_to();
        let byte = cause.as_bytes()[start];
        let text = String::from_utf8_lossy(cause.as_bytes()).into_owned();
        // The text before the first bad byte is unchanged; that byte became U+FFFD.
        let range = start..start + char::REPLACEMENT_CHARACTER.len_utf8();
        Self::at(
            Kind::NotUtf8,
            format!("`{name}` is not UTF-8 text: byte {start} is 0x{byte:02X}"),
            Arc::new(NamedSource::new(name, text)),
            range,
            "not UTF-8 from here".into(),
        )
        .with_help("save the file as UTF-8".into())
    }

    pub(super) fn empty(name: &str) -> Self {
        Self::without_place(
            Kind::Empty,
            format!("`{name}` sets no key at all"),
            "write a recipe into it, or start from a copy of one in `recipes/`".into(),
        )
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}

impl Diagnostic for Error {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (!self.help.is_empty()).then(|| Box::new(&self.help) as Box<dyn fmt::Display>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source
            .as_deref()
            .map(|source| source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        self.source.as_ref()?;
        let label = LabeledSpan::at(self.range.clone(), &self.label);
        Some(Box::new(std::iter::once(label)))
    }
}
