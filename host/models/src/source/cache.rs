//! What was downloaded, by its content: one copy for all models that have it.
//!
//! | Folder | What is in it |
//! |---|---|
//! | `blobs` | contents, named by their SHA-256; whole always |
//! | `partial` | downloads that are not whole yet, named by what they will be |
//! | `listings` | which files a source had, and their versions |
//! | `layers` | which files of models a layer of an image has |
//! | `hashes` | digests of local files that were read before |
//! | `folders` | sources as folders: links to blobs under the files' names |
//!
//! # Guarantees
//! A file gets its place by a rename after it reached the disk, so a kill at any moment leaves nothing that looks whole and
//! is not. Blobs that somebody holds stay; the others go when the limit demands it, those used least lately first. One
//! process uses the folder at a time.

use std::collections::{HashMap, HashSet};
use std::fs::{self, File, Permissions};
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

use super::error::SourceError;
use super::progress::mebibytes;

/// The largest record that is read back.
const MAX_RECORD: u64 = 64 << 20;

/// What a download of unknown size asks for more room by, in bytes.
const STEP: u64 = 64 << 20;

/// A folder of contents with a limit.
pub(super) struct Cache {
    root: PathBuf,
    limit: u64,
    state: Mutex<State>,
    /// Those who want the same wait for the first of them.
    gates: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Keeps other processes out for as long as this one lives.
    _lock: File,
}

#[derive(Default)]
struct State {
    blobs: HashMap<String, Blob>,
    /// Bytes that downloads in progress will have, or have.
    reserved: u64,
    /// Partial files that are written to now.
    active: HashSet<String>,
    /// How many hold each folder.
    folders: HashMap<String, usize>,
    /// Names of temporary files.
    count: u64,
}

struct Blob {
    size: u64,
    /// Nanoseconds since 1970.
    used: u128,
    holds: usize,
}

/// Records that are kept by a key.
#[derive(Clone, Copy)]
pub(super) enum Shelf {
    Listings,
    Layers,
    Hashes,
}

impl Shelf {
    fn folder(self) -> &'static str {
        match self {
            Shelf::Listings => "listings",
            Shelf::Layers => "layers",
            Shelf::Hashes => "hashes",
        }
    }
}

/// Keeps blobs in the cache for as long as it lives.
pub(super) struct Hold {
    cache: Arc<Cache>,
    digests: Vec<String>,
}

impl Hold {
    /// Holds nothing.
    pub(super) fn nothing(cache: &Arc<Cache>) -> Hold {
        Hold { cache: Arc::clone(cache), digests: Vec::new() }
    }

    /// Holds what another held, too.
    pub(super) fn join(&mut self, mut other: Hold) {
        self.digests.append(&mut other.digests);
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        for digest in &self.digests {
            if let Some(blob) = state.blobs.get_mut(digest) {
                blob.holds = blob.holds.saturating_sub(1);
            }
        }
    }
}

/// A folder that stays for as long as this lives.
pub(super) struct HeldFolder {
    cache: Arc<Cache>,
    name: String,
    path: PathBuf,
}

impl HeldFolder {
    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for HeldFolder {
    fn drop(&mut self) {
        if let Some(holds) = self.cache.state().folders.get_mut(&self.name) {
            *holds = holds.saturating_sub(1);
        }
    }
}

/// Room on the disk for what is being written.
pub(super) struct Room {
    cache: Arc<Cache>,
    bytes: u64,
}

impl Room {
    /// Makes sure that so many bytes have room.
    ///
    /// # Errors
    /// The limit does not allow it.
    pub(super) fn grow_to(&mut self, bytes: u64, what: &str) -> Result<(), SourceError> {
        if bytes <= self.bytes {
            return Ok(());
        }
        let needed = bytes - self.bytes;
        let ahead = needed.max(STEP);
        self.bytes += match self.cache.claim(ahead, what) {
            Ok(()) => ahead,
            Err(_) => self.cache.claim(needed, what).map(|()| needed)?,
        };
        Ok(())
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        state.reserved = state.reserved.saturating_sub(self.bytes);
    }
}

/// A partial file that nobody else writes to.
pub(super) struct Partial {
    cache: Arc<Cache>,
    name: String,
    pub(super) path: PathBuf,
}

impl Drop for Partial {
    fn drop(&mut self) {
        self.cache.state().active.remove(&self.name);
    }
}

/// A content that is written at once, and has its name when it is whole.
pub(super) struct BlobWriter {
    partial: Partial,
    file: io::BufWriter<File>,
    digest: Sha256,
    size: u64,
}

impl BlobWriter {
    /// Bytes so far.
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    /// Adds bytes.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.digest.update(bytes);
        self.size += bytes.len() as u64;
        self.file.write_all(bytes)
    }

