//! `oci://REGISTRY/REPOSITORY:TAG`: a model in an image, below its folder `/models` (a "modelcar"), or as an artifact whose
//! layers are files with titles or archives.
//!
//! Nothing is fetched before a model is loaded. A layer is read once: what in it belongs to the model goes into the cache
//! file by file, and which files those were is kept. So a layer of the system below the model is never fetched again, and
//! images that share layers share their files.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::Arc;

use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _, TryStreamExt as _};
use purlin_registry::auth::{Credentials as RegistryCredentials, DockerConfig, Keychain};
use purlin_registry::{Access, Client, ClientError, Digest, Reference, Resolved};
use serde::Deserialize;

use super::cache::{Hold, Shelf};
use super::credentials::Credentials;
use super::download::{Opened, Remote, Wanted, download};
use super::error::SourceError;
use super::gather::Gathering;
use super::layer::{self, Change, Compression, Limits, merged};
use super::listing::{Entry, Listing, is_safe};

/// The folder of an image that has the model.
const ROOT: &str = "models";

/// Layers of an image at most.
const MAX_LAYERS: usize = 256;

/// Layers that are fetched at the same time.
const CONCURRENCY: usize = 3;

/// Annotations that give a layer's file its name, in the order in which they count.
const TITLES: [&str; 2] = ["org.cncf.model.filepath", "org.opencontainers.image.title"];

/// Keys of a Secret that have docker's configuration.
const DOCKER_CONFIG: [&str; 3] = [".dockerconfigjson", "config.json", ".dockercfg"];

/// Configurations of what is an image; all else is an artifact.
const IMAGE_CONFIGS: [&str; 2] =
    ["application/vnd.oci.image.config.v1+json", "application/vnd.docker.container.image.v1+json"];

/// A manifest, or an index of manifests.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    #[serde(default)]
    config: Option<Part>,
    #[serde(default)]
    layers: Vec<Part>,
    #[serde(default)]
    manifests: Vec<Part>,
}

/// What points to a blob or a manifest.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Part {
    media_type: String,
    digest: Digest,
    size: u64,
    #[serde(default)]
    annotations: Option<BTreeMap<String, String>>,
    #[serde(default)]
    platform: Option<Platform>,
}

#[derive(Clone, Debug, Deserialize)]
struct Platform {
    #[serde(default)]
    architecture: String,
    #[serde(default)]
    os: String,
}

/// How a layer is read.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    /// One file, by its path.
    File(String),
    /// An archive.
    Archive(Compression),
    /// Neither: a document about the model.
    Nothing,
}

impl Part {
    fn annotation(&self, name: &str) -> Option<&str> {
        self.annotations.as_ref()?.get(name).map(String::as_str)
    }

    fn form(&self) -> Form {
        let kind = self.media_type.as_str();
        // `.tar`, `.tar+gzip`, `.tar.gzip`; some have only what follows.
        if let Some((_, compression)) = kind.rsplit_once("tar")
            && matches!(compression, "" | "+gzip" | ".gzip" | "+zstd" | ".zstd")
        {
            return Form::Archive(match compression.get(1..) {
                Some("gzip") => Compression::Gzip,
                Some("zstd") => Compression::Zstandard,
                _ => Compression::None,
            });
        }
        match TITLES.iter().find_map(|title| self.annotation(title)) {
            Some(title) => Form::File(title.trim_start_matches("./").to_owned()),
            None => Form::Nothing,
        }
    }
}

