//! Files that are complete or absent: a temporary name in the same folder, fsync,
//! rename, fsync of the folder.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

/// A file or folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {path}: {source}")]
pub struct Error {
    /// What was tried: `read`, `write`, ...
    pub action: &'static str,
    /// The file or folder.
    pub path: PathBuf,
    /// The operating system's reason.
    pub source: io::Error,
}

impl Error {
    /// For `map_err`: names the action and the place.
    pub fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self {
            action,
            path: path.to_owned(),
            source,
        }
    }
}

/// Replaces the file at `path` by what `write` writes, or leaves it as it was. Makes
/// the folder where it is missing. When this returns `Ok`, the content survives a
/// power cut.
///
/// The temporary file is `.NAME.tmp` beside it; one that a killed process left is
/// overwritten by the next try. Two writers of one path at a time are the caller's
/// mistake.
///
/// # Errors
///
/// Any failure of `write` or of the file system, with the path; the temporary file
/// is removed.
pub fn write_atomic(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> Result<(), Error> {
    let dir = match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    };
    fs::create_dir_all(dir).map_err(Error::at("create", dir))?;
    let temporary = temporary(path).map_err(Error::at("write", path))?;
    let written = File::create(&temporary)
        .and_then(|file| {
            let mut writer = BufWriter::new(file);
            write(&mut writer)?;
            let file = writer
                .into_inner()
                .map_err(io::IntoInnerError::into_error)?;
            file.sync_all()
        })
        .and_then(|()| fs::rename(&temporary, path));
    if written.is_err() {
        // The first error is the one to report.
        let _ = fs::remove_file(&temporary);
    }
    written.map_err(Error::at("write", path))?;
    // A rename lasts only once the folder that records it is on the disk.
    File::open(dir)
        .and_then(|dir| dir.sync_all())
        .map_err(Error::at("sync", dir))
}

/// [`write_atomic`] of bytes that are at hand.
///
/// # Errors
///
/// As [`write_atomic`].
pub fn write_atomic_bytes(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    write_atomic(path, |file| file.write_all(bytes))
}

/// SHA-256 of `bytes`, in hexadecimal.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// SHA-256 of a file's content, in hexadecimal.
///
/// # Errors
///
/// A file that cannot be read.
pub fn sha256_file(path: &Path) -> Result<String, Error> {
    let mut hasher = Sha256::new();
    File::open(path)
        .and_then(|mut file| io::copy(&mut file, &mut hasher))
        .map_err(Error::at("read", path))?;
    Ok(hex(&hasher.finalize()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Moves a damaged file or folder out of the way, to `NAME.damaged` (`NAME.damaged-2`, ...) beside
/// it, and returns the new path.
///
/// # Errors
///
/// The file system.
pub fn quarantine(path: &Path) -> Result<PathBuf, Error> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let free = (1..)
        .map(|n| match n {
            1 => format!("{name}.damaged"),
            n => format!("{name}.damaged-{n}"),
        })
        .map(|name| path.with_file_name(name))
        .find(|aside| !aside.exists())
        .unwrap_or_else(|| path.with_extension("damaged"));
    fs::rename(path, &free).map_err(Error::at("move aside", path))?;
    Ok(free)
}

fn temporary(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "not the name of a file"))?;
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/state.json");
        write_atomic_bytes(&path, b"first").unwrap();
        fs::write(path.with_file_name(".state.json.tmp"), "torn and longer").unwrap();
        write_atomic_bytes(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1);
    }

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.json");
        write_atomic_bytes(&path, b"old").unwrap();
        let error = write_atomic(&path, |file| {
            file.write_all(b"new")?;
            Err(io::Error::other("no space"))
        })
        .unwrap_err()
        .to_string();
        assert!(error.ends_with("state.json: no space"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_folder_is_not_a_file() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_atomic_bytes(&dir.path().join(".."), b"").is_err());
        assert!(write_atomic_bytes(dir.path(), b"").is_err());
    }
}