    /// Puts it among the blobs; says its digest in hexadecimal.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn commit(self) -> io::Result<(String, Hold)> {
        let BlobWriter { partial, file, digest, size } = self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
        let digest = hex::encode(digest.finalize());
        let hold = partial.commit(&file, &digest, size)?;
        Ok((digest, hold))
    }
}

impl Partial {
    /// Puts what was written among the blobs, and holds it.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn commit(&self, file: &File, digest: &str, size: u64) -> io::Result<Hold> {
        let blob = self.cache.blob(digest);
        // Links to it are mounted into containers, which must not change it for others.
        file.set_permissions(Permissions::from_mode(0o444))?;
        file.sync_all()?;
        fs::rename(&self.path, &blob)?;
        File::open(self.cache.root.join("blobs"))?.sync_all()?;
        let mut state = self.cache.state();
        let entry = state.blobs.entry(digest.to_owned());
        let kept = entry.or_insert(Blob { size, used: 0, holds: 0 });
        (kept.used, kept.holds) = (now(), kept.holds + 1);
        drop(state);
        Ok(Hold { cache: Arc::clone(&self.cache), digests: vec![digest.to_owned()] })
    }

    /// Takes away what was written.
    pub(super) fn discard(&self) {
        // One that stays is written anew, or goes when room is needed.
        let _ = fs::remove_file(&self.path);
    }
}

