//! `purlin plugin index`, `search`, `outdated` and `upgrade`, and installing by name.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use bytes::Bytes;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use purlin_kernel::api::Plugin;
use purlin_registry::catalogue::{self, Found};
use purlin_registry::index::{Index, MEDIA_TYPE, Release, Wanted};
use purlin_registry::signature::Outcome;
use purlin_registry::{Artifact, Reference, Resolved};
use serde_json::json;

use super::{Registries, signing};
use crate::cli::{ClusterArgs, IndexArgs, Output, PolicyArgs, UpgradeArgs};
use crate::{connect, output, plugin};

/// The index of a `purlin up` with its usual port.
const LOCAL: &str = "localhost:7444/purlin/index:latest";

pub(super) async fn build(
    plugins: &[String],
    from: Option<&str>,
    out: Option<&Path>,
    push: Option<&str>,
    keys: &[PathBuf],
    form: Output,
) -> Result<()> {
    let registries = Registries::open(&PolicyArgs::default())?;
    let keys = keys.iter().map(|file| signing::read_public(file)).collect::<Result<Vec<_>>>()?;
    let mut index = match from {
        Some(from) => catalogue::fetch(&registries.client, from).await?,
        None => Index::default(),
    };
    for reference in plugins {
        let resolved = registries.resolve(reference).await?;
        let artifact = registries.client.pull(&resolved).await?;
        let mut signed_by = Vec::new();
        for key in &keys {
            let outcome = registries.client.judge(&resolved, std::slice::from_ref(key), &[]).await?;
            if let Outcome::Valid { key } = outcome {
                // The file's name without folder and ending: what is shown to others.
                let name = Path::new(&key).file_stem().map(|name| name.to_string_lossy().into_owned());
                signed_by.push(name.unwrap_or(key));
            }
        }
        index
            .add(resolved.reference(), &artifact, signed_by)
            .with_context(|| format!("cannot list {reference}"))?;
    }
    let text = index.to_json()?;
    if let Some(out) = out {
        std::fs::write(out, &text).with_context(|| format!("cannot write {}", out.display()))?;
    }
    let mut digest = None;
    if let Some(push) = push {
        let reference: Reference = push.parse()?;
        let pushed = registries.client.push_document(&reference, MEDIA_TYPE, Bytes::from(text)).await?;
        digest = Some(pushed.digest().clone());
    }
    match form {
        Output::Json => output::json(
            &json!({"plugins": index.plugins.len(), "file": out, "pushed": push, "digest": digest}),
        )?,
        Output::Text => {
            let to: Vec<String> = out.map(|out| out.display().to_string()).into_iter().collect();
            let to: Vec<String> = to.into_iter().chain(push.map(str::to_owned)).collect();
            output::line(format!("{} plugins in {}", index.plugins.len(), to.join(" and ")))?
        }
    }
    Ok(())
}

pub(super) async fn search(words: &[String], args: &IndexArgs, form: Output) -> Result<()> {
    let registries = Registries::open(&PolicyArgs::default())?;
    let (mut rows, mut found) = (Vec::new(), Vec::new());
    for (name, index) in all(&registries, args).await? {
        for listing in index.search(words) {
            let Some(newest) = listing.versions.first() else { continue };
            rows.push(vec![
                listing.name.clone(),
                newest.version.to_string(),
                newest.stages.join(","),
                newest.signed_by.join(","),
                note(newest, &listing.description),
            ]);
            found.push(json!({"index": name, "plugin": listing}));
        }
    }
    match form {
        Output::Json => output::json(&found)?,
        Output::Text => output::table(&["NAME", "VERSION", "STAGES", "SIGNED BY", "DESCRIPTION"], &rows)?,
    }
    Ok(())
}

/// What a name stands for in the first index that has it.
pub(crate) async fn find(registries: &Registries, args: &IndexArgs, text: &str) -> Result<Found> {
    let wanted: Wanted = text.parse()?;
    let indexes = all(registries, args).await?;
    for (_, index) in &indexes {
        if let Some((listing, release)) = index.find(&wanted) {
            if let Some(why) = &release.deprecated {
                tracing::warn!(plugin = text, "version {} is deprecated: {why}", release.version);
            }
            return Ok(Found { name: listing.name.clone(), release: release.clone() });
        }
    }
    let names: Vec<_> = indexes.iter().map(|(name, _)| name.as_str()).collect();
    bail!("{text} is not in {}; see `purlin plugin search`, or give a whole reference", names.join(", "))
}

