//! The plugins that come with Purlin: seeded into the loopback registry and installed as `Plugin` objects, each locked
//! to the digest that this binary carries.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures::TryStreamExt as _;
use kube::api::{ListParams, Patch, PatchParams};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, ResourceExt as _};
use serde_json::json;

use purlin_kernel::api::{Model, Plugin};

use crate::plugin::Readiness;

/// The field manager under which `purlin up` installs.
const MANAGER: &str = "purlin-up";

/// One plugin to install.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FirstParty {
    pub(crate) name: String,
    pub(crate) image: String,
    pub(crate) digest: String,
    pub(crate) grants: Vec<String>,
    /// What Models name it by; empty for one that is not installed for the sake of a Model.
    pub(crate) formats: Vec<String>,
}

impl FirstParty {
    /// Whether it is installed once a Model needs it, and not at the start: compiling all of them takes seconds, and few are
    /// needed.
    fn waits(&self) -> bool {
        !self.formats.is_empty()
    }
}

/// Parts the plugins into those to install now and those that wait for a Model. One that was installed before is installed
/// now, so that it is as this binary carries it.
///
/// # Errors
/// The installed ones cannot be listed.
pub(crate) async fn part(
    client: &Client,
    plugins: Vec<FirstParty>,
) -> Result<(Vec<FirstParty>, Vec<FirstParty>)> {
    let api: Api<Plugin> = Api::all(client.clone());
    let present = api.list(&ListParams::default()).await.context("cannot list the installed plugins")?;
    let present: BTreeSet<String> = present.into_iter().filter_map(|plugin| plugin.metadata.name).collect();
    Ok(plugins.into_iter().partition(|plugin| !plugin.waits() || present.contains(&plugin.name)))
}

/// Installs each of the plugins when a Model needs it that nothing else serves. Goes on until dropped.
pub(crate) async fn on_demand(client: Client, mut waiting: Vec<FirstParty>) {
    let api: Api<Model> = Api::all(client.clone());
    let models = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
    let mut models = std::pin::pin!(models);
    while !waiting.is_empty() {
        let model = match models.try_next().await {
            Ok(Some(model)) => model,
            Ok(None) => break,
            Err(error) => {
                tracing::debug!(%error, "watching models");
                continue;
            }
        };
        let wanted = wanted(&model);
        let is_wanted = |plugin: &FirstParty| plugin.formats.iter().any(|one| wanted.contains(&one));
        // All of them now: the model says nothing new until it has what it lacks.
        let (needed, rest): (Vec<_>, Vec<_>) = waiting.into_iter().partition(is_wanted);
        waiting = rest;
        for plugin in needed {
            let name = plugin.name.clone();
            match install(&client, vec![plugin.clone()]).await {
                Ok(_) => {
                    tracing::info!(plugin = name, model = %model.name_any(), "installed for a model that needs it")
                }
                Err(error) => {
                    tracing::warn!(plugin = name, %error, "could not be installed; tried again");
                    waiting.push(plugin);
                }
            }
        }
    }
    std::future::pending().await
}

/// The formats and methods that a Model has no plugin for.
fn wanted(model: &Model) -> Vec<&String> {
    let lacks = |kind: &str, reason: &str| {
        let conditions = model.status.iter().flat_map(|status| &status.conditions);
        conditions.into_iter().any(|one| one.type_ == kind && one.reason == reason)
    };
    let format = model.spec.format.as_ref().filter(|_| lacks("Resolved", "NoRuntime"));
    let method = model.spec.monitoring.as_ref().filter(|_| lacks("Drift", "NoMonitor"));
    format.map(|format| &format.name).into_iter().chain(method.map(|monitoring| &monitoring.method)).collect()
}

/// Applies the `Plugin` objects and gives back those that are now as this binary carries them. One whose image a person
/// has changed is left as it is.
pub(crate) async fn install(client: &Client, plugins: Vec<FirstParty>) -> Result<Vec<FirstParty>> {
    let api: Api<Plugin> = Api::all(client.clone());
    let mut installed = Vec::new();
    for plugin in plugins {
        let object = json!({
            "apiVersion": "purlin.dev/v1alpha1",
            "kind": "Plugin",
            "metadata": {"name": plugin.name},
            "spec": {"image": plugin.image, "digest": plugin.digest, "grants": plugin.grants},
        });
        match api.patch(&plugin.name, &PatchParams::apply(MANAGER), &Patch::Apply(object)).await {
            Ok(_) => installed.push(plugin),
            Err(kube::Error::Api(status)) if status.code == 409 => {
                tracing::warn!(plugin = plugin.name, "left as it is: its spec was changed by somebody else");
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot install the plugin {}", plugin.name));
            }
        }
    }
    Ok(installed)
}

/// Waits until each of the plugins is ready or has failed, telling `progress` of each as it happens.
pub(crate) async fn wait_ready(
    client: &Client,
    plugins: &[FirstParty],
    patience: Duration,
    mut progress: impl FnMut(&str, &Readiness),
) -> Result<()> {
    let started = Instant::now();
    let mut waiting: BTreeMap<&str, &str> =
        plugins.iter().map(|plugin| (plugin.name.as_str(), plugin.digest.as_str())).collect();
    let api: Api<Plugin> = Api::all(client.clone());
    let objects = watcher(api, watcher::Config::default()).default_backoff().applied_objects();
    let mut objects = std::pin::pin!(objects);
    while !waiting.is_empty() {
        let left = patience.saturating_sub(started.elapsed());
        let plugin = match tokio::time::timeout(left, objects.try_next()).await {
            Ok(Ok(Some(plugin))) => plugin,
            Ok(Ok(None)) => bail!("the watch of plugins ended"),
            Ok(Err(error)) => {
                tracing::debug!(%error, "watching plugins");
                continue;
            }
            Err(_) => bail!(
                "the plugins {} were not ready in {} s; see `kubectl describe plugins`",
                waiting.keys().copied().collect::<Vec<_>>().join(", "),
                patience.as_secs()
            ),
        };
        let Some(name) = plugin.metadata.name.as_deref() else { continue };
        let Some(digest) = waiting.get(name) else { continue };
        let readiness = Readiness::of(&plugin);
        let current = plugin.status.as_ref().and_then(|status| status.digest.as_deref()) == Some(*digest);
        let done = match &readiness {
            Readiness::Ready => current,
            // The kind that it reads may be another's who is not ready yet; it is tried again.
            Readiness::Failed { reason, .. } if reason == "KindUnavailable" && waiting.len() > 1 => false,
            Readiness::Failed { .. } => true,
            Readiness::Pending => false,
        };
        if done {
            progress(name, &readiness);
            waiting.remove(name);
        }
    }
    Ok(())
}
