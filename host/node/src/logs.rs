//! Container logs, read from the shims' files: the whole, a tail, or followed to the container's end across rotation.
//! Reads only; knows the node's folders and nothing of the API.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use futures::stream::{BoxStream, StreamExt};
use jiff::Timestamp;

use crate::node::Node;
use crate::pod::record::{Found, inspect};
use crate::shim::files::{LOG, ROTATED_LOG};

/// How often a followed log is looked at: nothing tells a reader of another process's file about new lines.
const FOLLOW_EVERY: Duration = Duration::from_millis(50);

/// Which log, and how much of it.
#[derive(Clone, Debug, Default)]
pub struct LogRequest {
    /// The Pod's namespace, for messages.
    pub namespace: String,
    /// The Pod's name, for messages.
    pub pod: String,
    /// The Pod's UID, which names its folder.
    pub uid: String,
    /// The container.
    pub container: String,
    /// Go on until the container ends.
    pub follow: bool,
    /// Only this many last lines.
    pub tail_lines: Option<u64>,
    /// Only lines since then.
    pub since: Option<Timestamp>,
    /// Put each line's time before it.
    pub timestamps: bool,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
    /// The attempt before the current one.
    pub previous: bool,
}

/// Why there is no log.
#[derive(Debug, thiserror::Error)]
pub enum LogsError {
    /// The container has not run (yet, or not before).
    #[error("container {container:?} in pod {pod:?} is waiting to start or has no {which} attempt")]
    NoAttempt {
        /// The Pod.
        pod: String,
        /// The container.
        container: String,
        /// `current` or `previous`.
        which: &'static str,
    },
    /// The log could not be read.
    #[error("reading the log of container {container} in pod {pod}: {source}")]
    Read {
        /// The Pod.
        pod: String,
        /// The container.
        container: String,
        /// What was wrong.
        source: io::Error,
    },
}

impl Node {
    /// Streams a container's log.
    ///
    /// # Errors
    /// When the container has no such attempt, or its log cannot be read.
    pub async fn logs(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, io::Result<Bytes>>, LogsError> {
        let missing = || LogsError::NoAttempt {
            pod: request.pod.clone(),
            container: request.container.clone(),
            which: if request.previous { "previous" } else { "current" },
        };
        // A name that is a path would leave the Pod's folder.
        let plain = |name: &str| !name.is_empty() && !name.contains('/') && name != "." && name != "..";
        if !plain(&request.uid) || !plain(&request.container) {
            return Err(missing());
        }
        let folder = self.shared.pods_dir.join(&request.uid).join("containers").join(&request.container);
        let last = fs::read_dir(&folder)
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok())
            .max()
            .ok_or_else(missing)?;
        let attempt = if request.previous { last.checked_sub(1).ok_or_else(missing)? } else { last };
        let reader = Reader::new(folder.join(attempt.to_string()), request.clone());
        let mut reader = reader.map_err(|source| LogsError::Read {
            pod: request.pod,
            container: request.container,
            source,
        })?;
        reader.skip_to_tail();
        Ok(futures::stream::unfold(reader, Reader::next).boxed())
    }
}

/// A position in an attempt's log.
struct Reader {
    dir: PathBuf,
    request: LogRequest,
    file: Option<BufReader<fs::File>>,
    /// Lines read and not sent yet.
    ready: std::collections::VecDeque<Vec<u8>>,
    /// The start of a line whose end is not written yet.
    unfinished: Vec<u8>,
    sent: u64,
    over: bool,
    /// The next piece continues a line that was split.
    continued: bool,
}

impl Reader {
    fn new(dir: PathBuf, request: LogRequest) -> io::Result<Self> {
        let mut reader = Reader {
            file: None,
            ready: Default::default(),
            unfinished: Vec::new(),
            sent: 0,
            over: false,
            continued: false,
            dir,
            request,
        };
        if let Some(file) = open(&reader.dir.join(ROTATED_LOG))? {
            reader.file = Some(file);
            reader.read_available()?;
        }
        reader.file = open(&reader.dir.join(LOG))?;
        reader.read_available()?;
        Ok(reader)
    }

    fn skip_to_tail(&mut self) {
        if let Some(tail) = self.request.tail_lines {
            let mut lines = 0;
            let mut from = self.ready.len();
            while from > 0 {
                // The last piece of a line ends it; the one before the tail's first line does too.
                if self.ready[from - 1].ends_with(b"\n") {
                    lines += 1;
                }
                if lines > tail {
                    break;
                }
                from -= 1;
            }
            self.ready.drain(..from);
        }
    }

