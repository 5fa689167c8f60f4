//! Where a model's files come from. What is downloaded is kept by its content and shared by all models that have it.
//!
//! | URI | Files |
//! |---|---|
//! | `file:///PATH`, `PATH` | a file or folder below one of the folders that the operator named |
//! | `pvc://CLAIM/PATH` | the same below `CLAIM` in those folders |
//! | `http(s)://...` | one file, or those in it where it is an archive |
//! | `s3://BUCKET/PATH`, `gs://BUCKET/PATH` | the same of an object; or all below a path |
//! | `hf://ORGANISATION/NAME[:REVISION][/PATH]` | a repository of a model hub, or what of it is at a path |
//! | `oci://REGISTRY/REPOSITORY:TAG` | the folder `/models` of an image, or the files of an artifact |
//! | `storage://BUCKET/PATH` | one of these, of the kind that the credentials name |
//!
//! `storage:`, `s3:` and `gs:` may leave the bucket to the credentials (`s3:///PATH`).
//!
//! # Guarantees
//! Those who want the same at once share one download. One that was cut off goes on where it was. What is here is checked
//! against what the source says of it: its digest where there is one, else size and version. At each load the source is asked
//! whether it has changed; where nobody answers, what one was given before is used.

mod archive;
mod cache;
mod credentials;
mod download;
mod error;
mod gather;
mod http;
mod hub;
mod image;
mod layer;
mod listing;
mod local;
mod objects;
mod progress;
mod stored;
mod tar;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use futures::FutureExt as _;
use futures::future::{BoxFuture, WeakShared};
use purlin_nn::LoadOptions;
use purlin_sandbox::ModelFiles;
use sha2::{Digest as _, Sha256};
use url::Url;

use cache::{Cache, HeldFolder, Hold};
pub use credentials::Credentials;
pub use error::SourceError;
use gather::Gathering;
pub use hub::Hub;
use listing::Listing;
use objects::Service;
use progress::Progress;

/// What sources may be read, and what is kept of them.
#[derive(Clone, Debug)]
pub struct SourceConfig {
    /// Folders below which `file:` and `pvc:` are looked for; none where there are none.
    pub folders: Vec<PathBuf>,
    /// Where downloads are kept. One process at a time uses it.
    pub cache: PathBuf,
    /// Bytes that downloads may take. What no model holds goes first, by its last use.
    pub cache_limit: u64,
    /// The largest file that is downloaded, in bytes.
    pub max_file: u64,
    /// Where `hf:` is looked for.
    pub hub: Hub,
}

/// What is to be fetched, and for whom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRequest {
    /// Where it is.
    pub uri: String,
    /// `sha256:...` that it must have.
    pub digest: Option<String>,
    /// What opens it.
    pub credentials: Option<Credentials>,
}

impl SourceRequest {
    /// What tells this source, and who may read it, from others.
    fn key(&self) -> String {
        let who = self.credentials.as_ref().map(Credentials::fingerprint).unwrap_or_default();
        format!("{}\n{who}", self.uri)
    }
}

/// The files of a source, kept where they are for as long as this lives.
#[derive(Clone)]
pub struct Fetched(Arc<Files>);

struct Files {
    listing: Listing,
    /// The digest of the archive that they were in.
    archive: Option<String>,
    /// Where each file of the listing is.
    paths: Vec<PathBuf>,
    /// The source itself, where it is a folder on this machine.
    root: Option<PathBuf>,
    cache: Arc<Cache>,
    _hold: Hold,
}

/// A folder on disk that has a source's files under their names, for as long as this lives.
#[derive(Clone)]
pub struct Folder(Arc<Place>);

enum Place {
    /// A folder that is not ours.
    Local(PathBuf),
    /// One that was made, and the source whose content it has.
    Made(HeldFolder, #[expect(dead_code, reason = "held for as long as the folder")] Fetched),
}

impl Folder {
    /// Where it is. It is to be read only: other models have the same files.
    pub fn path(&self) -> &Path {
        match self.0.as_ref() {
            Place::Local(path) => path,
            Place::Made(folder, _) => folder.path(),
        }
    }
}

impl Fetched {
    /// The files as instances see them; they keep what this keeps.
    pub(crate) fn files(&self, options: LoadOptions) -> Arc<ModelFiles> {
        let files = self.entries().fold(ModelFiles::new(options), |files, (name, path, size)| {
            files.with_path(name, path.to_owned(), size)
        });
        Arc::new(files.guarded_by(Arc::clone(&self.0) as _))
    }

    /// Names below the source, paths on disk and sizes in bytes, in the order of the names.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Path, u64)> {
        let places = self.0.paths.iter().map(PathBuf::as_path);
        self.0.listing.files.iter().zip(places).map(|(file, path)| (file.name.as_str(), path, file.size))
    }

