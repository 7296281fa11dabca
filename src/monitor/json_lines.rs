//! Events as JSON, one object a line:
//! `{"time": 1.7e9, "tag": "value/loss", "step": 3, "value": 0.25}`.
//!
//! `time` is in seconds since the Unix epoch. `value` is a number (`null` where it
//! is infinite or NaN), a string, or for a histogram the object `{count, mean, std,
//! min, max}`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::Event;
use super::seen::Seen;
use super::sink::{Error, Sink};

/// A file that grows by a line an event, over all the processes that open it.
pub(super) struct JsonLines {
    path: PathBuf,
    file: File,
    seen: Seen,
}

impl JsonLines {
    /// Opens `path` to append, making it where it is missing. A last line that a
    /// killed process left unfinished is cut off.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        if let Some(dir) = path.parent() {
            fs::create_dir_all(dir).map_err(Error::at("create", dir))?;
        }
        let mut file = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(path)
            .map_err(Error::at("open", path))?;
        end_of_last_line(&mut file)
            .and_then(|end| file.set_len(end))
            .map_err(Error::at("read", path))?;
        let seen = seen(path).map_err(Error::at("read", path))?;
        Ok(Self {
            path: path.to_owned(),
            file,
            seen,
        })
    }
}

/// What the lines of `path` report; lines that are no events count for nothing.
fn seen(path: &Path) -> io::Result<Seen> {
    #[derive(serde::Deserialize)]
    struct Line {
        tag: String,
        step: u64,
    }
    let mut seen = Seen::default();
    for line in BufReader::new(File::open(path)?).split(b'\n') {
        if let Ok(line) = serde_json::from_slice::<Line>(&line?) {
            seen.insert(&line.tag, line.step);
        }
    }
    Ok(seen)
}

/// The offset behind the last newline, 0 without one.
fn end_of_last_line(file: &mut File) -> io::Result<u64> {
    const BLOCK: u64 = 4096;
    let mut end = file.seek(SeekFrom::End(0))?;
    while end > 0 {
        let start = end.saturating_sub(BLOCK);
        let mut block = vec![0; (end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        file.read_exact(&mut block)?;
        if let Some(at) = block.iter().rposition(|&b| b == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

fn line(time: f64, tag: &str, step: u64, value: Value) -> String {
    let mut line = json!({"time": time, "tag": tag, "step": step, "value": value}).to_string();
    line.push('\n');
    line
}

impl Sink for JsonLines {
    fn record(&mut self, time: f64, event: &Event) -> Result<(), Error> {
        let Some(event) = self.seen.new_part(event) else {
            return Ok(());
        };
        self.file
            .write_all(lines(time, &event).as_bytes())
            .map_err(Error::at("write", &self.path))
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::at("sync", &self.path))
    }
}

/// The same on standard output, for programs that watch a run.
pub(super) struct StdoutLines;

impl Sink for StdoutLines {
    fn record(&mut self, time: f64, event: &Event) -> Result<(), Error> {
        match io::stdout().lock().write_all(lines(time, event).as_bytes()) {
            // A reader that went away is no reason to stop.
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
                Err(Error::at("write", Path::new("standard output"))(error))
            }
            _ => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        Ok(())
    }
}

/// `event` as lines.
fn lines(time: f64, event: &Event) -> String {
    match event {
        Event::Scalars { step, values } => values
            .iter()
            .map(|(tag, value)| line(time, tag, *step, json!(value)))
            .collect(),
        Event::Text { tag, step, text } => line(time, tag, *step, json!(text)),
        Event::Histogram {
            tag,
            step,
            histogram: h,
        } => {
            let value = json!({
                "count": h.count, "mean": h.mean(), "std": h.std(), "min": h.min, "max": h.max
            });
            line(time, tag, *step, value)
        }
        // Only TensorBoard shows these.
        Event::Picture { .. } | Event::Layout(_) | Event::Start(_) | Event::End => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(value: f64) -> Event {
        Event::Scalars {
            step: 1,
            values: vec![("a".into(), value)],
        }
    }

    #[test]
    fn a_torn_last_line_is_cut_off_and_the_rest_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let torn = format!("{{\"tag\": \"whole\"}}\n{{\"tag\": \"{}", "x".repeat(9000));
        fs::write(&path, torn).unwrap();
        let mut sink = JsonLines::open(&path).unwrap();
        sink.record(2.0, &scalar(0.5)).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> = text
            .lines()
            .map(|l| serde_json::from_str(l).unwrap())
            .collect();
        assert_eq!(lines[0], json!({"tag": "whole"}));
        assert_eq!(
            lines[1],
            json!({"time": 2.0, "tag": "a", "step": 1, "value": 0.5})
        );
        assert_eq!(lines.len(), 2);
    }

    #[test]
    fn what_an_earlier_process_reported_is_not_repeated() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        JsonLines::open(&path)
            .unwrap()
            .record(1.0, &scalar(0.5))
            .unwrap();
        let before = fs::read(&path).unwrap();
        let mut sink = JsonLines::open(&path).unwrap();
        sink.record(2.0, &scalar(0.5)).unwrap();
        assert_eq!(fs::read(&path).unwrap(), before);
        let two = Event::Scalars {
            step: 1,
            values: vec![("a".into(), 0.5), ("b".into(), 0.5)],
        };
        sink.record(2.0, &two).unwrap();
        let text = fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.lines().last().unwrap().contains("\"b\""));
    }

    #[test]
    fn what_json_has_no_number_for_is_null() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("events.jsonl");
        let mut sink = JsonLines::open(&path).unwrap();
        sink.record(2.0, &scalar(f64::NAN)).unwrap();
        let value: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        assert_eq!(value["value"], Value::Null);
    }
}
