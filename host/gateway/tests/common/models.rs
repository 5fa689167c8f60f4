//! Models in memory, for tests and for the example.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt as _;
use purlin_gateway::{Lease, LeaseGuard, ModelKey, ModelState, Models, Target, Upstream};
use purlin_nn::{
    Chunk, Datatype, FinishReason, GenerateRequest, Generation, InferError, InferRequest, InferResponse,
    ModelMetadata, Parameter, Prompt, ServedModel, Tasks, Tensor, TensorInfo,
};

fn info(name: &str, datatype: Datatype, shape: &[i64]) -> TensorInfo {
    TensorInfo { name: name.to_owned(), datatype, shape: shape.to_vec() }
}

/// Answers with what it was asked, by the same names.
pub struct Echo {
    metadata: ModelMetadata,
    /// How long it takes.
    pub delay: Duration,
    /// How often it was asked.
    pub asked: AtomicU64,
}

impl Echo {
    pub fn new(delay: Duration) -> Echo {
        let metadata = ModelMetadata {
            platform: "echo".to_owned(),
            inputs: vec![info("input", Datatype::Fp32, &[-1, 4])],
            tasks: Tasks { infer: true, explain: true, ..Tasks::default() },
            batchable: true,
            ..ModelMetadata::default()
        };
        Echo { metadata, delay, asked: AtomicU64::new(0) }
    }
}

#[async_trait]
impl ServedModel for Echo {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        Ok(InferResponse { outputs: request.inputs, parameters: Vec::new() })
    }

    async fn explain(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        Ok(InferResponse { outputs: request.inputs, parameters: Vec::new() })
    }

    /// As plugins answer what they do not know.
    async fn generate(&self, _: GenerateRequest) -> Result<Generation, InferError> {
        Err(InferError::Failed("the model does not generate text".to_owned()))
    }
}

/// `sum` and `difference` of two inputs of INT64.
pub struct Arithmetic(ModelMetadata);

impl Arithmetic {
    pub fn new() -> Arithmetic {
        Arithmetic(ModelMetadata {
            platform: "arithmetic".to_owned(),
            inputs: vec![info("a", Datatype::Int64, &[-1]), info("b", Datatype::Int64, &[-1])],
            outputs: vec![info("sum", Datatype::Int64, &[-1]), info("difference", Datatype::Int64, &[-1])],
            tasks: Tasks { infer: true, ..Tasks::default() },
            batchable: true,
        })
    }
}

#[async_trait]
impl ServedModel for Arithmetic {
    fn metadata(&self) -> &ModelMetadata {
        &self.0
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let column = |name: &str| {
            let found = request.inputs.iter().find(|(input, _)| input == name);
            let (_, tensor) = found.ok_or_else(|| InferError::invalid(name, "", "is missing"))?;
            if tensor.datatype() != Datatype::Int64 {
                return Err(InferError::invalid(name, tensor.datatype().as_str(), "must be INT64"));
            }
            let (elements, _) = tensor.data().as_chunks::<8>();
            Ok((
                tensor.shape().to_vec(),
                elements.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect::<Vec<_>>(),
            ))
        };
        let ((shape, a), (_, b)) = (column("a")?, column("b")?);
        if a.len() != b.len() {
            return Err(InferError::invalid("b", b.len().to_string(), "must be as many as a"));
        }
        let tensor = |combine: fn(i64, i64) -> i64| {
            let data: Vec<u8> = a.iter().zip(&b).flat_map(|(a, b)| combine(*a, *b).to_le_bytes()).collect();
            Tensor::new(Datatype::Int64, shape.clone(), data.into())
                .map_err(|error| InferError::Failed(error.to_string()))
        };
        let outputs = vec![
            ("sum".to_owned(), tensor(i64::wrapping_add)?),
            ("difference".to_owned(), tensor(i64::wrapping_sub)?),
        ];
        Ok(InferResponse { outputs, parameters: Vec::new() })
    }
}

/// Goes on with the words of the prompt, backwards, and ends.
pub struct Story {
    pub metadata: ModelMetadata,
    pub delay: Duration,
    /// Generations that are not over.
    pub running: Arc<AtomicUsize>,
}

