//! Compiled functions on disk, so that a component that changed a little is compiled a little. Most of a plugin in Python,
//! JavaScript or Go is its language's runtime, the same in each build and in each plugin of the language.
//!
//! The compiler alone reads and writes here, under its own keys: a SHA-256 of a function's code, the processor and the
//! settings. What is kept is native code that will run with the host's rights, so it lies in the directory of the
//! [code cache](crate::cache), which nobody else can enter, and a record counts only if its checksum is right. Nothing
//! here is ever an error for the caller: without a usable record the function is compiled.
//!
//! Two files make the store: the newer is appended to, and when it has half of what the store may hold it becomes the
//! older and the older goes. A function that is found in the older is written again, so what is in use stays.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, BufReader, Read};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use sha2::{Digest, Sha256};
use wasmtime::CacheStore;

/// What both files may hold together. Python's runtime, the largest, takes some 50 MB.
const LIMIT: u64 = 384 << 20;

/// The length of the compiler's keys. What has another is not kept.
const KEY: usize = 32;

/// Bytes of a checksum; they find damage, and keep out nobody.
const CHECKSUM: usize = 16;

/// A record: its value's length, key and checksum, and then the value.
const HEAD: usize = 4 + KEY + CHECKSUM;

type Key = [u8; KEY];

/// The store, open for as long as the sandbox lives.
pub(crate) struct Functions {
    dir: PathBuf,
    limit: u64,
    // Held, not read: whoever comes second to this directory compiles without a store.
    _lock: File,
    state: Mutex<State>,
}

struct State {
    newer: Generation,
    older: Option<Generation>,
}

/// One file and where in it each function lies.
struct Generation {
    file: File,
    end: u64,
    places: HashMap<Key, (u64, u32)>,
}

impl std::fmt::Debug for Functions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Functions").field("dir", &self.dir).finish_non_exhaustive()
    }
}

impl Functions {
    /// Opens the store of a directory that was found to be private.
    pub(crate) fn open(dir: &Path) -> Option<Functions> {
        match Functions::try_open(dir, LIMIT) {
            Ok(found) => found,
            Err(error) => {
                tracing::warn!(dir = %dir.display(), error = %error, "compiled functions will not be kept");
                None
            }
        }
    }

