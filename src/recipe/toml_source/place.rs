//! Where the keys and values of a TOML text lie.

use std::ops::Range;

use toml_edit::{Document, Item, TableLike, Value};

/// The key or its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Key,
    Value,
}

/// One key of the text, or one entry of a list (which has no key).
#[derive(Debug)]
pub(super) struct Place {
    pub path: Vec<String>,
    key: Option<Range<usize>>,
    /// A table's value is its header; that of a table made by dotted keys is the key.
    value: Option<Range<usize>>,
    /// The value as text without its quotes, where it is a scalar.
    pub scalar: Option<String>,
    /// A date or a time.
    pub is_date: bool,
}

impl Place {
    fn range(&self, part: Part) -> Option<Range<usize>> {
        let (first, second) = match part {
            Part::Key => (&self.key, &self.value),
            Part::Value => (&self.value, &self.key),
        };
        first.as_ref().or(second.as_ref()).cloned()
    }
}

/// All places of a text, parents before children.
#[derive(Debug)]
pub(super) struct Places(Vec<Place>);

impl Places {
    /// The places of a text; none where it is not TOML.
    pub fn of(text: &str) -> Self {
        let mut places = Vec::new();
        if let Ok(document) = Document::parse(text) {
            table(document.as_table(), &mut Vec::new(), &mut places);
        }
        Self(places)
    }

    pub fn get(&self, path: &[String]) -> Option<&Place> {
        self.0.iter().find(|place| place.path == path)
    }

    /// The range of a path, or of the nearest table around it; the start of the
    /// text where there is none.
    pub fn nearest(&self, path: &[String], part: Part) -> Range<usize> {
        let mut path = path;
        let mut part = part;
        while !path.is_empty() {
            if let Some(range) = self.get(path).and_then(|place| place.range(part)) {
                return range;
            }
            path = &path[..path.len() - 1];
            part = Part::Key;
        }
        0..0
    }

    /// The place that a range means: a key of exactly that range, else a value,
    /// else the smallest that holds it. `None` is the top level.
    pub fn find(&self, range: &Range<usize>) -> Option<(&Place, Part)> {
        let exact = |part: Part| {
            let of = move |place: &&Place| match part {
                Part::Key => place.key.as_ref() == Some(range),
                Part::Value => place.value.as_ref() == Some(range),
            };
            self.0.iter().find(of).map(|place| (place, part))
        };
        if range.is_empty() {
            return None;
        }
        exact(Part::Key).or_else(|| exact(Part::Value)).or_else(|| {
            let size = |place: &Place| place.value.as_ref().map_or(usize::MAX, Range::len);
            self.0
                .iter()
                .filter(|place| {
                    let value = place.value.as_ref();
                    value.is_some_and(|v| v.start <= range.start && range.end <= v.end)
                })
                .min_by_key(|place| size(place))
                .map(|place| (place, Part::Value))
        })
    }

    /// The places directly inside a table or list.
    pub fn children(&self, path: &[String]) -> impl Iterator<Item = &Place> {
        self.0
            .iter()
            .filter(move |place| place.path.len() == path.len() + 1 && place.path.starts_with(path))
    }
}

fn table(table: &dyn TableLike, path: &mut Vec<String>, places: &mut Vec<Place>) {
    for (name, item) in table.iter() {
        let key = table.get_key_value(name).and_then(|(key, _)| key.span());
        path.push(name.to_owned());
        match item {
            Item::Value(value) => self::value(value, key, path, places),
            Item::Table(inner) => {
                places.push(place(path, key, item.span()));
                self::table(inner, path, places);
            }
            Item::ArrayOfTables(list) => {
                places.push(place(path, key, item.span()));
                for (index, inner) in list.iter().enumerate() {
                    path.push(index.to_string());
                    places.push(place(path, None, inner.span()));
                    self::table(inner, path, places);
                    path.pop();
                }
            }
            Item::None => {}
        }
        path.pop();
    }
}

fn value(
    value: &Value,
    key: Option<Range<usize>>,
    path: &mut Vec<String>,
    places: &mut Vec<Place>,
) {
    places.push(Place {
        scalar: match value {
            Value::String(text) => Some(text.value().clone()),
            Value::Integer(number) => Some(number.value().to_string()),
            Value::Float(number) => Some(number.value().to_string()),
            Value::Boolean(flag) => Some(flag.value().to_string()),
            _ => None,
        },
        is_date: value.is_datetime(),
        ..place(path, key, value.span())
    });
    match value {
        Value::InlineTable(inner) => table(inner, path, places),
        Value::Array(list) => {
            for (index, entry) in list.iter().enumerate() {
                path.push(index.to_string());
                self::value(entry, None, path, places);
                path.pop();
            }
        }
        _ => {}
    }
}

fn place(path: &[String], key: Option<Range<usize>>, value: Option<Range<usize>>) -> Place {
    Place {
        path: path.to_vec(),
        key,
        value,
        scalar: None,
        is_date: false,
    }
}
