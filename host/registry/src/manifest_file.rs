//! Reads a manifest as an author writes it: `plugin.yaml`, with CustomResourceDefinitions in files beside it. Called by
//! the packer's command line only; nothing that was pulled comes through here.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::manifest::{MAX_BYTES, Manifest, ManifestError};

impl Manifest {
    /// Reads `plugin.yaml`, puts the CRD files that it names (relative to it) in their place, and validates the whole.
    pub fn from_yaml_file(path: &Path) -> Result<Manifest, ManifestError> {
        let mut manifest: Manifest = parse(path)?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for owned in &mut manifest.owns {
            if let Value::String(file) = &owned.crd {
                owned.crd = parse(&folder.join(file))?;
            }
        }
        manifest.validated()
    }
}

fn parse<T: DeserializeOwned>(path: &Path) -> Result<T, ManifestError> {
    let name = path.display().to_string();
    let text =
        std::fs::read_to_string(path).map_err(|source| ManifestError::Read { path: name.clone(), source })?;
    if text.len() > MAX_BYTES {
        return Err(ManifestError::TooLong(text.len()));
    }
    serde_saphyr::from_str(&text)
        .map_err(|error| ManifestError::Yaml { path: name, reason: error.to_string() })
}
