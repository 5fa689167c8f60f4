//! Packs built plugins into an OCI image layout: `purlin-plugin-pack LAYOUT [MODULE.wasm PLUGIN.yaml]...`.
//!
//! `scripts/plugins.sh` calls it for the layouts that are committed, so the same inputs must give the same files. It
//! replaces the layout that is there. What a packed component is, is `purlin-registry`'s matter; this is its command line
//! for a tree in which the `purlin` binary may not be built.
#![forbid(unsafe_code)]

mod layout;

use std::path::Path;

use anyhow::{Context, bail};
use purlin_registry::Manifest;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let Some((layout, plugins)) = arguments.split_first() else {
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
    layout::write(Path::new(layout), &artifacts).with_context(|| format!("cannot write the layout {layout}"))
}

fn artifact(module: &Path, manifest: &Path) -> anyhow::Result<layout::Artifact> {
    let manifest =
        Manifest::from_yaml_file(manifest).with_context(|| format!("cannot use {}", manifest.display()))?;
    let bytes = std::fs::read(module).with_context(|| format!("cannot read {}", module.display()))?;
    let component = purlin_registry::pack(&bytes, &manifest)
        .with_context(|| format!("cannot pack {}", module.display()))?;
    Ok(layout::Artifact { component, manifest })
}
