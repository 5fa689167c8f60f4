//! Plugins carried to where there is no network: a tar file with an OCI image layout, in which each plugin lies with its
//! signatures and what else belongs to it, byte for byte, so that signatures stay good wherever it is loaded. A file
//! `plugins.lock` in it says which digest each reference had.
//!
//! A bundle may come from anywhere. It is read in place, nothing is unpacked, and whatever leaves it was compared with its
//! digest.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, SeekFrom, Write};

use bytes::Bytes;

use crate::artifact::{self, ArtifactError, Descriptor, MANIFEST_TYPE};
use crate::client::{Client, ClientError, MAX_DOCUMENT, Problem, Resolved, blob, manifest};
use crate::digest::Digest;
use crate::document::Document;
use crate::layout::{Index, MARKER, REF_NAME};
use crate::reference::{Reference, is_repository};
use crate::referrers;
use crate::signature::tag;
use crate::transport::Failure;

/// The file of digests in a bundle.
const LOCK: &str = "plugins.lock";

/// The largest list of contents and the largest lock that are read.
const MAX_LIST: u64 = 8 << 20;

/// The largest blob that is carried.
const MAX_BLOB: u64 = 256 << 20;

/// The most files in a bundle.
const MAX_FILES: usize = 100_000;

/// The most documents that are carried with one plugin.
const MAX_REFERRERS: usize = 256;

/// Why a bundle cannot be made, read or loaded.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// The file cannot be read or written.
    #[error("cannot use the bundle: {0}")]
    Io(#[from] io::Error),
    /// It is not a bundle, or only a part of one.
    #[error("this is no whole bundle: {0}")]
    Form(String),
    /// A part is damaged.
    #[error("the bundle cannot be used: {0}")]
    Artifact(#[from] ArtifactError),
    /// A registry did not do its part.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The place to load it to is none.
    #[error("{0:?} is no place to load to; write REGISTRY or REGISTRY/PREFIX")]
    Target(String),
}

/// What was put in for one reference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packed {
    /// The reference.
    pub reference: Reference,
    /// Its digest.
    pub digest: Digest,
    /// How many signatures go with it.
    pub signatures: usize,
    /// How many other documents do.
    pub documents: usize,
}

/// What became of one manifest at loading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Where it is now.
    pub reference: String,
    /// Its digest.
    pub digest: Digest,
    /// Blobs that were sent.
    pub sent: usize,
    /// Blobs that were there already.
    pub skipped: usize,
}

/// Writes a bundle, piece by piece.
pub struct Writer<W: Write> {
    tar: tar::Builder<W>,
    blobs: BTreeSet<Digest>,
    entries: Vec<Descriptor>,
    lock: BTreeMap<String, Digest>,
}

impl<W: Write> Writer<W> {
    /// Begins one.
    pub fn new(out: W) -> Result<Writer<W>, BundleError> {
        let mut writer = Writer {
            tar: tar::Builder::new(out),
            blobs: BTreeSet::new(),
            entries: Vec::new(),
            lock: BTreeMap::new(),
        };
        writer.file("oci-layout", MARKER.as_bytes())?;
        Ok(writer)
    }

    /// Fetches a plugin with all that belongs to it and puts it in.
    pub async fn add(&mut self, client: &Client, resolved: &Resolved) -> Result<Packed, BundleError> {
        let reference = resolved.reference();
        let parts = client.belongings(resolved).await?;
        let (mut signatures, mut documents) = (0, 0);
        for part in parts {
            match part.name {
                Part::Itself => {}
                Part::Signatures => signatures += part.blobs.len().saturating_sub(1),
                Part::Referrer => documents += 1,
            }
            for content in &part.blobs {
                self.blob(content)?;
            }
            self.blob(&part.document)?;
            let name = match part.name {
                Part::Itself => reference.to_string(),
                Part::Signatures => format!("{}:{}", reference.name(), tag::name(resolved.digest())),
                Part::Referrer => format!("{}@{}", reference.name(), Digest::of(&part.document)),
            };
            let mut entry = Descriptor::of(MANIFEST_TYPE, &part.document);
            entry.annotations.insert(REF_NAME.to_owned(), name);
            if !self.entries.contains(&entry) {
                self.entries.push(entry);
            }
        }
        self.lock.insert(reference.to_string(), resolved.digest().clone());
        Ok(Packed { reference: reference.clone(), digest: resolved.digest().clone(), signatures, documents })
    }

