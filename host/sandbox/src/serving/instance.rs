//! One instance that holds a loaded model: its store lives as long as it does, and each call has a deadline of its own.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use purlin_nn::{Chunk, GenerateRequest, InferRequest, InferResponse, ModelMetadata};
use purlin_registry::Stage;
use tokio::sync::OwnedSemaphorePermit;
use wasmtime::Store;
use wasmtime::component::{Instance, ResourceAny, TypedFunc};

use super::{ModelRequest, convert};
use crate::call::{self, CallState, Origin};
use crate::contract::invoke::ServingRuntime;
use crate::contract::serving::ServingState;
use crate::contract::serving::bindings::purlin::plugin::serving;
use crate::contract::{Context, Fault};
use crate::error::CallError;
use crate::plugin::Core;

type Load = TypedFunc<(serving::ModelRequest,), (Result<ResourceAny, Fault>,)>;
type Metadata = TypedFunc<(ResourceAny,), (serving::ModelMetadata,)>;
type Infer = TypedFunc<(ResourceAny, serving::InferRequest), (Result<serving::InferResponse, Fault>,)>;
type Generate = TypedFunc<(ResourceAny, serving::GenerateRequest), (Result<ResourceAny, Fault>,)>;
type PromptTokens = TypedFunc<(ResourceAny,), (u32,)>;
type Next = TypedFunc<(ResourceAny,), (Result<Option<serving::Chunk>, Fault>,)>;

pub(super) struct ModelInstance {
    plugin: Arc<Core>,
    store: Store<CallState>,
    functions: Functions,
    model: ResourceAny,
    timeout: Duration,
    sound: bool,
    _place: OwnedSemaphorePermit,
}

/// The functions of the instance, looked up once.
struct Functions {
    metadata: Metadata,
    infer: Infer,
    generate: Generate,
    prompt_tokens: PromptTokens,
    next: Next,
}

/// A generation that an instance has in progress.
pub(super) struct Running {
    generation: ResourceAny,
    pub(super) prompt_tokens: u32,
}

impl ModelInstance {
    /// Makes an instance and has it load the model.
    pub(super) async fn load(
        plugin: Arc<Core>,
        request: ModelRequest,
    ) -> Result<(ModelInstance, ModelMetadata), CallError> {
        let origin = Origin::outermost(&plugin, &request.subject);
        if let Some(account) = &origin.account {
            account.admit()?;
        }
        let place = Arc::clone(&plugin.host.kept).try_acquire_owned();
        let place = place.map_err(|_| {
            CallError::Host(
                "as many instances hold models as may; the next one needs another to go".to_owned(),
            )
        })?;
        let deadline = Instant::now() + request.load_timeout;
        let context = context(&plugin);
        let mut store = call::store(&plugin, origin, deadline, Some(&context));
        store.data_mut().serving = Some(Box::new(ServingState::of(Arc::clone(&request.files))));
        let lowered = serving::ModelRequest {
            context,
            name: request.name,
            version: request.version,
            format: request.format,
            format_version: request.format_version,
            settings: request.settings,
            files: (request.files.names())
                .map(|(name, size)| serving::ModelFile { name: name.to_owned(), size })
                .collect(),
        };
        let exports =
            plugin.exports.serving_runtime().map_err(|error| CallError::Malformed(error.to_string()))?;
        let clock = Clock::start(&plugin, &mut store, "load", request.load_timeout);
        let loading = async {
            let instance = plugin.pre.instantiate_async(&mut store).await?;
            let load: Load = instance.get_typed_func(&mut store, exports.load)?;
            let (model,) = load.call_async(&mut store, (lowered,)).await?;
            let functions = Functions::find(&mut store, &instance, exports)?;
            let model = match model {
                Ok(model) => model,
                Err(fault) => return Ok(Err(fault)),
            };
            let (metadata,) = functions.metadata.call_async(&mut store, (model,)).await?;
            Ok(Ok((functions, model, convert::metadata(metadata)?)))
        };
        let loaded = clock.run(pin!(loading)).await;
        let (functions, model, metadata) = clock.finish(&store, loaded)?;
        let timeout = request.timeout;
        let instance = ModelInstance { plugin, store, functions, model, timeout, sound: true, _place: place };
        Ok((instance, metadata))
    }

    /// Whether it may be asked again.
    pub(super) fn is_sound(&self) -> bool {
        self.sound
    }

    /// Its linear memory, in bytes.
    pub(super) fn memory(&self) -> u64 {
        self.store.data().memory() as u64
    }

    /// Memory of the graphs that it computes, in bytes. Instances of one model share these.
    pub(super) fn graphs(&self) -> u64 {
        self.store.data().serving.as_ref().map_or(0, |serving| serving.graphs)
    }

