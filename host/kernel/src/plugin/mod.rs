//! The plugin loop: from a Plugin resource to a component that is called.
//!
//! The steps are resolve, verify, pull, grant, load, define its kinds, start its dialect. Each one that fails says so
//! in the Plugin's conditions and costs no other plugin anything. A plugin whose new version does not load, asks for more
//! than it was granted or says that it cannot work keeps its old one; a new version whose calls fail gives its place back
//! (`probation`). Where a grant was taken back, or a policy refuses it, the plugin is unloaded. A policy is tightened
//! because a key is no longer trusted, so what it refuses must not go on running until the next restart. Signatures that
//! cannot be fetched refuse nothing that runs already: a registry that is down must not take the platform with it.
//!
//! Of several replicas one leads: it resolves, decides who owns what, defines kinds, takes versions back and writes the
//! conditions. The others load what it has found ready, by the digest that it has locked.

mod decide;
mod definition;
mod installed;
mod policies;
mod probation;
mod sandboxed;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use jiff::Timestamp;
use kube::api::{Api, PostParams};
use kube::{Client, Error as KubeError, ResourceExt};
use purlin_registry::policy::Mode;
use purlin_registry::{Manifest, Rights, Stage, Verdict};
use purlin_sandbox::CallError;
use purlin_sandbox::contract::Fault;
use purlin_sandbox::service::PluginId;
use tokio::sync::Mutex;

use crate::api::{
    Change, GROUP, OwnedKind, Plugin, PluginStatus, REQUESTED_AT, RolledBack, Serving, set_condition,
};
use crate::cache::{CachedObject, Kind, ParseError};
use crate::dialect::{DialectEngine, RunningDialect};
use crate::digest::seed;
use crate::event::EventRecorder;
use crate::key::ObjectKey;
use crate::observe::KernelMetrics;
use crate::queue::WorkQueue;
use crate::reconcile::{Outcome, Reconciler};
use crate::shard::{Domain, Holdings, Shards};
use crate::stage::{LoadedPlugin, PluginSource, Pulled, SourceError};

use definition::ensure_namespaces;
pub(crate) use definition::{DefinitionError, install};
pub(crate) use installed::{Installed, InstalledPlugins};
pub(crate) use policies::{Policies, PolicyLoop};
pub use sandboxed::SandboxedSource;