impl Story {
    pub fn new(delay: Duration) -> Story {
        let metadata = ModelMetadata {
            platform: "story".to_owned(),
            inputs: vec![info("text_input", Datatype::Bytes, &[-1])],
            outputs: vec![info("text_output", Datatype::Bytes, &[-1])],
            tasks: Tasks { generate: true, chat: true, ..Tasks::default() },
            batchable: false,
        };
        Story { metadata, delay, running: Arc::default() }
    }
}

struct Running(Arc<AtomicUsize>);

impl LeaseGuard for Running {}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl ServedModel for Story {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, _: InferRequest) -> Result<InferResponse, InferError> {
        Err(InferError::Failed("the model only generates text".to_owned()))
    }

    async fn generate(&self, request: GenerateRequest) -> Result<Generation, InferError> {
        let text = match request.prompt {
            Prompt::Text(text) => text,
            Prompt::Messages(messages) => {
                messages.last().map(|last| last.content.clone()).unwrap_or_default()
            }
        };
        if text == "fail" {
            return Err(InferError::Failed("the model failed".to_owned()));
        }
        if text == "nothing" {
            // Panics when it is asked behind its end, as streams may.
            let chunks = futures::stream::unfold((), |()| std::future::ready(None)).boxed();
            return Ok(Generation { prompt_tokens: 1, chunks });
        }
        if text == "for ever" || text == "a flood" {
            let text = if text == "a flood" { "w".repeat(500_000) } else { String::new() };
            let piece = Chunk { text, tokens: 1, logprob: -0.5, finish: None };
            let chunks = futures::stream::repeat_with(move || Ok(piece.clone())).boxed();
            return Ok(Generation { prompt_tokens: 2, chunks });
        }
        let mut words: Vec<String> = text.split_whitespace().rev().map(|word| format!("{word} ")).collect();
        let prompt_tokens = words.len() as u32;
        let mut finish = FinishReason::Stop;
        if request.settings.max_tokens > 0 && words.len() > request.settings.max_tokens as usize {
            words.truncate(request.settings.max_tokens as usize);
            finish = FinishReason::Length;
        }
        self.running.fetch_add(1, Ordering::SeqCst);
        let running = Running(self.running.clone());
        let (delay, last) = (self.delay, words.len().saturating_sub(1));
        if words.is_empty() {
            words.push(String::new());
        }
        let chunks = futures::stream::iter(words.into_iter().enumerate()).then(move |(index, text)| {
            let _running = &running;
            async move {
                if !delay.is_zero() {
                    tokio::time::sleep(delay).await;
                }
                if text.trim() == "break" {
                    return Err(InferError::Failed("the model broke".to_owned()));
                }
                Ok(Chunk { text, tokens: 1, logprob: -0.5, finish: (index == last).then_some(finish) })
            }
        });
        Ok(Generation { prompt_tokens, chunks: chunks.boxed() })
    }
}

/// The length of each text, and its number of vowels.
pub struct Vectors(ModelMetadata);

impl Vectors {
    pub fn new() -> Vectors {
        Vectors(ModelMetadata {
            platform: "vectors".to_owned(),
            inputs: vec![info("texts", Datatype::Bytes, &[-1])],
            outputs: vec![info("vectors", Datatype::Fp32, &[-1, 2])],
            tasks: Tasks { infer: true, embed: true, ..Tasks::default() },
            batchable: false,
        })
    }
}

#[async_trait]
impl ServedModel for Vectors {
    fn metadata(&self) -> &ModelMetadata {
        &self.0
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let [(_, texts)] = request.inputs.as_slice() else {
            return Err(InferError::invalid("inputs", "", "must be one"));
        };
        let vowels = |text: &[u8]| text.iter().filter(|byte| b"aeiou".contains(byte)).count();
        let values: Vec<f32> =
            texts.texts().flat_map(|text| [text.len() as f32, vowels(text) as f32]).collect();
        let vectors = Tensor::of_floats(vec![texts.len(), 2], &values)
            .map_err(|error| InferError::Failed(error.to_string()))?;
        Ok(InferResponse {
            outputs: vec![("vectors".to_owned(), vectors)],
            parameters: vec![("prompt_tokens".to_owned(), Parameter::Int(texts.len() as i64))],
        })
    }
}

