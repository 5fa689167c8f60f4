//! The backends of this process: picks the one that reads a graph, loads each graph once however many ask for it, and
//! decides on which thread it is computed.
//!
//! Called by the sandbox's `nn` interface and by whoever serves a model from its files.

use std::convert::Infallible;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::backend::{
    Backend, Decoding, Device, Encoding, Graph, LanguageBackend, LanguageModel, LoadOptions, ModelFile,
    Sampling, TensorInfo, Token,
};
use crate::crew::Crew;
use crate::error::NnError;
use crate::shelf::{Keeper, Key, Shelf};
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
            threads: crate::processors(),
            queue: 256,
            inline_below: Duration::from_micros(200),
        }
    }
}

/// The backends of this process, and the graphs that are in use.
pub struct Backends {
    backends: Vec<Arc<dyn Backend>>,
    language_backends: Vec<Arc<dyn LanguageBackend>>,
    graphs: Shelf<LoadedGraph>,
    language_models: Shelf<LoadedLanguageModel>,
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
            language_backends: Vec::new(),
            graphs: Shelf::default(),
            language_models: Shelf::default(),
            crew: Arc::new(Crew::new(settings.threads, settings.queue)),
            inline_below: settings.inline_below,
        }
    }

    /// And these for language models, in this order. The preference is about graphs.
    #[must_use]
    pub fn with_language_models(self, language_backends: Vec<Arc<dyn LanguageBackend>>) -> Backends {
        Backends { language_backends, ..self }
    }

    /// Whether some backend reads graphs of the encoding and computes on the device, here and now.
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
        let (key, file) = Key::of(file, encoding, &options).await?;
        let (crew, inline_below) = (self.crew.clone(), self.inline_below);
        let load = move |keeper| {
            let (backend, graph) = first_that_reads(&able, &file, &options)?;
            Ok(LoadedGraph { graph, backend, crew, inline_below, pace: Pace::default(), _keeper: keeper })
        };
        self.graphs.get(key, load).await
    }

    /// Loads a language model, or gives the one that is loaded, as [`Backends::load`] does.
    ///
    /// # Errors
    /// [`NnError::NoBackend`], or the first backend's reason for not reading it.
    pub async fn load_language_model(
        &self,
        file: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<LoadedLanguageModel>, NnError> {
        let (encoding, device) = (Encoding::Ggml, options.device);
        let mut asked = Asked::default();
        for backend in self.language_backends.iter().filter(|backend| backend.encoding() == encoding) {
            asked.hear(backend, backend.name(), backend.available(device));
        }
        let able = asked.able(encoding, device)?;
        let (key, file) = Key::of(file, encoding, &options).await?;
        let load = move |keeper| {
            let model = first(&able, |backend| {
                let begun = Instant::now();
                let model = backend.load(&file, &options)?;
                let (took, memory) = (begun.elapsed(), model.memory());
                tracing::debug!(backend = backend.name(), %device, ?took, memory, "loaded a language model");
                Ok(model)
            })?;
            Ok(LoadedLanguageModel { model, _keeper: keeper })
        };
        self.language_models.get(key, load).await
    }

    /// Computes the next token of a generation, on a thread for such work. A generation that has begun is not refused for
    /// others that wait; whoever begins them bounds how many there are.
    ///
    /// The generation comes back with the token; it is lost where its computation panicked. Dropping the future ends it.
    pub async fn decode(
        &self,
        mut decoding: Box<dyn Decoding>,
    ) -> (Option<Box<dyn Decoding>>, Result<Option<Token>, NnError>) {
        let work = move || {
            let token = decoding.next();
            Ok((decoding, token))
        };
        match self.crew.run_admitted(work).await {
            Ok((decoding, token)) => (Some(decoding), token),
            Err(error) => (None, Err(error)),
        }
    }

    fn able(&self, encoding: Encoding, device: Device) -> Result<Vec<Arc<dyn Backend>>, NnError> {
        let mut asked = Asked::default();
        for backend in self.backends.iter().filter(|backend| backend.encoding() == encoding) {
            asked.hear(backend, backend.name(), backend.available(device));
        }
        asked.able(encoding, device)
    }
}

/// What the backends of an encoding said about a device.
struct Asked<B> {
    able: Vec<B>,
    missing: Vec<String>,
}

