//! The models in memory. A model is loaded by the first who needs it, others wait for that; it is let go when it has been
//! idle, or when memory is short and others were used later. A model that answers somebody is never cut off: who has a
//! lease keeps it alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use purlin_gateway::{Lease, LeaseGuard, ModelKey, ModelState, Target};
use purlin_nn::{InferError, ModelMetadata, ServedModel};

use crate::load::{Entry, Facts, Load, LoadFailure, Loaded, Recipe};
use crate::monitor::{Watch, Watched};
use crate::observe::ModelMetrics;
use crate::source::{Fetched, SourceError, SourceRequest, Sources};

/// How far a model is.
pub(crate) enum Ensured {
    /// In memory.
    Loaded(Facts),
    /// On its way.
    Loading {
        /// For so long.
        since: Duration,
        /// How far its download is, where one is going on.
        progress: Option<String>,
    },
    /// It could not be loaded, and is tried again after so long.
    Failed(LoadFailure, Duration),
}

/// The models that there are, loaded or not.
pub(crate) struct ModelStore {
    sources: Sources,
    entries: RwLock<HashMap<ModelKey, Arc<Entry>>>,
    /// Bytes that loaded models may take together.
    budget: u64,
    metrics: ModelMetrics,
    started: Instant,
    /// The minute in which models last gave back instances that they did not need.
    trimmed: AtomicU64,
}

/// Most models are loaded within this, and nothing has to be said of their being loaded.
const SHORT: Duration = Duration::from_millis(250);

impl ModelStore {
    /// A store whose loaded models take at most so many bytes together, as far as that can be told.
    pub(crate) fn new(sources: Sources, budget: u64, metrics: ModelMetrics) -> ModelStore {
        ModelStore {
            sources,
            entries: RwLock::default(),
            budget,
            metrics,
            started: Instant::now(),
            trimmed: AtomicU64::new(0),
        }
    }

