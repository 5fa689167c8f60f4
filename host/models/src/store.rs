//! The models in memory. A model is loaded by the first who needs it, others wait for that; it is let go when it has been
//! idle, or when memory is short and others were used later. A model that answers somebody is never cut off: who has a
//! lease keeps it alive.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use purlin_gateway::{Lease, LeaseGuard, ModelKey, ModelState, Models, Target};
use purlin_nn::{Device, InferError, LoadOptions, ModelMetadata, ServedModel};
use purlin_sandbox::{ModelRequest, Plugin, PluginModel};

use crate::monitor::{Watch, Watched};
use crate::observe::ModelMetrics;
use crate::source::{Credentials, Fetched, SourceError, SourceRequest, Sources};

/// How a model is loaded: all that follows from its resource.
#[derive(Clone)]
pub(crate) struct Recipe {
    /// Changes when the model must be loaded anew.
    pub(crate) revision: String,
    pub(crate) plugin: Arc<Plugin>,
    /// The request but for its files.
    pub(crate) request: ModelRequest,
    /// Where its files are, and what opens the place.
    pub(crate) source: Option<SourceRequest>,
    pub(crate) options: LoadOptions,
    /// Whether it stays in memory without requests.
    pub(crate) stays: bool,
    /// Without requests it goes after so long.
    pub(crate) idle: Duration,
    /// Whether it may be computed on the processor where there is no graphics processor.
    pub(crate) any_device: bool,
    /// Whether its requests are watched.
    pub(crate) watch: Option<Arc<Watch>>,
}

/// Why a model is not in memory.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub(crate) enum LoadFailure {
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error("{0}")]
    Plugin(#[from] purlin_sandbox::CallError),
}

/// What is known of a loaded model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// Why it is computed on the processor and not where its resource says.
    pub(crate) instead: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) memory: u64,
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

struct Entry {
    recipe: Recipe,
    /// Whether it stays in memory without requests, as of late: gateways come and go.
    stays: AtomicBool,
    /// What opens the source as of late: it may change while the model stays as it is.
    credentials: Mutex<Option<Credentials>>,
    loaded: RwLock<Option<Arc<Loaded>>>,
    /// One load at a time.
    loading: tokio::sync::Mutex<()>,
    failure: Mutex<Option<(LoadFailure, Instant)>>,
    metadata: RwLock<Option<Arc<ModelMetadata>>>,
}

struct Loaded {
    model: Arc<PluginModel>,
    facts: Facts,
    leases: AtomicUsize,
    /// Milliseconds since the store was made.
    used: AtomicU64,
}