impl Cache {
    /// Opens a folder, which may have been left by a process that was killed.
    ///
    /// # Errors
    /// The disk's, or another process uses it.
    pub(super) fn open(root: &Path, limit: u64) -> io::Result<Arc<Cache>> {
        for folder in ["blobs", "partial", "listings", "layers", "hashes", "folders"] {
            fs::create_dir_all(root.join(folder))?;
        }
        let lock = File::create(root.join("lock"))?;
        lock.try_lock().map_err(|error| match error {
            fs::TryLockError::WouldBlock => {
                let message = format!("{} is used by another process", root.display());
                io::Error::new(io::ErrorKind::ResourceBusy, message)
            }
            fs::TryLockError::Error(error) => error,
        })?;
        let mut state = State::default();
        for entry in fs::read_dir(root.join("blobs"))? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            if let Ok(digest) = entry.file_name().into_string()
                && is_digest(&digest)
            {
                let used = since_1970(metadata.modified()?);
                state.blobs.insert(digest, Blob { size: metadata.len(), used, holds: 0 });
            }
        }
        // What has a name of its own goes on later; these have none that anybody would look for.
        for folder in ["partial", "listings", "layers", "hashes", "folders"] {
            for entry in fs::read_dir(root.join(folder))? {
                let entry = entry?;
                if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                    remove(&entry.path());
                }
            }
        }
        let (root, gates) = (root.to_owned(), Mutex::default());
        Ok(Arc::new(Cache { root, limit, state: Mutex::new(state), gates, _lock: lock }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a content is, or would be.
    pub(super) fn blob(&self, digest: &str) -> PathBuf {
        self.root.join("blobs").join(digest)
    }

    /// Holds blobs, if all of them are there.
    pub(super) fn hold<'a>(self: &Arc<Self>, digests: impl IntoIterator<Item = &'a str>) -> Option<Hold> {
        let mut hold = Hold::nothing(self);
        let used = now();
        let mut state = self.state();
        for digest in digests {
            let Some(blob) = state.blobs.get_mut(digest) else {
                drop(state);
                return None;
            };
            (blob.used, blob.holds) = (used, blob.holds + 1);
            hold.digests.push(digest.to_owned());
        }
        drop(state);
        for digest in &hold.digests {
            // For the next process; a failure costs nothing but the order in which blobs go.
            let touched = File::open(self.blob(digest)).and_then(|file| file.set_modified(SystemTime::now()));
            if let Err(error) = touched {
                tracing::debug!(digest, %error, "the time of a blob's last use is not kept");
            }
        }
        Some(hold)
    }

    /// Waits until nobody else works on what a key names.
    pub(super) async fn gate(&self, key: &str) -> tokio::sync::OwnedMutexGuard<()> {
        let gate = {
            let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
            gates.retain(|_, gate| Arc::strong_count(gate) > 1);
            Arc::clone(gates.entry(key.to_owned()).or_default())
        };
        gate.lock_owned().await
    }

    /// Makes room for so many bytes; others go for them.
    ///
    /// # Errors
    /// What is in use leaves no room.
    pub(super) fn room(self: &Arc<Self>, bytes: u64, what: &str) -> Result<Room, SourceError> {
        self.claim(bytes, what)?;
        Ok(Room { cache: Arc::clone(self), bytes })
    }

    fn claim(&self, bytes: u64, what: &str) -> Result<(), SourceError> {
        let mut state = self.state();
        let taken = self.make_room(&mut state, bytes);
        if taken.saturating_add(bytes) > self.limit {
            let message = format!(
                "{what} does not fit: it needs {}, and models in use take {} of the {} that downloads may take \
                 (--model-cache)",
                mebibytes(bytes),
                mebibytes(taken),
                mebibytes(self.limit)
            );
            return Err(SourceError { reason: "CacheFull", ..SourceError::passing(message) });
        }
        state.reserved += bytes;
        Ok(())
    }

    /// Lets go of what was used least lately until so many bytes fit, or nothing more can go. Says what is taken then.
    fn make_room(&self, state: &mut State, bytes: u64) -> u64 {
        let mut candidates: Vec<(u128, PathBuf, u64, Option<String>)> = Vec::new();
        let mut taken = state.reserved;
        for (digest, blob) in &state.blobs {
            taken = taken.saturating_add(blob.size);
            if blob.holds == 0 {
                candidates.push((blob.used, self.blob(digest), blob.size, Some(digest.clone())));
            }
        }
        for entry in fs::read_dir(self.root.join("partial")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let Ok(metadata) = entry.metadata() else { continue };
            if !state.active.contains(&name) {
                taken = taken.saturating_add(metadata.len());
                let used = metadata.modified().map_or(0, since_1970);
                candidates.push((used, entry.path(), metadata.len(), None));
            }
        }
        if taken.saturating_add(bytes) <= self.limit {
            return taken;
        }
        // Links keep the bytes of a blob that goes.
        for entry in fs::read_dir(self.root.join("folders")).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            if state.folders.get(&name).is_none_or(|holds| *holds == 0) {
                remove(&entry.path());
                state.folders.remove(&name);
            }
        }
        candidates.sort();
        for (_, path, size, digest) in candidates {
            if taken.saturating_add(bytes) <= self.limit {
                break;
            }
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a blob cannot be removed");
                continue;
            }
            tracing::info!(path = %path.display(), size, "removed to make room");
            taken = taken.saturating_sub(size);
            if let Some(digest) = digest {
                state.blobs.remove(&digest);
            }
        }
        taken
    }

    /// Takes a blob away, unless somebody holds it.
    pub(super) fn drop_blob(&self, digest: &str) {
        let mut state = self.state();
        if state.blobs.get(digest).is_some_and(|blob| blob.holds == 0) {
            state.blobs.remove(digest);
            remove(&self.blob(digest));
        }
    }

    /// The partial file of a key, for one who has its gate.
    pub(super) fn partial(self: &Arc<Self>, key: &str) -> Partial {
        let name = hex::encode(Sha256::digest(key));
        self.state().active.insert(name.clone());
        let path = self.root.join("partial").join(&name);
        Partial { cache: Arc::clone(self), name, path }
    }

    /// A content of which nothing is known yet.
    ///
    /// # Errors
    /// The disk's.
    pub(super) fn writer(self: &Arc<Self>) -> io::Result<BlobWriter> {
        let name = self.temporary();
        self.state().active.insert(name.clone());
        let path = self.root.join("partial").join(&name);
        let partial = Partial { cache: Arc::clone(self), name, path };
        let file = io::BufWriter::with_capacity(1 << 18, File::create(&partial.path)?);
        Ok(BlobWriter { partial, file, digest: Sha256::new(), size: 0 })
    }

    fn temporary(&self) -> String {
        let mut state = self.state();
        state.count += 1;
        format!("{TEMPORARY}{}", state.count)
    }

    /// Reads a record; none where there is none that can be read.
    pub(super) fn record<T: DeserializeOwned>(&self, shelf: Shelf, key: &str) -> Option<T> {
        let path = self.record_path(shelf, key);
        if fs::metadata(&path).ok()?.len() > MAX_RECORD {
            return None;
        }
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    /// Keeps a record. One that cannot be kept is a download more, no failure.
    pub(super) fn keep<T: Serialize>(&self, shelf: Shelf, key: &str, record: &T) {
        let path = self.record_path(shelf, key);
        let temporary = path.with_file_name(self.temporary());
        let kept = serde_json::to_vec(record).map_err(io::Error::other).and_then(|text| {
            let mut file = File::create(&temporary)?;
            file.write_all(&text)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)
        });
        if let Err(error) = kept {
            tracing::warn!(path = %path.display(), %error, "what a source has is not kept");
            remove(&temporary);
        }
    }

    fn record_path(&self, shelf: Shelf, key: &str) -> PathBuf {
        self.root.join(shelf.folder()).join(hex::encode(Sha256::digest(key)))
    }

    /// A folder that has files under their names: links to them, or copies of those that are on another file system. The
    /// caller holds what is linked.
    ///
    /// # Errors
    /// The disk's; a name that is a file's and a folder's.
    pub(super) fn linked<'a>(
        self: &Arc<Self>,
        digest: &str,
        files: impl Iterator<Item = (&'a str, PathBuf)>,
    ) -> io::Result<HeldFolder> {
        // The same content may have other names, as a file that is fetched alone.
        let files: Vec<_> = files.collect();
        let mut key = Sha256::new_with_prefix(digest);
        files.iter().for_each(|(name, _)| key.update(format!("{name}\n")));
        let name = hex::encode(key.finalize());
        let path = self.root.join("folders").join(&name);
        *self.state().folders.entry(name.clone()).or_default() += 1;
        let held = HeldFolder { cache: Arc::clone(self), name, path };
        if held.path.is_dir() {
            return Ok(held);
        }
        let building = self.root.join("folders").join(self.temporary());
        // Room may be made meanwhile; what is being built is nobody's yet.
        let building_name = building.file_name().map(|name| name.to_string_lossy().into_owned());
        self.state().folders.extend(building_name.clone().map(|name| (name, 1)));
        let built = fs::create_dir(&building).and_then(|()| {
            for (name, blob) in files {
                link(&blob, &building.join(name))?;
            }
            fs::rename(&building, &held.path)
        });
        if let Some(name) = building_name {
            self.state().folders.remove(&name);
        }
        match built {
            Err(error) if !held.path.is_dir() => {
                remove(&building);
                Err(error)
            }
            Err(_) => {
                remove(&building);
                Ok(held)
            }
            Ok(()) => Ok(held),
        }
    }
}

