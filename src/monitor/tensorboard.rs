//! TensorBoard's event files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tensorboard_rs::record_writer::RecordWriter;

use super::seen::Seen;
use super::sink::{Error, Sink};
use super::{Event, proto};

/// The event file of a run, over all the processes that work on it.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
    seen: Seen,
}

impl EventFile {
    /// Goes on with the last event file in `dir`, or makes one. What follows the first record that
    /// is torn or damaged is cut off; where that is more than a torn end, the file is kept aside.
    pub(super) fn open(dir: &Path) -> Result<Self, Error> {
        let Some(path) = last(dir).map_err(Error::at("read", dir))? else {
            return Self::create(dir);
        };
        let bytes = fs::read(&path).map_err(Error::at("read", &path))?;
        let (seen, good) = records(&bytes);
        if good < bytes.len() && !is_torn(&bytes[good..]) {
            // TensorBoard reads every file with `tfevents` in its name.
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let aside = path.with_file_name(name.replace("tfevents", "damaged"));
            fs::copy(&path, &aside).map_err(Error::at("write", &aside))?;
            tracing::warn!(
                "{} is damaged: it is kept as {}, and the run's curves go on with the part before",
                path.display(),
                aside.display()
            );
        }
        let file = OpenOptions::new()
            .append(true)
            .open(&path)
            .map_err(Error::at("open", &path))?;
        file.set_len(good as u64)
            .map_err(Error::at("write", &path))?;
        let mut sink = Self { path, file, seen };
        if good == 0 {
            sink.begin()?;
        }
        Ok(sink)
    }

    /// Makes `events.out.tfevents.<seconds>.<host>.<process>.<number>` in `dir`.
    fn create(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(Error::at("create", dir))?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let host = host_name();
        let process = std::process::id();
        let mut number = 0;
        let (path, file) = loop {
            let name = format!(
                "events.out.tfevents.{:010}.{host}.{process}.{number}",
                now.as_secs()
            );
            let path = dir.join(name);
            match File::create_new(&path) {
                Ok(file) => break (path, file),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(Error::at("create", &path)(error)),
            }
        };
        let mut sink = Self {
            path,
            file,
            seen: Seen::default(),
        };
        sink.begin()?;
        Ok(sink)
    }

    /// Writes the record that opens a file.
    fn begin(&mut self) -> Result<(), Error> {
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        self.append(&proto::file_version(now.as_secs_f64()))
    }

    /// One framed record in one write, so that a kill leaves at most one torn record.
    fn append(&mut self, record: &[u8]) -> Result<(), Error> {
        framed(record)
            .and_then(|frame| io::Write::write_all(&mut self.file, &frame))
            .map_err(Error::at("write", &self.path))
    }
}

/// A record with its length and checksums around it.
fn framed(record: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = Vec::with_capacity(record.len() + HEAD + TAIL);
    RecordWriter::new(&mut frame).write(record)?;
    Ok(frame)
}

/// Bytes before a record: its length and the length's checksum.
const HEAD: usize = 12;
/// Bytes behind a record: its checksum.
const TAIL: usize = 4;

/// The length of the frame that `bytes` begin with, as it says.
fn frame_length(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(..8)?.try_into().map(u64::from_le_bytes).ok()?;
    usize::try_from(length).ok()?.checked_add(HEAD + TAIL)
}

/// What the whole records at the start of `bytes` report, and where they end.
fn records(bytes: &[u8]) -> (Seen, usize) {
    let (mut seen, mut at) = (Seen::default(), 0);
    while let Some(length) = frame_length(&bytes[at..]) {
        let Some(frame) = bytes[at..].get(..length) else {
            break;
        };
        let record = &frame[HEAD..length - TAIL];
        // The checksums are those that writing it again gives.
        if !framed(record).is_ok_and(|again| again == frame) {
            break;
        }
        if let Some((step, tags)) = proto::step_and_tags(record) {
            tags.iter().for_each(|tag| seen.insert(tag, step));
        }
        at += length;
    }
    (seen, at)
}

/// Whether `rest` is a record that a killed process did not finish.
fn is_torn(rest: &[u8]) -> bool {
    frame_length(rest).is_none_or(|length| length > rest.len())
}

/// The event file in `dir` that was begun last.
fn last(dir: &Path) -> io::Result<Option<PathBuf>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        entries => entries?,
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if name.starts_with("events.out.tfevents.") {
            files.push(path);
        }
    }
    Ok(files.into_iter().max())
}

impl Sink for EventFile {
    fn record(&mut self, time: f64, event: &Event) -> Result<(), Error> {
        match self.seen.new_part(event) {
            Some(event) => self.append(&proto::event(time, &event)),
            None => Ok(()),
        }
    }

    fn sync(&mut self) -> Result<(), Error> {
        self.file.sync_all().map_err(Error::at("sync", &self.path))
    }
}

/// The machine's name as far as it fits into a file name.
fn host_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name: String = name
        .trim()
        .chars()
        .map(|c| match c {
            'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' => c,
            _ => '-',
        })
        .collect();
    if name.is_empty() {
        "localhost".to_owned()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scalar(step: u64) -> Event {
        Event::Scalars {
            step,
            values: vec![("a".into(), step as f64)],
        }
    }

    fn the_file(dir: &Path) -> PathBuf {
        let entries: Vec<_> = fs::read_dir(dir).unwrap().map(|e| e.unwrap()).collect();
        assert_eq!(entries.len(), 1);
        entries[0].path()
    }

    #[test]
    fn a_resumed_run_goes_on_in_one_file_without_repeats() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = EventFile::open(dir.path()).unwrap();
        sink.record(1.0, &scalar(1)).unwrap();
        sink.record(2.0, &scalar(2)).unwrap();
        let path = the_file(dir.path());
        let whole = fs::read(&path).unwrap();
        for cut in 0..whole.len() {
            fs::write(&path, &whole[..cut]).unwrap();
            let mut sink = EventFile::open(dir.path()).unwrap();
            sink.record(1.0, &scalar(1)).unwrap();
            sink.record(2.0, &scalar(2)).unwrap();
            // The opening record has the time in it.
            assert_eq!(fs::read(the_file(dir.path())).unwrap()[40..], whole[40..]);
        }
    }

    #[test]
    fn a_damaged_file_is_kept_aside() {
        let dir = tempfile::tempdir().unwrap();
        let mut sink = EventFile::open(dir.path()).unwrap();
        for step in 0..9 {
            sink.record(1.0, &scalar(step)).unwrap();
        }
        let path = the_file(dir.path());
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, &bytes).unwrap();
        EventFile::open(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
        assert!(fs::metadata(&path).unwrap().len() < middle as u64);
    }
}