    /// Ends it.
    pub fn finish(mut self) -> Result<W, BundleError> {
        let json = |error: serde_json::Error| BundleError::Io(error.into());
        let lock = serde_json::to_vec_pretty(&self.lock).map_err(json)?;
        self.file(LOCK, &lock)?;
        let index = serde_json::to_vec(&Index::new(std::mem::take(&mut self.entries))).map_err(json)?;
        self.file("index.json", &index)?;
        let mut out = self.tar.into_inner()?;
        out.flush()?;
        Ok(out)
    }

    fn blob(&mut self, content: &Bytes) -> Result<(), BundleError> {
        let digest = Digest::of(content);
        if self.blobs.contains(&digest) {
            return Ok(());
        }
        self.file(&format!("blobs/sha256/{}", digest.hex()), content)?;
        self.blobs.insert(digest);
        Ok(())
    }

    // Nothing of the machine or the moment gets in: the same plugins give the same bytes.
    fn file(&mut self, name: &str, content: &[u8]) -> Result<(), BundleError> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        self.tar.append_data(&mut header, name, content)?;
        Ok(())
    }
}

/// A bundle that is read. What is in it is known; nothing of it was compared with its digest yet.
pub struct Reader<R> {
    file: R,
    blobs: BTreeMap<Digest, (u64, u64)>,
    entries: Vec<Entry>,
    lock: BTreeMap<String, Digest>,
}

/// A manifest in a bundle.
#[derive(Clone, Debug)]
struct Entry {
    descriptor: Descriptor,
    reference: Reference,
}

impl<R: Read + Seek> Reader<R> {
    /// Looks through a bundle and checks its form.
    pub fn open(mut file: R) -> Result<Reader<R>, BundleError> {
        let form = |what: String| BundleError::Form(what);
        let mut blobs = BTreeMap::new();
        let (mut index, mut lock) = (None, None);
        let length = file.seek(SeekFrom::End(0))?;
        file.rewind()?;
        let mut archive = tar::Archive::new(&mut file);
        for (count, entry) in archive.entries_with_seek()?.enumerate() {
            let mut entry = entry?;
            if count >= MAX_FILES {
                return Err(form(format!("it has more than {MAX_FILES} files")));
            }
            let path = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let path = path.strip_prefix("./").unwrap_or(&path).trim_end_matches('/').to_owned();
            match entry.header().entry_type() {
                tar::EntryType::Regular | tar::EntryType::Continuous => {}
                tar::EntryType::Directory => continue,
                _ => return Err(form(format!("{path:?} is no plain file"))),
            }
            let (at, size) = (entry.raw_file_position(), entry.size());
            // One that was cut off announces more than there is.
            if at.saturating_add(size) > length {
                return Err(form(format!("it ends in the middle of {path:?}")));
            }
            match path.as_str() {
                "index.json" => index = Some(read_list(&mut entry, &path)?),
                LOCK => lock = Some(read_list(&mut entry, &path)?),
                "oci-layout" => {}
                other => {
                    let digest = other
                        .strip_prefix("blobs/sha256/")
                        .and_then(|hex| format!("sha256:{hex}").parse::<Digest>().ok())
                        .ok_or_else(|| form(format!("{path:?} does not belong in a bundle")))?;
                    blobs.insert(digest, (at, size));
                }
            }
        }
        let index = index.ok_or_else(|| form("it has no index.json".to_owned()))?;
        let index: Index =
            serde_json::from_slice(&index).map_err(|error| form(format!("its index.json: {error}")))?;
        let lock = lock.ok_or_else(|| form(format!("it has no {LOCK}")))?;
        let lock: BTreeMap<String, Digest> =
            serde_json::from_slice(&lock).map_err(|error| form(format!("its {LOCK}: {error}")))?;
        let mut entries = Vec::new();
        for descriptor in index.manifests {
            let name = descriptor.annotations.get(REF_NAME).cloned().unwrap_or_default();
            let reference: Reference = name.parse().map_err(|error| form(format!("{error}")))?;
            entries.push(Entry { descriptor, reference });
        }
        for (name, digest) in &lock {
            let there =
                |entry: &Entry| entry.reference.to_string() == *name && entry.descriptor.digest == *digest;
            if !entries.iter().any(there) {
                return Err(form(format!("{name} with {digest} is in its {LOCK} and nowhere else")));
            }
        }
        Ok(Reader { file, blobs, entries, lock })
    }

