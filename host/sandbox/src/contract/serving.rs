//! What plugins that serve models import: tensors, wasi-nn, graphs, language models, the files of their model, and the
//! model that they explain. Made from the newest version; a component of an older one has none of this.
//!
//! Tensors live on the host. A plugin that hands a request's tensor to a graph, and the graph's answer back, moves two
//! numbers; it copies elements only where it asks for them.
#![allow(
    unreachable_pub,
    reason = "the macro re-exports the types of resources, which must be `pub` for that"
)]

use std::sync::Arc;

use bytes::Bytes;
use purlin_nn::{Datatype, Decoding, Device, Encoding, LanguageModel, NnError, ServedModel, Tensor};
use wasmtime::component::{HasSelf, Linker, Resource, ResourceTable};

use self::bindings::purlin::plugin::{graphs, language_models, model_files, predictor, tensors};
use self::bindings::wasi::nn;
use super::HostError;
use crate::call::CallState;
use crate::serving::ModelFiles;

/// What the macro makes. Its names mirror the WIT packages; `serving::convert` has what is used of them.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated code")]
pub(crate) mod bindings {
    wasmtime::component::bindgen!({
        path: "../../wit/v0.3",
        inline: "
            package purlin:serving-host;

            world host {
                import wasi:nn/graph@0.2.0-rc-2024-10-28;
                import wasi:nn/inference@0.2.0-rc-2024-10-28;
                import wasi:nn/tensor@0.2.0-rc-2024-10-28;
                import wasi:nn/errors@0.2.0-rc-2024-10-28;
                import purlin:plugin/tensors@0.3.0;
                import purlin:plugin/serving@0.3.0;
                import purlin:plugin/graphs@0.3.0;
                import purlin:plugin/language-models@0.3.0;
                import purlin:plugin/model-files@0.3.0;
                import purlin:plugin/predictor@0.3.0;
                export purlin:plugin/serving-runtime@0.3.0;
                export purlin:plugin/transformer@0.3.0;
                export purlin:plugin/explainer@0.3.0;
                export purlin:plugin/monitor@0.3.0;
            }
        ",
        world: "purlin:serving-host/host",
        with: {
            "purlin:plugin/types@0.3.0": crate::contract::bindings::purlin::plugin::types,
            "purlin:plugin/tensors@0.3.0.tensor": super::HeldTensor,
            "purlin:plugin/language-models@0.3.0.language-model": super::LoadedLanguageModel,
            "purlin:plugin/language-models@0.3.0.decoding": super::RunningDecoding,
            "wasi:nn/tensor@0.2.0-rc-2024-10-28.tensor": super::NnTensor,
            "wasi:nn/graph@0.2.0-rc-2024-10-28.graph": super::LoadedGraph,
            "wasi:nn/inference@0.2.0-rc-2024-10-28.graph-execution-context": super::LoadedGraph,
            "wasi:nn/errors@0.2.0-rc-2024-10-28.error": super::Failure,
        },
        imports: {
            "wasi:nn/graph@0.2.0-rc-2024-10-28.load": async | trappable,
            "wasi:nn/graph@0.2.0-rc-2024-10-28.load-by-name": async | trappable,
            "wasi:nn/inference@0.2.0-rc-2024-10-28.[method]graph-execution-context.compute": async | trappable,
            "purlin:plugin/language-models@0.3.0.[static]language-model.load": async | trappable,
            "purlin:plugin/language-models@0.3.0.[method]decoding.next": async | trappable,
            "purlin:plugin/model-files@0.3.0.read": async | trappable,
            "purlin:plugin/predictor@0.3.0.infer": async | trappable,
            default: trappable,
        },
        exports: { default: async },
    });
}

/// The most resources of all sorts that an instance holds at once.
const MAX_RESOURCES: usize = 65_536;

/// Links all of them. What a component imports of these was granted before it was linked.
pub(super) fn link(linker: &mut Linker<CallState>) -> wasmtime::Result<()> {
    tensors::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    bindings::purlin::plugin::serving::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    graphs::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    language_models::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    model_files::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    predictor::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    nn::graph::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    nn::inference::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    nn::tensor::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)?;
    nn::errors::add_to_linker::<_, HasSelf<CallState>>(linker, |state| state)
}

