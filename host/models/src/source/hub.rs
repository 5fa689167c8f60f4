//! `hf://ORGANISATION/NAME[:REVISION][/PATH]`: a repository of a model hub, as a folder. The hub is asked over HTTP, or is a
//! folder that has `ORGANISATION/NAME/...` on a machine without network.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use futures::{StreamExt as _, TryStreamExt as _};
use reqwest::Client;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use url::Url;

use super::cache::Hold;
use super::credentials::Credentials;
use super::error::SourceError;
use super::gather::{Gathering, RemoteFile};
use super::http::{HttpFile, open};
use super::listing::{Listing, MAX_FILES, is_safe};

/// The hub where none is configured.
const DEFAULT: &str = "https://huggingface.co";

/// The names of the token.
const TOKEN: [&str; 4] = ["HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_TOKEN", "token"];

/// The largest answer about a repository.
const MAX_ANSWER: usize = 16 << 20;

/// Files whose size and digest are asked for at the same time, where the listing has them not.
const CONCURRENCY: usize = 4;

/// Where models are looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hub {
    /// A service that speaks the hub's protocol.
    Service(Url),
    /// A folder with a folder `ORGANISATION/NAME` for each repository; another revision than `main` is `NAME@REVISION`.
    Folder(PathBuf),
}

impl Default for Hub {
    fn default() -> Self {
        Url::parse(DEFAULT).map_or_else(|_| Hub::Folder(PathBuf::new()), Hub::Service)
    }
}

impl std::str::FromStr for Hub {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.starts_with("http://") || text.starts_with("https://") {
            let url = Url::parse(text).map_err(|error| format!("{text:?} is no address: {error}"))?;
            return Ok(Hub::Service(url));
        }
        let path = Path::new(text);
        if !path.is_dir() {
            return Err(format!("{text:?} is neither an address (https://...) nor a folder that is there"));
        }
        path.canonicalize().map(Hub::Folder).map_err(|error| error.to_string())
    }
}

/// A repository, a version of it, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// `ORGANISATION/NAME`.
    pub(super) repository: String,
    /// A branch, a tag or a commit.
    pub(super) revision: String,
    /// A file or folder within; empty means all.
    pub(super) path: String,
}

impl Place {
    /// # Errors
    /// It does not have the form.
    pub(super) fn parse(uri: &str) -> Result<Place, SourceError> {
        let wrong = || {
            SourceError::invalid(format!(
                "{uri:?} names no repository; write for example hf://ORGANISATION/NAME or hf://ORGANISATION/NAME:REVISION"
            ))
        };
        let rest = uri.strip_prefix("hf://").ok_or_else(wrong)?;
        let mut parts = rest.splitn(3, '/');
        let (organisation, name) = (parts.next().ok_or_else(wrong)?, parts.next().ok_or_else(wrong)?);
        let path = parts.next().unwrap_or("").trim_end_matches('/');
        let (name, revision) = name.split_once(':').unwrap_or((name, ""));
        let plain = |text: &str| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
            !text.is_empty() && text.len() <= 128 && !matches!(text, "." | "..") && text.bytes().all(allowed)
        };
        let revision = if revision.is_empty() { "main" } else { revision };
        if !plain(organisation) || !plain(name) || !plain(revision) || !(path.is_empty() || is_safe(path)) {
            return Err(wrong());
        }
        Ok(Place {
            repository: format!("{organisation}/{name}"),
            revision: revision.to_owned(),
            path: path.to_owned(),
        })
    }

    /// Where it is below a folder that stands for the hub.
    pub(super) fn within(&self, folder: &Path) -> PathBuf {
        let repository = match self.revision.as_str() {
            "main" => folder.join(&self.repository),
            revision => folder.join(format!("{}@{revision}", self.repository)),
        };
        if self.path.is_empty() { repository } else { repository.join(&self.path) }
    }

    /// The name below the path, and whether it is the path itself.
    fn below<'a>(&self, name: &'a str) -> Option<(&'a str, bool)> {
        if self.path.is_empty() {
            return Some((name, false));
        }
        match name.strip_prefix(self.path.as_str())? {
            "" => Some((name.rsplit('/').next().unwrap_or(name), true)),
            rest => Some((rest.strip_prefix('/')?, false)),
        }
    }
}

