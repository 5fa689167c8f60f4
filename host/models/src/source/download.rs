//! Bringing one content into the cache: from the beginning or from where an earlier attempt was cut off.

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;

use super::cache::{Cache, Hold, Partial, Room};
use super::error::SourceError;
use super::progress::{Progress, mebibytes};

/// How often in a row a download is gone on with that brings nothing.
const ATTEMPTS: u32 = 4;

/// The pause before going on; each further one is twice as long.
const PAUSE: Duration = Duration::from_millis(200);

/// A content somewhere else.
pub(super) trait Remote: Send + Sync {
    /// Begins to read from an offset, or from the beginning where the place cannot go on in the middle.
    fn open(&self, from: u64) -> BoxFuture<'_, Result<Opened, SourceError>>;
}

/// A content that is being read.
pub(super) struct Opened {
    /// Where it begins.
    pub(super) from: u64,
    /// Bytes of the whole, where that is said.
    pub(super) size: Option<u64>,
    /// The bytes; an error says why there are no more.
    pub(super) pieces: BoxStream<'static, Result<Bytes, String>>,
}

/// What is known of a content before it is here.
pub(super) struct Wanted {
    /// What messages call it.
    pub(super) what: String,
    /// Where it is, and in which version: what was read of it goes on only where both are the same. None where versions
    /// cannot be told apart.
    pub(super) identity: Option<String>,
    /// Bytes.
    pub(super) size: Option<u64>,
    /// SHA-256 in hexadecimal.
    pub(super) digest: Option<String>,
}

/// A content that is here.
pub(super) struct Got {
    /// SHA-256 in hexadecimal.
    pub(super) digest: String,
    /// Bytes.
    pub(super) size: u64,
    pub(super) hold: Hold,
}

/// Brings a content into the cache, if it is not there. Whoever wants the same meanwhile waits and has it then.
///
/// # Errors
/// It cannot be read, is too large, or is not what it should be.
pub(super) async fn download(
    cache: &Arc<Cache>,
    wanted: &Wanted,
    remote: &dyn Remote,
    max_file: u64,
    progress: &Progress,
) -> Result<Got, SourceError> {
    let present = || {
        let digest = wanted.digest.as_deref()?;
        let hold = cache.hold([digest])?;
        let size = std::fs::metadata(cache.blob(digest)).ok()?.len();
        Some(Got { digest: digest.to_owned(), size, hold })
    };
    if let Some(got) = present() {
        return Ok(got);
    }
    if let Some(size) = wanted.size {
        check_size(&wanted.what, size, max_file)?;
        progress.expect(size);
    }
    let key = wanted.digest.as_ref().or(wanted.identity.as_ref()).unwrap_or(&wanted.what);
    let _one = cache.gate(key).await;
    if let Some(got) = present() {
        progress.advance(got.size);
        return Ok(got);
    }
    let room = cache.room(wanted.size.unwrap_or(0), &wanted.what)?;
    let partial = cache.partial(key);
    if wanted.identity.is_none() && wanted.digest.is_none() {
        partial.discard();
    }
    Download { wanted, partial, room, max_file, progress, done: 0, digest: Sha256::new() }.run(remote).await
}

fn check_size(what: &str, size: u64, max_file: u64) -> Result<(), SourceError> {
    if size <= max_file {
        return Ok(());
    }
    let limit = mebibytes(max_file);
    Err(SourceError::lasting(
        "SourceTooLarge",
        format!("{what} is larger than {limit}, the most that is taken"),
    ))
}

struct Download<'a> {
    wanted: &'a Wanted,
    partial: Partial,
    room: Room,
    max_file: u64,
    progress: &'a Progress,
    /// Bytes that are here, and their digest.
    done: u64,
    digest: Sha256,
}

