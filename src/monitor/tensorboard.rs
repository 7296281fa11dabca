//! TensorBoard's event files.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use tensorboard_rs::record_writer::RecordWriter;

use super::sink::{Error, Sink};
use super::{Event, proto};

/// One event file, new for each process that opens the folder; TensorBoard shows
/// all files of a folder as one run.
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
}

impl EventFile {
    /// Makes `events.out.tfevents.<seconds>.<host>.<process>.<number>` in `dir`.
    pub(super) fn create(dir: &Path) -> Result<Self, Error> {
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
        let mut sink = Self { path, file };
        sink.append(&proto::file_version(now.as_secs_f64()))?;
        Ok(sink)
    }

    /// One framed record in one write, so that a kill leaves at most one torn record.
    fn append(&mut self, record: &[u8]) -> Result<(), Error> {
        let mut frame = Vec::with_capacity(record.len() + 16);
        RecordWriter::new(&mut frame)
            .write(record)
            .and_then(|()| io::Write::write_all(&mut self.file, &frame))
            .map_err(Error::at("write", &self.path))
    }
}

impl Sink for EventFile {
    fn record(&mut self, time: f64, event: &Event) -> Result<(), Error> {
        self.append(&proto::event(time, event))
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