    /// Bytes of all files.
    pub fn size(&self) -> u64 {
        self.0.listing.size()
    }

    /// `sha256:...` of the file, or of the archive that the files were in; for a folder that of what `sha256sum` prints for its
    /// files in the order of their names.
    pub fn digest(&self) -> String {
        self.0.archive.clone().unwrap_or_else(|| self.0.listing.digest())
    }

    /// The files under their names in a folder: the local folder itself, or one of links into the cache.
    ///
    /// # Errors
    /// The disk's.
    pub async fn folder(&self) -> io::Result<Folder> {
        if let Some(root) = &self.0.root {
            return Ok(Folder(Arc::new(Place::Local(root.clone()))));
        }
        let fetched = self.clone();
        let making = tokio::task::spawn_blocking(move || {
            let files = fetched.entries().map(|(name, path, _)| (name, path.to_owned()));
            // By what is in it: an archive as such has the same digest.
            let folder = fetched.0.cache.linked(&fetched.0.listing.digest(), files)?;
            io::Result::Ok(Folder(Arc::new(Place::Made(folder, fetched))))
        });
        making.await.map_err(io::Error::other)?
    }

    /// Puts the files under their names into a folder of the caller's: as links where that is the cache's file system, else
    /// as copies. Files that have the names already are replaced.
    ///
    /// # Errors
    /// The disk's.
    pub async fn put_into(&self, folder: PathBuf) -> io::Result<()> {
        let fetched = self.clone();
        let putting = tokio::task::spawn_blocking(move || {
            for (name, path, _) in fetched.entries() {
                let place = folder.join(name);
                if place.symlink_metadata().is_ok() {
                    fs::remove_file(&place)?;
                }
                // What is not ours is copied: a link would let one who writes to the folder change it.
                if fetched.0.root.is_some() {
                    if let Some(above) = place.parent() {
                        fs::create_dir_all(above)?;
                    }
                    fs::copy(path, &place)?;
                } else {
                    cache::link(path, &place)?;
                }
            }
            io::Result::Ok(())
        });
        putting.await.map_err(io::Error::other)?
    }

    /// Whether this is what the user expects.
    fn check(&self, request: &SourceRequest) -> Result<(), SourceError> {
        match &request.digest {
            Some(expected) if *expected != self.digest() => Err(SourceError::lasting(
                "DigestMismatch",
                format!(
                    "spec.source.digest: {} has the digest {}, not {expected}",
                    request.uri,
                    self.digest()
                ),
            )),
            _ => Ok(()),
        }
    }
}

type Shared = futures::future::Shared<BoxFuture<'static, Result<Fetched, SourceError>>>;

/// A fetch that somebody waits for.
struct Flight {
    outcome: WeakShared<BoxFuture<'static, Result<Fetched, SourceError>>>,
    uri: String,
    progress: Arc<Progress>,
}

/// Reads sources.
pub struct Sources {
    reader: Arc<Reader>,
    flights: Mutex<HashMap<String, Flight>>,
}

/// What reading takes.
struct Reader {
    config: SourceConfig,
    cache: Arc<Cache>,
    http: reqwest::Client,
    /// For questions that are not to be followed elsewhere.
    staying: reqwest::Client,
    registries: purlin_registry::Client,
}

impl Sources {
    /// Reads what the configuration allows; images by a client for registries.
    ///
    /// # Errors
    /// The cache cannot be made or is in use, or there is no TLS.
    pub fn new(config: SourceConfig, registries: purlin_registry::Client) -> io::Result<Sources> {
        fs::create_dir_all(&config.cache)?;
        let cache = Cache::open(&config.cache, config.cache_limit)?;
        let http = http::client().map_err(io::Error::other)?;
        let staying = http::staying().map_err(io::Error::other)?;
        let reader = Arc::new(Reader { config, cache, http, staying, registries });
        Ok(Sources { reader, flights: Mutex::default() })
    }

    /// The files behind a URI. Who asks for what another waits for waits with it.
    ///
    /// # Errors
    /// They cannot be had, or are not what the request expects.
    pub async fn fetch(&self, request: &SourceRequest) -> Result<Fetched, SourceError> {
        let fetched = self.flight(request).await?;
        fetched.check(request)?;
        Ok(fetched)
    }

    /// How far the fetch of a URI is that somebody waits for, in words.
    pub fn progress(&self, uri: &str) -> Option<String> {
        let flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        let mut of_uri = flights.values().filter(|flight| flight.uri == uri);
        of_uri.find_map(|flight| flight.outcome.upgrade().and_then(|_| flight.progress.text()))
    }