/// Reads a model out of an image or an artifact.
pub(super) async fn fetch(
    client: &Client,
    credentials: &Credentials,
    gathering: &Gathering<'_>,
) -> Result<(Listing, Hold), SourceError> {
    let uri = gathering.uri;
    let reference = reference(uri)?;
    let client = client.with_access(access(client, &reference, credentials)?);
    let failed = |error: ClientError| failure(uri, error);
    let resolved = match client.resolve(&reference).await {
        Ok(resolved) => resolved,
        Err(error @ (ClientError::Registry { .. } | ClientError::Timeout { .. })) => match gathering.kept() {
            Some(kept) => {
                tracing::warn!(uri, %error, "using what was downloaded before");
                return Ok(kept);
            }
            None => return Err(failed(error)),
        },
        Err(error) => return Err(failed(error)),
    };
    if let Some((listing, hold)) = gathering.kept()
        && listing.files.iter().all(|file| file.version.as_deref() == Some(resolved.digest().as_str()))
    {
        // One who is let in may have lost the right since: the manifest is behind the same door as the layers.
        client.document(&resolved).await.map_err(failed)?;
        return Ok((listing, hold));
    }
    let manifest = manifest(&client, uri, resolved.clone()).await?;
    let image =
        manifest.config.as_ref().is_some_and(|config| IMAGE_CONFIGS.contains(&config.media_type.as_str()));
    // An artifact has no system around the model; layers with titles are files whatever their configuration says.
    let titled = manifest.layers.iter().any(|layer| matches!(layer.form(), Form::File(_)));
    let root = if image && !titled { ROOT } else { "" };
    if manifest.layers.len() > MAX_LAYERS {
        return Err(SourceError::invalid(format!("{uri} has more than {MAX_LAYERS} layers")));
    }
    let reading = Reading { client: &client, resolved: &resolved, root, gathering };
    let layers = futures::stream::iter(manifest.layers.into_iter().map(|part| reading.layer(part)));
    let layers: Vec<(Vec<Change>, Hold)> = layers.buffered(CONCURRENCY).try_collect().await?;
    let (mut hold, mut changes) = (Hold::nothing(gathering.cache), Vec::with_capacity(layers.len()));
    for (layer, held) in layers {
        changes.push(layer);
        hold.join(held);
    }
    let version = resolved.digest().as_str();
    let files = merged(uri, changes.into_iter().flatten())?;
    let files = files.into_iter().map(|(name, (digest, size))| Entry {
        name,
        digest,
        size,
        version: Some(version.to_owned()),
    });
    let files: Vec<Entry> = files.collect();
    if files.is_empty() {
        let message = match root {
            "" => format!("{uri} has no files: its layers are neither archives nor files with a title"),
            root => format!("{uri} has no files below /{root}; that is where an image has its model"),
        };
        return Err(SourceError::invalid(message));
    }
    let listing = Listing::new(uri, false, files)?;
    gathering.cache.keep(Shelf::Listings, gathering.key, &listing);
    // What the layers had and the model has not, nobody needs.
    let names: Vec<&str> = listing.files.iter().map(|file| file.digest.as_str()).collect();
    let needed = gathering
        .cache
        .hold(names)
        .ok_or_else(|| SourceError::passing(format!("{uri} is being replaced")))?;
    drop(hold);
    Ok((listing, needed))
}

fn reference(uri: &str) -> Result<Reference, SourceError> {
    let text = uri.strip_prefix("oci://").unwrap_or(uri);
    let parsed = text.parse::<Reference>().or_else(|error| match format!("{text}:latest").parse() {
        Ok(latest) => Ok(latest),
        Err(_) => Err(error),
    });
    parsed.map_err(|error| SourceError::invalid(format!("{uri}: {error}")))
}

/// The credentials in a Secret, and the mirrors that all have. Those of this process are for its own artifacts, not for what
/// others ask for.
fn access(client: &Client, reference: &Reference, credentials: &Credentials) -> Result<Access, SourceError> {
    let mut keychain = if credentials.own() { Keychain::from_environment() } else { Keychain::default() };
    if let Some(text) = credentials.bytes(&DOCKER_CONFIG) {
        let config = DockerConfig::parse(text, "spec.source.secret");
        let config = config
            .map_err(|error| SourceError { passing: true, ..SourceError::invalid(error.to_string()) })?;
        for (prefix, entry) in config.entries() {
            keychain.add(prefix, entry);
        }
    } else if let (Some(user), Some(password)) =
        (credentials.text(&["username"]), credentials.text(&["password"]))
    {
        let entry = RegistryCredentials::Basic { user: user.to_owned(), password: password.to_owned() };
        keychain.add(reference.registry(), entry);
    }
    Ok(Access { keychain, mirrors: client.access().mirrors.clone() })
}

fn failure(uri: &str, error: ClientError) -> SourceError {
    match error {
        ClientError::Unauthorized(_) => SourceError::refused(format!(
            "{uri}: the registry refuses access; name a Secret of the type kubernetes.io/dockerconfigjson in \
             spec.source.secret"
        )),
        error => SourceError::passing(format!("{uri}: {error}")),
    }
}

