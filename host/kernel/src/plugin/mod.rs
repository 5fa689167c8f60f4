//! The plugin loop: from a Plugin resource to a component that is called.
//!
//! The steps are resolve, pull, verify, grant, load, define its kinds, start its dialect. Each one that fails says so
//! in the Plugin's conditions and costs no other plugin anything. A plugin whose new version does not load keeps its
//! old one, except where a grant was taken back: then it is unloaded.
//!
//! Of several replicas one leads: it resolves, decides who owns what, defines kinds and writes the conditions. The
//! others load what it has found ready, by the digest that it has locked.

mod decide;
mod definition;
mod installed;
mod sandboxed;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, Error as KubeError, ResourceExt};
use purlin_registry::{Manifest, Stage};
use tokio::sync::Mutex;

use crate::api::{Change, GROUP, OwnedKind, Plugin, PluginStatus, set_condition};
use crate::cache::{CachedObject, Kind, ParseError};
use crate::dialect::{DialectEngine, RunningDialect};
use crate::event::EventRecorder;
use crate::key::ObjectKey;
use crate::observe::KernelMetrics;
use crate::reconcile::{Outcome, Reconciler};
use crate::shard::{Domain, Holdings, Shards};
use crate::stage::{LoadedPlugin, PluginSource, Pulled, SourceError};

use definition::ensure_namespaces;
pub(crate) use definition::{DefinitionError, install};
pub(crate) use installed::{Installed, InstalledPlugins};
pub use sandboxed::SandboxedSource;

use decide::{Followed, Grants, followed, grants, locked_digest};
use installed::Measured;

/// How often a tag is looked at again.
const TAG_CHECK: Duration = Duration::from_secs(600);

