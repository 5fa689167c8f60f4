//! The load of one model: one at a time, on its own whoever waits for it, and with a growing pause after one that failed.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures::FutureExt as _;
use futures::future::{BoxFuture, Shared};
use purlin_nn::{Device, LoadOptions, ModelMetadata, ServedModel as _};
use purlin_sandbox::{CallError, ModelRequest, Plugin, PluginModel};
use tokio_util::sync::CancellationToken;

use crate::monitor::Watch;
use crate::source::{Credentials, SourceError, SourceRequest, Sources};

/// The pause after the first load that failed. It doubles with each that follows.
const PAUSE: Duration = Duration::from_secs(5);

/// The longest pause: what stood in the way may have gone.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

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
    Plugin(#[from] CallError),
    /// The model was replaced or removed meanwhile.
    #[error("the model was replaced while it was loaded")]
    Abandoned,
}

/// What is known of a loaded model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Facts {
    /// Why it is computed on the processor and not where its resource says.
    pub(crate) instead: Option<String>,
    pub(crate) digest: Option<String>,
    pub(crate) memory: u64,
}

/// What all who wait for a load get.
pub(crate) type Load = Shared<BoxFuture<'static, Result<Arc<Loaded>, LoadFailure>>>;

/// A model in memory.
pub(crate) struct Loaded {
    pub(crate) model: Arc<PluginModel>,
    pub(crate) facts: Facts,
    leases: AtomicUsize,
    /// Milliseconds since the store was made.
    used: AtomicU64,
}

/// A model that there is, loaded or not.
pub(crate) struct Entry {
    pub(crate) recipe: Recipe,
    /// Whether it stays in memory without requests, as of late: gateways come and go.
    stays: AtomicBool,
    /// What opens the source as of late: it may change while the model stays as it is.
    credentials: Mutex<Option<Credentials>>,
    loaded: RwLock<Option<Arc<Loaded>>>,
    under_way: Mutex<Option<(Load, Instant)>>,
    failure: Mutex<Option<Failure>>,
    metadata: RwLock<Option<Arc<ModelMetadata>>>,
    abandoned: CancellationToken,
}

#[derive(Clone)]
struct Failure {
    failure: LoadFailure,
    at: Instant,
    /// How many there were without a success.
    times: u32,
}

impl Failure {
    /// How long nobody tries after it.
    fn pause(&self) -> Duration {
        PAUSE.saturating_mul(1 << self.times.saturating_sub(1).min(8)).min(LONGEST_PAUSE)
    }
}

impl Loaded {
    /// A lease begins.
    pub(crate) fn enter(&self, now: u64) {
        self.leases.fetch_add(1, Ordering::SeqCst);
        self.used.store(now, Ordering::Relaxed);
    }

    /// A lease ends.
    pub(crate) fn leave(&self) {
        self.leases.fetch_sub(1, Ordering::SeqCst);
    }

    /// When the last lease began, in milliseconds since the store was made.
    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }
}

impl Entry {
    pub(crate) fn new(recipe: Recipe) -> Entry {
        let credentials = recipe.source.as_ref().and_then(|source| source.credentials.clone());
        Entry {
            stays: AtomicBool::new(recipe.stays),
            recipe,
            credentials: Mutex::new(credentials),
            loaded: RwLock::default(),
            under_way: Mutex::default(),
            failure: Mutex::default(),
            metadata: RwLock::default(),
            abandoned: CancellationToken::new(),
        }
    }

    /// Takes over what may change while the model stays as it is.
    pub(crate) fn refresh(&self, recipe: Recipe) {
        *lock(&self.credentials) = recipe.source.and_then(|source| source.credentials);
        self.stays.store(recipe.stays, Ordering::Relaxed);
    }

    /// Whether it stays in memory without requests.
    pub(crate) fn stays(&self) -> bool {
        self.stays.load(Ordering::Relaxed)
    }

