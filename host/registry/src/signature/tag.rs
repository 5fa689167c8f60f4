//! cosign's first way of storing signatures: an image manifest under a tag made of the artifact's digest, with one layer a
//! signature. The layer is the signed document, its descriptor's annotation the signature.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde_json::json;

use super::key::PrivateKey;
use super::payload::{self, PayloadError};
use crate::artifact::{ArtifactError, Descriptor, MANIFEST_TYPE};
use crate::digest::Digest;
use crate::document::Document;

/// The annotation that holds a signature, in base64.
pub const SIGNATURE: &str = "dev.cosignproject.cosign/signature";

/// Media type of the configuration, which says nothing but has to be there.
const CONFIG_TYPE: &str = "application/vnd.oci.image.config.v1+json";

/// The tag under which an artifact's signatures lie.
pub fn name(digest: &Digest) -> String {
    format!("sha256-{}.sig", digest.hex())
}

/// One signature, ready to be stored.
#[derive(Clone, Debug)]
pub struct Layer {
    /// What points to the payload, with the signature in its annotations.
    pub descriptor: Descriptor,
    /// The signed document.
    pub payload: Bytes,
}

/// Signs an artifact under a name (`registry/repository`).
pub fn sign(key: &PrivateKey, name: &str, digest: &Digest) -> Result<Layer, PayloadError> {
    let payload = payload::write(name, digest)?;
    let signature = STANDARD.encode(key.sign(&payload));
    let mut descriptor = Descriptor::of(payload::MEDIA_TYPE, &payload);
    descriptor.annotations = BTreeMap::from([(SIGNATURE.to_owned(), signature)]);
    Ok(Layer { descriptor, payload: Bytes::from(payload) })
}

/// The manifest of all signatures of an artifact, and its configuration. Pure: the same signatures give the same bytes.
pub fn manifest(layers: &[Descriptor]) -> Result<(Bytes, Bytes), ArtifactError> {
    let json = |what, source| ArtifactError::Json { what, source };
    // The form that images have, because tools that copy signatures read it as one.
    let empty = "0001-01-01T00:00:00Z";
    let config = json!({
        "architecture": "", "os": "", "created": empty, "config": {},
        "history": layers.iter().map(|_| json!({"created": empty})).collect::<Vec<_>>(),
        "rootfs": {"type": "layers", "diff_ids": layers.iter().map(|layer| &layer.digest).collect::<Vec<_>>()},
    });
    let config = serde_json::to_vec(&config).map_err(|error| json("configuration", error))?;
    let document = Document {
        media_type: Some(MANIFEST_TYPE.to_owned()),
        layers: layers.to_vec(),
        ..Document::new(Descriptor::of(CONFIG_TYPE, &config))
    };
    Ok((document.to_json()?, Bytes::from(config)))
}