impl<B> Default for Asked<B> {
    fn default() -> Self {
        Asked { able: Vec::new(), missing: Vec::new() }
    }
}

impl<B: Clone> Asked<B> {
    fn hear(&mut self, backend: &B, name: &str, answer: Result<(), String>) {
        match answer {
            Ok(()) => self.able.push(backend.clone()),
            Err(reason) => self.missing.push(format!("{name}: {reason}")),
        }
    }

    fn able(self, encoding: Encoding, device: Device) -> Result<Vec<B>, NnError> {
        if !self.able.is_empty() {
            return Ok(self.able);
        }
        let reason = match self.missing.is_empty() {
            true => "no backend reads it".to_owned(),
            false => self.missing.join("; "),
        };
        Err(NnError::NoBackend { encoding, device, reason })
    }
}

fn first_that_reads(
    able: &[Arc<dyn Backend>],
    file: &ModelFile,
    options: &LoadOptions,
) -> Result<(&'static str, Arc<dyn Graph>), NnError> {
    first(able, |backend| {
        let begun = Instant::now();
        let loaded = backend.load(file, options);
        match &loaded {
            Ok(graph) => {
                let (took, memory) = (begun.elapsed(), graph.memory());
                tracing::debug!(backend = backend.name(), device = %options.device, ?took, memory, "loaded a graph");
            }
            Err(error) => {
                tracing::debug!(backend = backend.name(), %error, "the backend does not read the graph");
            }
        }
        loaded.map(|graph| (backend.name(), graph))
    })
}

/// What the first backend that can makes, or the first one's reason where none can.
fn first<B, T>(able: &[B], mut load: impl FnMut(&B) -> Result<T, NnError>) -> Result<T, NnError> {
    let mut refused = None;
    for backend in able {
        match load(backend) {
            Ok(loaded) => return Ok(loaded),
            Err(error) => {
                refused.get_or_insert(error);
            }
        }
    }
    Err(refused.unwrap_or_else(|| NnError::Failed("there is no backend".to_owned())))
}

/// A language model in use, shared by all who loaded the same content. Its generations go on where
/// [`Backends::decode`] computes them.
pub struct LoadedLanguageModel {
    model: Arc<dyn LanguageModel>,
    _keeper: Keeper<LoadedLanguageModel>,
}

impl LanguageModel for LoadedLanguageModel {
    fn context_length(&self) -> usize {
        self.model.context_length()
    }

    fn vocabulary(&self) -> usize {
        self.model.vocabulary()
    }

    fn memory(&self) -> u64 {
        self.model.memory()
    }

    fn start(&self, prompt: &[u32], sampling: Sampling) -> Result<Box<dyn Decoding>, NnError> {
        self.model.start(prompt, sampling)
    }
}

/// A graph in use, shared by all who loaded the same content.
pub struct LoadedGraph {
    graph: Arc<dyn Graph>,
    backend: &'static str,
    crew: Arc<Crew>,
    inline_below: Duration,
    pace: Pace,
    _keeper: Keeper<LoadedGraph>,
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
        let (graph, wide) = (self.clone(), self.graph.clone());
        self.crew.run(move || wide.width(), move || graph.timed(&inputs, bytes)).await
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
            let after = match before {
                0 => value,
                // One that lost its core in between took long for no reason of its own: alone it moves the average little. A
                // graph that has become slow is found out in a few computations all the same.
                _ => before - before / 8 + value.min(before.saturating_mul(2).saturating_add(8)) / 8,
            };
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

    #[test]
    fn who_lost_the_core_once_in_a_while_is_not_taken_to_be_slow() {
        let pace = Pace::default();
        for number in 0..1000 {
            pace.took(
                if number % 20 == 7 { Duration::from_millis(5) } else { Duration::from_micros(50) },
                100,
            );
            assert!(pace.expected(100).unwrap() < Duration::from_micros(60));
        }
        let pace = Pace::default();
        pace.took(Duration::from_micros(50), 0);
        for _ in 0..100 {
            pace.took(Duration::from_micros(50), 400);
        }
        assert!(pace.expected(400).unwrap() < Duration::from_micros(60), "an empty input says nothing");
        // Larger inputs that take longer are expected to, from the first on.
        for _ in 0..100 {
            assert!(pace.expected(40_000).unwrap() > Duration::from_millis(3));
            pace.took(Duration::from_millis(5), 40_000);
        }
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