    pub(crate) fn loaded(&self) -> Option<Arc<Loaded>> {
        self.loaded.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn metadata(&self) -> Option<Arc<ModelMetadata>> {
        self.metadata.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Why the last load failed, where none has succeeded since.
    pub(crate) fn failure(&self) -> Option<LoadFailure> {
        lock(&self.failure).as_ref().map(|failure| failure.failure.clone())
    }

    /// Why a load failed so lately that none is begun, and for how long.
    pub(crate) fn rests(&self) -> Option<(LoadFailure, Duration)> {
        let failure = lock(&self.failure).clone()?;
        let left = failure.pause().checked_sub(failure.at.elapsed())?;
        Some((failure.failure, left))
    }

    /// For how long a load has been under way.
    pub(crate) fn under_way(&self) -> Option<Duration> {
        lock(&self.under_way).as_ref().map(|(_, since)| since.elapsed())
    }

    /// The load that is under way, or the one that this begins with `work`. It ends early when the model is abandoned.
    pub(crate) fn load(
        self: &Arc<Self>,
        work: impl Future<Output = Result<Arc<Loaded>, LoadFailure>> + Send + 'static,
    ) -> Load {
        let mut under_way = lock(&self.under_way);
        if let Some((load, _)) = &*under_way {
            return load.clone();
        }
        if let Some(loaded) = self.loaded() {
            return std::future::ready(Ok(loaded)).boxed().shared();
        }
        let entry = Arc::clone(self);
        let task = tokio::spawn(async move {
            let under_way = UnderWay(entry);
            tokio::select! {
                loaded = work => loaded,
                () = under_way.0.abandoned.cancelled() => Err(LoadFailure::Abandoned),
            }
        });
        let load = async move {
            task.await.unwrap_or_else(|gone| Err(CallError::Host(format!("the load ended: {gone}")).into()))
        };
        let load = load.boxed().shared();
        *under_way = Some((load.clone(), Instant::now()));
        load
    }

    /// Ends a load that nobody can use.
    pub(crate) fn abandon(&self) {
        self.abandoned.cancel();
    }

    /// Loads the model from its source. `now` is when it was first used.
    pub(crate) async fn load_now(&self, sources: &Sources, now: u64) -> Result<Loaded, LoadFailure> {
        let recipe = &self.recipe;
        let mut request = recipe.request.clone();
        let (mut digest, mut elsewhere) = (None, None);
        if let Some(source) = &recipe.source {
            let credentials = lock(&self.credentials).clone();
            let fetched = sources.fetch(&SourceRequest { credentials, ..source.clone() }).await?;
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
        Ok(Loaded { model, facts, leases: AtomicUsize::new(0), used: AtomicU64::new(now) })
    }

    /// Keeps what a load came to.
    pub(crate) fn ended(&self, loaded: Result<Loaded, LoadFailure>) -> Result<Arc<Loaded>, LoadFailure> {
        let mut failure = lock(&self.failure);
        match loaded {
            Ok(loaded) => {
                *failure = None;
                let loaded = Arc::new(loaded);
                let metadata = Arc::new(loaded.model.metadata().clone());
                *self.metadata.write().unwrap_or_else(PoisonError::into_inner) = Some(metadata);
                *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&loaded));
                Ok(loaded)
            }
            Err(error) => {
                let times = failure.as_ref().map_or(0, |failure| failure.times).saturating_add(1);
                *failure = Some(Failure { failure: error.clone(), at: Instant::now(), times });
                Err(error)
            }
        }
    }

    /// Takes the model out of memory, unless somebody has a lease on it.
    pub(crate) fn let_go(&self, loaded: &Arc<Loaded>) -> bool {
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

/// A load's own hold on its model: however it ends, another one may begin.
struct UnderWay(Arc<Entry>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        *lock(&self.0.under_way) = None;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Failure, LONGEST_PAUSE, LoadFailure, PAUSE};

    #[test]
    fn pauses_grow_and_end() {
        let pause = |times| Failure { failure: LoadFailure::Abandoned, at: Instant::now(), times }.pause();
        assert_eq!(pause(1), PAUSE);
        assert_eq!(pause(2), 2 * PAUSE);
        assert_eq!(pause(4), 8 * PAUSE);
        assert_eq!(pause(5), LONGEST_PAUSE);
        assert_eq!(pause(u32::MAX), LONGEST_PAUSE);
        assert!(pause(0) > Duration::ZERO);
    }
}
