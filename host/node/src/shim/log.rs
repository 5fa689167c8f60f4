//! The container's log file in the CRI's line format, `<RFC 3339 time> <stream> <F|P> <text>`, rotated at a bound.
//! Two threads of the shim feed one [`LogFile`]; the node only reads what it writes.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;

use super::files::{LOG, ROTATED_LOG};

/// Size at which the file is rotated; the container's log takes at most twice this.
const ROTATE_AT: u64 = 10 * 1024 * 1024;
/// Longer lines are written in parts, as the CRI says, so that memory stays bounded.
const MAX_LINE: usize = 16 * 1024;

/// An open log file.
pub(super) struct LogFile {
    dir: PathBuf,
    file: File,
    written: u64,
    rotate_at: u64,
}

impl LogFile {
    /// Opens the log in `dir`.
    pub(super) fn open(dir: &Path) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(dir.join(LOG))?;
        let written = file.metadata()?.len();
        Ok(LogFile { dir: dir.to_owned(), file, written, rotate_at: ROTATE_AT })
    }

    fn line(&mut self, stream: &str, partial: bool, text: &[u8]) -> io::Result<()> {
        let tag = if partial { 'P' } else { 'F' };
        let mut line = format!("{:.9} {stream} {tag} ", Timestamp::now()).into_bytes();
        line.extend_from_slice(text);
        line.push(b'\n');
        if self.written + line.len() as u64 > self.rotate_at {
            fs::rename(self.dir.join(LOG), self.dir.join(ROTATED_LOG))?;
            self.file = File::options().create(true).append(true).open(self.dir.join(LOG))?;
            self.written = 0;
        }
        self.file.write_all(&line)?;
        self.written += line.len() as u64;
        Ok(())
    }
}

/// Copies `input` to the log until its end. A full disk must not block the program: what cannot be written is dropped.
pub(super) fn pump(input: impl Read, stream: &'static str, log: &Arc<Mutex<LogFile>>) {
    let mut input = BufReader::with_capacity(MAX_LINE, input);
    loop {
        let available = match input.fill_buf() {
            Ok([]) => return,
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        let mut text = available.to_vec();
        input.consume(text.len());
        if text.last() != Some(&b'\n') && text.len() < MAX_LINE {
            match input.by_ref().take((MAX_LINE - text.len()) as u64).read_until(b'\n', &mut text) {
                Ok(_) => {}
                Err(_) => return,
            }
        }
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        for piece in text.split_inclusive(|byte| *byte == b'\n') {
            let whole = piece.ends_with(b"\n");
            let body = if whole { &piece[..piece.len() - 1] } else { piece };
            let _ = log.line(stream, !whole, body);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pumped(input: &[u8], rotate_at: u64) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let mut file = LogFile::open(dir.path()).unwrap();
        file.rotate_at = rotate_at;
        let log = Arc::new(Mutex::new(file));
        pump(input, "stdout", &log);
        let text = fs::read_to_string(dir.path().join(LOG)).unwrap();
        (dir, text)
    }

    #[test]
    fn writes_one_timestamped_line_for_each_line() {
        let (_dir, text) = pumped(b"one\ntwo", ROTATE_AT);
        let lines: Vec<_> = text.lines().map(|line| line.split_once(' ').unwrap()).collect();
        assert_eq!(lines.iter().map(|line| line.1).collect::<Vec<_>>(), ["stdout F one", "stdout P two"]);
        assert!(lines[0].0.parse::<Timestamp>().is_ok());
    }

    #[test]
    fn splits_a_line_longer_than_the_bound() {
        let (_dir, text) = pumped(&[vec![b'x'; MAX_LINE + 5], b"\n".to_vec()].concat(), ROTATE_AT);
        assert_eq!(text.lines().count(), 2);
        assert!(text.contains(" P x") && text.ends_with(" F xxxxx\n"));
    }

    #[test]
    fn rotates_and_keeps_the_file_before() {
        let (dir, text) = pumped(b"aaaa\nbbbb\n", 60);
        assert!(text.ends_with("bbbb\n") && !text.contains("aaaa"));
        assert!(fs::read_to_string(dir.path().join(ROTATED_LOG)).unwrap().ends_with("aaaa\n"));
    }
}
