//! The plugins that are loaded: who serves which algorithm, and who owns which kind.
//!
//! Written by the plugin loop, read by every call. A reader takes the plugin out and calls it without a lock, so a
//! plugin that is replaced meanwhile finishes the calls that it has, and new calls find the new one.

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Instant;

use async_trait::async_trait;
use purlin_registry::{Manifest, Rights, Stage};
use purlin_sandbox::contract::{Context, FieldError, Search, Selector, Suggestion, SyncRequest};
use purlin_sandbox::{CallError, StageResolver, Subject, SyncAnswer};

use super::decide::awaited;
use super::probation::Alarm;
use crate::api::{Plugin, RolledBack};
use crate::cache::Kind;
use crate::observe::KernelMetrics;
use crate::stage::{LoadedPlugin, Stages, fault_reason};

/// A plugin that can be called.
#[derive(Clone)]
pub(crate) struct Installed {
    /// The Plugin's UID and generation: what it was loaded from.
    pub from: (String, Option<i64>),
    /// The reference that it was pulled by.
    pub image: String,
    /// Its digest.
    pub digest: String,
    /// What it says about itself.
    pub manifest: Manifest,
    /// Algorithms that it answers to.
    pub algorithms: Vec<String>,
    /// What it may do.
    pub rights: Rights,
    /// The version that was taken back in its favour.
    pub rolled_back: Option<RolledBack>,
    /// Rings when its calls fail.
    pub alarm: Arc<Alarm>,
    /// Who to call.
    pub plugin: Arc<dyn LoadedPlugin>,
}

/// The plugins that are loaded, by the name of their resource.
#[derive(Default)]
pub(crate) struct InstalledPlugins {
    plugins: RwLock<BTreeMap<String, Installed>>,
    /// The Plugins that there are, once they are watched.
    resources: OnceLock<Arc<Kind>>,
}

impl InstalledPlugins {
    /// The plugin of a name.
    pub(crate) fn get(&self, name: &str) -> Option<Installed> {
        self.plugins.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    /// Says where the Plugins are that are to be loaded.
    pub(crate) fn watch(&self, resources: Arc<Kind>) {
        // A kernel runs once: nobody was there before.
        let _ = self.resources.set(resources);
    }

    /// Whether a Plugin may still come that is not loaded here yet: after a start, or in a replica that has just come.
    fn any_awaited(&self) -> bool {
        let Some(resources) = self.resources.get().filter(|resources| resources.is_synced()) else {
            return true;
        };
        let missing: Vec<_> = resources.read(|store| {
            let loaded = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
            let keys = store.keys().into_iter().filter(|key| !loaded.contains_key(&key.name));
            keys.filter_map(|key| store.get(&key)).collect()
        });
        // One that cannot be read is judged by its own loop, and serves nothing.
        missing.iter().filter_map(|plugin| plugin.typed::<Plugin>().ok()).any(|plugin| awaited(&plugin))
    }

    /// Puts a plugin in the place of the one before, and gives that one.
    pub(crate) fn put(&self, name: &str, plugin: Installed) -> Option<Installed> {
        self.plugins.write().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned(), plugin)
    }

    /// Takes a plugin out.
    pub(crate) fn remove(&self, name: &str) -> Option<Installed> {
        self.plugins.write().unwrap_or_else(PoisonError::into_inner).remove(name)
    }

    /// The plugin that owns a kind.
    pub(crate) fn owner(&self, group: &str, kind: &str) -> Option<String> {
        let plugins = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
        let owner = plugins.iter().find(|(_, installed)| installed.manifest.owns_kind(group, kind));
        owner.map(|(name, _)| name.clone())
    }

    /// The other plugin that owns one of the kinds of a manifest, and the kind.
    pub(crate) fn conflict(&self, name: &str, manifest: &Manifest) -> Option<(String, String)> {
        let plugins = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
        let mut others = plugins.iter().filter(|(other, _)| *other != name);
        others.find_map(|(other, installed)| {
            let taken =
                |kind: &&purlin_registry::OwnedKind| installed.manifest.owns_kind(kind.group(), kind.kind());
            let kind = manifest.owns.iter().find(taken)?;
            Some((other.clone(), format!("{}.{}", kind.plural(), kind.group())))
        })
    }
}