    fn flight(&self, request: &SourceRequest) -> Shared {
        let key = hex::encode(Sha256::digest(request.key()));
        let mut flights = self.flights.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(flight) = flights.get(&key)
            && let Some(outcome) = flight.outcome.upgrade()
            && outcome.peek().is_none()
        {
            return outcome;
        }
        flights.retain(|_, flight| flight.outcome.upgrade().is_some());
        let (reader, progress) = (Arc::clone(&self.reader), Arc::new(Progress::default()));
        let (wanted, told) = (request.clone(), Arc::clone(&progress));
        let outcome = async move { reader.read(&wanted, &told).await }.boxed().shared();
        if let Some(weak) = outcome.downgrade() {
            flights.insert(key, Flight { outcome: weak, uri: request.uri.clone(), progress });
        }
        outcome
    }
}

impl Reader {
    async fn read(&self, request: &SourceRequest, progress: &Progress) -> Result<Fetched, SourceError> {
        let none = Credentials::default();
        let credentials = request.credentials.as_ref().unwrap_or(&none);
        let uri = stored::complete(&request.uri, credentials)?;
        let uri = uri.as_ref();
        let gathering = Gathering {
            cache: &self.cache,
            uri,
            key: &request.key(),
            max_file: self.config.max_file,
            progress,
        };
        let folders = &self.config.folders;
        let (listing, hold) = match scheme(uri) {
            Some("file") => {
                let path = Url::parse(uri).ok().and_then(|url| url.to_file_path().ok());
                let path = path.ok_or_else(|| SourceError::invalid(format!("{uri} has no path")))?;
                return Ok(self.found(local::local(&self.cache, folders, uri, &path).await?));
            }
            Some("pvc") => {
                let path = uri.trim_start_matches("pvc:").trim_start_matches('/');
                return Ok(self.found(local::claimed(&self.cache, folders, uri, path).await?));
            }
            None if uri.starts_with('/') => {
                return Ok(self.found(local::local(&self.cache, folders, uri, Path::new(uri)).await?));
            }
            Some("hf") => match &self.config.hub {
                Hub::Service(service) => {
                    hub::fetch([&self.http, &self.staying], service, credentials, &gathering).await?
                }
                Hub::Folder(folder) => {
                    let path = hub::Place::parse(uri)?.within(folder);
                    let folders = std::slice::from_ref(folder);
                    return Ok(self.found(local::local(&self.cache, folders, uri, &path).await?));
                }
            },
            Some("http" | "https") => http::fetch(&self.http, credentials, &gathering).await?,
            Some("s3") => objects::fetch(Service::S3, credentials, &gathering).await?,
            Some("gs") => objects::fetch(Service::Google, credentials, &gathering).await?,
            Some("oci") => image::fetch(&self.registries, credentials, &gathering).await?,
            Some(scheme) => {
                return Err(SourceError::lasting(
                    "SourceUnsupported",
                    format!(
                        "{uri}: sources of the scheme {scheme:?} cannot be read; use file, pvc, http, https, s3, gs, hf or \
                         oci"
                    ),
                ));
            }
            None => {
                return Err(SourceError::invalid(format!(
                    "{uri:?} is no URI; write for example https://HOST/model.onnx or pvc://CLAIM/PATH"
                )));
            }
        };
        // Images and hubs have files of their own; what is one file elsewhere may be an archive of them.
        let archives = matches!(scheme(uri), Some("http" | "https" | "s3" | "gs"));
        let unpacked = if archives { archive::unpacked(&gathering, &listing).await? } else { None };
        let (listing, hold, archive) = match unpacked {
            Some(unpacked) => (unpacked.listing, unpacked.hold, Some(unpacked.digest)),
            None => (listing, hold, None),
        };
        let paths = listing.files.iter().map(|file| self.cache.blob(&file.digest)).collect();
        let cache = Arc::clone(&self.cache);
        let files = Files { listing, archive, paths, root: None, cache, _hold: hold };
        Ok(Fetched(Arc::new(files)))
    }

    fn found(&self, found: local::Found) -> Fetched {
        let local::Found { listing, paths, root } = found;
        let (root, cache) = ((!listing.single).then_some(root), Arc::clone(&self.cache));
        let (archive, hold) = (None, Hold::nothing(&cache));
        Fetched(Arc::new(Files { listing, archive, paths, root, _hold: hold, cache }))
    }
}

/// What is before the colon, where that is a scheme.
fn scheme(uri: &str) -> Option<&str> {
    let (scheme, _) = uri.split_once(':')?;
    let (first, rest) = scheme.as_bytes().split_first()?;
    let tail = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'-' | b'.');
    (first.is_ascii_alphabetic() && rest.iter().all(tail)).then_some(scheme)
}

#[cfg(test)]
mod tests;