/// A failed load is not tried again for requests before this has passed.
const PATIENCE: Duration = Duration::from_secs(5);

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
            let credentials = recipe.source.and_then(|source| source.credentials);
            *present.credentials.lock().unwrap_or_else(PoisonError::into_inner) = credentials;
            present.stays.store(recipe.stays, Ordering::Relaxed);
            return;
        }
        let credentials = recipe.source.as_ref().and_then(|source| source.credentials.clone());
        let entry = Entry {
            stays: AtomicBool::new(recipe.stays),
            recipe,
            credentials: Mutex::new(credentials),
            loaded: RwLock::default(),
            loading: tokio::sync::Mutex::default(),
            failure: Mutex::default(),
            metadata: RwLock::default(),
        };
        entries.insert(key, Arc::new(entry));
    }

    /// All that are registered.
    pub(crate) fn keys(&self) -> Vec<ModelKey> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect()
    }

    /// Forgets a model.
    pub(crate) fn remove(&self, key: &ModelKey) {
        self.entries.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }

    /// Loads a model, if it is not, and says what is known of it.
    pub(crate) async fn ensure(&self, key: &ModelKey) -> Option<Result<Facts, LoadFailure>> {
        let entry = self.entry(key)?;
        Some(self.load_entry(&entry).await.map(|loaded| loaded.facts.clone()))
    }

    /// Whether it is in memory.
    pub(crate) fn is_loaded(&self, key: &ModelKey) -> bool {
        self.entry(key).is_some_and(|entry| entry.loaded().is_some())
    }

    /// How far the download of a model's files is, where one is going on.
    pub(crate) fn progress(&self, key: &ModelKey) -> Option<String> {
        self.sources.progress(&self.entry(key)?.recipe.source.as_ref()?.uri)
    }

    async fn load_entry(&self, entry: &Entry) -> Result<Arc<Loaded>, LoadFailure> {
        if let Some(loaded) = entry.loaded() {
            return Ok(loaded);
        }
        let _one = entry.loading.lock().await;
        if let Some(loaded) = entry.loaded() {
            return Ok(loaded);
        }
        let started = Instant::now();
        let loaded = self.load_now(entry).await;
        self.metrics.loaded(loaded.is_ok(), started.elapsed());
        let failure = loaded.as_ref().err().cloned().map(|failure| (failure, Instant::now()));
        *entry.failure.lock().unwrap_or_else(PoisonError::into_inner) = failure;
        let loaded = Arc::new(loaded?);
        let metadata = Arc::new(loaded.model.metadata().clone());
        *entry.metadata.write().unwrap_or_else(PoisonError::into_inner) = Some(metadata);
        *entry.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&loaded));
        let model = entry.recipe.request.subject.as_str();
        tracing::info!(model, took = ?started.elapsed(), memory = loaded.facts.memory, "loaded");
        self.make_room();
        Ok(loaded)
    }

    async fn load_now(&self, entry: &Entry) -> Result<Loaded, LoadFailure> {
        let recipe = &entry.recipe;
        let mut request = recipe.request.clone();
        let (mut digest, mut elsewhere) = (None, None);
        if let Some(source) = &recipe.source {
            let credentials = entry.credentials.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let fetched = self.sources.fetch(&SourceRequest { credentials, ..source.clone() }).await?;
            request.files = fetched.files(recipe.options.clone());
            (digest, elsewhere) = (Some(fetched.digest()), Some(fetched));
        }
        let mut instead = None;
        let loaded = recipe.plugin.load_model(request.clone()).await;
        let loaded = match (loaded, elsewhere) {
            (Err(error), Some(fetched)) if recipe.any_device && recipe.options.device == Device::Gpu => {
                instead = Some(error.to_string());
                request.files = fetched.files(LoadOptions { device: Device::Cpu, ..recipe.options.clone() });
                // Where it cannot be computed there either, that is what the user has to know.
                recipe.plugin.load_model(request).await
            }
            (loaded, _) => loaded,
        };
        let model = Arc::new(loaded?);
        let facts = Facts { instead, digest, memory: model.memory() };
        let used = AtomicU64::new(self.now());
        Ok(Loaded { model, facts, leases: AtomicUsize::new(0), used })
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
            let idle = now.saturating_sub(loaded.used.load(Ordering::Relaxed));
            if !entry.stays.load(Ordering::Relaxed) && u128::from(idle) >= entry.recipe.idle.as_millis() {
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
        loaded.sort_by_key(|(_, loaded)| loaded.used.load(Ordering::Relaxed));
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

    /// Brings the gauges up to date.
    pub(crate) fn measure(&self) {
        let loaded: Vec<_> = self.all().iter().filter_map(|entry| entry.loaded()).collect();
        self.metrics.usage(loaded.len(), loaded.iter().map(|loaded| loaded.model.memory()).sum());
    }

    fn all(&self) -> Vec<Arc<Entry>> {
        self.entries.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    fn lease_on(&self, entry: &Entry, loaded: Arc<Loaded>) -> Lease {
        loaded.leases.fetch_add(1, Ordering::SeqCst);
        loaded.used.store(self.now(), Ordering::Relaxed);
        let model = Arc::clone(&loaded.model) as Arc<dyn ServedModel>;
        let model = match &entry.recipe.watch {
            Some(watch) => Arc::new(Watched { model, watch: Arc::clone(watch) }),
            None => model,
        };
        Lease::guarded(Target::Model(model), Leased(loaded))
    }
}

impl Entry {
    fn loaded(&self) -> Option<Arc<Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn failure(&self) -> Option<(LoadFailure, Instant)> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes the model out of memory, unless somebody has a lease on it.
    fn let_go(&self, loaded: &Arc<Loaded>) -> bool {
        let mut place = self.loaded.write().unwrap_or_else(PoisonError::into_inner);
        let same = place.as_ref().is_some_and(|present| Arc::ptr_eq(present, loaded));
        if !same || loaded.leases.load(Ordering::SeqCst) > 0 {
            return false;
        }
        *place = None;
        tracing::info!(model = self.recipe.request.subject.as_str(), "out of memory until it is asked again");
        true
    }
}

struct Leased(Arc<Loaded>);

impl LeaseGuard for Leased {}

impl Drop for Leased {
    fn drop(&mut self) {
        self.0.leases.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl Models for ModelStore {
    fn try_lease(&self, key: &ModelKey) -> Option<Lease> {
        let entry = self.entry(key)?;
        let loaded = entry.loaded()?;
        Some(self.lease_on(&entry, loaded))
    }

    async fn lease(&self, key: &ModelKey) -> Result<Lease, InferError> {
        let unknown = || InferError::Unavailable(format!("model {key} is not served here"));
        let entry = self.entry(key).ok_or_else(unknown)?;
        if let Some((failure, since)) = entry.failure()
            && since.elapsed() < PATIENCE
        {
            return Err(InferError::Unavailable(format!("model {key} cannot be loaded: {failure}")));
        }
        let loaded = self.load_entry(&entry).await;
        let loaded = loaded
            .map_err(|failure| InferError::Unavailable(format!("model {key} cannot be loaded: {failure}")))?;
        Ok(self.lease_on(&entry, loaded))
    }

    fn state(&self, key: &ModelKey) -> ModelState {
        let Some(entry) = self.entry(key) else { return ModelState::Unknown };
        if entry.loaded().is_some() {
            return ModelState::Ready;
        }
        match entry.failure() {
            Some((failure, _)) => ModelState::Failed(failure.to_string()),
            None if entry.loading.try_lock().is_err() => ModelState::Loading,
            None => ModelState::Idle,
        }
    }

    fn metadata(&self, key: &ModelKey) -> Option<Arc<ModelMetadata>> {
        self.entry(key)?.metadata.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