impl Stages for InstalledPlugins {
    fn tuner(&self, algorithm: &str) -> Option<(String, Arc<dyn LoadedPlugin>)> {
        let plugins = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
        // Where two serve it, the first by name: the same one each time.
        plugins
            .iter()
            .find(|(_, installed)| {
                installed.manifest.serves(Stage::Tuner) && installed.algorithms.iter().any(|a| a == algorithm)
            })
            .map(|(name, installed)| (name.clone(), installed.plugin.clone()))
    }

    fn awaited(&self) -> bool {
        self.any_awaited()
    }
}

impl StageResolver for InstalledPlugins {
    fn tuner(&self, algorithm: &str) -> Option<Arc<purlin_sandbox::Plugin>> {
        Stages::tuner(self, algorithm)?.1.component()
    }

    fn awaited(&self) -> bool {
        self.any_awaited()
    }

    fn named(&self, stage: Stage, name: &str) -> Option<Arc<purlin_sandbox::Plugin>> {
        let plugins = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
        plugins.get(name).filter(|installed| installed.manifest.serves(stage))?.plugin.component()
    }

    fn by_format(
        &self,
        stage: Stage,
        name: Option<&str>,
        format: &str,
    ) -> Option<(String, Arc<purlin_sandbox::Plugin>)> {
        let plugins = self.plugins.read().unwrap_or_else(PoisonError::into_inner);
        let (name, installed) = plugins.iter().find(|(plugin, installed)| {
            name.is_none_or(|name| name == *plugin)
                && installed.manifest.serves(stage)
                && installed.manifest.formats.iter().any(|one| one == format)
        })?;
        Some((name.clone(), installed.plugin.component()?))
    }
}

/// A plugin whose calls are counted and timed.
pub(super) struct Measured {
    name: String,
    plugin: Arc<dyn LoadedPlugin>,
    metrics: KernelMetrics,
    alarm: Arc<Alarm>,
}

impl Measured {
    /// Counts the calls of a plugin under its name.
    pub(super) fn new(
        name: &str,
        plugin: Arc<dyn LoadedPlugin>,
        metrics: KernelMetrics,
        alarm: Arc<Alarm>,
    ) -> Self {
        Measured { name: name.to_owned(), plugin, metrics, alarm }
    }

    async fn count<T>(
        &self,
        call: &'static str,
        answer: impl Future<Output = Result<T, CallError>> + Send,
    ) -> Result<T, CallError> {
        let started = Instant::now();
        let answer = answer.await;
        self.alarm.note(call, &answer).await;
        let outcome = match &answer {
            Ok(_) => "ok",
            Err(error) => fault_reason(error),
        };
        self.metrics.called(&self.name, call, outcome, started.elapsed().as_secs_f64());
        answer
    }
}

#[async_trait]
impl LoadedPlugin for Measured {
    fn context(&self, now_ms: u64, seed: u64) -> Context {
        self.plugin.context(now_ms, seed)
    }

    async fn check(&self, context: Context) -> Result<(), CallError> {
        self.count("check", self.plugin.check(context)).await
    }

    async fn related(
        &self,
        subject: &Subject,
        context: Context,
        parent: String,
    ) -> Result<Vec<Selector>, CallError> {
        self.count("related", self.plugin.related(subject, context, parent)).await
    }

    async fn sync(&self, subject: &Subject, request: SyncRequest) -> Result<SyncAnswer, CallError> {
        self.count("sync", self.plugin.sync(subject, request)).await
    }

    async fn finalize(&self, subject: &Subject, request: SyncRequest) -> Result<SyncAnswer, CallError> {
        self.count("finalize", self.plugin.finalize(subject, request)).await
    }

    async fn algorithms(&self) -> Result<Vec<String>, CallError> {
        self.count("algorithms", self.plugin.algorithms()).await
    }

    async fn validate(&self, subject: &Subject, search: Search) -> Result<Vec<FieldError>, CallError> {
        self.count("validate", self.plugin.validate(subject, search)).await
    }

    async fn suggest(
        &self,
        subject: &Subject,
        search: Search,
        count: u32,
    ) -> Result<Vec<Suggestion>, CallError> {
        self.count("suggest", self.plugin.suggest(subject, search, count)).await
    }

    async fn stop(&self, subject: &Subject, search: Search) -> Result<Vec<String>, CallError> {
        self.count("stop", self.plugin.stop(subject, search)).await
    }

    fn component(&self) -> Option<Arc<purlin_sandbox::Plugin>> {
        self.plugin.component()
    }
}
