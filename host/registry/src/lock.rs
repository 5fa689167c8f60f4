//! Which digest a reference was first resolved to. A tag can be moved by whoever may push; code that runs here must not
//! change with it. The lock is a small JSON file, `{"<reference>": "<digest>"}`, replaced as a whole.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::client::Resolved;
use crate::digest::Digest;
use crate::files;
use crate::reference::Reference;

/// The lock file.
#[derive(Debug)]
pub struct DigestLock {
    path: PathBuf,
    entries: BTreeMap<String, Digest>,
}

/// Why the lock does not let something pass, or cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// The tag points elsewhere than when it was locked.
    #[error(
        "{reference} was locked to {locked} and now points to {found}; \
         name the new digest to follow it, or use the locked one"
    )]
    TagMoved {
        /// The reference.
        reference: String,
        /// What it was.
        locked: Digest,
        /// What it is.
        found: Digest,
    },
    /// The system refused.
    #[error("cannot use the lock file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not a lock.
    #[error("cannot read the lock file {path}: {source}; remove it to lock anew")]
    Json {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

impl DigestLock {
    /// Reads the file; one that is not there is an empty lock.
    pub fn open(path: &Path) -> Result<DigestLock, LockError> {
        let entries = match std::fs::read(path) {
            Ok(text) => serde_json::from_slice(&text)
                .map_err(|source| LockError::Json { path: path.to_owned(), source })?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(source) => return Err(LockError::Io { path: path.to_owned(), source }),
        };
        Ok(DigestLock { path: path.to_owned(), entries })
    }

    /// What a reference was locked to.
    pub fn get(&self, reference: &Reference) -> Option<&Digest> {
        self.entries.get(&reference.to_string())
    }

    /// Lets pass what is as it was, locks what is new, and refuses what moved.
    pub fn check(&mut self, resolved: &Resolved) -> Result<(), LockError> {
        let reference = resolved.reference().to_string();
        match self.entries.get(&reference) {
            Some(locked) if locked == resolved.digest() => Ok(()),
            Some(locked) => Err(LockError::TagMoved {
                reference,
                locked: locked.clone(),
                found: resolved.digest().clone(),
            }),
            None => self.set(reference, resolved.digest().clone()),
        }
    }

    /// Follows a tag that moved: locks it to what it points to now.
    pub fn follow(&mut self, resolved: &Resolved) -> Result<(), LockError> {
        self.set(resolved.reference().to_string(), resolved.digest().clone())
    }

    fn set(&mut self, reference: String, digest: Digest) -> Result<(), LockError> {
        let mut entries = self.entries.clone();
        entries.insert(reference, digest);
        let text = serde_json::to_vec_pretty(&entries)
            .map_err(|source| LockError::Json { path: self.path.clone(), source })?;
        files::replace(&self.path, &text)
            .map_err(|source| LockError::Io { path: self.path.clone(), source })?;
        self.entries = entries;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_that_moved_is_refused_until_it_is_followed() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("plugins.lock");
        let reference: Reference = "localhost:7444/purlin/x:1".parse().expect("reference");
        let old = Resolved::assume(reference.clone(), Digest::of(b"old"));
        let new = Resolved::assume(reference.clone(), Digest::of(b"new"));
        let mut lock = DigestLock::open(&path).expect("open");
        lock.check(&old).expect("first");
        let mut lock = DigestLock::open(&path).expect("open again");
        assert_eq!(lock.get(&reference), Some(old.digest()));
        lock.check(&old).expect("same");
        assert!(matches!(lock.check(&new), Err(LockError::TagMoved { .. })));
        lock.follow(&new).expect("follow");
        lock.check(&new).expect("followed");
        std::fs::write(&path, "{").expect("damage");
        assert!(matches!(DigestLock::open(&path), Err(LockError::Json { .. })));
    }
}
