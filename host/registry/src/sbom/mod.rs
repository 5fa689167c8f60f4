//! Bills of materials: which libraries a plugin was built from, as CycloneDX 1.6 in JSON, attached to the plugin as a
//! referrer. Made from the lock files of a source folder, or by another tool and only attached here. Nothing in one is
//! trusted: it is shown, and decides nothing.
//!
//! What is written is a function of the plugin and its lock files, so the same build attaches the same bytes. The format
//! is written by hand because the library for it knows versions up to 1.5 only.

mod source;

use serde::{Deserialize, Serialize};

use crate::artifact::Artifact;

pub use source::{Library, SourceError, libraries};

/// Media type and artifact type.
pub const MEDIA_TYPE: &str = "application/vnd.cyclonedx+json";

/// The largest one that is taken.
pub const MAX_BYTES: u64 = 16 << 20;

/// The version that is written. Others of the same family are read.
const SPEC_VERSION: &str = "1.6";

/// Why a document is no bill of materials.
#[derive(Debug, thiserror::Error)]
pub enum SbomError {
    /// Not JSON of the right form.
    #[error("it is no CycloneDX document in JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// Something else.
    #[error("it says `bomFormat: {0:?}`; known is \"CycloneDX\"")]
    Format(String),
    /// A version that is not read.
    #[error("it has the version {0:?} of CycloneDX; 1.2 to 1.6 are read")]
    Version(String),
    /// Larger than is taken.
    #[error("it has {0} bytes; at most {MAX_BYTES} are taken")]
    TooLarge(usize),
}

/// A bill of materials, as far as it is shown.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Sbom {
    bom_format: String,
    /// The version of CycloneDX.
    pub spec_version: String,
    #[serde(default = "first")]
    version: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata: Option<Metadata>,
    /// What it was built from.
    #[serde(default)]
    pub components: Vec<Component>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Metadata {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    component: Option<Component>,
}

/// A library, or the plugin itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Component {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bom_ref: Option<String>,
    /// Its name.
    pub name: String,
    /// Its version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Where it is from, as a package URL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub purl: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    hashes: Vec<Hash>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Hash {
    alg: String,
    content: String,
}

fn first() -> u32 {
    1
}

impl Sbom {
    /// The bill of a plugin that was built from some libraries.
    pub fn of(plugin: &Artifact, libraries: Vec<Library>) -> Sbom {
        let manifest = plugin.manifest();
        let sha256 = |content: &str| vec![Hash { alg: "SHA-256".to_owned(), content: content.to_owned() }];
        let itself = Component {
            kind: "application".to_owned(),
            bom_ref: Some("plugin".to_owned()),
            name: manifest.name.clone(),
            version: Some(manifest.version.to_string()),
            purl: None,
            hashes: sha256(plugin.component_digest().hex()),
        };
        let component = |library: Library| Component {
            kind: "library".to_owned(),
            bom_ref: Some(library.purl.clone()),
            name: library.name,
            version: Some(library.version),
            purl: Some(library.purl),
            hashes: library.sha256.as_deref().map(sha256).unwrap_or_default(),
        };
        Sbom {
            bom_format: "CycloneDX".to_owned(),
            spec_version: SPEC_VERSION.to_owned(),
            version: 1,
            metadata: Some(Metadata { component: Some(itself) }),
            components: libraries.into_iter().map(component).collect(),
        }
    }

    /// Reads one.
    pub fn parse(text: &[u8]) -> Result<Sbom, SbomError> {
        if text.len() as u64 > MAX_BYTES {
            return Err(SbomError::TooLarge(text.len()));
        }
        let sbom: Sbom = serde_json::from_slice(text)?;
        if sbom.bom_format != "CycloneDX" {
            return Err(SbomError::Format(sbom.bom_format.chars().take(64).collect()));
        }
        if !["1.2", "1.3", "1.4", "1.5", "1.6"].contains(&sbom.spec_version.as_str()) {
            return Err(SbomError::Version(sbom.spec_version.chars().take(64).collect()));
        }
        Ok(sbom)
    }

    /// Writes one.
    pub fn to_json(&self) -> Result<Vec<u8>, SbomError> {
        Ok(serde_json::to_vec_pretty(self)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_document_is_refused_by_what_it_says() {
        let error = |text: &str| Sbom::parse(text.as_bytes()).expect_err("must be refused").to_string();
        assert!(error(r#"{"bomFormat": "SPDX", "specVersion": "1.6"}"#).contains("SPDX"));
        assert!(error(r#"{"bomFormat": "CycloneDX", "specVersion": "9.9"}"#).contains("9.9"));
        assert!(error("[]").contains("no CycloneDX"));
        let text = r#"{"bomFormat": "CycloneDX", "specVersion": "1.5", "serialNumber": "urn:uuid:1",
            "components": [{"type": "library", "name": "x", "licenses": []}]}"#;
        assert_eq!(Sbom::parse(text.as_bytes()).expect("read").components[0].name, "x");
    }
}
