//! The backends of this process: picks the one that reads a graph, loads each graph once however many ask for it, and
//! decides on which thread it is computed.
//!
//! Called by the sandbox's `nn` interface and by whoever serves a model from its files.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant, SystemTime};

use futures::FutureExt;
use futures::future::{BoxFuture, Shared};
use sha2::{Digest, Sha256};

use crate::backend::{Backend, Device, Encoding, Graph, LoadOptions, ModelFile, TensorInfo};
use crate::crew::Crew;
use crate::error::NnError;
use crate::tensor::Tensor;

/// Which backends are used, by name, the first that can goes; none named means all, in their own order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Preference(Vec<String>);

impl FromStr for Preference {
    type Err = Infallible;

    /// `auto`, or names with commas between them.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let names = text.split(',').map(str::trim).filter(|name| !name.is_empty() && *name != "auto");
        Ok(Preference(names.map(str::to_owned).collect()))
    }
}

/// How graphs are computed.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Which backends are used.
    pub preference: Preference,
    /// Threads for computations that are too long for the caller's.
    pub threads: usize,
    /// Computations that wait for such a thread at most.
    pub queue: usize,
    /// A computation that is expected to take less runs on the caller's thread.
    pub inline_below: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            preference: Preference::default(),
            threads: std::thread::available_parallelism().map_or(2, usize::from),
            queue: 256,
            inline_below: Duration::from_micros(200),
        }
    }
}

/// The backends of this process, and the graphs that are in use.
pub struct Backends {
    backends: Vec<Arc<dyn Backend>>,
    shelf: Arc<Shelf>,
    crew: Arc<Crew>,
    inline_below: Duration,
}

impl Backends {
    /// These, in the order of the preference.
    pub fn new(backends: Vec<Arc<dyn Backend>>, settings: &Settings) -> Backends {
        let Preference(names) = &settings.preference;
        let backends = match names.as_slice() {
            [] => backends,
            names => {
                let named = |name: &String| backends.iter().find(|backend| backend.name() == name).cloned();
                names.iter().filter_map(named).collect()
            }
        };
        Backends {
            backends,
            shelf: Arc::new(Shelf::default()),
            crew: Arc::new(Crew::new(settings.threads, settings.queue)),
            inline_below: settings.inline_below,
        }
    }

    /// Whether some backend reads the encoding and computes on the device, here and now.
    ///
    /// # Errors
    /// [`NnError::NoBackend`] says for each backend what is missing.
    pub fn available(&self, encoding: Encoding, device: Device) -> Result<(), NnError> {
        self.able(encoding, device).map(drop)
    }

