//! The first-party plugins, carried inside the binary as the OCI image layout of `plugins/dist`.

use anyhow::{Context as _, Result};
use include_dir::{Dir, include_dir};
use purlin_registry::{Loopback, Manifest};

use super::install::FirstParty;

static DIST: Dir<'_> = include_dir!("$CARGO_MANIFEST_DIR/../../plugins/dist");

/// Puts what the binary carries into the registry and says what to install from it.
pub(crate) fn seed(registry: &Loopback, registry_host: &str) -> Result<Vec<FirstParty>> {
    let seeded = registry.seed(&DIST)?;
    seeded
        .into_iter()
        .map(|artifact| {
            let Manifest { name, capabilities, .. } = artifact.manifest;
            let repository_and_tag = &artifact.name;
            Ok(FirstParty {
                image: format!("{registry_host}/{repository_and_tag}"),
                digest: artifact.digest,
                grants: capabilities.iter().map(|request| request.name.to_string()).collect(),
                name,
            })
        })
        .collect::<Result<Vec<_>>>()
        .context("the plugins in this binary are damaged; build it again")
}
