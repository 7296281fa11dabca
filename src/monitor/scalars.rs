//! The scalars of an events file, read back.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use serde_json::Value;

use super::Error;

/// Steps and values of one tag, in the order of the steps. A value that was infinite or no number
/// is NaN.
pub type Curve = Vec<(u64, f64)>;

/// The scalars in the JSON lines of `path`, by tag. Texts, histograms and lines that are no events
/// (the last one of a run at work may be half written) are left out; so is everything where there
/// is no file yet.
///
/// # Errors
/// A file that cannot be read.
pub fn scalars(path: &Path) -> Result<BTreeMap<String, Curve>, Error> {
    #[derive(serde::Deserialize)]
    struct Line {
        tag: String,
        step: u64,
        value: Value,
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        opened => opened.map_err(Error::at("read", path))?,
    };
    let mut curves: BTreeMap<String, BTreeMap<u64, f64>> = BTreeMap::new();
    for line in BufReader::new(file).split(b'\n') {
        let line = line.map_err(Error::at("read", path))?;
        let Ok(Line { tag, step, value }) = serde_json::from_slice(&line) else {
            continue;
        };
        let value = match value {
            Value::Null => f64::NAN,
            Value::Number(number) => number.as_f64().unwrap_or(f64::NAN),
            _ => continue,
        };
        // Work that was done again after damage reports its steps again; the last report counts.
        curves.entry(tag).or_default().insert(step, value);
    }
    let in_order =
        |(tag, points): (String, BTreeMap<u64, f64>)| (tag, points.into_iter().collect());
    Ok(curves.into_iter().map(in_order).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scalars_come_back_in_order_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        assert!(scalars(&path).unwrap().is_empty());
        let lines = [
            r#"{"time":1,"tag":"a","step":2,"value":0.5}"#,
            r#"{"time":1,"tag":"a","step":1,"value":null}"#,
            r#"{"time":1,"tag":"a","step":2,"value":0.25}"#,
            r#"{"time":1,"tag":"text","step":1,"value":"so"}"#,
            r#"{"time":1,"tag":"histogram","step":1,"value":{"count":1}}"#,
            r#"{"time":1,"tag":"a","step":3,"val"#,
        ];
        std::fs::write(&path, lines.join("\n")).unwrap();
        let read = scalars(&path).unwrap();
        assert_eq!(read.len(), 1);
        assert_eq!(read["a"][1], (2, 0.25));
        assert!(read["a"][0].1.is_nan());
    }
}
