//! Compiled code on disk, so that a component is compiled once for a digest and an engine, and not at each start.
//!
//! The files are native code that will run with the host's rights. They are therefore taken only from a directory that
//! this user owns and nobody else can enter, and only if their checksum is right. The checksum finds damage; what keeps
//! an attacker out is the directory's mode: whoever can write as this user needs no cache to run code. Nothing here is
//! ever an error for the caller: without a usable file the component is compiled.

use std::fs;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};
use wasmtime::Engine;
use wasmtime::component::Component;

use crate::native;

const CHECKSUM: usize = 32;

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
    pub(crate) fn open(dir: Option<&Path>, engine: &Engine) -> CodeCache {
        let dir = dir.and_then(|dir| match private(dir) {
            Ok(()) => Some(dir.to_owned()),
            Err(error) => {
                tracing::warn!(dir = %dir.display(), error = %error, "compiled plugins will not be kept");
                None
            }
        });
        let mut hasher = KeyHasher(Sha256::new());
        engine.precompile_compatibility_hash().hash(&mut hasher);
        let engine_key = hex::encode(&hasher.0.finalize()[..8]);
        CodeCache { dir, engine_key }
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
            Some(component) => Found::Hit(component),
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
            .and_then(|code| replace(&path, &code));
        if let Err(error) = written {
            tracing::warn!(file = %path.display(), error = %error, "cannot keep compiled code");
        }
    }

    fn path(&self, digest: &str) -> Option<PathBuf> {
        let (_, hash) = digest.split_once(':')?;
        Some(self.dir.as_ref()?.join(format!("{hash}-{}.cwasm", self.engine_key)))
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
