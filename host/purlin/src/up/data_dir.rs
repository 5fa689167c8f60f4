//! The folder in which `purlin up` keeps everything: taken by one process at a time, and only if its layout is one
//! that this binary knows.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};

/// Version of the layout that this binary writes; see `docs/architecture.md`.
const LAYOUT: u32 = 1;

/// A data directory that this process holds until it is dropped.
#[derive(Debug)]
pub(crate) struct DataDir {
    path: PathBuf,
    _lock: Flock<File>,
}

/// Why a data directory cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DataDirError {
    #[error(
        "the data directory {path} is in use by process {holder}; stop that one, or choose another with --data-dir"
    )]
    Locked { path: PathBuf, holder: String },
    #[error(
        "the data directory {path} has layout {found}, and this purlin knows up to {LAYOUT}; \
         use a newer purlin, or choose another directory with --data-dir"
    )]
    Newer { path: PathBuf, found: u32 },
    #[error(
        "the data directory {path} has no readable layout version ({text:?} in its file 'version'); \
         choose an empty directory with --data-dir"
    )]
    Foreign { path: PathBuf, text: String },
    #[error("cannot use the data directory {path}: {source}; choose another with --data-dir")]
    Io { path: PathBuf, source: io::Error },
}

impl DataDir {
    /// Makes the folder where there is none, takes its lock, and checks its layout.
    pub(crate) fn open(path: &Path) -> Result<Self, DataDirError> {
        let io = |source| DataDirError::Io { path: path.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(io)?;
        let path = fs::canonicalize(path).map_err(io)?;
        let lock = take_lock(&path)?;
        check_layout(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The folder, absolute.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A file or folder in it.
    pub(crate) fn join(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Writes a file that only its owner can read, all of it or nothing.
    pub(crate) fn write_private(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let path = self.join(name);
        let partial = self.join(&format!(".{name}.partial"));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&partial, &path)?;
        Ok(path)
    }
}

/// The process that holds the folder, if one does.
pub(crate) fn holder(path: &Path) -> io::Result<Option<String>> {
    let file = match OpenOptions::new().read(true).open(path.join("lock")) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match Flock::lock(file, FlockArg::LockSharedNonblock) {
        Ok(_) => Ok(None),
        Err((mut file, _)) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid)?;
            Ok(Some(pid.trim().to_owned()))
        }
    }
}

fn take_lock(path: &Path) -> Result<Flock<File>, DataDirError> {
    let io = |source| DataDirError::Io { path: path.to_owned(), source };
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path.join("lock"))
        .map_err(io)?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(mut lock) => {
            lock.set_len(0).map_err(io)?;
            lock.seek(SeekFrom::Start(0)).map_err(io)?;
            writeln!(lock, "{}", std::process::id()).map_err(io)?;
            Ok(lock)
        }
        Err((mut file, nix::errno::Errno::EWOULDBLOCK)) => {
            let mut holder = String::new();
            file.read_to_string(&mut holder).map_err(io)?;
            Err(DataDirError::Locked { path: path.to_owned(), holder: holder.trim().to_owned() })
        }
        Err((_, errno)) => Err(io(errno.into())),
    }
}

fn check_layout(path: &Path) -> Result<(), DataDirError> {
    let io = |source| DataDirError::Io { path: path.to_owned(), source };
    let file = path.join("version");
    match fs::read_to_string(&file) {
        Ok(text) => match text.trim().parse::<u32>() {
            Ok(found) if found <= LAYOUT => Ok(()),
            Ok(found) => Err(DataDirError::Newer { path: path.to_owned(), found }),
            Err(_) => Err(DataDirError::Foreign { path: path.to_owned(), text: text.trim().to_owned() }),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::write(file, format!("{LAYOUT}\n")).map_err(io)
        }
        Err(error) => Err(io(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_process_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path()).unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(
            matches!(&error, DataDirError::Locked { holder, .. } if *holder == std::process::id().to_string())
        );
        assert_eq!(holder(dir.path()).unwrap(), Some(std::process::id().to_string()));
        drop(held);
        assert_eq!(holder(dir.path()).unwrap(), None);
        DataDir::open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_layout_is_refused_and_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("version"), "99\n").unwrap();
        let error = DataDir::open(dir.path()).unwrap_err();
        assert!(matches!(error, DataDirError::Newer { found: 99, .. }), "{error}");
        assert_eq!(fs::read_to_string(dir.path().join("version")).unwrap(), "99\n");
    }

    #[test]
    fn somebody_elses_folder_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("version"), "of something else").unwrap();
        assert!(matches!(DataDir::open(dir.path()), Err(DataDirError::Foreign { .. })));
    }

    #[test]
    fn private_files_are_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let held = DataDir::open(dir.path()).unwrap();
        let path = held.write_private("kubeconfig", "x").unwrap();
        assert_eq!(fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
