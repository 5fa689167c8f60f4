//! Writes an OCI image layout in which every image is a plugin: one `application/wasm` layer under a Wasm config, as the
//! CNCF's Wasm artifact layout has it. Nothing in it depends on when or where it was written.

use std::fs;
use std::io;
use std::path::Path;

use purlin_registry::{Manifest, component};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

/// A packed plugin.
pub(crate) struct Artifact {
    pub(crate) component: Vec<u8>,
    pub(crate) manifest: Manifest,
}

/// Replaces the folder by a layout with these plugins.
pub(crate) fn write(folder: &Path, artifacts: &[Artifact]) -> io::Result<()> {
    let blobs = folder.join("blobs/sha256");
    match fs::remove_dir_all(&blobs) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    fs::create_dir_all(&blobs)?;
    let mut images = Vec::new();
    for artifact in artifacts {
        images.push(image(&blobs, artifact)?);
    }
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": images,
    });
    fs::write(folder.join("index.json"), format!("{index:#}\n"))?;
    fs::write(folder.join("oci-layout"), "{\"imageLayoutVersion\":\"1.0.0\"}\n")
}

/// Writes the blobs of a plugin, and gives its entry in the index.
fn image(blobs: &Path, Artifact { component, manifest }: &Artifact) -> io::Result<Value> {
    let layer = blob(blobs, "application/wasm", component)?;
    let interfaces = component::interfaces(component).map_err(io::Error::other)?;
    let config = json!({
        "created": "1970-01-01T00:00:00Z", "architecture": "wasm", "os": "wasip2",
        "layerDigests": [layer["digest"]],
        "component": {"exports": interfaces.exports, "imports": interfaces.imports, "target": null},
    });
    let config = blob(blobs, "application/vnd.wasm.config.v0+json", config.to_string().as_bytes())?;
    let text = manifest.to_json().map_err(io::Error::other)?;
    let image = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": config,
        "layers": [layer],
        "annotations": {
            "dev.purlin.plugin.manifest": text,
            "org.opencontainers.image.title": manifest.name,
            "org.opencontainers.image.version": manifest.version.to_string(),
            "org.opencontainers.image.description": manifest.description,
        },
    });
    let mut entry = blob(blobs, "application/vnd.oci.image.manifest.v1+json", image.to_string().as_bytes())?;
    let reference = format!("purlin/{}:{}", manifest.name, manifest.version);
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": reference});
    Ok(entry)
}

/// Writes a blob and gives its descriptor.
fn blob(blobs: &Path, media_type: &str, bytes: &[u8]) -> io::Result<Value> {
    let digest = hex::encode(Sha256::digest(bytes));
    fs::write(blobs.join(&digest), bytes)?;
    Ok(json!({"mediaType": media_type, "digest": format!("sha256:{digest}"), "size": bytes.len()}))
}
