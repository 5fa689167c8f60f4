//! Sigstore bundles: how cosign stores a signature since its version 3, and before where it is asked to
//! (`--new-bundle-format`). A bundle is an artifact of its own that refers to the signed one. It holds an in-toto
//! statement in a DSSE envelope; the statement names the signed artifact by digest.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use crate::digest::Digest;

/// Media type, and artifact type of the referring manifest.
pub const MEDIA_TYPE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

/// The annotation that says what a bundle holds.
pub const PREDICATE_ANNOTATION: &str = "dev.sigstore.bundle.predicateType";

/// What a signature states, as opposed to an attestation of something about the artifact.
pub const SIGN_PREDICATE: &str = "https://sigstore.dev/cosign/sign/v1";

const PAYLOAD_TYPE: &str = "application/vnd.in-toto+json";
const STATEMENT_TYPE: &str = "https://in-toto.io/Statement/v1";

/// A bundle whose outer form is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bundle {
    payload_type: String,
    payload: Vec<u8>,
    /// Each over [`signed_bytes`](Bundle::signed_bytes).
    pub signatures: Vec<Vec<u8>>,
}

/// Why a bundle does not count.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// Another form.
    #[error("its bundle cannot be read: {0}")]
    Json(#[from] serde_json::Error),
    /// Another version.
    #[error("its bundle has the media type {0:?}; known is {MEDIA_TYPE}")]
    MediaType(String),
    /// A part is not base64.
    #[error("its bundle's {0} is not base64")]
    Base64(&'static str),
    /// It holds something else.
    #[error("its bundle holds {found:?} as {what}; known is {known:?}")]
    Content {
        /// Which part.
        what: &'static str,
        /// What is there.
        found: String,
        /// What would be read.
        known: &'static str,
    },
    /// It is about another artifact.
    #[error("its bundle was made for {found}, not for {wanted}")]
    OtherDigest {
        /// What it names.
        found: String,
        /// What was asked.
        wanted: Digest,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    media_type: String,
    dsse_envelope: Envelope,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Envelope {
    payload: String,
    payload_type: String,
    signatures: Vec<Signature>,
}

#[derive(Deserialize)]
struct Signature {
    sig: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Statement {
    #[serde(rename = "_type")]
    kind: String,
    subject: Vec<Subject>,
    predicate_type: String,
}

#[derive(Deserialize)]
struct Subject {
    #[serde(default)]
    digest: BTreeMap<String, String>,
}

/// Reads a bundle. What it states is not read yet: that counts only once a signature is known to be good.
pub fn read(text: &[u8]) -> Result<Bundle, BundleError> {
    let document: Document = serde_json::from_slice(text)?;
    if document.media_type != MEDIA_TYPE {
        return Err(BundleError::MediaType(shortened(document.media_type)));
    }
    let decode = |what, text: &str| STANDARD.decode(text).map_err(|_| BundleError::Base64(what));
    let Envelope { payload, payload_type, signatures } = document.dsse_envelope;
    let signatures = signatures
        .iter()
        .take(super::MAX_SIGNATURES)
        .map(|signature| decode("signature", &signature.sig))
        .collect::<Result<_, _>>()?;
    Ok(Bundle { payload: decode("payload", &payload)?, payload_type, signatures })
}

impl Bundle {
    /// What the signatures are over: DSSE's pre-authentication encoding, which binds the payload to its type.
    pub fn signed_bytes(&self) -> Vec<u8> {
        let head =
            format!("DSSEv1 {} {} {} ", self.payload_type.len(), self.payload_type, self.payload.len());
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(&self.payload);
        bytes
    }

    /// Whether it states that the artifact with this digest is signed.
    pub fn check(&self, digest: &Digest) -> Result<(), BundleError> {
        let known = |what, found: &str, known: &'static str| {
            if found == known {
                return Ok(());
            }
            Err(BundleError::Content { what, found: shortened(found.to_owned()), known })
        };
        known("its payload's type", &self.payload_type, PAYLOAD_TYPE)?;
        let statement: Statement = serde_json::from_slice(&self.payload)?;
        known("its statement's type", &statement.kind, STATEMENT_TYPE)?;
        known("its predicate's type", &statement.predicate_type, SIGN_PREDICATE)?;
        let names =
            |subject: &Subject| subject.digest.get("sha256").map(String::as_str) == Some(digest.hex());
        if statement.subject.iter().any(names) {
            return Ok(());
        }
        let digests = statement.subject.iter().filter_map(|subject| subject.digest.get("sha256"));
        let found = digests.take(3).map(|digest| shortened(digest.clone())).collect::<Vec<_>>().join(", ");
        Err(BundleError::OtherDigest { found, wanted: digest.clone() })
    }
}

fn shortened(text: String) -> String {
    text.chars().take(128).collect()
}