/// The manifest, that of this machine's platform where there are several.
async fn manifest(client: &Client, uri: &str, mut resolved: Resolved) -> Result<Document, SourceError> {
    // An index of indexes is allowed and seen nowhere.
    for _ in 0..3 {
        let text = client.document(&resolved).await.map_err(|error| failure(uri, error))?;
        let document = parse(uri, &text)?;
        if document.manifests.is_empty() {
            return Ok(document);
        }
        let chosen = choose(&document.manifests)
            .ok_or_else(|| SourceError::invalid(format!("{uri} has no manifest for any platform")))?;
        resolved = Resolved::assume(resolved.reference().clone(), chosen.digest.clone());
    }
    Err(SourceError::invalid(format!("{uri} is an index of indexes of indexes")))
}

fn parse(uri: &str, text: &[u8]) -> Result<Document, SourceError> {
    serde_json::from_slice(text)
        .map_err(|error| SourceError::invalid(format!("{uri} has a manifest that cannot be read: {error}")))
}

/// A model is the same for every processor, so any will do; this machine's is the one whose layers others have, too.
fn choose(manifests: &[Part]) -> Option<&Part> {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let real = |part: &&Part| part.platform.as_ref().is_none_or(|platform| platform.os != "unknown");
    let ours = |part: &&Part| {
        part.platform
            .as_ref()
            .is_some_and(|platform| platform.os == "linux" && platform.architecture == architecture)
    };
    manifests.iter().find(ours).or_else(|| manifests.iter().find(real))
}

/// What is needed to read layers.
struct Reading<'a> {
    client: &'a Client,
    resolved: &'a Resolved,
    root: &'a str,
    gathering: &'a Gathering<'a>,
}

impl Reading<'_> {
    /// What a layer does to the model's folder, with its files in the cache.
    async fn layer(&self, part: Part) -> Result<(Vec<Change>, Hold), SourceError> {
        let Gathering { cache, uri, max_file, progress, .. } = *self.gathering;
        let form = part.form();
        let compression = match &form {
            Form::Nothing => return Ok((Vec::new(), Hold::nothing(cache))),
            Form::File(path) if !is_safe(path) => {
                return Err(SourceError::invalid(format!("{uri} has a file with the title {path:?}")));
            }
            Form::File(_) => None,
            Form::Archive(compression) => Some(*compression),
        };
        let what = format!("{uri} ({})", part.digest);
        let key = format!("{}\n{}", part.digest, self.root);
        // Two images that share a layer, loaded at once, unpack it once.
        let _one = cache.gate(&key).await;
        if compression.is_some()
            && let Some(kept) = layer::kept(cache, &key)
        {
            return Ok(kept);
        }
        let blob = Blob { client: self.client, resolved: self.resolved, digest: &part.digest, what: &what };
        let wanted = Wanted {
            what: what.clone(),
            identity: None,
            size: Some(part.size),
            digest: Some(part.digest.hex().to_owned()),
        };
        let got = download(cache, &wanted, &blob, max_file, progress).await?;
        let Some(compression) = compression else {
            let Form::File(path) = form else { return Ok((Vec::new(), got.hold)) };
            return Ok((vec![Change::File { path, digest: got.digest, size: got.size }], got.hold));
        };
        let (shared, root) = (Arc::clone(cache), self.root.to_owned());
        let file = cache.blob(&got.digest);
        let unpacked = layer::keep(cache, &key, move || {
            let file = File::open(&file)
                .map_err(|error| SourceError::passing(format!("{what} cannot be read: {error}")))?;
            layer::unpack(&shared, &what, file, compression, &root, Limits { file: max_file })
        });
        let unpacked = unpacked.await?;
        let digest = got.digest.clone();
        drop(got);
        // Its files are kept by themselves.
        cache.drop_blob(&digest);
        Ok(unpacked)
    }
}

/// A blob in a registry.
struct Blob<'a> {
    client: &'a Client,
    resolved: &'a Resolved,
    digest: &'a Digest,
    what: &'a str,
}

