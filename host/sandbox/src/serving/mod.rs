//! Models that a plugin serves. Unlike other calls, requests to a model do not get a fresh instance each: an instance
//! loads the model once and is kept, under the same limits, until it fails or nobody needs it.
//!
//! Called by whoever keeps models in memory. An instance that trapped, ran out of time or broke the contract is thrown
//! away with all that it held, and the next request gets another.

mod convert;
mod files;
mod instance;
mod stages;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::stream;
use purlin_nn::{
    Chunk, GenerateRequest, Generation, InferError, InferRequest, InferResponse, ModelMetadata, ServedModel,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

pub(crate) use convert::AnswerTooLarge;
pub use files::ModelFiles;
pub use stages::{Report, Score, Window};

use self::instance::{ModelInstance, Running};
use crate::contract::Setting;
use crate::error::CallError;
use crate::plugin::{Core, Plugin, Subject};
use purlin_registry::Stage;

/// The model that a plugin is to serve.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// Whom it is about.
    pub subject: Subject,
    /// Its name in requests.
    pub name: String,
    /// Its version; empty where it has none.
    pub version: String,
    /// One of the plugin's formats.
    pub format: String,
    /// Empty where the user gave none.
    pub format_version: String,
    /// What the user set.
    pub settings: Vec<Setting>,
    /// What lies at its source.
    pub files: Arc<ModelFiles>,
    /// Loading takes at most so long.
    pub load_timeout: Duration,
    /// A request takes at most so long.
    pub timeout: Duration,
}

/// A model in memory, with as many instances as there were requests at once.
pub struct PluginModel {
    shared: Arc<Shared>,
    metadata: ModelMetadata,
}

struct Shared {
    plugin: Arc<Core>,
    request: ModelRequest,
    pool: Mutex<Pool>,
    places: Arc<Semaphore>,
    /// Nanoseconds that calls took.
    spent: AtomicU64,
}

/// The instances of a model.
#[derive(Default)]
struct Pool {
    /// Those that nobody uses; the last one used is the first one taken.
    idle: Vec<ModelInstance>,
    /// How many are in use.
    busy: usize,
    /// The most that were in use at once since the pool was last trimmed.
    peak: usize,
    /// Bytes of the largest instance so far, which those in use are taken to have.
    instance: u64,
    /// Bytes of the graphs that all instances share.
    graphs: u64,
}

/// The right to use an instance.
struct Place {
    shared: Arc<Shared>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.shared.pool().busy -= 1;
    }
}

impl Plugin {
    /// Loads a model into a first instance.
    ///
    /// # Errors
    /// The plugin serves no models, refuses this one (a fault that names fields of the Model), or fails.
    pub async fn load_model(&self, request: ModelRequest) -> Result<PluginModel, CallError> {
        let plugin = Arc::clone(self.core());
        if !plugin.manifest.serves(Stage::ServingRuntime) {
            return Err(CallError::NoSuchStage(Stage::ServingRuntime));
        }
        let places = Arc::new(Semaphore::new(plugin.limits.concurrency));
        let (pool, spent) = (Mutex::default(), AtomicU64::new(0));
        let shared = Arc::new(Shared { plugin, request, pool, places, spent });
        let (instance, metadata) = shared.load().await?;
        shared.put_back(instance);
        Ok(PluginModel { shared, metadata })
    }
}

impl Shared {
    async fn load(&self) -> Result<(ModelInstance, ModelMetadata), CallError> {
        let (plugin, request) = (Arc::clone(&self.plugin), self.request.clone());
        self.plugin.host.crew.run(Box::pin(ModelInstance::load(plugin, request))).await?
    }

    fn pool(&self) -> MutexGuard<'_, Pool> {
        self.pool.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An instance and the right to use it.
    async fn instance(self: &Arc<Self>) -> Result<(ModelInstance, Place), InferError> {
        let places = Arc::clone(&self.places);
        let permit = match Arc::clone(&places).try_acquire_owned() {
            Ok(permit) => permit,
            Err(_) => {
                let waiting = tokio::time::timeout(self.request.timeout, places.acquire_owned());
                let permit = waiting.await.map_err(|_| InferError::Deadline(self.request.timeout))?;
                permit.map_err(|_| InferError::Unavailable("the model is being unloaded".to_owned()))?
            }
        };
        let kept = {
            let mut pool = self.pool();
            pool.busy += 1;
            pool.peak = pool.peak.max(pool.busy);
            pool.idle.pop()
        };
        let place = Place { shared: Arc::clone(self), _permit: permit };
        let instance = match kept {
            Some(instance) => instance,
            // Seldom, and larger than all else that a request holds.
            None => Box::pin(self.load()).await.map_err(convert::not_loaded)?.0,
        };
        Ok((instance, place))
    }

