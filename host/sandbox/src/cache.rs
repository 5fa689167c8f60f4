//! Compiled code on disk, so that a component is compiled once for a digest and an engine, and not at each start.
//!
//! The files are native code that will run with the host's rights. They are therefore taken only from a directory that
//! this user owns and nobody else can enter, and only if their checksum is right. The checksum finds damage; what keeps
//! an attacker out is the directory's mode: whoever can write as this user needs no cache to run code. Nothing here is
//! ever an error for the caller: without a usable file the component is compiled.
//!
//! Each change of a plugin under development leaves a file of up to 40 MB. What was not used for longest goes when all
//! take more than [`LIMIT`].

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::native;

const CHECKSUM: usize = 32;

/// What all files may take together, in bytes.
const LIMIT: u64 = 1 << 30;

/// The directory, if there is one that can be trusted.
pub(crate) struct CodeCache {
    dir: Option<PathBuf>,
    engine_key: String,
}

/// What came of looking.
pub(crate) enum Found {
    /// The compiled component.
    Hit(Component),
    /// Nothing there.
    Miss,
    /// Something there that was not what was written; it is gone now.
    Corrupt,
}

impl CodeCache {
    /// The cache in a directory that is [`trusted`].
    pub(crate) fn open(dir: Option<&Path>, engine: &Engine) -> CodeCache {
        let mut hasher = KeyHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine_key = hex::encode(&hasher.0.finalize()[..8]);
        CodeCache { dir: dir.map(Path::to_owned), engine_key }
    }

    /// Looks for the code of the component with this digest (`sha256:...`).
    pub(crate) fn find(&self, engine: &Engine, digest: &str) -> Found {
        let Some(path) = self.path(digest) else { return Found::Miss };
        let Ok(content) = fs::read(&path) else { return Found::Miss };
        let component = content
            .split_at_checked(CHECKSUM)
            .filter(|(checksum, code)| Sha256::digest(code).as_slice() == *checksum)
            .and_then(|(_, code)| native::revive(engine, code).ok());
        match component {
            Some(component) => {
                // The time says when it was last used. Without it the file goes earlier than it should.
                let _ = fs::File::open(&path).and_then(|file| file.set_modified(SystemTime::now()));
                Found::Hit(component)
            }
            None => {
                tracing::warn!(file = %path.display(), "damaged compiled code, compiling again");
                // Left in place it would be reported at each start; failing to remove it changes nothing else.
                let _ = fs::remove_file(&path);
                Found::Corrupt
            }
        }
    }

    /// Keeps the code. A failure is logged: the next start compiles again.
    pub(crate) fn keep(&self, digest: &str, component: &Component) {
        let Some(path) = self.path(digest) else { return };
        let written = component
            .serialize()
            .map_err(|error| io::Error::other(error.to_string()))
            .and_then(|code| replace(&path, &code))
            .and_then(|()| prune(path.parent().unwrap_or(Path::new(".")), LIMIT));
        if let Err(error) = written {
            tracing::warn!(file = %path.display(), error = %error, "cannot keep compiled code");
        }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        let (_, hash) = digest.split_once(':')?;
        Some(self.dir.as_ref()?.join(format!("{hash}-{}.cwasm", self.engine_key)))
    }
}

/// The directory, if compiled code may be kept there and taken from there.
pub(crate) fn trusted(dir: &Path) -> Option<&Path> {
    match private(dir) {
        Ok(()) => Some(dir),
        Err(error) => {
            tracing::warn!(dir = %dir.display(), error = %error, "compiled plugins will not be kept");
            None
        }
    }
}

/// Makes the directory, or checks that it is ours alone.
fn private(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    let owner = fs::metadata(dir)?.uid();
    let own = fs::metadata("/proc/self")?.uid();
    if owner != own {
        return Err(io::Error::other(format!("it belongs to user {owner}, not to user {own}")));
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o700))
}

/// Writes beside and renames, so that a reader sees the old content or the new, whole.
fn replace(path: &Path, code: &[u8]) -> io::Result<()> {
    let dir = path.parent().unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(dir)?;
    file.write_all(&Sha256::digest(code))?;
    file.write_all(code)?;
    file.as_file().sync_data()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Removes what was used longest ago until the rest is within the limit; what was used last stays however large it is.
fn prune(dir: &Path, limit: u64) -> io::Result<()> {
    let mut kept = Vec::new();
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().extension().is_some_and(|extension| extension == "cwasm") {
            // Another process may have removed it since.
            let Ok(found) = entry.metadata() else { continue };
            kept.push((found.modified()?, found.len(), entry.path()));
        }
    }
    kept.sort();
    let mut size: u64 = kept.iter().map(|(_, size, _)| size).sum();
    kept.pop();
    for (_, freed, path) in kept {
        if size <= limit {
            break;
        }
        fs::remove_file(&path)?;
        size -= freed;
    }
    Ok(())
}

/// Feeds what is hashed to SHA-256: unlike the standard library's hasher, the same in every build.
struct KeyHasher(Sha256);

impl Hasher for KeyHasher {
    fn write(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(&self) -> u64 {
        let digest = self.0.clone().finalize();
        digest.iter().take(8).fold(0, |key, byte| (key << 8) | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn what_was_not_used_for_longest_goes_first_and_the_last_stays() {
        let dir = tempfile::tempdir().expect("dir");
        for (name, age) in [("a.cwasm", 3), ("b.cwasm", 1), ("c.cwasm", 2), ("functions.newer", 9)] {
            let path = dir.path().join(name);
            fs::write(&path, [0; 100]).expect("written");
            let file = fs::File::open(&path).expect("a file");
            file.set_modified(SystemTime::now() - Duration::from_secs(age)).expect("a time");
        }
        let left = |limit| {
            prune(dir.path(), limit).expect("pruned");
            let entries = fs::read_dir(dir.path()).expect("entries").flatten();
            let mut names: Vec<_> =
                entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!(left(300).len(), 4);
        assert_eq!(left(299), ["b.cwasm", "c.cwasm", "functions.newer"]);
        assert_eq!(left(0), ["b.cwasm", "functions.newer"]);
    }
}
