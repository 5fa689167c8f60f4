//! The document that cosign signs: "simple signing", the form of containers/image. It names an artifact by digest and says
//! under which name it was signed. What is signed are its bytes, so it is written once and never formatted again.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::digest::Digest;

/// Media type of the document as a layer.
pub const MEDIA_TYPE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";

/// `critical.type` of every signature by cosign.
const TYPE: &str = "cosign container image signature";

/// What a document claims, once its form is known to be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The name that the signer gave: `registry/repository`, with a tag where the signer wished.
    pub reference: String,
    /// The digest that was signed.
    pub digest: String,
}

/// Why bytes are no such document.
#[derive(Debug, thiserror::Error)]
pub enum PayloadError {
    /// Another form.
    #[error("its payload cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// It is about something else than an artifact, by a rule that we do not know.
    #[error("its payload has the type {0:?}; known is only {TYPE:?}")]
    Type(String),
}

#[derive(Serialize, Deserialize)]
struct Document {
    critical: Critical,
    // Written as cosign writes it. What stands here binds nobody.
    optional: Option<serde_json::Map<String, serde_json::Value>>,
}

// What is critical must be understood in full, so what is not known here is refused.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Identity {
    #[serde(rename = "docker-reference")]
    reference: String,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Image {
    #[serde(rename = "docker-manifest-digest")]
    digest: String,
}

/// Writes the document of an artifact: the bytes that are to be signed.
pub fn write(name: &str, digest: &Digest) -> Result<Vec<u8>, PayloadError> {
    Ok(serde_json::to_vec(&Document {
        critical: Critical {
            identity: Identity { reference: name.to_owned() },
            image: Image { digest: digest.to_string() },
            kind: TYPE.to_owned(),
        },
        optional: None,
    })?)
}

/// Reads a document.
pub fn read(bytes: &[u8]) -> Result<Claim, PayloadError> {
    let Document { critical, .. } = serde_json::from_slice(bytes)?;
    if critical.kind != TYPE {
        return Err(PayloadError::Type(critical.kind.chars().take(128).collect()));
    }
    Ok(Claim { reference: critical.identity.reference, digest: critical.image.digest })
}

impl Claim {
    /// Whether it is about the artifact with this digest.
    pub(super) fn check(&self, digest: &Digest) -> Result<(), String> {
        if self.digest == digest.as_str() {
            return Ok(());
        }
        Err(format!("it was made for {:?}, not for {digest}", self.digest))
    }
}

/// Reads a signature as annotations hold it.
pub(super) fn decode_signature(text: &str) -> Result<Vec<u8>, String> {
    if text.is_empty() {
        return Err(format!("it has no annotation {}", super::tag::SIGNATURE));
    }
    STANDARD.decode(text.trim()).map_err(|error| format!("it is not base64: {error}"))
}
