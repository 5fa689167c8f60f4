//! The plugin loop: from a Plugin resource to a component that is called.
//!
//! The steps are resolve, verify, pull, grant, load, define its kinds, start its dialect. Each one that fails says so
//! in the Plugin's conditions and costs no other plugin anything. A plugin whose new version does not load keeps its
//! old one, except where a grant was taken back, or where a policy refuses it: then it is unloaded. A policy is tightened
//! because a key is no longer trusted, so what it refuses must not go on running until the next restart. Signatures that
//! cannot be fetched refuse nothing that runs already: a registry that is down must not take the platform with it.

mod decide;
mod definition;
mod installed;
mod policies;
mod sandboxed;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, Error as KubeError, ResourceExt};
use purlin_registry::policy::Mode;
use purlin_registry::{Manifest, Stage, Verdict};
use tokio::sync::Mutex;

use crate::api::{Change, GROUP, OwnedKind, Plugin, PluginStatus, set_condition};
use crate::cache::{Kind, ParseError};
use crate::dialect::{DialectEngine, RunningDialect};
use crate::event::EventRecorder;
use crate::key::ObjectKey;
use crate::observe::KernelMetrics;
use crate::reconcile::{Outcome, Reconciler};
use crate::stage::{LoadedPlugin, PluginSource, Pulled, SourceError};

use definition::ensure_namespaces;
pub(crate) use definition::{DefinitionError, install};
pub(crate) use installed::{Installed, InstalledPlugins};
pub(crate) use policies::{Policies, PolicyLoop};
pub use sandboxed::SandboxedSource;

use decide::{Grants, grants, locked_digest};
use installed::Measured;

/// How often a tag is looked at again.
const TAG_CHECK: Duration = Duration::from_secs(600);

/// How often the signatures of a plugin that was refused are looked for again.
const SIGNATURE_CHECK: Duration = Duration::from_secs(30);

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
    policies: Arc<Policies>,
    /// By plugin: its digest, the revision of the policies that it was judged under, and the judgement.
    judged: Mutex<HashMap<String, (String, u64, Verdict)>>,
    installed: Arc<InstalledPlugins>,
    dialects: DialectEngine,
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
    /// A loop over the watched kind; plugins come from where the policies are kept for.
    pub(crate) fn new(
        client: Client,
        plugins: Arc<Kind>,
        policies: Arc<Policies>,
        installed: Arc<InstalledPlugins>,
        dialects: DialectEngine,
        events: EventRecorder,
        metrics: KernelMetrics,
    ) -> Self {
        PluginLoop {
            client,
            plugins,
            source: policies.source(),
            policies,
            judged: Mutex::default(),
            installed,
            dialects,
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
        self.judged.lock().await.remove(name);
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
        self.verify(plugin, &digest, report).await?;
        let pulled = self
            .source
            .pull(&plugin.spec.image, &digest)
            .await
            .map_err(|e| stop("Resolved", "PullFailed", &e))?;
        report.manifest(&pulled.manifest);
        self.grant(plugin, &pulled, report)?;
        let owned = self.ownership.lock().await;
        self.may_own(&name, &pulled.manifest)?;
        let loaded = self.load(&name, plugin, &pulled, report).await?;
        let kinds: Vec<_> = pulled.manifest.owns.iter().map(|kind| kind.crd.clone()).collect();
        install(&self.client, &format!("purlin-{name}"), &kinds).await.map_err(|error| Stop {
            condition: "Ready",
            reason: "KindsRefused",
            message: crate::report(&error).to_string(),
            again: true,
            unload: false,
        })?;
        ensure_namespaces(&self.client, &pulled.manifest.namespaces).await.map_err(|error| Stop {
            condition: "Ready",
            reason: "NamespaceRefused",
            message: crate::report(&error).to_string(),
            again: true,
            unload: false,
        })?;
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

    /// Judges a plugin under the policies that hold, unless it was found good under the same ones already.
    async fn verify(&self, plugin: &Plugin, digest: &str, report: &mut Report<'_>) -> Result<(), Stop> {
        let name = plugin.name_any();
        let (policy, revision) = self.policies.current().await;
        let known = self.judged.lock().await.get(&name).cloned();
        let before = known.filter(|(of, under, _)| of == digest && *under == revision).map(|known| known.2);
        let verdict = match before.clone().filter(Verdict::is_signed) {
            Some(verdict) => verdict,
            None => {
                let verdict = self.source.verify(&plugin.spec.image, digest, &policy).await;
                verdict.map_err(|error| stop("Verified", "VerifyFailed", &error))?
            }
        };
        report.set("Verified", verdict.status(), verdict.reason(), verdict.to_string());
        if before.as_ref() != Some(&verdict) {
            self.judged.lock().await.insert(name, (digest.to_owned(), revision, verdict.clone()));
            if verdict.is_signed() {
                self.events.tell(plugin, false, verdict.reason(), &verdict.to_string());
            } else if verdict.allows() && verdict.mode != Mode::Off {
                self.events.tell(plugin, true, verdict.reason(), &verdict.to_string());
            }
        }
        if verdict.allows() {
            return Ok(());
        }
        let unavailable = verdict.may_change();
        Err(Stop {
            condition: "Verified",
            reason: verdict.reason(),
            message: verdict.to_string(),
            again: unavailable || !verdict.problems.is_empty(),
            unload: !unavailable,
        })
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

    /// Says why a plugin is not loaded, or does not go on.
    async fn stopped(&self, plugin: &Plugin, stop: &Stop, report: &mut Report<'_>) -> Outcome {
        let name = plugin.name_any();
        if stop.unload {
            self.unload(&name).await;
        }
        tracing::warn!(plugin = name, reason = stop.reason, why = stop.message, "plugin not loaded");
        self.events.tell(plugin, true, stop.reason, &stop.message);
        // What runs on although its signatures cannot be fetched now is ready all the same.
        let from = (plugin.uid().unwrap_or_default(), plugin.metadata.generation);
        let runs_on = stop.condition == "Verified"
            && self.installed.get(&name).is_some_and(|loaded| loaded.from == from);
        if !runs_on {
            report.stopped(stop);
        }
        match (stop.again, stop.condition) {
            (true, _) => Outcome::Backoff,
            // A signature may be added at any time, and nothing tells when it is.
            (false, "Verified") => Outcome::After(SIGNATURE_CHECK),
            (false, _) => Outcome::Settled,
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

    async fn reconcile(&self, key: &ObjectKey, _: u32) -> Result<Outcome, PluginError> {
        self.plugins.synced().await;
        let Some(cached) = self.plugins.read(|store| store.get(key)).filter(|cached| !cached.is_deleting())
        else {
            self.unload(&key.name).await;
            return Ok(Outcome::Settled);
        };
        let plugin = cached.typed::<Plugin>()?;
        let mut report = Report::new(&plugin);
        let loaded = self.installed.get(&key.name);
        if let Some(loaded) =
            loaded.filter(|loaded| loaded.from == (cached.uid().to_owned(), plugin.metadata.generation))
        {
            let verified = self.verify(&plugin, &loaded.digest, &mut report).await;
            if let Err(refused) = verified {
                let outcome = self.stopped(&plugin, &refused, &mut report).await;
                self.write(&plugin, report.status).await?;
                return Ok(outcome);
            }
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
            Err(stop) => self.stopped(&plugin, &stop, &mut report).await,
        };
        self.write(&plugin, report.status).await?;
        Ok(outcome)
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