impl Download<'_> {
    async fn run(mut self, remote: &dyn Remote) -> Result<Got, SourceError> {
        let what = &self.wanted.what;
        let disk = |error: io::Error| SourceError::passing(format!("{what} cannot be kept: {error}"));
        let mut file = self.begin().await.map_err(disk)?;
        let mut fruitless = 0;
        loop {
            let before = self.done;
            // An earlier attempt may have been cut off after the last byte.
            if self.done > 0 && self.wanted.size == Some(self.done) {
                break;
            }
            let cut = match self.pass(remote, &mut file).await {
                Ok(()) => break,
                Err(Cut::Final(error)) => return Err(error),
                Err(Cut::GoOn(error)) => error,
            };
            fruitless = if self.done > before { 1 } else { fruitless + 1 };
            if fruitless >= ATTEMPTS {
                return Err(cut);
            }
            tracing::info!(what, done = self.done, error = %cut, "a download was cut off and goes on");
            tokio::time::sleep(PAUSE * 2u32.pow(fruitless)).await;
        }
        let digest = hex::encode(std::mem::take(&mut self.digest).finalize());
        if let Some(expected) = self.wanted.digest.as_ref().filter(|expected| **expected != digest) {
            self.partial.discard();
            let message = format!("{what} came with the digest sha256:{digest}, not sha256:{expected}");
            return Err(SourceError { reason: "SourceCorrupt", ..SourceError::passing(message) });
        }
        let (size, partial, named) = (self.done, self.partial, digest.clone());
        let file = file.into_std().await;
        let committing = tokio::task::spawn_blocking(move || partial.commit(&file, &named, size));
        let hold = committing.await.map_err(|error| disk(io::Error::other(error)))?.map_err(disk)?;
        drop(self.room);
        tracing::info!(what, size, digest, "downloaded");
        Ok(Got { digest, size, hold })
    }

    /// Opens the partial file, and hashes what is in it.
    async fn begin(&mut self) -> io::Result<tokio::fs::File> {
        let path = self.partial.path.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let mut options = File::options();
            let mut file = options.read(true).write(true).create(true).truncate(false).open(path)?;
            let (size, digest) = hash(&mut file)?;
            io::Result::Ok((file, size, digest))
        });
        let (file, size, digest) = reading.await.map_err(io::Error::other)??;
        let mut file = tokio::fs::File::from_std(file);
        if self.wanted.size.is_some_and(|wanted| size > wanted) {
            self.restart(&mut file).await?;
        } else {
            (self.done, self.digest) = (size, digest);
            self.progress.advance(size);
        }
        Ok(file)
    }

    async fn restart(&mut self, file: &mut tokio::fs::File) -> io::Result<()> {
        self.progress.retreat(self.done);
        (self.done, self.digest) = (0, Sha256::new());
        file.set_len(0).await?;
        tokio::io::AsyncSeekExt::rewind(file).await?;
        Ok(())
    }

    /// Reads until the end, or until it is cut off.
    async fn pass(&mut self, remote: &dyn Remote, file: &mut tokio::fs::File) -> Result<(), Cut> {
        let what = &self.wanted.what;
        let disk =
            |error: io::Error| Cut::Final(SourceError::passing(format!("{what} cannot be kept: {error}")));
        let opened = remote.open(self.done).await.map_err(|error| match error.reason {
            // Refusals and the like will be the same a moment later.
            "SourceUnavailable" if error.passing => Cut::GoOn(error),
            _ => Cut::Final(error),
        })?;
        if opened.from != self.done {
            if opened.from != 0 {
                return Err(Cut::Final(SourceError::passing(format!(
                    "{what}: the server sent another part"
                ))));
            }
            self.restart(file).await.map_err(disk)?;
        }
        if let Some(size) = opened.size {
            check_size(what, size, self.max_file).map_err(Cut::Final)?;
            if self.wanted.size.is_some_and(|wanted| wanted != size) {
                let message = format!("{what} has another size than it is said to have; it may have changed");
                return Err(Cut::Final(SourceError::passing(message)));
            }
            self.room.grow_to(size, what).map_err(Cut::Final)?;
        }
        let expected = self.wanted.size.or(opened.size);
        let mut pieces = opened.pieces;
        let mut cut = None;
        while let Some(piece) = pieces.next().await {
            let piece = match piece {
                Ok(piece) => piece,
                Err(error) => {
                    cut = Some(error);
                    break;
                }
            };
            let done = self.done + piece.len() as u64;
            check_size(what, done, self.max_file).map_err(Cut::Final)?;
            if expected.is_some_and(|expected| done > expected) {
                self.partial.discard();
                let message = format!("{what}: the server sends more than it said");
                return Err(Cut::Final(SourceError::passing(message)));
            }
            self.room.grow_to(done, what).map_err(Cut::Final)?;
            file.write_all(&piece).await.map_err(disk)?;
            self.digest.update(&piece);
            self.done = done;
            self.progress.advance(piece.len() as u64);
        }
        file.flush().await.map_err(disk)?;
        let short = expected.filter(|expected| *expected > self.done);
        match (cut, short) {
            (None, None) => Ok(()),
            (Some(why), _) => Err(Cut::GoOn(SourceError::passing(format!(
                "{what} was cut off after {} bytes: {why}",
                self.done
            )))),
            (None, Some(expected)) => Err(Cut::GoOn(SourceError::passing(format!(
                "{what} was cut off after {} of {expected} bytes",
                self.done
            )))),
        }
    }
}

/// Why a pass ended before the end.
enum Cut {
    GoOn(SourceError),
    Final(SourceError),
}

/// Bytes from here to the end, and their digest.
fn hash(file: &mut File) -> io::Result<(u64, Sha256)> {
    file.rewind()?;
    let (mut digest, mut piece, mut size) = (Sha256::new(), vec![0; 1 << 18], 0);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((size, digest)),
            read => {
                digest.update(&piece[..read]);
                size += read as u64;
            }
        }
    }
}

/// SHA-256 of a file in hexadecimal.
pub(super) fn hash_file(path: &Path) -> io::Result<String> {
    Ok(hex::encode(hash(&mut File::open(path)?)?.1.finalize()))
}