    /// Reads what is in the open file, as whole CRI lines.
    fn read_available(&mut self) -> io::Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        loop {
            let read = file.read_until(b'\n', &mut self.unfinished)?;
            if read == 0 || !self.unfinished.ends_with(b"\n") {
                return Ok(());
            }
            let line = std::mem::take(&mut self.unfinished);
            if let Some((at, whole, text)) = parse(&line) {
                let wanted = self
                    .request
                    .since
                    .is_none_or(|since| at.parse::<Timestamp>().is_ok_and(|at| at >= since));
                if wanted {
                    let mut out = Vec::new();
                    if self.request.timestamps && !self.continued {
                        out.extend_from_slice(at.as_bytes());
                        out.push(b' ');
                    }
                    out.extend_from_slice(text);
                    if whole {
                        out.push(b'\n');
                    }
                    self.ready.push_back(out);
                }
                self.continued = !whole;
            }
        }
    }

    async fn next(mut self) -> Option<(io::Result<Bytes>, Self)> {
        loop {
            let left = self.request.limit_bytes.map_or(u64::MAX, |limit| limit.saturating_sub(self.sent));
            if left == 0 {
                return None;
            }
            if !self.ready.is_empty() {
                let mut chunk = Vec::new();
                while chunk.len() < 64 * 1024
                    && let Some(line) = self.ready.pop_front()
                {
                    chunk.extend(line);
                }
                chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                self.sent += chunk.len() as u64;
                return Some((Ok(chunk.into()), self));
            }
            if self.over || !self.request.follow {
                return None;
            }
            // Looked at before reading: what was written before the end is then read below.
            let ended = !matches!(inspect_quietly(&self.dir), Some(Found::Held | Found::Intended));
            if let Err(error) = self.catch_up() {
                self.over = true;
                return Some((Err(error), self));
            }
            self.over = ended;
            if self.ready.is_empty() && !ended {
                tokio::time::sleep(FOLLOW_EVERY).await;
            }
        }
    }

    fn catch_up(&mut self) -> io::Result<()> {
        use std::os::unix::fs::MetadataExt;
        self.read_available()?;
        let path = self.dir.join(LOG);
        let current = fs::metadata(&path).ok().map(|meta| meta.ino());
        let open_now = match &self.file {
            Some(file) => Some(file.get_ref().metadata()?.ino()),
            None => None,
        };
        if current.is_some() && current != open_now {
            // Rotated: the old file may have grown between the read above and the rename.
            self.read_available()?;
            self.file = open(&path)?;
            self.read_available()?;
        }
        Ok(())
    }
}

/// Whether the attempt is over, without taking its lock away from a shim that is about to start.
fn inspect_quietly(dir: &Path) -> Option<Found> {
    if dir.join(crate::shim::files::EXIT).exists() || dir.join(crate::shim::files::STARTED).exists() {
        return inspect(dir).ok();
    }
    dir.exists().then_some(Found::Intended)
}

fn open(path: &Path) -> io::Result<Option<BufReader<fs::File>>> {
    match fs::File::open(path) {
        Ok(file) => Ok(Some(BufReader::new(file))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Splits a CRI line into its time, whether it ends a line of the program, and its text.
fn parse(line: &[u8]) -> Option<(&str, bool, &[u8])> {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    let mut parts = line.splitn(4, |byte| *byte == b' ');
    let at = std::str::from_utf8(parts.next()?).ok()?;
    let _stream = parts.next()?;
    let tag = parts.next()?;
    Some((at, tag == b"F", parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const LINES: &str = "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout P tw\n\
                         2026-01-01T00:00:02Z stdout F o\n2026-01-01T00:00:03Z stderr F three\n";

    fn read(request: LogRequest) -> String {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(LOG), LINES).unwrap();
        let mut reader = Reader::new(dir.path().to_owned(), request).unwrap();
        reader.skip_to_tail();
        String::from_utf8(reader.ready.into_iter().flatten().collect()).unwrap()
    }

    #[test]
    fn joins_parts_and_honours_tail_since_and_timestamps() {
        assert_eq!(read(LogRequest::default()), "one\ntwo\nthree\n");
        assert_eq!(read(LogRequest { tail_lines: Some(2), ..Default::default() }), "two\nthree\n");
        assert_eq!(read(LogRequest { tail_lines: Some(0), ..Default::default() }), "");
        let since = Some("2026-01-01T00:00:03Z".parse().unwrap());
        assert_eq!(
            read(LogRequest { since, timestamps: true, ..Default::default() }),
            "2026-01-01T00:00:03Z three\n"
        );
    }

    proptest! {
        #[test]
        fn no_line_makes_it_panic(line in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = parse(&line);
        }
    }
}
