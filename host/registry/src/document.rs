//! An OCI image manifest as JSON: what every artifact here begins with, plugin, signature, bill of materials or index.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::artifact::{ArtifactError, Descriptor, MANIFEST_TYPE};

/// The configuration of artifacts that have none: `{}`.
pub(crate) const EMPTY: &[u8] = b"{}";
/// Media type of that.
pub(crate) const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// An OCI manifest. What is written has its fields in this order, so a change of the order changes digests.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Document {
    pub(crate) schema_version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) media_type: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) artifact_type: Option<String>,
    pub(crate) config: Descriptor,
    pub(crate) layers: Vec<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
}

impl Document {
    /// A manifest of no layers.
    pub(crate) fn new(config: Descriptor) -> Document {
        Document {
            schema_version: 2,
            media_type: Some(MANIFEST_TYPE.to_owned()),
            artifact_type: None,
            config,
            layers: Vec::new(),
            subject: None,
            annotations: BTreeMap::new(),
        }
    }

    /// A manifest of one layer and a type of its own, with the empty configuration.
    pub(crate) fn of_one(artifact_type: &str, layer: Descriptor, subject: Option<Descriptor>) -> Document {
        Document {
            artifact_type: Some(artifact_type.to_owned()),
            layers: vec![layer],
            subject,
            ..Document::new(Descriptor::of(EMPTY_TYPE, EMPTY))
        }
    }

    pub(crate) fn parse(bytes: &[u8]) -> Result<Document, ArtifactError> {
        serde_json::from_slice(bytes).map_err(|source| ArtifactError::Json { what: "manifest", source })
    }

    pub(crate) fn to_json(&self) -> Result<Bytes, ArtifactError> {
        let text = serde_json::to_vec(self);
        text.map(Bytes::from).map_err(|source| ArtifactError::Json { what: "manifest", source })
    }
}