    /// Which digest each plugin had when it was put in.
    pub fn lock(&self) -> &BTreeMap<String, Digest> {
        &self.lock
    }

    /// Reads everything and compares it with its digests.
    pub fn verify(&mut self) -> Result<(), BundleError> {
        for entry in self.entries.clone() {
            let document = Document::parse(&self.manifest(&entry.descriptor)?)?;
            for part in std::iter::once(&document.config).chain(&document.layers) {
                self.read("blob", part)?;
            }
        }
        Ok(())
    }

    fn manifest(&mut self, descriptor: &Descriptor) -> Result<Bytes, BundleError> {
        let (what, size) = ("manifest", descriptor.size);
        if size > MAX_DOCUMENT {
            return Err(ArtifactError::TooLarge { what, size, limit: MAX_DOCUMENT }.into());
        }
        self.read(what, descriptor)
    }

    fn read(&mut self, what: &'static str, descriptor: &Descriptor) -> Result<Bytes, BundleError> {
        let Descriptor { digest, size, .. } = descriptor;
        let (at, found) = *self
            .blobs
            .get(digest)
            .ok_or_else(|| BundleError::Form(format!("the {what} {digest} is not in it")))?;
        if found != *size || found > MAX_BLOB {
            let why = format!("the {what} {digest} has {found} bytes, not {size} (at most {MAX_BLOB})");
            return Err(BundleError::Form(why));
        }
        self.file.seek(SeekFrom::Start(at))?;
        let mut content = Vec::new();
        (&mut self.file).take(found).read_to_end(&mut content)?;
        artifact::check(what, digest, &content)?;
        Ok(Bytes::from(content))
    }

    /// Puts everything into a registry, under a prefix: `ghcr.io/acme/tuner` to `registry.internal/mirror` becomes
    /// `registry.internal/mirror/acme/tuner`, which is where a mirror of `ghcr.io` at that place has it. What is there
    /// already is not sent again, so a load that broke off is simply made again.
    pub async fn load(
        &mut self,
        client: &Client,
        to: &str,
        mut progress: impl FnMut(&Loaded),
    ) -> Result<Vec<Loaded>, BundleError> {
        let to = to.trim_end_matches('/');
        let prefix_ok = to.split_once('/').is_none_or(|(_, prefix)| is_repository(prefix));
        let mut loaded = Vec::new();
        for entry in self.entries.clone() {
            let target = entry
                .reference
                .renamed(&format!("{to}/{}", entry.reference.repository()))
                .ok()
                .filter(|_| prefix_ok)
                .ok_or_else(|| BundleError::Target(to.to_owned()))?;
            let document = self.manifest(&entry.descriptor)?;
            let parsed = Document::parse(&document)?;
            let (mut sent, mut skipped) = (0, 0);
            for part in std::iter::once(&parsed.config).chain(&parsed.layers) {
                let content = self.read("blob", part)?;
                match client.put(&target, &part.digest, &content).await? {
                    true => skipped += 1,
                    false => sent += 1,
                }
            }
            client.put_document(&target, &document, &parsed).await?;
            let digest = entry.descriptor.digest.clone();
            let done = Loaded { reference: target.to_string(), digest, sent, skipped };
            progress(&done);
            loaded.push(done);
        }
        Ok(loaded)
    }
}

