//! The first-party plugins, carried inside the binary as the OCI image layout of `plugins/dist`.

use anyhow::{Context as _, Result};
use include_dir::{Dir, include_dir};
use purlin_registry::index::{self, Index};
use purlin_registry::{Artifact, Loopback, Reference, layout};

use crate::up::install::FirstParty;

static DIST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../plugins/dist");

/// Where the index of the first-party plugins is, in the loopback registry.
const INDEX: &str = "purlin/index:latest";

/// Puts what the binary carries into the registry and says what to install from it.
pub(crate) fn seed(registry: &Loopback, registry_host: &str) -> Result<Vec<FirstParty>> {
    let artifacts =
        layout::read_embedded(&DIST).context("the plugins in this binary are damaged; build it again")?;
    registry.seed_artifacts(&artifacts)?;
    seed_index(registry, registry_host, &artifacts)?;
    Ok(artifacts
        .into_iter()
        .map(|(repository_and_tag, artifact)| FirstParty {
            name: artifact.manifest().name.clone(),
            image: format!("{registry_host}/{repository_and_tag}"),
            digest: artifact.digest().to_string(),
            formats: artifact.manifest().formats.clone(),
            grants: artifact.manifest().requests().iter().map(|request| request.name.to_string()).collect(),
        })
        .collect())
}

/// The index of what the binary carries, under which `purlin plugin search` finds it.
fn seed_index(registry: &Loopback, host: &str, artifacts: &[(String, Artifact)]) -> Result<()> {
    let mut index = Index::default();
    for (name, artifact) in artifacts {
        let reference: Reference = format!("{host}/{name}").parse()?;
        index.add(&reference, artifact, Vec::new())?;
    }
    Ok(registry.seed_document(INDEX, index::MEDIA_TYPE, &index.to_json()?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_binary_carries_a_dialect_and_a_tuner() {
        let dir = tempfile::tempdir().unwrap();
        let registry = Loopback::open(dir.path()).unwrap();
        let carried = seed(&registry, "localhost:1").unwrap();
        assert!(carried.iter().any(|plugin| plugin.name.starts_with("dialect-")), "{carried:?}");
        assert!(carried.iter().any(|plugin| plugin.name.starts_with("tuner-")), "{carried:?}");
        assert!(carried.iter().all(|plugin| plugin.image.starts_with("localhost:1/purlin/")), "{carried:?}");
    }
}
