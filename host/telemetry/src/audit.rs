//! The audit log: one JSON line for each write to the API, in the order in which they were answered.
//!
//! The embedded API calls it after a write is durable. It only ever appends; what is in the file was written with one
//! system call a record, so a killed process leaves at most one cut line at the end, which the next start closes with
//! a newline.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::Serialize;

/// An append-only file of JSON lines.
#[derive(Debug)]
pub struct AuditLog {
    path: PathBuf,
    file: Mutex<File>,
}

/// Why an audit record could not be kept.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// The file cannot be opened for appending.
    #[error("cannot open the audit log {path}: {source}; check that the data directory is writable")]
    Open {
        /// Where the log should be.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be written to.
    #[error("cannot append to the audit log {path}: {source}; check that the disk is not full")]
    Append {
        /// Where the log is.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The record has no JSON form.
    #[error("an audit record cannot be encoded: {0}")]
    Encode(#[from] serde_json::Error),
}

impl AuditLog {
    /// Opens the log for appending, and makes it (readable by its owner alone) where there is none.
    ///
    /// # Errors
    /// [`AuditError::Open`] when the file cannot be opened or its last line cannot be closed.
    pub fn open(path: impl Into<PathBuf>) -> Result<Self, AuditError> {
        let path = path.into();
        let opened = open_private(&path).and_then(|mut file| close_last_line(&mut file).map(|()| file));
        match opened {
            Ok(file) => Ok(Self { path, file: Mutex::new(file) }),
            Err(source) => Err(AuditError::Open { path, source }),
        }
    }

    /// Appends one record as a line.
    ///
    /// # Errors
    /// [`AuditError::Encode`] or [`AuditError::Append`]; the log is unchanged but for a possibly cut line.
    pub fn append(&self, record: &impl Serialize) -> Result<(), AuditError> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        let mut file = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        file.write_all(&line).map_err(|source| AuditError::Append { path: self.path.clone(), source })
    }

    /// Where the log is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

fn open_private(path: &Path) -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt;
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path)
}

fn close_last_line(file: &mut File) -> io::Result<()> {
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0_u8; 1];
    file.read_exact(&mut last)?;
    if last[0] == b'\n' { Ok(()) } else { file.write_all(b"\n") }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    #[test]
    fn appends_across_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        AuditLog::open(&path).unwrap().append(&json!({"verb": "create"})).unwrap();
        AuditLog::open(&path).unwrap().append(&json!({"verb": "delete"})).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"verb\":\"create\"}\n{\"verb\":\"delete\"}\n");
    }

    #[test]
    fn a_cut_line_does_not_swallow_the_next_record() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("audit.log");
        fs::write(&path, "{\"verb\":\"cre").unwrap();
        AuditLog::open(&path).unwrap().append(&json!({"verb": "delete"})).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "{\"verb\":\"cre\n{\"verb\":\"delete\"}\n");
    }

    #[test]
    fn an_unwritable_place_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = AuditLog::open(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&dir.path().display().to_string()), "{error}");
    }
}