/// What a hub says of a repository.
#[derive(Debug, Deserialize)]
struct Repository {
    /// The commit.
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sibling {
    rfilename: String,
    /// Names the content, as git does.
    #[serde(default)]
    blob_id: Option<String>,
    #[serde(default)]
    size: Option<u64>,
    #[serde(default)]
    lfs: Option<Lfs>,
}

#[derive(Debug, Deserialize)]
struct Lfs {
    #[serde(default)]
    sha256: Option<String>,
    #[serde(default)]
    oid: Option<String>,
    #[serde(default)]
    size: Option<u64>,
}

/// Reads a repository of a service: by a client for files, and one that stays where it is sent elsewhere.
pub(super) async fn fetch(
    [client, staying]: [&Client; 2],
    service: &Url,
    credentials: &Credentials,
    gathering: &Gathering<'_>,
) -> Result<(Listing, Hold), SourceError> {
    let uri = gathering.uri;
    let place = Place::parse(uri)?;
    let asking = Asking { client, staying, service, headers: headers(credentials)?, uri, place: &place };
    let repository = match asking.repository().await {
        Ok(repository) => repository,
        Err(error) if error.passing && error.reason == "SourceUnavailable" => match gathering.kept() {
            Some(kept) => {
                tracing::warn!(uri, %error, "using what was downloaded before");
                return Ok(kept);
            }
            None => return Err(error),
        },
        Err(error) => return Err(error),
    };
    let names: Vec<&str> = repository.siblings.iter().map(|sibling| sibling.rfilename.as_str()).collect();
    let chosen = choose(&place, &names);
    let single = matches!(chosen.as_slice(), [(_, _, true)]);
    let wanted: BTreeMap<&str, &str> = chosen.iter().map(|(whole, name, _)| (*whole, *name)).collect();
    if wanted.is_empty() {
        let message = format!("{uri}: the repository has no {:?}; check the path", place.path);
        return Err(SourceError { passing: false, ..SourceError::passing(message) });
    }
    let mut asked = Vec::with_capacity(wanted.len());
    for sibling in &repository.siblings {
        if let Some(name) = wanted.get(sibling.rfilename.as_str()) {
            asked.push(asking.file(&repository.sha, sibling, (*name).to_owned()));
        }
    }
    let files: Vec<RemoteFile> = futures::stream::iter(asked).buffered(CONCURRENCY).try_collect().await?;
    gathering.gather(single, files).await
}

fn headers(credentials: &Credentials) -> Result<HeaderMap, SourceError> {
    let mut headers = HeaderMap::new();
    if let Some(token) = credentials.text(&TOKEN) {
        let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
            let message = "spec.source.secret: its token has a character that no header can hold";
            SourceError { passing: true, ..SourceError::invalid(message) }
        })?;
        value.set_sensitive(true);
        headers.insert(AUTHORIZATION, value);
    }
    Ok(headers)
}

/// The files that are read, with their names below the path: where there are safetensors, those that other frameworks have
/// of the same weights are left out, unless the path names them.
fn choose<'a>(place: &Place, names: &[&'a str]) -> Vec<(&'a str, &'a str, bool)> {
    let below = names.iter().filter_map(|whole| {
        let (name, exact) = place.below(whole)?;
        Some((*whole, name, exact))
    });
    let below: Vec<_> = below.collect();
    if let Some(exact) = below.iter().find(|(_, _, exact)| *exact) {
        return vec![*exact];
    }
    let safetensors = below.iter().any(|(_, name, _)| name.ends_with(".safetensors"));
    below
        .into_iter()
        .filter(|(_, name, _)| *name != ".gitattributes" && !(safetensors && foreign(name)))
        .collect()
}

