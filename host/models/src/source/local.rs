//! `file:` and `pvc:`: what is on this machine already. Files are read where they are; they are hashed once, and again when
//! their size, time or inode changed.

use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use super::cache::{Cache, Shelf};
use super::download::hash_file;
use super::error::SourceError;
use super::listing::{Entry, Listing, MAX_FILES};

/// Folders within each other at most.
const MAX_DEPTH: usize = 16;

/// A file that changed so shortly ago may change again within what its time can tell.
const SETTLED: Duration = Duration::from_secs(2);

/// What was found, and where each file is, in the same order.
pub(super) struct Found {
    pub(super) listing: Listing,
    pub(super) paths: Vec<PathBuf>,
    /// The file or folder itself.
    pub(super) root: PathBuf,
}

/// A path that must lie below one of the folders.
pub(super) async fn local(
    cache: &Arc<Cache>,
    folders: &[PathBuf],
    uri: &str,
    path: &Path,
) -> Result<Found, SourceError> {
    let absent = |error: io::Error| SourceError::passing(format!("{uri} cannot be read: {error}"));
    let path = tokio::fs::canonicalize(path).await.map_err(absent)?;
    let allowed = folders.iter().any(|folder| path.starts_with(folder));
    if !allowed {
        return Err(SourceError::lasting(
            "SourceForbidden",
            format!("{uri} is below none of the folders that models may be read from (--model-dir)"),
        ));
    }
    let (cache, uri) = (Arc::clone(cache), uri.to_owned());
    let listing = tokio::task::spawn_blocking(move || listed(&cache, &uri, path));
    listing.await.map_err(|error| SourceError::passing(error.to_string()))?
}

/// A path below any of the folders.
pub(super) async fn claimed(
    cache: &Arc<Cache>,
    folders: &[PathBuf],
    uri: &str,
    path: &str,
) -> Result<Found, SourceError> {
    for folder in folders {
        let candidate = folder.join(path);
        if tokio::fs::try_exists(&candidate).await.unwrap_or(false) {
            return local(cache, folders, uri, &candidate).await;
        }
    }
    Err(SourceError::passing(format!(
        "{uri}: there is no {path:?} in the folders that models may be read from (--model-dir)"
    )))
}

/// A file by its name, or all files below a folder.
fn listed(cache: &Cache, uri: &str, root: PathBuf) -> Result<Found, SourceError> {
    let failed = |error: io::Error| SourceError::passing(format!("{uri} cannot be read: {error}"));
    let (mut found, single) = (Vec::new(), !root.is_dir());
    if single {
        let name =
            root.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
        found.push((name, root.clone(), root.metadata().map_err(failed)?));
    } else {
        walk(&root, "", 0, &mut found).map_err(failed)?;
    }
    let mut entries = Vec::with_capacity(found.len());
    for (name, path, metadata) in found {
        let digest = digest(cache, &path, &metadata).map_err(failed)?;
        entries.push((Entry { name, digest, size: metadata.len(), version: None }, path));
    }
    entries.sort_by(|(a, _), (b, _)| a.name.cmp(&b.name));
    let (files, paths) = entries.into_iter().unzip::<_, _, Vec<Entry>, _>();
    // An empty folder is no error here: what becomes of it is the runtime's to say, which knows what it looks for.
    let listing = if files.is_empty() { Listing::default() } else { Listing::new(uri, single, files)? };
    Ok(Found { listing, paths, root })
}

/// What a file's digest was when it was like this.
#[derive(PartialEq, Serialize, Deserialize)]
struct Known {
    size: u64,
    seconds: i64,
    nanoseconds: i64,
    device: u64,
    inode: u64,
    digest: String,
}

fn digest(cache: &Cache, path: &Path, metadata: &Metadata) -> io::Result<String> {
    let key = path.to_string_lossy();
    let now = Known {
        size: metadata.len(),
        seconds: metadata.mtime(),
        nanoseconds: metadata.mtime_nsec(),
        device: metadata.dev(),
        inode: metadata.ino(),
        digest: String::new(),
    };
    if let Some(known) = cache.record::<Known>(Shelf::Hashes, &key) {
        let digest = known.digest.clone();
        if (Known { digest: String::new(), ..known }) == now {
            return Ok(digest);
        }
    }
    let digest = hash_file(path)?;
    let age = metadata.modified().ok().and_then(|time| SystemTime::now().duration_since(time).ok());
    let unchanged = File::open(path)?.metadata()?.modified().ok() == metadata.modified().ok();
    if unchanged && age.is_some_and(|age| age > SETTLED) {
        cache.keep(Shelf::Hashes, &key, &Known { digest: digest.clone(), ..now });
    }
    Ok(digest)
}

/// Links are not followed: they could lead out of the folder.
fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<(String, PathBuf, Metadata)>,
) -> io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&entry.path(), &format!("{name}/"), depth + 1, found)?;
        } else if kind.is_file() {
            if found.len() == MAX_FILES {
                return Err(io::Error::other(format!("it has more than {MAX_FILES} files")));
            }
            let metadata = entry.metadata()?;
            found.push((name, entry.path(), metadata));
        }
    }
    Ok(())
}