fn read_list(entry: &mut impl Read, name: &str) -> Result<Vec<u8>, BundleError> {
    let mut text = Vec::new();
    entry.take(MAX_LIST + 1).read_to_end(&mut text)?;
    if text.len() as u64 > MAX_LIST {
        return Err(BundleError::Form(format!("its {name} is larger than {MAX_LIST} bytes")));
    }
    Ok(text)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Itself,
    Signatures,
    Referrer,
}

/// A manifest with its blobs.
struct Belonging {
    name: Part,
    document: Bytes,
    blobs: Vec<Bytes>,
}

impl Client {
    /// A plugin, its signatures, and what refers to it, each part whole.
    async fn belongings(&self, resolved: &Resolved) -> Result<Vec<Belonging>, ClientError> {
        let reference = resolved.reference();
        self.in_time("pull", reference, async {
            let repository = self.repository(reference).await?;
            let fetch = async |name: Part, document: Bytes| {
                let parsed = Document::parse(&document)?;
                let mut blobs = Vec::new();
                for part in std::iter::once(&parsed.config).chain(&parsed.layers) {
                    blobs.push(blob(&repository, "blob", part, MAX_BLOB).await?);
                }
                Ok::<_, Problem>(Belonging { name, document, blobs })
            };
            let mut found = vec![fetch(Part::Itself, manifest(&repository, resolved.digest()).await?).await?];
            match repository.manifest(&tag::name(resolved.digest()), MAX_DOCUMENT).await {
                Ok(document) => found.push(fetch(Part::Signatures, document).await?),
                Err(Failure::NotFound) => {}
                Err(failure) => return Err(failure.into()),
            }
            let referrers = repository.referrers(resolved.digest()).await?;
            if referrers.len() > MAX_REFERRERS {
                let (what, size, limit) = ("list of referrers", referrers.len() as u64, MAX_REFERRERS as u64);
                return Err(ArtifactError::TooLarge { what, size, limit }.into());
            }
            for descriptor in referrers {
                let document = manifest(&repository, &descriptor.digest).await?;
                found.push(fetch(Part::Referrer, document).await?);
            }
            Ok(found)
        })
        .await
    }

    /// Puts a blob into a repository; says whether it was there.
    async fn put(&self, target: &Reference, digest: &Digest, content: &Bytes) -> Result<bool, ClientError> {
        self.in_time("push", target, async {
            Ok(self.repository(target).await?.put_blob(digest, content).await?)
        })
        .await
    }

    /// Puts a manifest into a repository, and into the list of referrers where it is one.
    async fn put_document(
        &self,
        target: &Reference,
        content: &Bytes,
        document: &Document,
    ) -> Result<(), ClientError> {
        self.in_time("push", target, async {
            let repository = self.repository(target).await?;
            let digest = Digest::of(content);
            let version = target.tag().unwrap_or(digest.as_str());
            let listed = repository.put_manifest(version, MANIFEST_TYPE, content).await?;
            if let Some(subject) = document.subject.as_ref().filter(|_| !listed) {
                let artifact_type =
                    document.artifact_type.clone().unwrap_or_else(|| document.config.media_type.clone());
                let descriptor = Descriptor {
                    artifact_type: Some(artifact_type),
                    annotations: document.annotations.clone(),
                    ..Descriptor::of(MANIFEST_TYPE, content)
                };
                referrers::list(&repository, &subject.digest, descriptor).await?;
            }
            Ok(())
        })
        .await
    }
}
