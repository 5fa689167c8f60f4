//! Where a model's files come from. A source is read once; what was downloaded is kept by its content and shared by all
//! models that have it.
//!
//! | URI | Files |
//! |---|---|
//! | `file:///PATH`, `PATH` | a file or folder below one of the folders that the operator named |
//! | `pvc://CLAIM/PATH` | the same below `CLAIM` in those folders |
//! | `http(s)://...` | one file |

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::StreamExt as _;
use purlin_nn::LoadOptions;
use purlin_sandbox::ModelFiles;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use url::Url;

/// Files of one model at most.
const MAX_FILES: usize = 10_000;

/// Folders within each other at most.
const MAX_DEPTH: usize = 16;

/// What sources may be read.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Folders below which `file:` and `pvc:` are looked for; none where there are none.
    pub folders: Vec<PathBuf>,
    /// Where downloads are kept.
    pub cache: PathBuf,
    /// The largest file that is downloaded, in bytes.
    pub max_file: u64,
}

/// Why a source could not be read. The text is for the Model's condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// One word for the condition.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether it may be there later.
    pub passing: bool,
}

impl SourceError {
    fn lasting(reason: &'static str, message: impl Into<String>) -> SourceError {
        SourceError { reason, message: message.into(), passing: false }
    }

    fn passing(message: impl Into<String>) -> SourceError {
        SourceError { reason: "SourceUnavailable", message: message.into(), passing: true }
    }
}

/// What a source has.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) files: Arc<ModelFiles>,
    /// Bytes of all files.
    pub(crate) size: u64,
    /// `sha256:...` of the listing, with the content of what was downloaded.
    pub(crate) digest: String,
}

impl Fetched {
    /// Whether this is what the user expects.
    pub(crate) fn check(&self, uri: &str, expected: Option<&str>) -> Result<(), SourceError> {
        match expected {
            Some(expected) if expected != self.digest => Err(SourceError::lasting(
                "DigestMismatch",
                format!("spec.source.digest: {uri} has the digest {}, not {expected}", self.digest),
            )),
            _ => Ok(()),
        }
    }
}

/// Reads sources.
pub struct Sources {
    config: SourceConfig,
    http: reqwest::Client,
    /// Downloads in progress: who comes later waits for the first.
    downloads: Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Sources {
    /// Reads what the configuration allows.
    ///
    /// # Errors
    /// The cache cannot be made, or there is no TLS.
    pub fn new(config: SourceConfig) -> io::Result<Sources> {
        std::fs::create_dir_all(&config.cache)?;
        let http = reqwest::Client::builder().build().map_err(io::Error::other)?;
        Ok(Sources { config, http, downloads: Mutex::default() })
    }

    /// The files behind a URI.
    pub(crate) async fn fetch(&self, uri: &str, options: LoadOptions) -> Result<Fetched, SourceError> {
        let parsed = Url::parse(uri);
        match parsed.as_ref().map(Url::scheme) {
            Ok("file") => {
                let path = parsed.ok().and_then(|url| url.to_file_path().ok());
                let path =
                    path.ok_or_else(|| SourceError::lasting("SourceInvalid", format!("{uri} has no path")))?;
                self.local(uri, &path, options).await
            }
            Ok("pvc") => {
                let path = uri.trim_start_matches("pvc:").trim_start_matches('/');
                self.claimed(uri, path, options).await
            }
            Ok("http" | "https") => self.download(uri, options).await,
            Err(_) if uri.starts_with('/') => self.local(uri, Path::new(uri), options).await,
            Ok(scheme) => Err(SourceError::lasting(
                "SourceUnsupported",
                format!(
                    "{uri}: sources of the scheme {scheme:?} cannot be read yet; use file, pvc, http or https"
                ),
            )),
            Err(_) => Err(SourceError::lasting(
                "SourceInvalid",
                format!("{uri:?} is no URI; write for example https://HOST/model.onnx or pvc://CLAIM/PATH"),
            )),
        }
    }

    /// A path that must lie below one of the folders.
    async fn local(&self, uri: &str, path: &Path, options: LoadOptions) -> Result<Fetched, SourceError> {
        let absent = |error: io::Error| SourceError::passing(format!("{uri} cannot be read: {error}"));
        let path = tokio::fs::canonicalize(path).await.map_err(absent)?;
        let allowed = self.config.folders.iter().any(|folder| path.starts_with(folder));
        if !allowed {
            return Err(SourceError::lasting(
                "SourceForbidden",
                format!("{uri} is below none of the folders that models may be read from (--model-dir)"),
            ));
        }
        listed(uri, path, options).await
    }

    /// A path below any of the folders.
    async fn claimed(&self, uri: &str, path: &str, options: LoadOptions) -> Result<Fetched, SourceError> {
        for folder in &self.config.folders {
            let candidate = folder.join(path);
            if tokio::fs::try_exists(&candidate).await.unwrap_or(false) {
                return self.local(uri, &candidate, options).await;
            }
        }
        Err(SourceError::passing(format!(
            "{uri}: there is no {path:?} in the folders that models may be read from (--model-dir)"
        )))
    }

    async fn download(&self, uri: &str, options: LoadOptions) -> Result<Fetched, SourceError> {
        let name = Url::parse(uri)
            .ok()
            .and_then(|url| url.path_segments()?.rfind(|segment| !segment.is_empty()).map(str::to_owned));
        let name = name.unwrap_or_else(|| "model".to_owned());
        let key = hex::encode(Sha256::digest(uri.as_bytes()));
        let gate = {
            let mut downloads = self.downloads.lock().unwrap_or_else(PoisonError::into_inner);
            downloads.retain(|_, gate| Arc::strong_count(gate) > 1);
            Arc::clone(downloads.entry(key.clone()).or_default())
        };
        let _first = gate.lock().await;
        let pointer = self.config.cache.join(format!("{key}.digest"));
        let kept = match tokio::fs::read_to_string(&pointer).await {
            Ok(digest) => {
                let blob = self.config.cache.join(&digest);
                tokio::fs::metadata(&blob).await.ok().map(|found| (digest, blob, found.len()))
            }
            Err(_) => None,
        };
        let (digest, blob, size) = match kept {
            Some(kept) => kept,
            None => self.get(uri, &key, &pointer).await?,
        };
        let files = Arc::new(ModelFiles::new(options).with_path(name, blob, size));
        Ok(Fetched { files, size, digest: format!("sha256:{digest}") })
    }

    /// Downloads into the cache: goes on where an earlier attempt was cut off, if the server can.
    async fn get(&self, uri: &str, key: &str, pointer: &Path) -> Result<(String, PathBuf, u64), SourceError> {
        let failed = |error: reqwest::Error| {
            SourceError::passing(format!("{uri} cannot be downloaded: {}", error.without_url()))
        };
        let disk = |error: io::Error| SourceError::passing(format!("{uri} cannot be kept: {error}"));
        let partial = self.config.cache.join(format!("{key}.partial"));
        let have = tokio::fs::metadata(&partial).await.map_or(0, |found| found.len());
        let mut request = self.http.get(uri);
        if have > 0 {
            request = request.header("range", format!("bytes={have}-"));
        }
        let answer = request.send().await.map_err(failed)?;
        let goes_on = answer.status() == reqwest::StatusCode::PARTIAL_CONTENT;
        if answer.status() == reqwest::StatusCode::RANGE_NOT_SATISFIABLE {
            tokio::fs::remove_file(&partial).await.map_err(disk)?;
            return Err(SourceError::passing(format!("{uri} has changed while it was downloaded")));
        }
        if !answer.status().is_success() {
            let message = format!("{uri} cannot be downloaded: the server answers {}", answer.status());
            return Err(SourceError {
                passing: answer.status().is_server_error(),
                ..SourceError::passing(message)
            });
        }
        let mut file = tokio::fs::OpenOptions::new();
        let file = if goes_on { file.append(true) } else { file.write(true).create(true).truncate(true) };
        let mut file = file.open(&partial).await.map_err(disk)?;
        let mut size = if goes_on { have } else { 0 };
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(failed)?;
            size += piece.len() as u64;
            if size > self.config.max_file {
                let limit = self.config.max_file;
                return Err(SourceError::lasting(
                    "SourceTooLarge",
                    format!("{uri} is larger than {limit} bytes"),
                ));
            }
            file.write_all(&piece).await.map_err(disk)?;
        }
        file.sync_all().await.map_err(disk)?;
        let digest = {
            let partial = partial.clone();
            let hashing = tokio::task::spawn_blocking(move || file_digest(&partial));
            hashing.await.map_err(|error| SourceError::passing(error.to_string()))?.map_err(disk)?
        };
        let blob = self.config.cache.join(&digest);
        tokio::fs::rename(&partial, &blob).await.map_err(disk)?;
        tokio::fs::write(pointer, &digest).await.map_err(disk)?;
        Ok((digest, blob, size))
    }
}