    fn entry(&self, key: &ModelKey) -> Option<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned()
    }

    /// The watch on a model's requests.
    pub(crate) fn watch(&self, key: &ModelKey) -> Option<Arc<Watch>> {
        self.entry(key)?.recipe.watch.clone()
    }

    /// All watches.
    pub(crate) fn watches(&self) -> Vec<Arc<Watch>> {
        self.all().iter().filter_map(|entry| entry.recipe.watch.clone()).collect()
    }

    /// What lies at a source, for one who is no model in memory.
    pub(crate) async fn fetch(&self, request: &SourceRequest) -> Result<Fetched, SourceError> {
        self.sources.fetch(request).await
    }

    /// Registers a model, or changes how it is loaded. Requests that it has go on with what they have.
    pub(crate) fn put(&self, key: ModelKey, recipe: Recipe) {
        let mut entries = self.entries.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(present) = entries.get(&key)
            && present.recipe.revision == recipe.revision
            && Arc::ptr_eq(&present.recipe.plugin, &recipe.plugin)
            // A plugin that monitors may have come since.
            && present.recipe.watch.is_some() == recipe.watch.is_some()
        {
            present.refresh(recipe);
            return;
        }
        if let Some(replaced) = entries.insert(key, Arc::new(Entry::new(recipe))) {
            replaced.abandon();
        }
    }

    /// All that are registered.
    pub(crate) fn keys(&self) -> Vec<ModelKey> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Forgets a model.
    pub(crate) fn remove(&self, key: &ModelKey) {
        if let Some(removed) = self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(key) {
            removed.abandon();
        }
    }

    /// Sees to it that a model is loaded, and says how far that is. Waits no longer than a small model takes.
    pub(crate) async fn ensure(self: &Arc<Self>, key: &ModelKey) -> Option<Ensured> {
        let entry = self.entry(key)?;
        if let Some(loaded) = entry.loaded() {
            return Some(Ensured::Loaded(loaded.facts.clone()));
        }
        if let Some((failure, again)) = entry.rests() {
            return Some(Ensured::Failed(failure, again));
        }
        let under_way = entry.under_way().is_some();
        let load = self.load(&entry);
        let wait = if under_way { Duration::ZERO } else { SHORT };
        Some(match tokio::time::timeout(wait, load).await {
            Ok(Ok(loaded)) => Ensured::Loaded(loaded.facts.clone()),
            Ok(Err(failure)) => {
                let again = entry.rests().map_or(Duration::ZERO, |(_, again)| again);
                Ensured::Failed(failure, again)
            }
            Err(_) => Ensured::Loading {
                since: entry.under_way().unwrap_or_default(),
                progress: entry.recipe.source.as_ref().and_then(|source| self.sources.progress(&source.uri)),
            },
        })
    }

    /// Whether it is in memory.
    pub(crate) fn is_loaded(&self, key: &ModelKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.loaded().is_some())
    }

    /// Loads a model, if it is not. A load is nobody's who waits for it: it goes on when they give up, until the model is
    /// replaced or removed.
    fn load(self: &Arc<Self>, entry: &Arc<Entry>) -> Load {
        let (store, loading) = (Arc::clone(self), Arc::clone(entry));
        entry.load(async move {
            let started = Instant::now();
            let loaded = loading.load_now(&store.sources, store.now()).await;
            store.metrics.loaded(loaded.is_ok(), started.elapsed());
            let loaded = loading.ended(loaded);
            if let Ok(loaded) = &loaded {
                let (model, memory) = (loading.recipe.request.subject.as_str(), loaded.facts.memory);
                tracing::info!(model, took = ?started.elapsed(), memory, "loaded");
                store.make_room();
            }
            loaded
        })
    }

    fn now(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Lets go of models that were idle for too long.
    pub(crate) fn sweep(&self) {
        let now = self.now();
        let minute = now / 60_000;
        let trim = self.trimmed.swap(minute, Ordering::Relaxed) != minute;
        for entry in self.all() {
            let Some(loaded) = entry.loaded() else { continue };
            if trim {
                loaded.model.trim();
            }
            let idle = now.saturating_sub(loaded.used());
            if !entry.stays() && u128::from(idle) >= entry.recipe.idle.as_millis() {
                self.let_go(&entry, &loaded, "idle");
            }
        }
    }

    /// Lets go of the models that were used least lately, until the rest fits.
    fn make_room(&self) {
        let mut loaded: Vec<_> =
            self.all().into_iter().filter_map(|entry| entry.loaded().map(|loaded| (entry, loaded))).collect();
        let mut total: u64 = loaded.iter().map(|(_, loaded)| loaded.model.memory()).sum();
        if total <= self.budget {
            return;
        }
        loaded.sort_by_key(|(_, loaded)| loaded.used());
        // The newest was loaded for somebody who waits.
        loaded.pop();
        for (entry, loaded) in loaded {
            if total <= self.budget {
                return;
            }
            if self.let_go(&entry, &loaded, "memory") {
                total = total.saturating_sub(loaded.model.memory());
            }
        }
    }

    fn let_go(&self, entry: &Entry, loaded: &Arc<Loaded>, cause: &'static str) -> bool {
        let gone = entry.let_go(loaded);
        if gone {
            self.metrics.unloaded(cause);
        }
        gone
    }

    /// The models in memory.
    pub(crate) fn loaded(&self) -> Vec<(ModelKey, Arc<Loaded>)> {
        let entries = self.entries.read().unwrap_or_else(PoisonError::into_inner);
        entries.iter().filter_map(|(key, entry)| Some((key.clone(), entry.loaded()?))).collect()
    }

    /// Brings the gauges up to date.
    pub(crate) fn measure(&self) {
        let loaded = self.loaded();
        self.metrics.usage(loaded.len(), loaded.iter().map(|(_, loaded)| loaded.model.memory()).sum());
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// A lease on a model that is in memory.
    pub(crate) fn try_lease(&self, key: &ModelKey) -> Option<Lease> {
        let entry = self.entry(key)?;
        let loaded = entry.loaded()?;
        Some(self.lease_on(&entry, loaded))
    }

    /// A lease on a model, once it is loaded.
    pub(crate) async fn lease(self: &Arc<Self>, key: &ModelKey) -> Result<Lease, InferError> {
        let cannot = |failure| InferError::Unavailable(format!("model {key} cannot be loaded: {failure}"));
        loop {
            let Some(entry) = self.entry(key) else {
                return Err(InferError::Unavailable(format!("model {key} is not served here")));
            };
            if let Some((failure, _)) = entry.rests() {
                return Err(cannot(failure));
            }
            match self.load(&entry).await {
                Ok(loaded) => return Ok(self.lease_on(&entry, loaded)),
                // The model that took its place is asked.
                Err(LoadFailure::Abandoned) => {}
                Err(failure) => return Err(cannot(failure)),
            }
        }
    }

    /// Whether a model can answer.
    pub(crate) fn state(&self, key: &ModelKey) -> ModelState {
        let Some(entry) = self.entry(key) else { return ModelState::Unknown };
        if entry.loaded().is_some() {
            return ModelState::Ready;
        }
        match entry.failure() {
            Some(failure) => ModelState::Failed(failure.to_string()),
            None if entry.under_way().is_some() => ModelState::Loading,
            None => ModelState::Idle,
        }
    }

    /// What a model said about itself when it was last loaded.
    pub(crate) fn metadata(&self, key: &ModelKey) -> Option<Arc<ModelMetadata>> {
        self.entry(key)?.metadata()
    }

    fn lease_on(&self, entry: &Entry, loaded: Arc<Loaded>) -> Lease {
        loaded.enter(self.now());
        let model = Arc::clone(&loaded.model) as Arc<dyn ServedModel>;
        let model = match &entry.recipe.watch {
            Some(watch) => Arc::new(Watched { model, watch: Arc::clone(watch) }),
            None => model,
        };
        Lease::guarded(Target::Model(model), Leased(loaded))
    }
}

struct Leased(Arc<Loaded>);

impl LeaseGuard for Leased {}

impl Drop for Leased {
    fn drop(&mut self) {
        self.0.leave();
    }
}
