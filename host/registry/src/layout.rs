//! Artifacts in a folder, as an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256/`): how built plugins are
//! committed and how the loopback registry is seeded. Names are kept in each entry's annotation
//! `org.opencontainers.image.ref.name`, as `repository:tag`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::artifact::{self, Artifact, ArtifactError, Descriptor, INDEX_TYPE, MANIFEST_TYPE};
use crate::digest::Digest;
use crate::files;

/// The annotation that names an entry.
pub const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// What every layout says of itself.
pub(crate) const MARKER: &str = r#"{"imageLayoutVersion":"1.0.0"}"#;

/// Why a layout cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum LayoutError {
    /// The system refused.
    #[error("cannot {doing} {path}: {source}")]
    Io {
        /// `read` or `write`.
        doing: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// `index.json` is not an index.
    #[error("cannot read {path} as an OCI index: {source}")]
    Index {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// An artifact in it cannot be used.
    #[error("the entry {name:?} cannot be used: {source}")]
    Artifact {
        /// Its name.
        name: String,
        /// Why.
        source: ArtifactError,
    },
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Index {
    pub(crate) schema_version: u32,
    #[serde(default)]
    pub(crate) media_type: Option<String>,
    pub(crate) manifests: Vec<Descriptor>,
}

impl Index {
    pub(crate) fn new(manifests: Vec<Descriptor>) -> Index {
        Index { schema_version: 2, media_type: Some(INDEX_TYPE.to_owned()), manifests }
    }
}

/// Writes artifacts by name (`repository:tag`) into a folder, which becomes a layout that holds them and no others.
/// Blobs of an earlier content are left in place.
pub fn write(folder: &Path, artifacts: &[(String, Artifact)]) -> Result<(), LayoutError> {
    let blobs = folder.join("blobs").join("sha256");
    fs::create_dir_all(&blobs).map_err(failed("write", &blobs))?;
    let put = |path: PathBuf, content: &[u8]| files::replace(&path, content).map_err(failed("write", &path));
    put(folder.join("oci-layout"), MARKER.as_bytes())?;
    let mut entries = Vec::new();
    for (name, artifact) in artifacts {
        put(blobs.join(artifact.digest().hex()), artifact.document())?;
        put(blobs.join(artifact.component_digest().hex()), artifact.component())?;
        put(blobs.join(Digest::of(artifact.config()).hex()), artifact.config())?;
        entries.push(Descriptor {
            media_type: MANIFEST_TYPE.to_owned(),
            digest: artifact.digest().clone(),
            size: artifact.document().len() as u64,
            artifact_type: None,
            annotations: BTreeMap::from([(REF_NAME.to_owned(), name.clone())]),
        });
    }
    entries.sort_by(|a, b| a.annotations.cmp(&b.annotations));
    let path = folder.join("index.json");
    let text = serde_json::to_vec(&Index::new(entries))
        .map_err(|source| LayoutError::Index { path: path.clone(), source })?;
    put(path, &text)
}

/// Reads all artifacts of a layout with their names, and checks every digest.
pub fn read(folder: &Path) -> Result<Vec<(String, Artifact)>, LayoutError> {
    read_with(|path| {
        let path = folder.join(path);
        fs::read(&path).map(Bytes::from).map_err(failed("read", &path))
    })
}

/// The same of a layout that is embedded in the program.
pub fn read_embedded(folder: &include_dir::Dir<'_>) -> Result<Vec<(String, Artifact)>, LayoutError> {
    // Paths in an embedded folder are relative to where the embedding began.
    read_with(|path| match folder.get_file(folder.path().join(path)) {
        Some(file) => Ok(Bytes::copy_from_slice(file.contents())),
        None => Err(failed("read", Path::new(path))(io::ErrorKind::NotFound.into())),
    })
}

fn read_with(
    get: impl Fn(&str) -> Result<Bytes, LayoutError>,
) -> Result<Vec<(String, Artifact)>, LayoutError> {
    let index: Index = serde_json::from_slice(&get("index.json")?)
        .map_err(|source| LayoutError::Index { path: PathBuf::from("index.json"), source })?;
    let blob = |digest: &Digest| get(&format!("blobs/sha256/{}", digest.hex()));
    let mut artifacts = Vec::new();
    for entry in index.manifests {
        let name = entry.annotations.get(REF_NAME).cloned().unwrap_or_default();
        let wrong = |source| LayoutError::Artifact { name: name.clone(), source };
        let document = blob(&entry.digest)?;
        artifact::check("manifest", &entry.digest, &document).map_err(wrong)?;
        let parsed = artifact::parse_document(&document).map_err(wrong)?;
        let (config, component) = (blob(&parsed.config.digest)?, blob(&parsed.layers[0].digest)?);
        let artifact = Artifact::from_parts(document, config, component).map_err(wrong)?;
        artifacts.push((name, artifact));
    }
    Ok(artifacts)
}

fn failed(doing: &'static str, path: &Path) -> impl Fn(io::Error) -> LayoutError {
    let path = path.to_owned();
    move |source| LayoutError::Io { doing, path: path.clone(), source }
}