/// What an instance has of the host while it serves.
pub(crate) struct ServingState {
    pub(crate) table: ResourceTable,
    /// Bytes of the tensors that the plugin made itself.
    made: usize,
    /// Bytes of the graphs and language models that it had loaded.
    pub(crate) graphs: u64,
    /// The model that the instance serves.
    pub(crate) model: Option<Arc<ModelFiles>>,
    /// The model that it explains.
    pub(crate) predictor: Option<Arc<dyn ServedModel>>,
}

impl ServingState {
    /// For an instance that serves a model.
    pub(crate) fn of(model: Arc<ModelFiles>) -> Self {
        ServingState { model: Some(model), ..ServingState::default() }
    }
}

impl Default for ServingState {
    fn default() -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MAX_RESOURCES);
        ServingState { table, made: 0, graphs: 0, model: None, predictor: None }
    }
}

/// A tensor, and how much of the plugin's allowance it takes.
pub struct HeldTensor {
    pub(crate) tensor: Tensor,
    counted: usize,
}

impl From<Tensor> for HeldTensor {
    /// A tensor that the host made; it counts for nothing.
    fn from(tensor: Tensor) -> Self {
        HeldTensor { tensor, counted: 0 }
    }
}

/// A tensor as wasi-nn has it. Its constructor cannot fail, so whether it is one is seen when it is used.
pub struct NnTensor {
    dimensions: Vec<u32>,
    ty: nn::tensor::TensorType,
    data: Bytes,
    counted: usize,
}

/// A graph, which is its own execution context: graphs hold no state between computations.
#[derive(Clone)]
pub struct LoadedGraph(Arc<purlin_nn::LoadedGraph>);

/// A language model.
pub struct LoadedLanguageModel(Arc<dyn LanguageModel>);

/// A generation; `None` while a token is computed, and for good where the call that computed it was stopped.
pub struct RunningDecoding(Option<Box<dyn Decoding>>);

/// An error as wasi-nn has it.
pub struct Failure {
    code: nn::errors::ErrorCode,
    text: String,
}

impl CallState {
    fn serving(&mut self) -> &mut ServingState {
        self.serving.get_or_insert_default()
    }

    fn table(&mut self) -> &mut ResourceTable {
        &mut self.serving().table
    }

    /// Takes from the plugin's allowance for tensors, which is as large as its memory.
    fn count(&mut self, bytes: usize) -> Result<usize, String> {
        let limit = self.plugin.limits.memory;
        let serving = self.serving();
        let made = serving.made.saturating_add(bytes);
        if made > limit {
            return Err(format!(
                "the plugin holds {made} bytes of tensors; its limit is {limit} (spec.limits.memory)"
            ));
        }
        serving.made = made;
        Ok(bytes)
    }

    fn uncount(&mut self, bytes: usize) {
        let serving = self.serving();
        serving.made = serving.made.saturating_sub(bytes);
    }

    fn nn(&self) -> Result<Arc<dyn crate::service::Inference>, NnError> {
        let inference = self.plugin.host.services.inference.clone();
        inference.ok_or_else(|| NnError::Failed("this host has no inference".to_owned()))
    }

    fn allowed(&self, encoding: Encoding, device: Device) -> Result<(), Failure> {
        if self.plugin.rights.nn(encoding.as_str(), device.as_str()) {
            return Ok(());
        }
        Err(Failure {
            code: nn::errors::ErrorCode::Security,
            text: format!("not granted: nn({encoding} on {device})"),
        })
    }

    fn fail<T>(&mut self, failure: Failure) -> wasmtime::Result<Result<T, Resource<Failure>>> {
        Ok(Err(self.table().push(failure)?))
    }

    fn loaded(
        &mut self,
        graph: Result<Arc<purlin_nn::LoadedGraph>, Failure>,
    ) -> wasmtime::Result<Result<Resource<LoadedGraph>, Resource<Failure>>> {
        match graph {
            Ok(graph) => Ok(Ok(self.table().push(LoadedGraph(graph))?)),
            Err(failure) => self.fail(failure),
        }
    }
}

impl From<NnError> for Failure {
    fn from(error: NnError) -> Self {
        use nn::errors::ErrorCode;
        let code = match &error {
            NnError::NoBackend { .. } => ErrorCode::UnsupportedOperation,
            NnError::Unreadable(_) => ErrorCode::InvalidEncoding,
            NnError::Input(_) => ErrorCode::InvalidArgument,
            NnError::TooLarge { .. } => ErrorCode::TooLarge,
            _ => ErrorCode::RuntimeError,
        };
        Failure { code, text: error.to_string() }
    }
}

