//! Packs built plugins into an OCI image layout: `purlin-plugin-pack LAYOUT [MODULE.wasm PLUGIN.yaml]...`.
//!
//! `scripts/plugins.sh` calls it for the layouts that are committed, so the same inputs must give the same files. It
//! replaces the layout that is there. All that matters is done by `purlin-registry`; this is its command line for a tree
//! in which the `purlin` binary may not be built.
#![forbid(unsafe_code)]

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, bail};
use purlin_registry::{Artifact, Manifest, layout, pack};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((folder, plugins)) = arguments.split_first() else {
        bail!("usage: purlin-plugin-pack LAYOUT [MODULE.wasm PLUGIN.yaml]...");
    };
    let (pairs, rest) = plugins.as_chunks::<2>();
    if !rest.is_empty() {
        bail!("each module needs its plugin.yaml: {} has none", rest.join(" "));
    }
    let mut artifacts = Vec::new();
    for [module, manifest] in pairs {
        artifacts.push(artifact(Path::new(module), Path::new(manifest))?);
    }
    // Writing a layout leaves the blobs of an earlier one, which must not be committed.
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot replace the layout {folder}"));
        }
        _ => {}
    }
    layout::write(Path::new(folder), &artifacts).with_context(|| format!("cannot write the layout {folder}"))
}

/// A plugin and its name in the layout.
fn artifact(module: &Path, manifest: &Path) -> anyhow::Result<(String, Artifact)> {
    let manifest =
        Manifest::from_yaml_file(manifest).with_context(|| format!("cannot use {}", manifest.display()))?;
    let bytes = fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = pack(&bytes, &manifest).with_context(|| format!("cannot pack {}", module.display()))?;
    let artifact = Artifact::from_component(component.into())
        .with_context(|| format!("cannot make an artifact of {}", module.display()))?;
    Ok((format!("purlin/{}:{}", manifest.name, manifest.version), artifact))
}