impl Remote for Blob<'_> {
    fn open(&self, from: u64) -> BoxFuture<'_, Result<Opened, SourceError>> {
        async move {
            let opened = self.client.open(self.resolved, self.digest, from).await;
            let opened = opened.map_err(|error| failure(self.what, error))?;
            Ok(Opened { from: opened.from, size: opened.size, pieces: opened.pieces })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn file(path: &str, digest: &str) -> Change {
        Change::File { path: path.to_owned(), digest: digest.to_owned(), size: 1 }
    }

    fn link(path: &str, target: Option<&str>) -> Change {
        Change::Link { path: path.to_owned(), target: target.map(str::to_owned) }
    }

    fn paths(changes: Vec<Change>) -> Result<Vec<String>, SourceError> {
        let merged = merged("oci://x", changes.into_iter())?;
        Ok(merged.into_iter().map(|(path, (digest, _))| format!("{path}={digest}")).collect())
    }

    #[test]
    fn later_layers_lie_on_top() {
        let removed = |path: &str| Change::Remove { path: path.to_owned() };
        let cleared = |path: &str| Change::Clear { path: path.to_owned() };
        let base = || vec![file("a", "1"), file("b/c", "2"), file("b/d", "3"), file("bc", "4")];
        let with = |more: Vec<Change>| paths(base().into_iter().chain(more).collect()).unwrap();
        assert_eq!(with(vec![file("a", "5")]), ["a=5", "b/c=2", "b/d=3", "bc=4"]);
        assert_eq!(with(vec![removed("b")]), ["a=1", "bc=4"]);
        assert_eq!(with(vec![cleared("b"), file("b/e", "6")]), ["a=1", "b/e=6", "bc=4"]);
        assert_eq!(with(vec![file("b", "7")]), ["a=1", "b=7", "bc=4"]);
        assert_eq!(with(vec![cleared("")]), [""; 0]);
        assert_eq!(with(vec![Change::Folder { path: "a".to_owned() }]), ["b/c=2", "b/d=3", "bc=4"]);
    }

    #[test]
    fn links_stay_within_the_model() {
        assert_eq!(
            paths(vec![file("a", "1"), link("b", Some("a")), link("c", Some("b"))]).unwrap(),
            ["a=1", "b=1", "c=1"]
        );
        for hostile in [
            vec![link("a", None)],
            vec![link("a", Some("b")), link("b", Some("a"))],
            vec![link("a", Some("none"))],
            vec![link("", Some("a"))],
        ] {
            assert_eq!(paths(hostile).unwrap_err().reason, "SourceInvalid");
        }
    }

    #[test]
    fn layers_are_archives_or_files() {
        let part = |media_type: &str, title: Option<&str>| Part {
            media_type: media_type.to_owned(),
            digest: Digest::of(b""),
            size: 0,
            annotations: title.map(|title| BTreeMap::from([(TITLES[1].to_owned(), title.to_owned())])),
            platform: None,
        };
        for (media_type, title, form) in [
            ("application/vnd.oci.image.layer.v1.tar", None, Form::Archive(Compression::None)),
            ("application/vnd.oci.image.layer.v1.tar+gzip", Some("x"), Form::Archive(Compression::Gzip)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", None, Form::Archive(Compression::Gzip)),
            ("application/vnd.cncf.model.weight.v1.tar+zstd", None, Form::Archive(Compression::Zstandard)),
            ("application/vnd.cncf.model.weight.v1.raw", Some("./w.bin"), Form::File("w.bin".to_owned())),
            ("application/vnd.in-toto+json", None, Form::Nothing),
        ] {
            assert_eq!(part(media_type, title).form(), form, "{media_type}");
        }
    }

    #[test]
    fn references_may_lack_a_tag() {
        assert_eq!(reference("oci://localhost:5000/a/b").unwrap().to_string(), "localhost:5000/a/b:latest");
        assert_eq!(reference("oci://localhost:5000/a/b:1").unwrap().tag(), Some("1"));
        assert!(reference("oci://a/b:1").unwrap_err().message.contains("registry"));
    }

    #[test]
    fn a_platform_is_chosen() {
        let part = |os: &str, architecture: &str| {
            let text = serde_json::json!({
                "mediaType": "m", "digest": Digest::of(architecture.as_bytes()), "size": 1,
                "platform": {"os": os, "architecture": architecture},
            });
            serde_json::from_value::<Part>(text).unwrap()
        };
        let all = [
            part("unknown", "unknown"),
            part("linux", "s390x"),
            part("linux", "amd64"),
            part("linux", "arm64"),
        ];
        let chosen = choose(&all).unwrap().platform.clone().unwrap();
        let expected = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
        assert_eq!(chosen.architecture, expected);
        assert_eq!(choose(&all[..2]).unwrap().platform.as_ref().unwrap().architecture, "s390x");
        assert!(choose(&all[..1]).is_none());
    }

    proptest! {
        #[test]
        fn manifests_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), text in "\\{\"(layers|manifests|config)\":.{0,60}\\}") {
            let _ = parse("oci://x", &bytes);
            let _ = parse("oci://x", text.as_bytes());
        }
    }
}