impl tensors::Host for CallState {}

impl bindings::purlin::plugin::serving::Host for CallState {}

impl tensors::HostTensor for CallState {
    fn make(
        &mut self,
        datatype: tensors::Datatype,
        shape: Vec<u64>,
        data: Vec<u8>,
    ) -> wasmtime::Result<Result<Resource<HeldTensor>, String>> {
        let counted = match self.count(data.len()) {
            Ok(counted) => counted,
            Err(reason) => return Ok(Err(reason)),
        };
        match Tensor::new(datatype.into(), shape, data.into()) {
            Ok(tensor) => Ok(Ok(self.table().push(HeldTensor { tensor, counted })?)),
            Err(error) => {
                self.uncount(counted);
                Ok(Err(error.to_string()))
            }
        }
    }

    fn datatype(&mut self, tensor: Resource<HeldTensor>) -> wasmtime::Result<tensors::Datatype> {
        Ok(self.table().get(&tensor)?.tensor.datatype().into())
    }

    fn shape(&mut self, tensor: Resource<HeldTensor>) -> wasmtime::Result<Vec<u64>> {
        Ok(self.table().get(&tensor)?.tensor.shape().to_vec())
    }

    fn data(&mut self, tensor: Resource<HeldTensor>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table().get(&tensor)?.tensor.data().to_vec())
    }

    fn size(&mut self, tensor: Resource<HeldTensor>) -> wasmtime::Result<u64> {
        Ok(self.table().get(&tensor)?.tensor.data().len() as u64)
    }

    fn reshape(
        &mut self,
        tensor: Resource<HeldTensor>,
        shape: Vec<u64>,
    ) -> wasmtime::Result<Result<Resource<HeldTensor>, String>> {
        let same = self.table().get(&tensor)?.tensor.clone();
        match same.reshaped(shape) {
            Ok(tensor) => Ok(Ok(self.table().push(HeldTensor::from(tensor))?)),
            Err(error) => Ok(Err(error.to_string())),
        }
    }

    fn drop(&mut self, tensor: Resource<HeldTensor>) -> wasmtime::Result<()> {
        let counted = self.table().delete(tensor)?.counted;
        self.uncount(counted);
        Ok(())
    }
}

impl nn::tensor::Host for CallState {}

impl nn::tensor::HostTensor for CallState {
    fn new(
        &mut self,
        dimensions: Vec<u32>,
        ty: nn::tensor::TensorType,
        data: Vec<u8>,
    ) -> wasmtime::Result<Resource<NnTensor>> {
        let counted = self.count(data.len()).map_err(wasmtime::Error::msg)?;
        Ok(self.table().push(NnTensor { dimensions, ty, data: data.into(), counted })?)
    }

    fn dimensions(&mut self, tensor: Resource<NnTensor>) -> wasmtime::Result<Vec<u32>> {
        Ok(self.table().get(&tensor)?.dimensions.clone())
    }

    fn ty(&mut self, tensor: Resource<NnTensor>) -> wasmtime::Result<nn::tensor::TensorType> {
        Ok(self.table().get(&tensor)?.ty)
    }

    fn data(&mut self, tensor: Resource<NnTensor>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table().get(&tensor)?.data.to_vec())
    }

    fn drop(&mut self, tensor: Resource<NnTensor>) -> wasmtime::Result<()> {
        let counted = self.table().delete(tensor)?.counted;
        self.uncount(counted);
        Ok(())
    }
}

impl nn::errors::Host for CallState {}

impl nn::errors::HostError for CallState {
    fn code(&mut self, error: Resource<Failure>) -> wasmtime::Result<nn::errors::ErrorCode> {
        Ok(self.table().get(&error)?.code)
    }

    fn data(&mut self, error: Resource<Failure>) -> wasmtime::Result<String> {
        Ok(self.table().get(&error)?.text.clone())
    }

    fn drop(&mut self, error: Resource<Failure>) -> wasmtime::Result<()> {
        self.table().delete(error)?;
        Ok(())
    }
}

impl nn::graph::Host for CallState {
    async fn load(
        &mut self,
        builder: Vec<Vec<u8>>,
        encoding: nn::graph::GraphEncoding,
        target: nn::graph::ExecutionTarget,
    ) -> wasmtime::Result<Result<Resource<LoadedGraph>, Resource<Failure>>> {
        let graph = self.load_bytes(builder, encoding, target).await;
        self.loaded(graph)
    }