/// Whether a file is of another framework, in a repository that has safetensors.
fn foreign(name: &str) -> bool {
    let folders = ["onnx/", "openvino/", "coreml/", "original/", "metal/"];
    let endings = [
        ".bin",
        ".pt",
        ".pth",
        ".ckpt",
        ".h5",
        ".msgpack",
        ".ot",
        ".onnx",
        ".onnx_data",
        ".tflite",
        ".gguf",
        ".mlmodel",
        ".bin.index.json",
        ".h5.index.json",
        ".msgpack.index.json",
        ".pdparams",
    ];
    folders.iter().any(|folder| name.starts_with(folder))
        || endings.iter().any(|ending| name.ends_with(ending))
}

/// What is needed to ask about a repository.
struct Asking<'a> {
    client: &'a Client,
    staying: &'a Client,
    service: &'a Url,
    headers: HeaderMap,
    uri: &'a str,
    place: &'a Place,
}

impl Asking<'_> {
    fn url(&self, parts: &[&str]) -> Result<Url, SourceError> {
        let mut url = self.service.clone();
        let wrong = || SourceError::invalid(format!("the hub's address {} can have no path", self.service));
        url.path_segments_mut().map_err(|()| wrong())?.pop_if_empty().extend(parts);
        Ok(url)
    }

    async fn repository(&self) -> Result<Repository, SourceError> {
        let uri = self.uri;
        let (organisation, name) = self.place.repository.split_once('/').unwrap_or_default();
        let mut url = self.url(&["api", "models", organisation, name, "revision", &self.place.revision])?;
        // Sizes and digests come with the listing then, where the service can do that.
        url.set_query(Some("blobs=true"));
        let mut answer = open(self.client, &url, self.headers.clone(), uri).await?;
        let failed = |why: &dyn std::fmt::Display| {
            SourceError::passing(format!("{uri}: the hub's answer is broken: {why}"))
        };
        let mut text = Vec::new();
        while let Some(piece) = answer.chunk().await.map_err(|error| failed(&error.without_url()))? {
            text.extend_from_slice(&piece);
            if text.len() > MAX_ANSWER {
                return Err(failed(&format!("it is larger than {MAX_ANSWER} bytes")));
            }
        }
        let repository: Repository = serde_json::from_slice(&text).map_err(|error| failed(&error))?;
        let hex = |byte: u8| byte.is_ascii_hexdigit();
        if repository.sha.len() < 7 || repository.sha.len() > 64 || !repository.sha.bytes().all(hex) {
            return Err(failed(&"it names no commit"));
        }
        if repository.siblings.len() > MAX_FILES {
            return Err(SourceError::invalid(format!(
                "{uri} has more than {MAX_FILES} files; name a folder within"
            )));
        }
        Ok(repository)
    }

    /// A file of a commit, with its size and digest.
    async fn file(&self, commit: &str, sibling: &Sibling, name: String) -> Result<RemoteFile, SourceError> {
        let whole = &sibling.rfilename;
        let (organisation, repository) = self.place.repository.split_once('/').unwrap_or_default();
        let parts = [organisation, repository, "resolve", commit].into_iter().chain(whole.split('/'));
        let url = self.url(&parts.collect::<Vec<_>>())?;
        let lfs = sibling.lfs.as_ref();
        let mut digest = lfs.and_then(|lfs| lfs.sha256.as_deref().or(lfs.oid.as_deref())).and_then(sha256);
        let mut size = lfs.and_then(|lfs| lfs.size).or(sibling.size);
        if size.is_none() {
            (size, digest) = self.ask(&url).await?;
        }
        Ok(RemoteFile {
            name,
            location: format!("hf://{}/{whole} at {commit}", self.place.repository),
            size,
            // The same content may be in many commits.
            version: digest.clone().or_else(|| sibling.blob_id.clone()).or_else(|| Some(commit.to_owned())),
            digest,
            remote: Box::new(HttpFile {
                client: self.client.clone(),
                url,
                headers: self.headers.clone(),
                what: format!("hf://{}/{whole}", self.place.repository),
                // A commit does not change; its files need nothing else to be told apart by.
                validator: None,
                first: Mutex::new(None),
            }),
        })
    }

    /// Size and digest, as a service says that has them not in its listing: in headers, before it sends one elsewhere.
    async fn ask(&self, url: &Url) -> Result<(Option<u64>, Option<String>), SourceError> {
        let uri = self.uri;
        let answer = self.staying.head(url.clone()).headers(self.headers.clone()).send().await;
        let answer = answer.map_err(|error| {
            SourceError::passing(format!("{uri} cannot be downloaded: {}", error.without_url()))
        })?;
        if !(answer.status().is_success() || answer.status().is_redirection()) {
            // The download says what is wrong.
            return Ok((None, None));
        }
        let text = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
        let digest = text("x-linked-etag").and_then(|tag| sha256(tag.trim_matches('"')));
        let length = || text("content-length").filter(|_| answer.status().is_success());
        let size = text("x-linked-size").or_else(length).and_then(|size| size.parse().ok());
        Ok((size, digest))
    }
}