    pub(super) async fn infer(&mut self, request: InferRequest) -> Result<InferResponse, CallError> {
        let context = context(&self.plugin);
        let lowered = convert::infer_request(&mut self.store, context, request);
        let lowered = lowered.map_err(|error| CallError::Host(error.to_string()))?;
        let clock = self.start("infer");
        let (functions, store) = (&self.functions, &mut self.store);
        let asking = async {
            let (answer,) = functions.infer.call_async(&mut *store, (self.model, lowered)).await?;
            convert::answered(store, answer)
        };
        let answer = clock.run(pin!(asking)).await;
        self.finish(clock, answer)
    }

    pub(super) async fn generate(&mut self, request: GenerateRequest) -> Result<Running, CallError> {
        let lowered = convert::generate_request(context(&self.plugin), request);
        let clock = self.start("generate");
        let (functions, store) = (&self.functions, &mut self.store);
        let asking = async {
            let (generation,) = functions.generate.call_async(&mut *store, (self.model, lowered)).await?;
            let generation = match generation {
                Ok(generation) => generation,
                Err(fault) => return Ok(Err(fault)),
            };
            let (prompt_tokens,) = functions.prompt_tokens.call_async(&mut *store, (generation,)).await?;
            Ok(Ok(Running { generation, prompt_tokens }))
        };
        let running = clock.run(pin!(asking)).await;
        self.finish(clock, running)
    }

    pub(super) async fn next(&mut self, running: &mut Running) -> Result<Option<Chunk>, CallError> {
        let clock = self.start("next");
        let asking =
            async { Ok(self.functions.next.call_async(&mut self.store, (running.generation,)).await?.0) };
        let chunk = clock.run(pin!(asking)).await;
        Ok(self.finish(clock, chunk)?.map(convert::chunk))
    }

    /// Gives back what a generation holds in the instance.
    pub(super) async fn end(&mut self, running: Running) -> Result<(), CallError> {
        let clock = self.start("end");
        let ending = async { running.generation.resource_drop_async(&mut self.store).await.map(Ok) };
        let ended = clock.run(pin!(ending)).await;
        self.finish(clock, ended)
    }

    fn start(&mut self, function: &'static str) -> Clock {
        // Should the future be dropped in the middle, nobody says otherwise.
        self.sound = false;
        Clock::start(&self.plugin, &mut self.store, function, self.timeout)
    }

    /// After anything but an answer or a fault the instance is not to be used again.
    fn finish<T>(
        &mut self,
        clock: Clock,
        answer: wasmtime::Result<Result<T, Fault>>,
    ) -> Result<T, CallError> {
        let answer = clock.finish(&self.store, answer);
        self.sound = matches!(answer, Ok(_) | Err(CallError::Fault(_)));
        answer
    }
}

impl Functions {
    fn find(
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &ServingRuntime,
    ) -> wasmtime::Result<Functions> {
        Ok(Functions {
            metadata: instance.get_typed_func(&mut *store, exports.metadata)?,
            infer: instance.get_typed_func(&mut *store, exports.infer)?,
            generate: instance.get_typed_func(&mut *store, exports.generate)?,
            prompt_tokens: instance.get_typed_func(&mut *store, exports.prompt_tokens)?,
            next: instance.get_typed_func(&mut *store, exports.next)?,
        })
    }
}

/// The time of one call: from when until when.
struct Clock {
    plugin: Arc<Core>,
    function: &'static str,
    started: Instant,
    timeout: Duration,
}

impl Clock {
    fn start(
        plugin: &Arc<Core>,
        store: &mut Store<CallState>,
        function: &'static str,
        timeout: Duration,
    ) -> Clock {
        let started = Instant::now();
        call::renew(store, started + timeout);
        Clock { plugin: Arc::clone(plugin), function, started, timeout }
    }

    /// Ends what waits for the host for too long; the engine's clock ends what computes for too long.
    async fn run<T>(&self, call: Pin<&mut impl Future<Output = wasmtime::Result<T>>>) -> wasmtime::Result<T> {
        let until = self.started + self.timeout;
        let call = tokio::time::timeout_at(until.into(), self.plugin.host.ticker.during(call));
        call.await.unwrap_or_else(|_| Err(call::deadline_passed()))
    }

    fn finish<T>(
        &self,
        store: &Store<CallState>,
        answer: wasmtime::Result<Result<T, Fault>>,
    ) -> Result<T, CallError> {
        let answer = match answer {
            Ok(answer) => answer.map_err(|fault| CallError::Fault(convert::shown(fault))),
            Err(error) => Err(call::verdict(&self.plugin, store.data(), self.function, self.timeout, &error)),
        };
        call::report(&self.plugin, Some(Stage::ServingRuntime), self.function, &answer, self.started);
        answer
    }
}

pub(super) fn context(plugin: &Core) -> Context {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Context {
        now_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        seed: 0,
        config: plugin.config.clone(),
    }
}