fn file_digest(path: &Path) -> io::Result<String> {
    let (mut file, mut digest, mut piece) = (std::fs::File::open(path)?, Sha256::new(), vec![0; 1 << 20]);
    loop {
        match io::Read::read(&mut file, &mut piece)? {
            0 => return Ok(hex::encode(digest.finalize())),
            read => digest.update(&piece[..read]),
        }
    }
}

/// A file by its name, or all files below a folder.
async fn listed(uri: &str, path: PathBuf, options: LoadOptions) -> Result<Fetched, SourceError> {
    let listing = tokio::task::spawn_blocking(move || {
        let mut found = Vec::new();
        if path.is_dir() {
            walk(&path, "", 0, &mut found)?;
        } else {
            let name =
                path.file_name().map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
            let metadata = path.metadata()?;
            found.push((name, path, metadata.len(), modified(&metadata)));
        }
        io::Result::Ok(found)
    });
    let failed = |error: io::Error| SourceError::passing(format!("{uri} cannot be read: {error}"));
    let found = listing.await.map_err(|error| SourceError::passing(error.to_string()))?.map_err(failed)?;
    let (mut files, mut digest, mut total) = (ModelFiles::new(options), Sha256::new(), 0);
    for (name, path, size, modified) in found {
        digest.update(format!("{name}\0{size}\0{modified}\n"));
        total += size;
        files = files.with_path(name, path, size);
    }
    let digest = format!("sha256:{}", hex::encode(digest.finalize()));
    Ok(Fetched { files: Arc::new(files), size: total, digest })
}

fn modified(metadata: &std::fs::Metadata) -> u128 {
    let since = metadata.modified().ok().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    since.unwrap_or_default().as_nanos()
}

/// Links are not followed: they could lead out of the folder.
fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    found: &mut Vec<(String, PathBuf, u64, u128)>,
) -> io::Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(folder)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type()?;
        if kind.is_dir() && depth < MAX_DEPTH {
            walk(&entry.path(), &format!("{name}/"), depth + 1, found)?;
        } else if kind.is_file() {
            if found.len() == MAX_FILES {
                return Err(io::Error::other(format!("it has more than {MAX_FILES} files")));
            }
            let metadata = entry.metadata()?;
            found.push((name, entry.path(), metadata.len(), modified(&metadata)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