    async fn load_by_name(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<LoadedGraph>, Resource<Failure>>> {
        let graph = self.load_file(&name).await;
        self.loaded(graph)
    }
}

impl CallState {
    async fn load_bytes(
        &mut self,
        builder: Vec<Vec<u8>>,
        encoding: nn::graph::GraphEncoding,
        target: nn::graph::ExecutionTarget,
    ) -> Result<Arc<purlin_nn::LoadedGraph>, Failure> {
        let invalid = |code, text: &str| Failure { code, text: text.to_owned() };
        let encoding = match encoding {
            nn::graph::GraphEncoding::Onnx | nn::graph::GraphEncoding::Autodetect => Encoding::Onnx,
            _ => {
                let text = "graphs are loaded from bytes in the encoding onnx only";
                return Err(invalid(nn::errors::ErrorCode::InvalidEncoding, text));
            }
        };
        let device = match target {
            nn::graph::ExecutionTarget::Cpu => Device::Cpu,
            nn::graph::ExecutionTarget::Gpu => Device::Gpu,
            nn::graph::ExecutionTarget::Tpu => {
                return Err(invalid(nn::errors::ErrorCode::UnsupportedOperation, "there is no tpu here"));
            }
        };
        self.allowed(encoding, device)?;
        let Ok([bytes]) = <[Vec<u8>; 1]>::try_from(builder) else {
            return Err(invalid(nn::errors::ErrorCode::InvalidArgument, "an ONNX graph has one part"));
        };
        let file = purlin_nn::ModelFile::Memory(bytes.into());
        let options = purlin_nn::LoadOptions { device, threads: 0 };
        let graph = self.nn()?.load_graph(encoding, file, options).await?;
        self.count_graph(graph.memory());
        Ok(graph)
    }

    fn count_graph(&mut self, memory: u64) {
        self.serving.get_or_insert_default().graphs += memory;
    }

    async fn load_file(&mut self, name: &str) -> Result<Arc<purlin_nn::LoadedGraph>, Failure> {
        let model = self.model()?;
        let Some(file) = model.file(name) else {
            let text = format!("the model has no file {name:?}");
            return Err(Failure { code: nn::errors::ErrorCode::NotFound, text });
        };
        self.allowed(Encoding::Onnx, model.options.device)?;
        let graph = self.nn()?.load_graph(Encoding::Onnx, file, model.options.clone()).await?;
        self.count_graph(graph.memory());
        Ok(graph)
    }

    fn model(&self) -> Result<Arc<ModelFiles>, NnError> {
        let model = self.serving.as_ref().and_then(|serving| serving.model.clone());
        model.ok_or_else(|| NnError::Failed("the instance serves no model".to_owned()))
    }
}

impl nn::graph::HostGraph for CallState {
    fn init_execution_context(
        &mut self,
        graph: Resource<LoadedGraph>,
    ) -> wasmtime::Result<Result<Resource<LoadedGraph>, Resource<Failure>>> {
        let context = self.table().get(&graph)?.clone();
        Ok(Ok(self.table().push(context)?))
    }

    fn drop(&mut self, graph: Resource<LoadedGraph>) -> wasmtime::Result<()> {
        self.table().delete(graph)?;
        Ok(())
    }
}

impl nn::inference::Host for CallState {}

impl nn::inference::HostGraphExecutionContext for CallState {
    async fn compute(
        &mut self,
        context: Resource<LoadedGraph>,
        inputs: Vec<(String, Resource<NnTensor>)>,
    ) -> wasmtime::Result<Result<Vec<(String, Resource<NnTensor>)>, Resource<Failure>>> {
        let graph = self.table().get(&context)?.0.clone();
        let mut named = Vec::with_capacity(inputs.len());
        for (name, tensor) in inputs {
            let tensor = self.table().delete(tensor)?;
            self.uncount(tensor.counted);
            match tensor.into_tensor() {
                Ok(tensor) => named.push((name, tensor)),
                Err(error) => return self.fail(NnError::Input(format!("input {name:?}: {error}")).into()),
            }
        }
        let outputs = match graph.compute(named).await {
            Ok(outputs) => outputs,
            Err(error) => return self.fail(error.into()),
        };
        let mut answer = Vec::with_capacity(outputs.len());
        for (name, tensor) in outputs {
            match NnTensor::of(tensor) {
                Ok(tensor) => answer.push((name, self.table().push(tensor)?)),
                Err(reason) => {
                    return self.fail(NnError::Failed(format!("output {name:?}: {reason}")).into());
                }
            }
        }
        Ok(Ok(answer))
    }