fn sha256(text: &str) -> Option<String> {
    let text = text.strip_prefix("sha256:").unwrap_or(text);
    let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    (text.len() == 64 && text.bytes().all(hex)).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_repositories_revisions_and_paths() {
        let of = |uri: &str| Place::parse(uri).map(|place| (place.repository, place.revision, place.path));
        let expect = |a: &str, b: &str, c: &str| Ok((a.to_owned(), b.to_owned(), c.to_owned()));
        assert_eq!(of("hf://org/name"), expect("org/name", "main", ""));
        assert_eq!(of("hf://org/name:v1.0"), expect("org/name", "v1.0", ""));
        assert_eq!(of("hf://org/name:v1/onnx/model.onnx"), expect("org/name", "v1", "onnx/model.onnx"));
        for wrong in
            ["hf://org", "hf://", "hf:///x", "hf://../x", "hf://a/b:../c", "hf://a/b/../c", "hf://a/b?c"]
        {
            assert_eq!(of(wrong).unwrap_err().reason, "SourceInvalid", "{wrong}");
        }
    }

    #[test]
    fn other_frameworks_are_left_out_where_safetensors_are() {
        let all = [
            ".gitattributes",
            "config.json",
            "model.safetensors",
            "pytorch_model.bin",
            "onnx/model.onnx",
            "tok/vocab.txt",
        ];
        let chosen = |uri: &str, names: &[&'static str]| -> Vec<&'static str> {
            choose(&Place::parse(uri).unwrap(), names).into_iter().map(|(_, name, _)| name).collect()
        };
        assert_eq!(chosen("hf://a/b", &all), ["config.json", "model.safetensors", "tok/vocab.txt"]);
        assert_eq!(chosen("hf://a/b/onnx", &all), ["model.onnx"]);
        assert_eq!(chosen("hf://a/b/pytorch_model.bin", &all), ["pytorch_model.bin"]);
        assert_eq!(chosen("hf://a/b", &all[3..5]), ["pytorch_model.bin", "onnx/model.onnx"]);
        assert_eq!(chosen("hf://a/b/none", &all), [""; 0]);
    }

    #[test]
    fn a_hub_is_an_address_or_a_folder() {
        assert_eq!(
            "https://mirror.example/hub".parse::<Hub>(),
            Ok(Hub::Service("https://mirror.example/hub".parse().unwrap()))
        );
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(folder.path().to_str().unwrap().parse(), Ok(Hub::Folder(_))));
        assert!("./nowhere".parse::<Hub>().unwrap_err().contains("folder"));
    }
}