/// Why a pass over a plugin failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PluginError {
    /// The object is not a Plugin.
    #[error(transparent)]
    Read(#[from] ParseError),
    /// The status could not be written.
    #[error("could not write the status of plugin {plugin}")]
    Status {
        /// The plugin.
        plugin: String,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
}

/// Reconciles Plugins.
pub(crate) struct PluginLoop {
    client: Client,
    plugins: Arc<Kind>,
    source: Arc<dyn PluginSource>,
    installed: Arc<InstalledPlugins>,
    dialects: DialectEngine,
    holdings: Holdings,
    running: Mutex<HashMap<String, RunningDialect>>,
    /// Held while a plugin's kinds are compared with the others' and taken, so that two cannot take the same.
    ownership: Mutex<()>,
    events: EventRecorder,
    metrics: KernelMetrics,
}

/// A step that went wrong.
struct Stop {
    condition: &'static str,
    reason: &'static str,
    message: String,
    /// Whether it may go right without a change.
    again: bool,
    /// Whether an earlier version must not go on either.
    unload: bool,
}

impl PluginLoop {
    /// A loop over the watched kind.
    pub(crate) fn new(
        client: Client,
        plugins: Arc<Kind>,
        source: Arc<dyn PluginSource>,
        installed: Arc<InstalledPlugins>,
        dialects: DialectEngine,
        events: EventRecorder,
        metrics: KernelMetrics,
    ) -> Self {
        let holdings = dialects.holdings.clone();
        PluginLoop {
            client,
            plugins,
            source,
            installed,
            dialects,
            holdings,
            running: Mutex::default(),
            ownership: Mutex::default(),
            events,
            metrics,
        }
    }

    /// Ends every dialect, for when the kernel stops.
    pub(crate) async fn stop(&self) {
        let running = std::mem::take(&mut *self.running.lock().await);
        for dialect in running.into_values() {
            dialect.stop().await;
        }
    }

    async fn unload(&self, name: &str) {
        let dialect = self.running.lock().await.remove(name);
        if let Some(dialect) = dialect {
            dialect.stop().await;
        }
        if self.installed.remove(name).is_some() {
            tracing::info!(plugin = name, "unloaded");
        }
    }

    /// Takes all steps. The status is filled in on the way, whatever becomes of it.
    async fn install(&self, plugin: &Plugin, report: &mut Report<'_>) -> Result<(), Stop> {
        let name = plugin.name_any();
        let digest = self.resolve(plugin, report).await?;
        let pulled = self
            .source
            .pull(&plugin.spec.image, &digest)
            .await
            .map_err(|e| stop("Resolved", "PullFailed", &e))?;
        report.manifest(&pulled.manifest);
        // Signatures have a step of their own here, so that nothing unverified is loaded once they are checked.
        report.set("Verified", None, "NotChecked", "signatures are not checked".to_owned());
        self.grant(plugin, &pulled, report)?;
        let owned = self.ownership.lock().await;
        self.may_own(&name, &pulled.manifest)?;
        let loaded = self.load(&name, plugin, &pulled, report).await?;
        if self.holdings.holds(Domain::Leader) {
            self.define(&name, &pulled.manifest).await?;
        }
        let before = self.running.lock().await.remove(&name);
        if let Some(before) = before {
            before.stop().await;
        }
        self.installed.put(&name, loaded.clone());
        drop(owned);
        if pulled.manifest.serves(Stage::Dialect) {
            let running = self.dialects.start(&name, &loaded).await.map_err(|error| Stop {
                condition: "Ready",
                reason: "KindUnavailable",
                message: crate::report(&error).to_string(),
                again: true,
                unload: true,
            })?;
            self.running.lock().await.insert(name, running);
        }
        Ok(())
    }

    /// Makes what a plugin takes for granted: its kinds and its namespaces.
    async fn define(&self, name: &str, manifest: &Manifest) -> Result<(), Stop> {
        let refuse = |reason, error: &dyn std::error::Error| Stop {
            condition: "Ready",
            reason,
            message: crate::report(error).to_string(),
            again: true,
            unload: false,
        };
        let kinds: Vec<_> = manifest.owns.iter().map(|kind| kind.crd.clone()).collect();
        install(&self.client, &format!("purlin-{name}"), &kinds)
            .await
            .map_err(|error| refuse("KindsRefused", &error))?;
        ensure_namespaces(&self.client, &manifest.namespaces)
            .await
            .map_err(|error| refuse("NamespaceRefused", &error))
    }

    async fn resolve(&self, plugin: &Plugin, report: &mut Report<'_>) -> Result<String, Stop> {
        let digest = match locked_digest(plugin) {
            Some(digest) => digest.to_owned(),
            None => {
                let resolved = self.source.resolve(&plugin.spec.image).await;
                resolved.map_err(|error| stop("Resolved", "ResolveFailed", &error))?
            }
        };
        report.status.image = Some(plugin.spec.image.clone());
        report.status.digest = Some(digest.clone());
        report.set("Resolved", Some(true), "Resolved", format!("locked to {digest}"));
        Ok(digest)
    }

    fn grant(&self, plugin: &Plugin, pulled: &Pulled, report: &mut Report<'_>) -> Result<(), Stop> {
        let Grants { granted, refused } = grants(&pulled.manifest, &plugin.spec.grants);
        report.status.granted = granted;
        report.status.refused = refused.iter().map(|(name, _)| name.clone()).collect();
        if refused.is_empty() {
            report.set(
                "Granted",
                Some(true),
                "Granted",
                "it has every capability that it asks for".to_owned(),
            );
            return Ok(());
        }
        let asked: Vec<_> = refused.iter().map(|(name, why)| format!("{name} (it says: {why})")).collect();
        let message = format!("add to spec.grants, if you agree: {}", asked.join(", "));
        Err(Stop { condition: "Granted", reason: "GrantsMissing", message, again: false, unload: true })
    }

    /// Whether a plugin may have the kinds that it asks for.
    fn may_own(&self, name: &str, manifest: &Manifest) -> Result<(), Stop> {
        let refuse =
            |reason, message| Stop { condition: "Ready", reason, message, again: true, unload: false };
        if let Some(kind) = manifest.owns.iter().find(|kind| kind.group() == GROUP) {
            return Err(refuse("KindReserved", format!("{} is the kernel's own", kind.kind())));
        }
        match self.installed.conflict(name, manifest) {
            None => Ok(()),
            Some((other, kind)) => Err(refuse(
                "KindConflict",
                format!("{kind} is owned by plugin {other}; delete one of the two"),
            )),
        }
    }

    async fn load(
        &self,
        name: &str,
        plugin: &Plugin,
        pulled: &Pulled,
        report: &mut Report<'_>,
    ) -> Result<Installed, Stop> {
        let loaded = self
            .source
            .load(pulled, &plugin.spec)
            .await
            .map_err(|error| stop("Ready", "LoadFailed", &error))?;
        let loaded: Arc<dyn LoadedPlugin> = Arc::new(Measured::new(name, loaded, self.metrics.clone()));
        let algorithms = if pulled.manifest.serves(Stage::Tuner) {
            loaded.algorithms().await.map_err(|error| Stop {
                condition: "Ready",
                reason: crate::stage::fault_reason(&error),
                message: format!("it was asked for its algorithms: {error}"),
                again: true,
                unload: false,
            })?
        } else {
            Vec::new()
        };
        report.status.algorithms.clone_from(&algorithms);
        Ok(Installed {
            from: (plugin.uid().unwrap_or_default(), plugin.metadata.generation),
            digest: pulled.digest.clone(),
            manifest: pulled.manifest.clone(),
            algorithms,
            plugin: loaded,
        })
    }

    /// Says so when the tag of a loaded plugin has moved.
    async fn check_tag(&self, plugin: &Plugin, digest: &str, report: &mut Report<'_>) {
        if plugin.spec.digest.is_some() {
            return;
        }
        if let Ok(now) = self.source.resolve(&plugin.spec.image).await {
            if now == digest {
                report.set("Resolved", Some(true), "Resolved", format!("locked to {digest}"));
            } else {
                let message = format!(
                    "locked to {digest}; the reference now stands for {now}: set spec.digest to follow it"
                );
                report.set("Resolved", Some(true), "TagMoved", message);
            }
        }
    }

    async fn write(&self, plugin: &Plugin, status: PluginStatus) -> Result<(), PluginError> {
        if plugin.status.as_ref() == Some(&status) {
            return Ok(());
        }
        let mut fresh = plugin.clone();
        fresh.status = Some(status);
        let api: Api<Plugin> = Api::all(self.client.clone());
        match api.replace_status(&plugin.name_any(), &PostParams::default(), &fresh).await {
            Ok(_) => Ok(()),
            Err(KubeError::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(PluginError::Status { plugin: plugin.name_any(), source }),
        }
    }
}

#[async_trait]
impl Reconciler for PluginLoop {
    type Key = ObjectKey;
    type Error = PluginError;

    fn name(&self) -> &str {
        "plugin"
    }

    /// Every replica loads plugins.
    fn domain(&self, _: &ObjectKey, _: Shards) -> Option<Domain> {
        None
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.plugins.read(|store| store.keys().into_iter().collect())
    }

    async fn reconcile(&self, key: &ObjectKey, _: u32) -> Result<Outcome, PluginError> {
        self.plugins.synced().await;
        let Some(cached) = self.plugins.read(|store| store.get(key)).filter(|cached| !cached.is_deleting())
        else {
            self.unload(&key.name).await;
            return Ok(Outcome::Settled);
        };
        let plugin = cached.typed::<Plugin>()?;
        // Held to the end of the pass: leadership is not handed over in the middle of one.
        let leads = self.holdings.permit(Domain::Leader);
        if leads.is_none() {
            return Ok(self.follow(key, &cached, &plugin).await);
        }
        let mut report = Report::new(&plugin);
        let loaded = self.installed.get(&key.name);
        if let Some(loaded) =
            loaded.filter(|loaded| loaded.from == (cached.uid().to_owned(), plugin.metadata.generation))
        {
            report.ready();
            report.manifest(&loaded.manifest);
            report.status.algorithms.clone_from(&loaded.algorithms);
            self.check_tag(&plugin, &loaded.digest, &mut report).await;
            self.write(&plugin, report.status).await?;
            return Ok(Outcome::After(TAG_CHECK));
        }
        let outcome = match self.install(&plugin, &mut report).await {
            Ok(()) => {
                report.ready();
                self.events.tell(plugin.as_ref(), false, "PluginLoaded", "The plugin is loaded");
                tracing::info!(digest = report.status.digest, "plugin loaded");
                Outcome::After(TAG_CHECK)
            }
            Err(stop) => {
                if stop.unload {
                    self.unload(&key.name).await;
                }
                tracing::warn!(reason = stop.reason, why = stop.message, "plugin not loaded");
                self.events.tell(plugin.as_ref(), true, stop.reason, &stop.message);
                report.stopped(&stop);
                if stop.again { Outcome::Backoff } else { Outcome::Settled }
            }
        };
        self.write(&plugin, report.status).await?;
        Ok(outcome)
    }
}

impl PluginLoop {
    /// Loads what the leader has found ready, and says nothing to anybody.
    async fn follow(&self, key: &ObjectKey, cached: &CachedObject, plugin: &Plugin) -> Outcome {
        let from = (cached.uid().to_owned(), plugin.metadata.generation);
        match followed(plugin) {
            Followed::Wait => return Outcome::Settled,
            Followed::Unload => {
                self.unload(&key.name).await;
                return Outcome::Settled;
            }
            Followed::Load => {}
        }
        if self.installed.get(&key.name).is_some_and(|loaded| loaded.from == from) {
            return Outcome::Settled;
        }
        let mut report = Report::new(plugin);
        match self.install(plugin, &mut report).await {
            Ok(()) => {
                tracing::info!(digest = report.status.digest, "plugin loaded");
                Outcome::Settled
            }
            Err(stop) => {
                tracing::warn!(reason = stop.reason, why = stop.message, "plugin not loaded by this replica");
                Outcome::Backoff
            }
        }
    }
}

fn stop(condition: &'static str, otherwise: &'static str, error: &SourceError) -> Stop {
    match error {
        SourceError::Refused { reason, message } => {
            Stop { condition, reason, message: message.clone(), again: false, unload: false }
        }
        SourceError::Unavailable(message) => {
            Stop { condition, reason: otherwise, message: message.clone(), again: true, unload: false }
        }
    }
}

/// A status in the making.
struct Report<'a> {
    plugin: &'a Plugin,
    status: PluginStatus,
    now: Timestamp,
}

impl<'a> Report<'a> {
    fn new(plugin: &'a Plugin) -> Self {
        let mut status = plugin.status.clone().unwrap_or_default();
        status.observed_generation = plugin.metadata.generation;
        Report { plugin, status, now: Timestamp::now() }
    }

    fn set(&mut self, kind: &str, value: Option<bool>, reason: &str, message: String) {
        let change =
            Change { kind, status: value, reason, message, generation: self.plugin.metadata.generation };
        set_condition(&mut self.status.conditions, change, self.now);
    }

    fn manifest(&mut self, manifest: &Manifest) {
        self.status.version = Some(manifest.version.to_string());
        self.status.wit_version = Some(manifest.wit.to_string());
        self.status.stages = manifest.stages.iter().map(ToString::to_string).collect();
        let owned = |kind: &purlin_registry::OwnedKind| OwnedKind {
            group: kind.group().to_owned(),
            version: kind.storage_version().to_owned(),
            kind: kind.kind().to_owned(),
        };
        self.status.owned_kinds = manifest.owns.iter().map(owned).collect();
    }

    fn ready(&mut self) {
        self.set("Ready", Some(true), "Loaded", "it is loaded and called".to_owned());
    }

    fn stopped(&mut self, stop: &Stop) {
        self.set(stop.condition, Some(false), stop.reason, stop.message.clone());
        if stop.condition != "Ready" {
            self.set("Ready", Some(false), stop.reason, stop.message.clone());
        }
    }
}