    /// Counts a call that began so long ago.
    fn count(&self, began: Instant) {
        let took = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.spent.fetch_add(took, Ordering::Relaxed);
    }

    /// Puts an instance back whose generation is over.
    async fn ended(&self, mut instance: ModelInstance, running: Running) {
        if instance.end(running).await.is_ok() {
            self.put_back(instance);
        }
    }

    fn put_back(&self, instance: ModelInstance) {
        let mut pool = self.pool();
        pool.instance = pool.instance.max(instance.memory());
        pool.graphs = pool.graphs.max(instance.graphs());
        pool.idle.push(instance);
    }
}

impl PluginModel {
    /// About how much memory it takes, in bytes: what its instances have, and the graphs that they share.
    pub fn memory(&self) -> u64 {
        let pool = self.shared.pool();
        let idle = pool.idle.iter().map(ModelInstance::memory).sum::<u64>();
        idle + pool.busy as u64 * pool.instance + pool.graphs
    }

    /// How long its calls took so far, all together: of the processor, where they do not wait.
    pub fn spent(&self) -> Duration {
        Duration::from_nanos(self.shared.spent.load(Ordering::Relaxed))
    }

    /// Lets go of instances beyond those that were needed at once since it was last asked; one always stays.
    pub fn trim(&self) {
        let spare = {
            let mut pool = self.shared.pool();
            let needed = pool.peak.max(1).saturating_sub(pool.busy);
            pool.peak = pool.busy;
            let kept = needed.min(pool.idle.len());
            // The last ones used are at the end.
            let more = pool.idle.len() - kept;
            pool.idle.drain(..more).collect::<Vec<_>>()
        };
        drop(spare);
    }
}

#[async_trait]
impl ServedModel for PluginModel {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let shared = &self.shared;
        let (mut instance, _place) = shared.instance().await?;
        let size = request.inputs.iter().map(|(_, tensor)| tensor.data().len()).sum();
        let counted = Arc::clone(shared);
        let call = Box::pin(async move {
            let began = Instant::now();
            let answer = instance.infer(request).await;
            counted.count(began);
            (instance, answer)
        });
        let (instance, answer) = shared.plugin.host.crew.run(call).await.map_err(InferError::from)?;
        if instance.is_sound() {
            shared.put_back(instance);
        }
        answer.map_err(|error| convert::unanswered(error, size))
    }

    async fn generate(&self, request: GenerateRequest) -> Result<Generation, InferError> {
        let shared = Arc::clone(&self.shared);
        let (mut instance, place) = shared.instance().await?;
        let counted = Arc::clone(&shared);
        let call = Box::pin(async move {
            let began = Instant::now();
            let running = instance.generate(request).await;
            counted.count(began);
            (instance, running)
        });
        let (instance, running) = shared.plugin.host.crew.run(call).await.map_err(InferError::from)?;
        let running = match running {
            Ok(running) => running,
            Err(error) => {
                if instance.is_sound() {
                    shared.put_back(instance);
                }
                return Err(error.into());
            }
        };
        let prompt_tokens = running.prompt_tokens;
        let lent = Lent { shared, instance: Some(instance), running: Some(running), _place: place };
        let chunks = stream::unfold(Some(lent), async |lent| next(lent?).await);
        Ok(Generation { prompt_tokens, chunks: Box::pin(chunks) })
    }
}

/// An instance that generates. Where the client goes away in the middle, the instance goes with it: what it was doing is
/// not known to be at an end.
struct Lent {
    shared: Arc<Shared>,
    instance: Option<ModelInstance>,
    running: Option<Running>,
    _place: Place,
}

/// The next chunk, and the generation if it goes on.
async fn next(mut lent: Lent) -> Option<(Result<Chunk, InferError>, Option<Lent>)> {
    let (mut instance, mut running) = (lent.instance.take()?, lent.running.take()?);
    let counted = Arc::clone(&lent.shared);
    let call = Box::pin(async move {
        let began = Instant::now();
        let chunk = instance.next(&mut running).await;
        counted.count(began);
        (instance, running, chunk)
    });
    let (instance, running, chunk) = match lent.shared.plugin.host.crew.run(call).await {
        Ok(done) => done,
        Err(error) => return Some((Err(error.into()), None)),
    };
    match chunk {
        // Nobody asks for more behind the last one.
        Ok(Some(chunk)) if chunk.finish.is_some() => {
            lent.shared.ended(instance, running).await;
            Some((Ok(chunk), None))
        }
        Ok(Some(chunk)) => {
            (lent.instance, lent.running) = (Some(instance), Some(running));
            Some((Ok(chunk), Some(lent)))
        }
        Ok(None) => {
            lent.shared.ended(instance, running).await;
            None
        }
        Err(error) => Some((Err(error.into()), None)),
    }
}