    /// Loads a graph, or gives the one that is loaded: the same content with the same options is loaded once, and is kept
    /// for as long as somebody has it. Dropping the future does not stop the load for others who wait for it.
    ///
    /// # Guarantees
    /// The next backend in order is asked where one cannot read the graph. Content in memory is known by its digest; a
    /// file by its place, size and time of change, because the weights beside it belong to it.
    ///
    /// # Errors
    /// [`NnError::NoBackend`], or the first backend's reason for not reading it. A failure is not remembered.
    pub async fn load(
        &self,
        encoding: Encoding,
        file: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<LoadedGraph>, NnError> {
        let able = self.able(encoding, options.device)?;
        let (file, content) = blocking(move || Content::of(&file).map(|content| (file, content))).await?;
        let key = Key { content, encoding, device: options.device, threads: options.threads };
        let loading = {
            let mut shelf = self.shelf.places();
            match shelf.entry(key.clone()) {
                Entry::Occupied(mut place) => match place.get() {
                    Place::Loading(loading) => loading.clone(),
                    Place::Loaded(graph) => match graph.upgrade() {
                        Some(graph) => return Ok(graph),
                        // Its last user is just letting go of it.
                        None => {
                            let loading = self.begin(key, able, file, options);
                            place.insert(Place::Loading(loading.clone()));
                            loading
                        }
                    },
                },
                Entry::Vacant(place) => {
                    let loading = self.begin(key, able, file, options);
                    place.insert(Place::Loading(loading.clone()));
                    loading
                }
            }
        };
        loading.await
    }

    fn able(&self, encoding: Encoding, device: Device) -> Result<Vec<Arc<dyn Backend>>, NnError> {
        let (mut able, mut missing) = (Vec::new(), Vec::new());
        for backend in self.backends.iter().filter(|backend| backend.encoding() == encoding) {
            match backend.available(device) {
                Ok(()) => able.push(backend.clone()),
                Err(reason) => missing.push(format!("{}: {reason}", backend.name())),
            }
        }
        if !able.is_empty() {
            return Ok(able);
        }
        let reason = if missing.is_empty() { "no backend reads it".to_owned() } else { missing.join("; ") };
        Err(NnError::NoBackend { encoding, device, reason })
    }

    fn begin(&self, key: Key, able: Vec<Arc<dyn Backend>>, file: ModelFile, options: LoadOptions) -> Loading {
        let (shelf, crew, inline_below) = (self.shelf.clone(), self.crew.clone(), self.inline_below);
        let load = move || {
            let read = catch_unwind(AssertUnwindSafe(|| first_that_reads(&able, &file, &options)));
            let read = read.unwrap_or_else(|_| Err(NnError::Failed("the backend panicked".to_owned())));
            let loaded = read.map(|(backend, graph)| {
                let keeper = Keeper { shelf: Arc::downgrade(&shelf), key: key.clone() };
                Arc::new(LoadedGraph {
                    graph,
                    backend,
                    crew,
                    inline_below,
                    pace: Pace::default(),
                    _keeper: keeper,
                })
            });
            let mut places = shelf.places();
            let before = match &loaded {
                Ok(graph) => places.insert(key, Place::Loaded(Arc::downgrade(graph))),
                Err(_) => places.remove(&key),
            };
            // Nothing is dropped under the lock that might want it.
            drop(places);
            drop(before);
            loaded
        };
        blocking(load).boxed().shared()
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NnError> + Send + 'static,
) -> Result<T, NnError> {
    let ended = |error| NnError::Failed(format!("loading was ended: {error}"));
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}

fn first_that_reads(
    able: &[Arc<dyn Backend>],
    file: &ModelFile,
    options: &LoadOptions,
) -> Result<(&'static str, Arc<dyn Graph>), NnError> {
    let mut first = None;
    for backend in able {
        let begun = Instant::now();
        match backend.load(file, options) {
            Ok(graph) => {
                let (took, memory) = (begun.elapsed(), graph.memory());
                tracing::debug!(backend = backend.name(), device = %options.device, ?took, memory, "loaded a graph");
                return Ok((backend.name(), graph));
            }
            Err(error) => {
                tracing::debug!(backend = backend.name(), %error, "the backend does not read the graph");
                first.get_or_insert(error);
            }
        }
    }
    Err(first.unwrap_or_else(|| NnError::Failed("there is no backend".to_owned())))
}

type Loading = Shared<BoxFuture<'static, Result<Arc<LoadedGraph>, NnError>>>;

/// The graphs that are in use or on their way.
#[derive(Default)]
struct Shelf(Mutex<HashMap<Key, Place>>);

impl Shelf {
    fn places(&self) -> MutexGuard<'_, HashMap<Key, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Place {
    Loading(Loading),
    Loaded(Weak<LoadedGraph>),
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    content: Content,
    encoding: Encoding,
    device: Device,
    threads: usize,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Content {
    Digest([u8; 32]),
    File { path: PathBuf, bytes: u64, changed: Option<SystemTime> },
}

impl Content {
    fn of(file: &ModelFile) -> Result<Content, NnError> {
        match file {
            ModelFile::Memory(content) => Ok(Content::Digest(Sha256::digest(content).into())),
            ModelFile::Path(path) => {
                let unreadable = |error| NnError::Unreadable(format!("{}: {error}", path.display()));
                let whole = path.canonicalize().map_err(unreadable)?;
                let metadata = whole.metadata().map_err(unreadable)?;
                Ok(Content::File { path: whole, bytes: metadata.len(), changed: metadata.modified().ok() })
            }
        }
    }
}

/// Takes the graph off the shelf when its last user lets go of it.
struct Keeper {
    shelf: Weak<Shelf>,
    key: Key,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        let Some(shelf) = self.shelf.upgrade() else { return };
        let mut places = shelf.places();
        // It may have been asked for again meanwhile, and stand there anew.
        if let Some(Place::Loaded(graph)) = places.get(&self.key)
            && graph.strong_count() == 0
        {
            places.remove(&self.key);
        }
    }
}

/// A graph in use, shared by all who loaded the same content.
pub struct LoadedGraph {
    graph: Arc<dyn Graph>,
    backend: &'static str,
    crew: Arc<Crew>,
    inline_below: Duration,
    pace: Pace,
    _keeper: Keeper,
}

impl LoadedGraph {
    /// The name of the backend that reads it.
    pub fn backend(&self) -> &'static str {
        self.backend
    }

    /// What it takes, in its own order.
    pub fn inputs(&self) -> &[TensorInfo] {
        self.graph.inputs()
    }

    /// What it gives, in its own order.
    pub fn outputs(&self) -> &[TensorInfo] {
        self.graph.outputs()
    }

    /// About how much memory it holds, in bytes.
    pub fn memory(&self) -> u64 {
        self.graph.memory()
    }

    /// Computes all outputs, on the caller's thread where that is expected to be quick, else on one for such work.
    /// Dropping the future takes a computation that has not begun out of the queue; one that has begun is completed and its
    /// answer dropped.
    ///
    /// # Errors
    /// Those of [`Graph::compute`], and [`NnError::Overloaded`] where too many computations wait.
    pub async fn compute(
        self: &Arc<Self>,
        inputs: Vec<(String, Tensor)>,
    ) -> Result<Vec<(String, Tensor)>, NnError> {
        let bytes = inputs.iter().map(|(_, tensor)| tensor.data().len() as u64).sum();
        if self.pace.expected(bytes).is_some_and(|expected| expected < self.inline_below) {
            return self.timed(&inputs, bytes);
        }
        let graph = self.clone();
        self.crew.run(move || graph.timed(&inputs, bytes)).await
    }

    fn timed(&self, inputs: &[(String, Tensor)], bytes: u64) -> Result<Vec<(String, Tensor)>, NnError> {
        let begun = Instant::now();
        let outputs = self.graph.compute(inputs)?;
        self.pace.took(begun.elapsed(), bytes);
        Ok(outputs)
    }
}

/// How long a graph's computations took lately, and for how large inputs: moving averages, in which a lost update of two
/// at once does no harm. Zero before the first.
#[derive(Default)]
struct Pace {
    nanoseconds: AtomicU64,
    bytes: AtomicU64,
}

impl Pace {
    fn took(&self, time: Duration, bytes: u64) {
        let blend = |average: &AtomicU64, value: u64| {
            let before = average.load(Ordering::Relaxed);
            let after = if before == 0 { value } else { before - before / 8 + value / 8 };
            average.store(after.max(1), Ordering::Relaxed);
        };
        blend(&self.nanoseconds, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
        blend(&self.bytes, bytes);
    }

    /// A larger batch than usual is expected to take longer in proportion; a smaller one no less than usual.
    fn expected(&self, bytes: u64) -> Option<Duration> {
        let (nanoseconds, usual) =
            (self.nanoseconds.load(Ordering::Relaxed), self.bytes.load(Ordering::Relaxed));
        if nanoseconds == 0 || usual == 0 {
            return None;
        }
        let scaled = u128::from(nanoseconds) * u128::from(bytes.max(usual)) / u128::from(usual);
        Some(Duration::from_nanos(u64::try_from(scaled).unwrap_or(u64::MAX)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::{any, proptest};

    use super::{Pace, Preference};

    #[test]
    fn a_preference_is_a_list_of_names_or_auto() {
        let names = |text: &str| text.parse::<Preference>().unwrap().0;
        assert_eq!(names("auto"), [""; 0]);
        assert_eq!(names("ort, tract"), ["ort", "tract"]);
    }

    #[test]
    fn the_pace_follows_and_scales_with_the_input() {
        let pace = Pace::default();
        assert_eq!(pace.expected(100), None);
        pace.took(Duration::from_micros(10), 100);
        assert_eq!(pace.expected(100), Some(Duration::from_micros(10)));
        assert_eq!(pace.expected(1), Some(Duration::from_micros(10)));
        assert_eq!(pace.expected(10_000), Some(Duration::from_millis(1)));
        for _ in 0..100 {
            pace.took(Duration::from_millis(2), 100);
        }
        assert!(pace.expected(100).unwrap() > Duration::from_millis(1));
    }

    proptest! {
        #[test]
        fn no_pace_overflows(times in proptest::collection::vec((any::<u64>(), any::<u64>()), 0..20), bytes: u64) {
            let pace = Pace::default();
            for (nanoseconds, bytes) in times {
                pace.took(Duration::from_nanos(nanoseconds), bytes);
            }
            pace.expected(bytes);
        }
    }
}