use decide::{Followed, capabilities, followed, locked_digest};
use installed::Measured;
use probation::{Alarm, Before};

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
    holdings: Holdings,
    running: Mutex<HashMap<String, RunningDialect>>,
    /// What new versions took the place of.
    before: Mutex<HashMap<String, Before>>,
    /// The loop's own queue.
    queue: Arc<WorkQueue<ObjectKey>>,
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
        plugins: Arc<Kind>,
        queue: Arc<WorkQueue<ObjectKey>>,
        policies: Arc<Policies>,
        dialects: DialectEngine,
    ) -> Self {
        PluginLoop {
            client: dialects.writers.of_leader.clone(),
            plugins,
            source: policies.source(),
            policies,
            judged: Mutex::default(),
            installed: dialects.installed.clone(),
            events: dialects.events.clone(),
            metrics: dialects.metrics.clone(),
            holdings: dialects.holdings.clone(),
            dialects,
            running: Mutex::default(),
            before: Mutex::default(),
            queue,
            ownership: Mutex::default(),
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
        self.before.lock().await.remove(name);
        if self.installed.remove(name).is_some() {
            tracing::info!(plugin = name, "unloaded");
        }
    }

    /// Takes all steps. The status is filled in on the way, whatever becomes of it.
    async fn install(&self, plugin: &Plugin, report: &mut Report<'_>) -> Result<(), Stop> {
        let name = plugin.name_any();
        let target = self.resolve(plugin, report).await?;
        self.verify(plugin, &target.image, &target.digest, report).await?;
        let pulled = self
            .source
            .pull(&target.image, &target.digest)
            .await
            .map_err(|e| stop("Resolved", "PullFailed", &e))?;
        report.manifest(&pulled.manifest);
        let rights = self.grant(plugin, &pulled, report)?;
        let _owned = self.ownership.lock().await;
        self.may_own(&name, &pulled.manifest)?;
        let loaded = self.load(plugin, &target, &pulled, rights, report).await?;
        self.activate(&name, loaded).await
    }

    /// Lets a loaded version take the place of the one before. Calls that run end where they began; none is refused
    /// in between.
    async fn activate(&self, name: &str, loaded: Installed) -> Result<(), Stop> {
        let again = |reason, unload| {
            move |error: &dyn std::error::Error| Stop {
                condition: "Ready",
                reason,
                message: crate::report(error).to_string(),
                again: true,
                unload,
            }
        };
        // What the leader has found ready has its kinds and namespaces.
        if self.holdings.holds(Domain::Leader) {
            let manifest = &loaded.manifest;
            let kinds: Vec<_> = manifest.owns.iter().map(|kind| kind.crd.clone()).collect();
            install(&self.client, &format!("purlin-{name}"), &kinds)
                .await
                .map_err(|error| again("KindsRefused", false)(&error))?;
            ensure_namespaces(&self.client, &manifest.namespaces)
                .await
                .map_err(|error| again("NamespaceRefused", false)(&error))?;
        }
        let dialect = self.running.lock().await.remove(name);
        if let Some(dialect) = dialect {
            dialect.stop().await;
        }
        let before = self.installed.put(name, loaded.clone());
        let mut kept = self.before.lock().await;
        match before {
            // The same version with other settings does not answer for the one before it.
            Some(before) if before.digest != loaded.digest && loaded.rolled_back.is_none() => {
                kept.insert(name.to_owned(), Before::new(before));
            }
            _ => drop(kept.remove(name)),
        }
        drop(kept);
        if loaded.manifest.serves(Stage::Dialect) {
            let running = self.dialects.start(name, &loaded).await;
            let running = running.map_err(|error| again("KindUnavailable", true)(&error))?;
            self.running.lock().await.insert(name.to_owned(), running);
        }
        Ok(())
    }

    /// Brings back the version before, where one is kept, and says so.
    async fn roll_back(&self, plugin: &Plugin, failed: &Installed, why: String) -> Option<Stop> {
        let name = plugin.name_any();
        let before = self.before.lock().await.remove(&name).filter(Before::is_kept)?;
        let taken_back = RolledBack {
            generation: plugin.metadata.generation.unwrap_or_default(),
            digest: failed.digest.clone(),
            reason: why,
        };
        let message = format!(
            "version {} failed and {} is back: {}",
            failed.manifest.version, before.plugin.manifest.version, taken_back.reason
        );
        self.events.tell(plugin, true, "RolledBack", &message);
        tracing::warn!(failed = failed.digest, back = before.plugin.digest, "plugin rolled back");
        let mut again = before.plugin;
        again.from = failed.from.clone();
        again.rolled_back = Some(taken_back.clone());
        Some(self.activate(&name, again).await.err().unwrap_or_else(|| back(&taken_back)))
    }

    async fn resolve(&self, plugin: &Plugin, report: &mut Report<'_>) -> Result<Target, Stop> {
        if let Some(target) = rolled_back(plugin) {
            return Ok(target);
        }
        report.status.rolled_back = None;
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
        Ok(Target { image: plugin.spec.image.clone(), digest, rolled_back: None })
    }

    /// Judges a plugin under the policies that hold, unless it was found good under the same ones already.
    async fn verify(
        &self,
        plugin: &Plugin,
        image: &str,
        digest: &str,
        report: &mut Report<'_>,
    ) -> Result<(), Stop> {
        let name = plugin.name_any();
        let (policy, revision) = self.policies.current().await;
        let known = self.judged.lock().await.get(&name).cloned();
        let before = known.filter(|(of, under, _)| of == digest && *under == revision).map(|known| known.2);
        let verdict = match before.clone().filter(Verdict::is_signed) {
            Some(verdict) => verdict,
            None => {
                let verdict = self.source.verify(image, digest, &policy).await;
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

    fn grant(&self, plugin: &Plugin, pulled: &Pulled, report: &mut Report<'_>) -> Result<Rights, Stop> {
        let granted = capabilities(&plugin.spec.grants)
            .map_err(|error| stop("Granted", "UnknownCapability", &error))?;
        let (rights, refused) = (pulled.manifest.rights(&granted), pulled.manifest.refused(&granted));
        report.status.granted = rights.iter().map(ToString::to_string).collect();
        report.status.refused = refused.iter().map(|request| request.name.to_string()).collect();
        let needed: Vec<_> = refused.iter().filter(|request| !request.optional).collect();
        if needed.is_empty() {
            let message = match refused.len() {
                0 => "it has every capability that it asks for".to_owned(),
                more => format!("it has what it needs; {more} more it would use, see status.refused"),
            };
            report.set("Granted", Some(true), "Granted", message);
            return Ok(rights);
        }
        let asked = needed.iter().map(|request| format!("{} (it says: {})", request.name, request.reason));
        let asked: Vec<_> = asked.collect();
        let message = format!("add to spec.grants, if you agree: {}", asked.join(", "));
        // A version that asks for more waits for a person, while the one before goes on with what it was granted. Where
        // what runs is the very version that lacks a grant, the grant was taken back.
        let name = plugin.name_any();
        let unload = self.installed.get(&name).is_some_and(|loaded| loaded.digest == pulled.digest);
        Err(Stop { condition: "Granted", reason: "GrantsMissing", message, again: false, unload })
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
        plugin: &Plugin,
        target: &Target,
        pulled: &Pulled,
        rights: Rights,
        report: &mut Report<'_>,
    ) -> Result<Installed, Stop> {
        let (name, uid) = (plugin.name_any(), plugin.uid().unwrap_or_default());
        let id = PluginId { name: name.clone(), uid: uid.clone() };
        let loaded = self.source.load(id, pulled, &plugin.spec).await;
        let loaded = loaded.map_err(|error| stop("Ready", "LoadFailed", &error))?;
        let alarm = Arc::new(Alarm::new(ObjectKey::new("", &name), self.queue.clone()));
        let loaded: Arc<dyn LoadedPlugin> =
            Arc::new(Measured::new(&name, loaded, self.metrics.clone(), alarm.clone()));
        check(loaded.as_ref(), &uid).await?;
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
            from: (uid, plugin.metadata.generation),
            image: target.image.clone(),
            digest: pulled.digest.clone(),
            manifest: pulled.manifest.clone(),
            algorithms,
            rights,
            rolled_back: target.rolled_back.clone(),
            alarm,
            plugin: loaded,
        })
    }

    /// Looks after a plugin that is loaded as its spec says. Gives why it does not work, if so.
    async fn look_after(&self, plugin: &Plugin, loaded: &Installed) -> Result<(), Stop> {
        if let Some(taken_back) = &loaded.rolled_back {
            return Err(back(taken_back));
        }
        let failed = match check(loaded.plugin.as_ref(), &loaded.from.0).await {
            Ok(()) if loaded.alarm.rings() => Stop {
                condition: "Ready",
                reason: "CallsFail",
                message: "calls of it fail one after the other".to_owned(),
                again: false,
                unload: false,
            },
            Ok(()) => return Ok(()),
            Err(failed) => failed,
        };
        match self.roll_back(plugin, loaded, failed.message.clone()).await {
            Some(stop) => Err(stop),
            // Without another version to call, one that fails now and then is better than none.
            None if failed.reason == "CallsFail" => Ok(()),
            None => Err(failed),
        }
    }

    /// Says so when the tag of a loaded plugin has moved.
    async fn check_tag(&self, plugin: &Plugin, report: &mut Report<'_>) {
        let Some(digest) = report.status.digest.clone().filter(|_| plugin.spec.digest.is_none()) else {
            return;
        };
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
        report.serving(&self.installed, &name);
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
            let working = match self.verify(&plugin, &loaded.image, &loaded.digest, &mut report).await {
                Ok(()) => self.look_after(&plugin, &loaded).await,
                Err(refused) => {
                    let outcome = self.stopped(&plugin, &refused, &mut report).await;
                    self.write(&plugin, report.status).await?;
                    return Ok(outcome);
                }
            };
            report.loaded(&self.installed, &key.name);
            match &working {
                Ok(()) => report.ready(),
                Err(stop) => report.stopped(stop),
            }
            self.check_tag(&plugin, &mut report).await;
            self.write(&plugin, report.status).await?;
            return Ok(match working {
                Err(stop) if stop.again => Outcome::Backoff,
                _ => Outcome::After(TAG_CHECK),
            });
        }
        let outcome = match self.install(&plugin, &mut report).await {
            Ok(()) => {
                report.loaded(&self.installed, &key.name);
                match report.status.rolled_back.clone() {
                    Some(taken_back) => report.stopped(&back(&taken_back)),
                    None => {
                        report.ready();
                        self.events.tell(plugin.as_ref(), false, "PluginLoaded", "The plugin is loaded");
                        tracing::info!(digest = report.status.digest, "plugin loaded");
                    }
                }
                Outcome::After(TAG_CHECK)
            }
            Err(stop) => self.stopped(&plugin, &stop, &mut report).await,
        };
        self.write(&plugin, report.status).await?;
        Ok(outcome)
    }
}