    fn try_open(dir: &Path, limit: u64) -> io::Result<Option<Functions>> {
        let lock = private().truncate(false).open(dir.join("functions.lock"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                tracing::info!(dir = %dir.display(), "another process keeps its compiled functions here");
                return Ok(None);
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let newer = Generation::open(&newer(dir))?;
        let older = if older(dir).exists() { Some(Generation::open(&older(dir))?) } else { None };
        let state = Mutex::new(State { newer, older });
        Ok(Some(Functions { dir: dir.to_owned(), limit, _lock: lock, state }))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing under the lock leaves the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keep(&self, state: &mut State, key: Key, value: &[u8]) -> io::Result<()> {
        if state.newer.end >= self.limit / 2 {
            // A new file in any case: the one that becomes the older stays open under its new name.
            std::fs::rename(newer(&self.dir), older(&self.dir))?;
            let next = Generation::open(&newer(&self.dir))?;
            state.older = Some(std::mem::replace(&mut state.newer, next));
        }
        state.newer.append(key, value)
    }
}

impl CacheStore for Functions {
    fn get(&self, key: &[u8]) -> Option<Cow<'_, [u8]>> {
        let key: Key = key.try_into().ok()?;
        let mut state = self.state();
        if let Some(value) = state.newer.get(&key) {
            return Some(Cow::Owned(value));
        }
        let value = state.older.as_mut()?.get(&key)?;
        if let Err(error) = self.keep(&mut state, key, &value) {
            tracing::debug!(error = %error, "cannot keep a compiled function");
        }
        Some(Cow::Owned(value))
    }

    fn insert(&self, key: &[u8], value: Vec<u8>) -> bool {
        let Ok(key) = Key::try_from(key) else { return false };
        let mut state = self.state();
        // Two threads compiled the same function at once.
        if state.newer.places.contains_key(&key) {
            return true;
        }
        match self.keep(&mut state, key, &value) {
            Ok(()) => true,
            Err(error) => {
                tracing::debug!(error = %error, "cannot keep a compiled function");
                false
            }
        }
    }
}

impl Generation {
    /// Opens a file, or makes it, and finds the records in it. What follows the last whole one is cut off: a process was
    /// killed while it wrote.
    fn open(path: &Path) -> io::Result<Generation> {
        let file = private().truncate(false).open(path)?;
        let size = file.metadata()?.len();
        let mut places = HashMap::new();
        let mut end = 0;
        let mut reader = BufReader::new(&file);
        let mut head = [0; HEAD];
        while reader.read_exact(&mut head).is_ok() {
            let (length, rest) = head.split_at(4);
            let Ok(length) = length.try_into().map(u32::from_le_bytes) else { break };
            let Ok(key) = Key::try_from(&rest[..KEY]) else { break };
            let start = end + HEAD as u64;
            let Some(next) = start.checked_add(u64::from(length)).filter(|next| *next <= size) else { break };
            reader.seek_relative(i64::from(length))?;
            places.insert(key, (start, length));
            end = next;
        }
        drop(reader);
        if end < size {
            file.set_len(end)?;
        }
        Ok(Generation { file, end, places })
    }

    fn get(&mut self, key: &Key) -> Option<Vec<u8>> {
        let (start, length) = *self.places.get(key)?;
        let mut record = vec![0; HEAD + length as usize];
        let whole = self.file.read_exact_at(&mut record, start - HEAD as u64).is_ok();
        let value = record.split_off(HEAD);
        if whole && record == head(key, &value) {
            return Some(value);
        }
        // Compiled again and appended, it is found from then on.
        tracing::warn!("a damaged compiled function, compiling it again");
        self.places.remove(key);
        None
    }

    fn append(&mut self, key: Key, value: &[u8]) -> io::Result<()> {
        let length = u32::try_from(value.len()).map_err(|_| io::ErrorKind::FileTooLarge)?;
        let mut record = head(&key, value);
        record.extend_from_slice(value);
        self.file.write_all_at(&record, self.end)?;
        self.places.insert(key, (self.end + HEAD as u64, length));
        self.end += record.len() as u64;
        Ok(())
    }
}

fn newer(dir: &Path) -> PathBuf {
    dir.join("functions.newer")
}

fn older(dir: &Path) -> PathBuf {
    dir.join("functions.older")
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    options
}

/// Length, key and a checksum over both and the value: a record that lies under another's key is none.
fn head(key: &Key, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u32).to_le_bytes();
    let sum = Sha256::new().chain_update(length).chain_update(key).chain_update(value).finalize();
    [&length, key.as_slice(), &sum[..CHECKSUM]].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(dir: &Path, limit: u64) -> Functions {
        Functions::try_open(dir, limit).expect("a store").expect("not in use")
    }

    fn found(store: &Functions, key: u8) -> Option<Vec<u8>> {
        store.get(&[key; KEY]).map(Cow::into_owned)
    }

    #[test]
    fn what_was_kept_is_found_again_after_a_restart() {
        let dir = tempfile::tempdir().expect("dir");
        let store = open(dir.path(), LIMIT);
        assert!(store.insert(&[1; KEY], b"one".to_vec()));
        assert!(store.insert(&[2; KEY], Vec::new()));
        assert!(!store.insert(b"short", b"x".to_vec()));
        assert!(Functions::try_open(dir.path(), LIMIT).expect("no error").is_none(), "two have it open");
        drop(store);
        let store = open(dir.path(), LIMIT);
        assert_eq!(found(&store, 1), Some(b"one".to_vec()));
        assert_eq!(found(&store, 2), Some(Vec::new()));
        assert_eq!(found(&store, 3), None);
    }

    #[test]
    fn a_record_that_was_cut_or_changed_is_none_and_the_next_is_kept() {
        let dir = tempfile::tempdir().expect("dir");
        let store = open(dir.path(), LIMIT);
        for key in 1..=3 {
            store.insert(&[key; KEY], vec![key; 100]);
        }
        drop(store);
        let path = newer(dir.path());
        let mut content = std::fs::read(&path).expect("content");
        content[HEAD + 5] ^= 1;
        content.truncate(content.len() - 1);
        std::fs::write(&path, &content).expect("written");
        let store = open(dir.path(), LIMIT);
        assert_eq!((found(&store, 1), found(&store, 3)), (None, None));
        assert_eq!(found(&store, 2), Some(vec![2; 100]));
        store.insert(&[3; KEY], b"again".to_vec());
        assert_eq!(found(&store, 3), Some(b"again".to_vec()));
    }

    #[test]
    fn a_value_moved_under_another_key_is_none() {
        let dir = tempfile::tempdir().expect("dir");
        let store = open(dir.path(), LIMIT);
        store.insert(&[1; KEY], b"one".to_vec());
        drop(store);
        let path = newer(dir.path());
        let mut content = std::fs::read(&path).expect("content");
        content[4..4 + KEY].fill(2);
        std::fs::write(&path, &content).expect("written");
        assert_eq!(found(&open(dir.path(), LIMIT), 2), None);
    }

    #[test]
    fn it_stays_within_its_limit_and_keeps_what_is_in_use() {
        let dir = tempfile::tempdir().expect("dir");
        let limit = 20_000;
        let store = open(dir.path(), limit);
        for key in 0..200 {
            store.insert(&[key; KEY], vec![key; 1000]);
            assert_eq!(found(&store, 0), Some(vec![0; 1000]), "after {key}");
        }
        assert_eq!(found(&store, 1), None);
        let size = |path| std::fs::metadata(path).expect("a file").len();
        assert!(size(newer(dir.path())) + size(older(dir.path())) < limit + 2 * 1100);
        drop(store);
        assert_eq!(found(&open(dir.path(), limit), 199), Some(vec![199; 1000]));
    }
}
