//! What plugins compute on the host: graphs by tract. The same content is read once, and long computations leave the
//! caller's thread.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use async_trait::async_trait;
use purlin_nn::{
    Backend, Decoding, Device, Encoding, Graph, LanguageModel, LoadOptions, ModelFile, NnError, Tensor,
    TensorInfo, Token, Tract,
};
use purlin_sandbox::service::Inference;
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

/// Computations that took less than this, in microseconds, are made on the caller's thread: to hand one over costs about
/// as much.
const INLINE: u64 = 200;

/// Inference on this host.
pub struct HostInference {
    backend: Arc<Tract>,
    /// By digest and device: graphs that somebody uses.
    graphs: Mutex<HashMap<([u8; 32], Device), Weak<Timed>>>,
    /// Long computations at once.
    places: Arc<Semaphore>,
}

impl HostInference {
    /// With as many long computations at once as there are cores.
    pub fn new() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        HostInference {
            backend: Arc::new(Tract),
            graphs: Mutex::default(),
            places: Arc::new(Semaphore::new(cores)),
        }
    }

    fn held(&self, key: &([u8; 32], Device)) -> Option<Arc<dyn Graph>> {
        let mut graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        graphs.retain(|_, graph| graph.strong_count() > 0);
        graphs.get(key)?.upgrade().map(|graph| graph as Arc<dyn Graph>)
    }
}

impl Default for HostInference {
    fn default() -> Self {
        HostInference::new()
    }
}

/// A graph, and how long it takes.
struct Timed {
    graph: Arc<dyn Graph>,
    /// A moving mean, in microseconds.
    mean: AtomicU64,
}

impl Graph for Timed {
    fn inputs(&self) -> &[TensorInfo] {
        self.graph.inputs()
    }

    fn outputs(&self) -> &[TensorInfo] {
        self.graph.outputs()
    }

    fn memory(&self) -> u64 {
        self.graph.memory()
    }

    fn is_quick(&self) -> bool {
        self.mean.load(Ordering::Relaxed) < INLINE
    }

    fn compute(&self, inputs: &[(String, Tensor)]) -> Result<Vec<(String, Tensor)>, NnError> {
        let started = Instant::now();
        let outputs = self.graph.compute(inputs);
        let took = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX).min(1 << 40);
        let mean = self.mean.load(Ordering::Relaxed);
        self.mean.store((mean * 7 + took) / 8, Ordering::Relaxed);
        outputs
    }
}

#[async_trait]
impl Inference for HostInference {
    async fn load_graph(
        &self,
        encoding: Encoding,
        file: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<dyn Graph>, NnError> {
        if encoding != self.backend.encoding() {
            let reason = format!("this build computes {}", self.backend.encoding());
            return Err(NnError::NoBackend { encoding, device: options.device, reason });
        }
        let device = options.device;
        self.backend.available(device).map_err(|reason| NnError::NoBackend { encoding, device, reason })?;
        let digest = {
            let file = file.clone();
            blocking(move || digest_of(&file)).await??
        };
        if let Some(graph) = self.held(&(digest, device)) {
            return Ok(graph);
        }
        let backend = Arc::clone(&self.backend);
        let graph = blocking(move || backend.load(&file, &options)).await??;
        // Not quick until it has been seen to be: the first computation leaves the caller's thread.
        let timed = Arc::new(Timed { graph, mean: AtomicU64::new(INLINE * 2) });
        let mut graphs = self.graphs.lock().unwrap_or_else(PoisonError::into_inner);
        graphs.insert((digest, device), Arc::downgrade(&timed));
        Ok(timed)
    }

    async fn compute(
        &self,
        graph: Arc<dyn Graph>,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, NnError> {
        if graph.is_quick() {
            return graph.compute(&inputs);
        }
        let place = Arc::clone(&self.places).acquire_owned().await;
        let place = place.map_err(|_| NnError::Failed("the host is stopping".to_owned()))?;
        blocking(move || {
            let _place = place;
            graph.compute(&inputs)
        })
        .await?
    }

    async fn load_language_model(
        &self,
        _: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<dyn LanguageModel>, NnError> {
        Err(NnError::NoBackend {
            encoding: Encoding::Ggml,
            device: options.device,
            reason: "this build has no backend for language models".to_owned(),
        })
    }

    async fn decode(
        &self,
        mut decoding: Box<dyn Decoding>,
    ) -> (Option<Box<dyn Decoding>>, Result<Option<Token>, NnError>) {
        let decoded = blocking(move || {
            let token = decoding.next();
            (decoding, token)
        });
        match decoded.await {
            Ok((decoding, token)) => (Some(decoding), token),
            Err(error) => (None, Err(error)),
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, NnError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| NnError::Failed("the computation ended before it was done".to_owned()))
}

fn digest_of(file: &ModelFile) -> Result<[u8; 32], NnError> {
    let unreadable = |error: std::io::Error| NnError::Unreadable(format!("the file cannot be read: {error}"));
    match file {
        ModelFile::Memory(bytes) => Ok(Sha256::digest(bytes).into()),
        ModelFile::Path(path) => {
            hash(&mut std::fs::File::open(path).map_err(unreadable)?).map_err(unreadable)
        }
    }
}

/// The SHA-256 of what can be read.
pub(crate) fn hash(content: &mut impl std::io::Read) -> std::io::Result<[u8; 32]> {
    let (mut digest, mut piece) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match content.read(&mut piece)? {
            0 => return Ok(digest.finalize().into()),
            read => digest.update(&piece[..read]),
        }
    }
}