/// What the names of files begin with that nobody looks for.
const TEMPORARY: &str = "tmp-";

/// Puts a file in a place: as a link, or as a copy where that is another file system. Makes the folders above it.
pub(super) fn link(from: &Path, to: &Path) -> io::Result<()> {
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder)?;
    }
    match fs::hard_link(from, to) {
        Err(error) if error.kind() == io::ErrorKind::CrossesDevices => {
            fs::copy(from, to)?;
            Ok(())
        }
        linked => linked,
    }
}

fn remove(path: &Path) {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    if let Err(error) = removed
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "cannot be removed");
    }
}

fn is_digest(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
}

fn now() -> u128 {
    since_1970(SystemTime::now())
}

fn since_1970(time: SystemTime) -> u128 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()
}

#[cfg(test)]
mod tests {
    use super::super::listing::Listing;
    use super::*;

    fn put(cache: &Arc<Cache>, content: &[u8]) -> (String, Hold) {
        let _room = cache.room(content.len() as u64, "it").unwrap();
        let mut writer = cache.writer().unwrap();
        writer.write(content).unwrap();
        writer.commit().unwrap()
    }

    #[test]
    fn what_nobody_holds_goes_in_the_order_of_its_last_use() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 30).unwrap();
        let (first, held) = put(&cache, &[1; 10]);
        let (second, _) = put(&cache, &[2; 10]);
        let (third, _) = put(&cache, &[3; 10]);
        drop(cache.hold([second.as_str()]).unwrap());
        let (fourth, _) = put(&cache, &[4; 10]);
        let there = |digest: &str| cache.blob(digest).exists();
        assert_eq!([&first, &second, &third, &fourth].map(|digest| there(digest)), [true, true, false, true]);
        let refused = cache.room(25, "the model").err().unwrap();
        assert!(refused.passing && refused.reason == "CacheFull" && refused.message.contains("the model"));
        drop(held);
        assert!(cache.room(25, "it").is_ok());
        assert!(!there(&first));
    }

    #[test]
    fn a_kill_leaves_nothing_that_looks_whole() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 1 << 20).unwrap();
        let (whole, _) = put(&cache, b"whole");
        let mut writer = cache.writer().unwrap();
        writer.write(b"cut").unwrap();
        assert!(Cache::open(folder.path(), 1 << 20).is_err(), "one process at a time");
        // As after a kill: nothing is dropped, the lock goes with the process.
        cache._lock.unlock().unwrap();
        std::mem::forget(writer);
        let again = Cache::open(folder.path(), 1 << 20).unwrap();
        assert!(again.hold([whole.as_str()]).is_some());
        assert_eq!(again.state().blobs.len(), 1);
        assert_eq!(fs::read_dir(folder.path().join("partial")).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_stays_while_it_is_held() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 10).unwrap();
        let (digest, hold) = put(&cache, b"content");
        let folder_of = |names: &[&'static str]| {
            let names = names.to_vec();
            cache.linked(&digest, names.into_iter().map(|name| (name, cache.blob(&digest))))
        };
        let held = folder_of(&["a/b", "c"]).unwrap();
        let path = held.path().to_owned();
        assert_eq!(fs::read(path.join("a/b")).unwrap(), b"content");
        assert_eq!(folder_of(&["a/b", "c"]).unwrap().path(), path);
        assert!(cache.room(9, "it").is_err());
        assert!(path.exists());
        drop((held, hold));
        assert!(cache.room(9, "it").is_ok());
        assert!(!path.exists());
        assert!(folder_of(&["a", "a/b"]).is_err());
    }

    #[test]
    fn damaged_records_are_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path(), 10).unwrap();
        cache.keep(Shelf::Listings, "k", &Listing::default());
        assert_eq!(cache.record(Shelf::Listings, "k"), Some(Listing::default()));
        fs::write(cache.record_path(Shelf::Listings, "k"), "{\"single\": tr").unwrap();
        assert_eq!(cache.record::<Listing>(Shelf::Listings, "k"), None);
    }
}
