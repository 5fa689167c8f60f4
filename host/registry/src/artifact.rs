//! A plugin as registries hold it: the CNCF layout for WebAssembly. Three documents that name each other by digest: the
//! OCI manifest, the configuration, and the component as the only layer. Building one is a pure function of the
//! component, so the same plugin has the same digest wherever it is packed.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::component::{self, ComponentError};
use crate::digest::Digest;
use crate::document::Document;
use crate::manifest::{Manifest, ManifestError};

/// Media type of an OCI manifest.
pub const MANIFEST_TYPE: &str = "application/vnd.oci.image.manifest.v1+json";
/// Media type of an index of manifests.
pub const INDEX_TYPE: &str = "application/vnd.oci.image.index.v1+json";
/// Media type of the configuration.
pub const CONFIG_TYPE: &str = "application/vnd.wasm.config.v0+json";
/// Media type of the layer.
pub const LAYER_TYPE: &str = "application/wasm";
/// Annotation that holds the plugin's manifest.
pub const PLUGIN_ANNOTATION: &str = "dev.purlin.plugin.manifest";

/// A component with the documents around it, each checked against the others' digests.
#[derive(Clone, Debug, PartialEq)]
pub struct Artifact {
    document: Bytes,
    digest: Digest,
    config: Bytes,
    component: Bytes,
    component_digest: Digest,
    manifest: Manifest,
}

/// Why an artifact cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ArtifactError {
    /// It is of another kind.
    #[error("the artifact's {what} has the media type {found:?}, not {expected:?}; it is not a plugin")]
    MediaType {
        /// Which document.
        what: &'static str,
        /// What it says.
        found: String,
        /// What a plugin's says.
        expected: &'static str,
    },
    /// Not exactly one layer.
    #[error("the artifact has {0} layers; a plugin has one")]
    Layers(usize),
    /// A document is not what its digest says.
    #[error("the artifact's {what} has the digest {found}, not {expected}; it was damaged or altered")]
    DigestMismatch {
        /// Which document.
        what: &'static str,
        /// As announced.
        expected: Digest,
        /// As found.
        found: Digest,
    },
    /// Larger than is taken.
    #[error("the artifact's {what} has {size} bytes; at most {limit} are taken")]
    TooLarge {
        /// Which document.
        what: &'static str,
        /// Its size.
        size: u64,
        /// The limit.
        limit: u64,
    },
    /// The registry sends more than was announced, or than is taken.
    #[error("its registry sends more than the {limit} bytes that were announced or are taken")]
    Longer {
        /// The limit.
        limit: u64,
    },
    /// A document has not the form of one.
    #[error("cannot read the artifact's {what}: {source}")]
    Json {
        /// Which document.
        what: &'static str,
        /// What the parser said.
        source: serde_json::Error,
    },
    /// The layer is not a component.
    #[error("cannot read the component: {0}")]
    Component(#[from] ComponentError),
    /// The component has no usable manifest.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
}

/// What points to a document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What kind of document.
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// The kind of artifact, in answers about referrers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub artifact_type: Option<String>,
    /// More about it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
}

impl Descriptor {
    /// What points to some bytes.
    pub fn of(media_type: &str, bytes: &[u8]) -> Descriptor {
        Descriptor {
            media_type: media_type.to_owned(),
            digest: Digest::of(bytes),
            size: bytes.len() as u64,
            artifact_type: None,
            annotations: BTreeMap::new(),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WasmConfig {
    // Tools that read this layout want a time. The time of packing would change the digest, so it is the epoch.
    created: &'static str,
    architecture: &'static str,
    os: &'static str,
    layer_digests: Vec<Digest>,
    component: WasmComponent,
}

#[derive(Serialize)]
struct WasmComponent {
    exports: Vec<String>,
    imports: Vec<String>,
}

impl Artifact {
    /// Makes the artifact of a packed component.
    pub fn from_component(component: Bytes) -> Result<Artifact, ArtifactError> {
        let manifest = Manifest::from_component(&component)?;
        let interfaces = component::interfaces(&component)?;
        let component_digest = Digest::of(&component);
        let config = to_json(
            "configuration",
            &WasmConfig {
                created: "1970-01-01T00:00:00Z",
                architecture: "wasm",
                os: "wasip2",
                layer_digests: vec![component_digest.clone()],
                component: WasmComponent { exports: interfaces.exports, imports: interfaces.imports },
            },
        )?;
        let annotations = [
            ("org.opencontainers.image.title", manifest.name.clone()),
            ("org.opencontainers.image.version", manifest.version.to_string()),
            ("org.opencontainers.image.description", manifest.description.clone()),
            (PLUGIN_ANNOTATION, manifest.to_json()?),
        ];
        let document = Document {
            layers: vec![Descriptor::of(LAYER_TYPE, &component)],
            annotations: annotations.into_iter().map(|(name, value)| (name.to_owned(), value)).collect(),
            ..Document::new(Descriptor::of(CONFIG_TYPE, &config))
        }
        .to_json()?;
        Ok(Artifact {
            digest: Digest::of(&document),
            document,
            config,
            component,
            component_digest,
            manifest,
        })
    }

    /// Puts an artifact together from what a registry or a folder gave, and checks every digest.
    pub fn from_parts(document: Bytes, config: Bytes, component: Bytes) -> Result<Artifact, ArtifactError> {
        let parsed = parse_document(&document)?;
        check("configuration", &parsed.config.digest, &config)?;
        let component_digest = parsed.layers[0].digest.clone();
        check("component", &component_digest, &component)?;
        let manifest = Manifest::from_component(&component)?;
        Ok(Artifact {
            digest: Digest::of(&document),
            document,
            config,
            component,
            component_digest,
            manifest,
        })
    }

    /// The digest of the whole artifact: what is locked and shown.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// The component.
    pub fn component(&self) -> &Bytes {
        &self.component
    }

    /// The digest of the component alone.
    pub fn component_digest(&self) -> &Digest {
        &self.component_digest
    }

    /// The plugin's manifest, read from the component.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The OCI manifest, byte for byte.
    pub fn document(&self) -> &Bytes {
        &self.document
    }

    /// The configuration, byte for byte.
    pub fn config(&self) -> &Bytes {
        &self.config
    }
}

/// Reads an OCI manifest and checks that it is a plugin's: it has exactly one layer, and the right types.
pub(crate) fn parse_document(bytes: &[u8]) -> Result<Document, ArtifactError> {
    let document = Document::parse(bytes)?;
    let media_type = |what, found: &str, expected| {
        if found == expected {
            return Ok(());
        }
        Err(ArtifactError::MediaType { what, found: found.to_owned(), expected })
    };
    media_type("manifest", document.media_type.as_deref().unwrap_or(MANIFEST_TYPE), MANIFEST_TYPE)?;
    media_type("configuration", &document.config.media_type, CONFIG_TYPE)?;
    match document.layers.as_slice() {
        [layer] => media_type("layer", &layer.media_type, LAYER_TYPE)?,
        layers => return Err(ArtifactError::Layers(layers.len())),
    }
    Ok(document)
}

pub(crate) fn check(what: &'static str, expected: &Digest, bytes: &[u8]) -> Result<(), ArtifactError> {
    let found = Digest::of(bytes);
    if found == *expected {
        return Ok(());
    }
    Err(ArtifactError::DigestMismatch { what, expected: expected.clone(), found })
}

fn to_json(what: &'static str, value: &impl Serialize) -> Result<Bytes, ArtifactError> {
    let text = serde_json::to_vec(value).map_err(|source| ArtifactError::Json { what, source })?;
    Ok(Bytes::from(text))
}