    fn drop(&mut self, context: Resource<LoadedGraph>) -> wasmtime::Result<()> {
        self.table().delete(context)?;
        Ok(())
    }
}

impl NnTensor {
    /// The same tensor, where wasi-nn has its datatype and its dimensions fit.
    fn of(tensor: Tensor) -> Result<NnTensor, String> {
        use nn::tensor::TensorType;
        let (datatype, shape, data) = tensor.into_parts();
        let ty = match datatype {
            Datatype::Fp16 => TensorType::Fp16,
            Datatype::Fp32 => TensorType::Fp32,
            Datatype::Fp64 => TensorType::Fp64,
            Datatype::Bf16 => TensorType::Bf16,
            Datatype::Uint8 => TensorType::U8,
            Datatype::Int32 => TensorType::I32,
            Datatype::Int64 => TensorType::I64,
            other => return Err(format!("wasi-nn has no tensors of {other}")),
        };
        let dimensions: Result<_, _> = shape.into_iter().map(u32::try_from).collect();
        let dimensions = dimensions.map_err(|_| "a dimension does not fit in 32 bits".to_owned())?;
        Ok(NnTensor { dimensions, ty, data, counted: 0 })
    }

    fn into_tensor(self) -> Result<Tensor, purlin_nn::TensorError> {
        use nn::tensor::TensorType;
        let datatype = match self.ty {
            TensorType::Fp16 => Datatype::Fp16,
            TensorType::Fp32 => Datatype::Fp32,
            TensorType::Fp64 => Datatype::Fp64,
            TensorType::Bf16 => Datatype::Bf16,
            TensorType::U8 => Datatype::Uint8,
            TensorType::I32 => Datatype::Int32,
            TensorType::I64 => Datatype::Int64,
        };
        Tensor::new(datatype, self.dimensions.into_iter().map(u64::from).collect(), self.data)
    }
}

impl graphs::Host for CallState {
    fn describe(&mut self, graph: Resource<LoadedGraph>) -> wasmtime::Result<graphs::GraphInfo> {
        let graph = &self.table().get(&graph)?.0;
        let info = |all: &[purlin_nn::TensorInfo]| all.iter().map(Into::into).collect();
        Ok(graphs::GraphInfo { inputs: info(graph.inputs()), outputs: info(graph.outputs()) })
    }

    fn to_nn(
        &mut self,
        tensor: Resource<HeldTensor>,
    ) -> wasmtime::Result<Result<Resource<NnTensor>, String>> {
        let same = self.table().get(&tensor)?.tensor.clone();
        match NnTensor::of(same) {
            Ok(tensor) => Ok(Ok(self.table().push(tensor)?)),
            Err(reason) => Ok(Err(reason)),
        }
    }