pub(super) async fn outdated(args: &IndexArgs, cluster: &ClusterArgs, form: Output) -> Result<()> {
    let registries = Registries::open(&PolicyArgs::default())?;
    let newer = newer(&registries, args, cluster, None).await?;
    let shown = |version: &Option<String>| version.clone().unwrap_or_default();
    match form {
        Output::Json => {
            let found: Vec<_> = newer
                .iter()
                .map(|upgrade| {
                    json!({
                        "name": upgrade.name, "installed": upgrade.installed, "newest": upgrade.release.version,
                        "reference": upgrade.release.reference, "digest": upgrade.release.digest,
                        "asksForMore": upgrade.asks_for_more(),
                    })
                })
                .collect();
            output::json(&found)?;
        }
        Output::Text => {
            let rows: Vec<_> = newer
                .iter()
                .map(|upgrade| {
                    vec![
                        upgrade.name.clone(),
                        shown(&upgrade.installed),
                        upgrade.release.version.to_string(),
                        upgrade.asks_for_more().join(", "),
                        upgrade.release.reference.clone(),
                    ]
                })
                .collect();
            output::table(&["NAME", "INSTALLED", "NEWEST", "ASKS FOR MORE", "IMAGE"], &rows)?;
        }
    }
    Ok(())
}

pub(super) async fn upgrade(args: &UpgradeArgs) -> Result<()> {
    let registries = Registries::open(&args.policy)?;
    let newer = newer(&registries, &args.index, &args.cluster, args.name.as_deref()).await?;
    if newer.is_empty() && args.output == Output::Text {
        output::line("every installed plugin that is in an index has its newest version")?;
    }
    let mut failed = Vec::new();
    for upgrade in newer {
        if let Err(error) = upgrade_one(&registries, &upgrade, args).await {
            failed.push(format!("{}: {error:#}", upgrade.name));
        }
    }
    if failed.is_empty() { Ok(()) } else { bail!("not upgraded: {}", failed.join("; ")) }
}

async fn upgrade_one(registries: &Registries, upgrade: &Upgrade, args: &UpgradeArgs) -> Result<()> {
    let found = Found { name: upgrade.name.clone(), release: upgrade.release.clone() };
    let (resolved, artifact) = pull(&found, registries).await?;
    let granted: Vec<String> = upgrade.grants.iter().chain(&args.grants).cloned().collect();
    let grants = plugin::agreed(artifact.manifest(), &granted, args.yes)?;
    plugin::install_as(&upgrade.name, &resolved, &grants, args.wait, &args.cluster, args.output).await
}

/// Fetches a listed version, once the lock and the policy let it pass.
pub(crate) async fn pull(found: &Found, registries: &Registries) -> Result<(Resolved, Artifact)> {
    let resolved = found.resolved()?;
    registries.let_pass(&resolved).await?;
    Ok((resolved, found.pull(&registries.client).await?))
}

/// An installed plugin of which there is a newer version.
struct Upgrade {
    name: String,
    installed: Option<String>,
    grants: Vec<String>,
    release: Release,
}

impl Upgrade {
    fn asks_for_more(&self) -> Vec<String> {
        let asked = self.release.capabilities.iter().map(|asked| &asked.name);
        asked.filter(|name| !self.grants.contains(name)).cloned().collect()
    }
}

/// The installed plugins that are behind; only one of them, where it is named.
async fn newer(
    registries: &Registries,
    args: &IndexArgs,
    cluster: &ClusterArgs,
    only: Option<&str>,
) -> Result<Vec<Upgrade>> {
    let api: Api<Plugin> = Api::all(connect::connect(cluster).await?);
    let plugins = api.list(&ListParams::default()).await.context("cannot list the plugins")?;
    if let Some(name) = only.filter(|name| !plugins.items.iter().any(|plugin| plugin.name_any() == **name)) {
        bail!("there is no installed plugin {name:?}; see `purlin plugin list`");
    }
    let indexes = all(registries, args).await?;
    let mut found = Vec::new();
    for plugin in plugins.items.iter().filter(|plugin| only.is_none_or(|name| plugin.name_any() == name)) {
        let installed = plugin.status.as_ref().and_then(|status| status.version.clone());
        let wanted = Wanted { name: plugin.name_any(), versions: None };
        let Some((_, release)) = indexes.iter().find_map(|(_, index)| index.find(&wanted)) else { continue };
        let before = installed.as_ref().and_then(|version| version.parse::<semver::Version>().ok());
        if before.is_some_and(|before| before >= release.version) {
            continue;
        }
        found.push(Upgrade {
            name: plugin.name_any(),
            installed,
            grants: plugin.spec.grants.clone(),
            release: release.clone(),
        });
    }
    Ok(found)
}

fn note(release: &Release, description: &str) -> String {
    match &release.deprecated {
        Some(why) => format!("DEPRECATED ({why}) {description}"),
        None => description.to_owned(),
    }
}

/// Every index that is configured, in order. One that cannot be had is a failure: a name could mean another plugin.
async fn all(registries: &Registries, args: &IndexArgs) -> Result<Vec<(String, Index)>> {
    let mut found = Vec::new();
    for name in args.names(LOCAL)? {
        let index = catalogue::fetch(&registries.client, &name).await?;
        found.push((name, index));
    }
    Ok(found)
}