/// A model and what becomes of those who ask for it.
#[derive(Clone)]
pub enum Entry {
    Ready(Arc<dyn ServedModel>),
    /// It has to be loaded, which takes a while.
    Sleeping(Arc<dyn ServedModel>, Duration),
    /// One after the other is leased.
    Servers(Vec<String>),
    Broken(String),
}

/// All models, by name; namespaces do not matter.
#[derive(Default)]
pub struct Shelf {
    entries: Mutex<HashMap<String, Entry>>,
    turn: AtomicUsize,
    /// Other gateways, of which the first is asked.
    pub others: Mutex<Vec<String>>,
    /// Leases that are held.
    pub leases: Arc<AtomicUsize>,
    /// What the last request for a lease began with.
    pub prompt: Mutex<Vec<u64>>,
    /// Models that a request could have used.
    pub missed: Mutex<Vec<String>>,
}

impl Shelf {
    pub fn put(&self, name: &str, entry: Entry) {
        self.entries().insert(name.to_owned(), entry);
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn entry(&self, model: &ModelKey) -> Option<Entry> {
        self.entries().get(&model.name).cloned()
    }

    fn leased(&self, target: Target) -> Lease {
        self.leases.fetch_add(1, Ordering::SeqCst);
        Lease::guarded(target, Running(self.leases.clone()))
    }
}

#[async_trait]
impl Models for Shelf {
    fn try_lease(&self, model: &ModelKey, prompt: &[u64]) -> Option<Lease> {
        *self.prompt.lock().unwrap_or_else(PoisonError::into_inner) = prompt.to_vec();
        match self.entry(model)? {
            Entry::Ready(model) => Some(self.leased(Target::Model(model))),
            Entry::Servers(servers) => {
                let turn = self.turn.fetch_add(1, Ordering::SeqCst);
                let http = servers[turn % servers.len()].clone();
                Some(self.leased(Target::Upstream(Upstream { http, grpc: None })))
            }
            Entry::Sleeping(..) | Entry::Broken(_) => None,
        }
    }

    async fn lease(&self, model: &ModelKey, prompt: &[u64]) -> Result<Lease, InferError> {
        match self.entry(model) {
            Some(Entry::Sleeping(awake, after)) => {
                tokio::time::sleep(after).await;
                self.put(&model.name, Entry::Ready(awake.clone()));
                Ok(self.leased(Target::Model(awake)))
            }
            Some(Entry::Broken(why)) => Err(InferError::Unavailable(why)),
            Some(_) => {
                self.try_lease(model, prompt).ok_or_else(|| InferError::Unavailable("gone".to_owned()))
            }
            None => Err(InferError::Unavailable(format!("there is no model {model}"))),
        }
    }

    fn missed(&self, model: &ModelKey) {
        self.missed.lock().unwrap_or_else(PoisonError::into_inner).push(model.name.clone());
    }

    fn state(&self, model: &ModelKey) -> ModelState {
        match self.entry(model) {
            Some(Entry::Ready(_) | Entry::Servers(_)) => ModelState::Ready,
            Some(Entry::Sleeping(..)) => ModelState::Idle,
            Some(Entry::Broken(why)) => ModelState::Failed(why),
            None => ModelState::Unknown,
        }
    }

    fn elsewhere(&self, group: &str, models: &[ModelKey]) -> Option<String> {
        let others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let other = others.first().cloned();
        assert!(other.is_none() || (group == "team/echo" && models[0].name == "echo"), "{group} {models:?}");
        other
    }

    fn unreachable(&self, gateway: &str) {
        self.others.lock().unwrap_or_else(PoisonError::into_inner).retain(|other| other != gateway);
    }

    fn metadata(&self, model: &ModelKey) -> Option<Arc<ModelMetadata>> {
        match self.entry(model)? {
            Entry::Ready(model) => Some(Arc::new(model.metadata().clone())),
            _ => None,
        }
    }
}