    fn from_nn(&mut self, tensor: Resource<NnTensor>) -> wasmtime::Result<Resource<HeldTensor>> {
        let NnTensor { dimensions, ty, data, .. } = self.table().get(&tensor)?;
        let same = NnTensor { dimensions: dimensions.clone(), ty: *ty, data: data.clone(), counted: 0 };
        let tensor = same.into_tensor().map_err(wasmtime::Error::msg)?;
        Ok(self.table().push(HeldTensor::from(tensor))?)
    }
}

impl language_models::Host for CallState {}

impl language_models::HostLanguageModel for CallState {
    async fn load(
        &mut self,
        name: String,
    ) -> wasmtime::Result<Result<Resource<LoadedLanguageModel>, HostError>> {
        let loaded = match self.model() {
            Ok(model) => self.load_language_model(&model, &name).await,
            Err(error) => Err(unavailable(&error)),
        };
        match loaded {
            Ok(model) => {
                self.count_graph(model.memory());
                Ok(Ok(self.table().push(LoadedLanguageModel(model))?))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    fn context_length(&mut self, model: Resource<LoadedLanguageModel>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.table().get(&model)?.0.context_length()).unwrap_or(u32::MAX))
    }

    fn vocabulary(&mut self, model: Resource<LoadedLanguageModel>) -> wasmtime::Result<u32> {
        Ok(u32::try_from(self.table().get(&model)?.0.vocabulary()).unwrap_or(u32::MAX))
    }

    fn start(
        &mut self,
        model: Resource<LoadedLanguageModel>,
        prompt: Vec<u32>,
        sampling: language_models::Sampling,
    ) -> wasmtime::Result<Result<Resource<RunningDecoding>, HostError>> {
        let model = self.table().get(&model)?.0.clone();
        match model.start(&prompt, sampling.into()) {
            Ok(decoding) => Ok(Ok(self.table().push(RunningDecoding(Some(decoding)))?)),
            Err(NnError::Input(reason)) => Ok(Err(HostError::Invalid(reason))),
            Err(error) => Ok(Err(unavailable(&error))),
        }
    }

    fn drop(&mut self, model: Resource<LoadedLanguageModel>) -> wasmtime::Result<()> {
        self.table().delete(model)?;
        Ok(())
    }
}

impl CallState {
    async fn load_language_model(
        &mut self,
        model: &ModelFiles,
        name: &str,
    ) -> Result<Arc<dyn LanguageModel>, HostError> {
        let device = model.options.device;
        self.allowed(Encoding::Ggml, device).map_err(|failure| HostError::Denied(failure.text))?;
        let file = model.file(name);
        let file = file.ok_or_else(|| HostError::Invalid(format!("the model has no file {name:?}")))?;
        let inference = self.nn().map_err(|error| unavailable(&error))?;
        let loaded = inference.load_language_model(file, model.options.clone()).await;
        loaded.map_err(|error| match error {
            NnError::Unreadable(reason) => HostError::Invalid(reason),
            other => unavailable(&other),
        })
    }
}

fn unavailable(error: &NnError) -> HostError {
    HostError::Unavailable(error.to_string())
}

impl language_models::HostDecoding for CallState {
    async fn next(
        &mut self,
        decoding: Resource<RunningDecoding>,
    ) -> wasmtime::Result<Result<Option<language_models::Token>, HostError>> {
        let Some(running) = self.table().get_mut(&decoding)?.0.take() else {
            return Ok(Err(HostError::Unavailable("the generation was interrupted".to_owned())));
        };
        let inference = match self.nn() {
            Ok(inference) => inference,
            Err(error) => return Ok(Err(unavailable(&error))),
        };
        let (running, token) = inference.decode(running).await;
        self.table().get_mut(&decoding)?.0 = running;
        Ok(match token {
            Ok(token) => {
                Ok(token.map(|token| language_models::Token { id: token.id, logprob: token.logprob }))
            }
            Err(error) => Err(unavailable(&error)),
        })
    }

    fn drop(&mut self, decoding: Resource<RunningDecoding>) -> wasmtime::Result<()> {
        self.table().delete(decoding)?;
        Ok(())
    }
}

impl model_files::Host for CallState {
    async fn read(&mut self, name: String, offset: u64, length: u32) -> wasmtime::Result<Option<Vec<u8>>> {
        let Ok(model) = self.model() else { return Ok(None) };
        let limit = self.plugin.limits.output;
        // A plugin asks for a piece that fits; what it gets may be shorter, as at the end of a file.
        Ok(model.read(&name, offset, (length as usize).min(limit)).await)
    }
}

impl predictor::Host for CallState {
    async fn infer(
        &mut self,
        inputs: Vec<tensors::NamedTensor>,
    ) -> wasmtime::Result<Result<Vec<tensors::NamedTensor>, HostError>> {
        let mut request = purlin_nn::InferRequest::default();
        for input in inputs {
            let held = self.table().delete(input.value)?;
            self.uncount(held.counted);
            request.inputs.push((input.name, held.tensor));
        }
        let Some(model) = self.serving().predictor.clone() else {
            return Ok(Err(HostError::Unavailable("there is no model to explain".to_owned())));
        };
        let answer = match model.infer(request).await {
            Ok(answer) => answer,
            Err(purlin_nn::InferError::Invalid(fields)) => {
                return Ok(Err(HostError::Invalid(purlin_nn::InferError::Invalid(fields).to_string())));
            }
            Err(error) => return Ok(Err(HostError::Unavailable(error.to_string()))),
        };
        let mut outputs = Vec::with_capacity(answer.outputs.len());
        for (name, tensor) in answer.outputs {
            outputs.push(tensors::NamedTensor { name, value: self.table().push(HeldTensor::from(tensor))? });
        }
        Ok(Ok(outputs))
    }
}
