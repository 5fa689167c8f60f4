//! An OCI registry over a folder, for `purlin up`: what `oci-client`, `oras` and container tools push and pull on this
//! machine. The binary serves its router by plain HTTP on a loopback address; it has no notion of users and must not be
//! served anywhere else.
//!
//! Every name that reaches the disk is a digest, a session's UUID or a fixed word, so no request can lead out of the
//! folder. Every acknowledged write was synced before it was acknowledged, and appears by a rename.

mod error;
mod path;
mod routes;
mod store;
mod uploads;

use std::path::Path;
use std::sync::Arc;

use crate::artifact::{Artifact, Descriptor, MANIFEST_TYPE};
use crate::digest::Digest;
use crate::document::{Document, EMPTY};
use crate::layout::{self, LayoutError};
use store::Store;

pub use store::OpenError;

/// The largest blob that is taken.
const MAX_BLOB: u64 = 1 << 30;

/// The largest manifest that is taken, as most registries have it.
const MAX_MANIFEST: usize = 8 << 20;

/// The registry. Clones serve the same folder.
#[derive(Clone)]
pub struct Loopback {
    store: Arc<Store>,
}

/// Why the registry could not be seeded.
#[derive(Debug, thiserror::Error)]
pub enum SeedError {
    /// The layout cannot be read.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The folder cannot be written.
    #[error("cannot seed the registry with {name}: {reason}")]
    Store {
        /// What was being put in.
        name: String,
        /// Why it failed.
        reason: String,
    },
}

impl Loopback {
    /// Opens the folder, made if it is not there. Uploads that an earlier process left unfinished can go on.
    pub fn open(folder: &Path) -> Result<Loopback, OpenError> {
        Ok(Loopback { store: Arc::new(Store::open(folder)?) })
    }

    /// The routes, all below `/v2/`.
    pub fn router(&self) -> axum::Router {
        routes::router(Arc::clone(&self.store))
    }

    /// Puts in the artifacts of an OCI layout, each by its name `repository:tag`. A tag that is already there is moved
    /// to the seed's artifact.
    pub fn seed(&self, folder: &Path) -> Result<usize, SeedError> {
        self.seed_artifacts(&layout::read(folder)?)
    }

    /// The same of artifacts that were read already.
    pub fn seed_artifacts(&self, artifacts: &[(String, Artifact)]) -> Result<usize, SeedError> {
        for (name, artifact) in artifacts {
            self.put(name, artifact).map_err(|reason| SeedError::Store { name: name.clone(), reason })?;
        }
        Ok(artifacts.len())
    }

    /// Puts in an artifact that is one document under a name `repository:tag`, moved there if it is another's.
    pub fn seed_document(&self, name: &str, media_type: &str, content: &[u8]) -> Result<(), SeedError> {
        let failed = |reason: String| SeedError::Store { name: name.to_owned(), reason };
        let document = Document::of_one(media_type, Descriptor::of(media_type, content), None);
        let text = document.to_json().map_err(|error| failed(error.to_string()))?;
        for blob in [content, EMPTY] {
            self.store.put_blob(&Digest::of(blob), blob).map_err(|error| failed(error.to_string()))?;
        }
        self.put_manifest(name, &Digest::of(&text), &text).map_err(failed)
    }

    fn put_manifest(&self, name: &str, digest: &Digest, content: &[u8]) -> Result<(), String> {
        let (repository, tag) = name.split_once(':').ok_or("its name is not `repository:tag`")?;
        if !crate::reference::is_repository(repository) || !crate::reference::is_tag(tag) {
            return Err("its name is not `repository:tag`".to_owned());
        }
        let put =
            store::PutManifest { repository, tag: Some(tag), media_type: MANIFEST_TYPE, digest, content };
        self.store.put_manifest(&put).map_err(|error| error.to_string())
    }

    fn put(&self, name: &str, artifact: &Artifact) -> Result<(), String> {
        let store = &self.store;
        let failed = |error: std::io::Error| error.to_string();
        store.put_blob(artifact.component_digest(), artifact.component()).map_err(failed)?;
        store.put_blob(&Digest::of(artifact.config()), artifact.config()).map_err(failed)?;
        self.put_manifest(name, artifact.digest(), artifact.document())
    }
}