impl PluginLoop {
    /// Loads what the leader has found ready, and says nothing to anybody.
    async fn follow(&self, key: &ObjectKey, cached: &CachedObject, plugin: &Plugin) -> Outcome {
        let back = rolled_back(plugin).is_some();
        match followed(plugin, back) {
            Followed::Wait => return Outcome::Settled,
            Followed::Unload => {
                self.unload(&key.name).await;
                return Outcome::Settled;
            }
            Followed::Load => {}
        }
        let from = (cached.uid().to_owned(), plugin.metadata.generation);
        let current = |loaded: &Installed| loaded.from == from && loaded.rolled_back.is_some() == back;
        if self.installed.get(&key.name).is_some_and(|loaded| current(&loaded)) {
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

/// What to pull.
struct Target {
    image: String,
    digest: String,
    /// What was taken back in its favour.
    rolled_back: Option<RolledBack>,
}

/// The version that was brought back for this generation of the spec, where one was: a kernel that starts anew does not
/// try the failed one again.
fn rolled_back(plugin: &Plugin) -> Option<Target> {
    let status = plugin.status.as_ref()?;
    let taken_back = status.rolled_back.clone()?;
    let serving = status.serving.clone()?;
    (Some(taken_back.generation) == plugin.metadata.generation).then_some(Target {
        image: serving.image,
        digest: serving.digest,
        rolled_back: Some(taken_back),
    })
}

/// How it is said that a version was taken back.
fn back(taken_back: &RolledBack) -> Stop {
    Stop {
        condition: "Ready",
        reason: "RolledBack",
        message: format!(
            "{} failed and the version before it is called: {}; change the spec to try another",
            taken_back.digest, taken_back.reason
        ),
        again: false,
        unload: false,
    }
}

/// Asks a plugin whether it can work.
async fn check(plugin: &dyn LoadedPlugin, uid: &str) -> Result<(), Stop> {
    let now = u64::try_from(Timestamp::now().as_millisecond()).unwrap_or(0);
    let Err(error) = plugin.check(plugin.context(now, seed(uid))).await else { return Ok(()) };
    let reason = match &error {
        CallError::Fault(Fault::Invalid(_)) => "InvalidConfig",
        CallError::Fault(Fault::Retry(_) | Fault::Failed(_)) => "CheckFailed",
        other => crate::stage::fault_reason(other),
    };
    Err(Stop {
        condition: "Ready",
        reason,
        message: format!("it says that it cannot work: {error}"),
        again: !matches!(error, CallError::Fault(Fault::Invalid(_))),
        unload: false,
    })
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
        status.observed_request = plugin.annotations().get(REQUESTED_AT).cloned();
        Report { plugin, status, now: Timestamp::now() }
    }

    fn set(&mut self, kind: &str, value: Option<bool>, reason: &str, message: String) {
        let change =
            Change { kind, status: value, reason, message, generation: self.plugin.metadata.generation };
        set_condition(&mut self.status.conditions, change, self.now);
    }

    /// What is called now, and what it says about itself.
    fn loaded(&mut self, installed: &InstalledPlugins, name: &str) {
        if let Some(loaded) = installed.get(name) {
            self.manifest(&loaded.manifest);
            self.status.algorithms.clone_from(&loaded.algorithms);
            self.status.granted = loaded.rights.iter().map(ToString::to_string).collect();
            self.status.rolled_back.clone_from(&loaded.rolled_back);
        }
        self.serving(installed, name);
    }

    /// What is called now.
    fn serving(&mut self, installed: &InstalledPlugins, name: &str) {
        self.status.serving = installed.get(name).map(|loaded| Serving {
            image: loaded.image.clone(),
            digest: loaded.digest.clone(),
            version: loaded.manifest.version.to_string(),
        });
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
