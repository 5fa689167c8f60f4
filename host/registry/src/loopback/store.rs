//! The registry's folder: an OCI image layout, with `blobs/sha256/` for all content and `index.json` for what is tagged
//! and which repository a manifest belongs to. The index is small and kept in memory; each change replaces the file.
//! Blobs are shared by all repositories: whoever knows a digest may have the content, as on one machine one may.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::artifact::Descriptor;
use crate::digest::Digest;
use crate::files;
use crate::layout::{Index, MARKER, REF_NAME};

/// Why the folder cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The system refused.
    #[error("cannot open the registry's folder {path}: {source}")]
    Io {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The index is damaged.
    #[error("the registry's {path} is not an OCI index: {source}; remove the folder to begin anew")]
    Index {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
}

pub(super) struct Store {
    folder: PathBuf,
    repositories: Mutex<Repositories>,
}

type Repositories = BTreeMap<String, Repository>;

/// What belongs to one name.
#[derive(Clone, Debug, Default)]
pub(super) struct Repository {
    pub(super) manifests: BTreeMap<Digest, Descriptor>,
    pub(super) tags: BTreeMap<String, Digest>,
}

/// A manifest to be put in. Its digest was checked.
pub(super) struct PutManifest<'a> {
    pub(super) repository: &'a str,
    pub(super) tag: Option<&'a str>,
    pub(super) media_type: &'a str,
    pub(super) digest: &'a Digest,
    pub(super) content: &'a [u8],
}

impl Store {
    pub(super) fn open(folder: &Path) -> Result<Store, OpenError> {
        let failed = |source| OpenError::Io { path: folder.to_owned(), source };
        fs::create_dir_all(folder.join("blobs").join("sha256")).map_err(failed)?;
        fs::create_dir_all(folder.join("uploads")).map_err(failed)?;
        let marker = folder.join("oci-layout");
        if !marker.exists() {
            files::replace(&marker, MARKER.as_bytes()).map_err(failed)?;
        }
        let path = folder.join("index.json");
        let repositories = match fs::read(&path) {
            Ok(text) => {
                let index: Index =
                    serde_json::from_slice(&text).map_err(|source| OpenError::Index { path, source })?;
                from_index(index)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Repositories::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Store { folder: folder.to_owned(), repositories: Mutex::new(repositories) })
    }

    pub(super) fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.folder.join("blobs").join("sha256").join(digest.hex())
    }

    pub(super) fn upload_path(&self, session: uuid::Uuid) -> PathBuf {
        self.folder.join("uploads").join(session.to_string())
    }

    pub(super) fn has_blob(&self, digest: &Digest) -> bool {
        self.blob_path(digest).is_file()
    }

    pub(super) fn read_blob(&self, digest: &Digest) -> io::Result<Vec<u8>> {
        fs::read(self.blob_path(digest))
    }

    /// Stores content whose digest was checked.
    pub(super) fn put_blob(&self, digest: &Digest, content: &[u8]) -> io::Result<()> {
        if self.has_blob(digest) {
            return Ok(());
        }
        files::replace(&self.blob_path(digest), content)
    }

    /// Makes a finished upload a blob.
    pub(super) fn adopt(&self, session: uuid::Uuid, digest: &Digest) -> io::Result<()> {
        let blob = self.blob_path(digest);
        fs::rename(self.upload_path(session), &blob)?;
        files::sync_folder(blob.parent().unwrap_or(&self.folder))
    }

    pub(super) fn delete_blob(&self, digest: &Digest) -> io::Result<bool> {
        match fs::remove_file(self.blob_path(digest)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }

    pub(super) fn repository(&self, name: &str) -> Option<Repository> {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.repositories.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    pub(super) fn put_manifest(&self, put: &PutManifest<'_>) -> io::Result<()> {
        self.put_blob(put.digest, put.content)?;
        let descriptor = Descriptor {
            media_type: put.media_type.to_owned(),
            digest: put.digest.clone(),
            size: put.content.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        };
        self.change(|repositories| {
            let repository = repositories.entry(put.repository.to_owned()).or_default();
            repository.manifests.insert(put.digest.clone(), descriptor);
            if let Some(tag) = put.tag {
                repository.tags.insert(tag.to_owned(), put.digest.clone());
            }
            true
        })?;
        Ok(())
    }

    /// Takes a tag away; the manifest stays.
    pub(super) fn delete_tag(&self, name: &str, tag: &str) -> io::Result<bool> {
        self.change(|repositories| {
            repositories.get_mut(name).is_some_and(|repository| repository.tags.remove(tag).is_some())
        })
    }

    /// Takes a manifest away with all its tags. Its blobs stay: others may share them.
    pub(super) fn delete_manifest(&self, name: &str, digest: &Digest) -> io::Result<bool> {
        self.change(|repositories| {
            let Some(repository) = repositories.get_mut(name) else { return false };
            repository.tags.retain(|_, tagged| tagged != digest);
            let found = repository.manifests.remove(digest).is_some();
            if repository.manifests.is_empty() {
                repositories.remove(name);
            }
            found
        })
    }

    /// Changes a copy, writes it, and only then lets it be seen, so that what was answered is on disk.
    fn change(&self, change: impl FnOnce(&mut Repositories) -> bool) -> io::Result<bool> {
        let mut current = self.repositories.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = current.clone();
        let changed = change(&mut next);
        if changed {
            let text = serde_json::to_vec(&to_index(&next))?;
            files::replace(&self.folder.join("index.json"), &text)?;
            *current = next;
        }
        Ok(changed)
    }
}

fn to_index(repositories: &Repositories) -> Index {
    let mut entries = Vec::new();
    for (name, repository) in repositories {
        let tagged: BTreeSet<&Digest> = repository.tags.values().collect();
        let tags = repository.tags.iter().map(|(tag, digest)| (digest, format!("{name}:{tag}")));
        let untagged = repository.manifests.keys().filter(|digest| !tagged.contains(digest));
        for (digest, ref_name) in tags.chain(untagged.map(|digest| (digest, format!("{name}@{digest}")))) {
            if let Some(descriptor) = repository.manifests.get(digest) {
                let mut entry = descriptor.clone();
                entry.annotations.insert(REF_NAME.to_owned(), ref_name);
                entries.push(entry);
            }
        }
    }
    Index::new(entries)
}

fn from_index(index: Index) -> Repositories {
    let mut repositories = Repositories::new();
    for mut entry in index.manifests {
        let Some(ref_name) = entry.annotations.remove(REF_NAME) else { continue };
        let (name, tag) = match ref_name.split_once('@') {
            Some((name, _)) => (name, None),
            None => match ref_name.split_once(':') {
                Some((name, tag)) => (name, Some(tag)),
                None => continue,
            },
        };
        let repository: &mut Repository = repositories.entry(name.to_owned()).or_default();
        if let Some(tag) = tag {
            repository.tags.insert(tag.to_owned(), entry.digest.clone());
        }
        repository.manifests.insert(entry.digest.clone(), entry);
    }
    repositories
}
