//! The stages around a model: transformers change what goes in and comes out, explainers say why, monitors compare what a
//! model is asked now with what it was asked before. Each call gets a fresh instance.

use std::sync::Arc;
use std::time::Duration;

use purlin_nn::{InferRequest, InferResponse, ServedModel, Tensor};
use purlin_registry::Stage;
use wasmtime::component::{ComponentExportIndex, Instance};
use wasmtime::{Store, format_err};

use super::{ModelFiles, convert};
use crate::call::{self, CallState, Invocation, Origin};
use crate::contract::invoke::Function;
use crate::contract::serving::ServingState;
use crate::contract::serving::bindings::exports::purlin::plugin::monitor;
use crate::contract::serving::bindings::purlin::plugin::serving;
use crate::contract::{Context, Exports, Fault, Setting};
use crate::error::CallError;
use crate::plugin::{Plugin, Subject};

/// What a monitor compares: tensors by name, whose first dimension counts observations.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// What was seen when all was well.
    pub reference: Vec<(String, Tensor)>,
    /// What was seen lately.
    pub current: Vec<(String, Tensor)>,
}

/// What came of a comparison.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Whether a person should look.
    pub drift: bool,
    /// One sentence.
    pub summary: String,
    /// By feature.
    pub scores: Vec<Score>,
}

/// How much one feature changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// Such as `input0[3]`.
    pub feature: String,
    /// Its meaning is the method's.
    pub statistic: f64,
    /// Where the method has one.
    pub p_value: Option<f64>,
}

impl Plugin {
    /// Explainers: why `predictor` answers a request as it does. `files` has what lies at the explainer's source. It takes at
    /// most `timeout`: an explanation asks the model many times.
    ///
    /// # Errors
    /// A fault that names fields of the request, or the plugin fails.
    pub async fn explain(
        &self,
        subject: &Subject,
        request: InferRequest,
        settings: Vec<Setting>,
        predictor: Arc<dyn ServedModel>,
        files: Arc<ModelFiles>,
        timeout: Duration,
    ) -> Result<InferResponse, CallError> {
        let context = super::instance::context(self.core());
        self.stage(subject, Explain { context, request, settings, predictor, files, timeout }).await
    }

    /// Transformers: the request that the model gets in place of the client's.
    ///
    /// # Errors
    /// A fault that names fields of the request, or the plugin fails.
    pub async fn preprocess(
        &self,
        subject: &Subject,
        request: InferRequest,
        settings: Vec<Setting>,
    ) -> Result<InferRequest, CallError> {
        let context = super::instance::context(self.core());
        self.stage(subject, Preprocess { context, request, settings }).await
    }

    /// Transformers: the answer that the client gets in place of the model's.
    ///
    /// # Errors
    /// The plugin fails.
    pub async fn postprocess(
        &self,
        subject: &Subject,
        response: InferResponse,
        settings: Vec<Setting>,
    ) -> Result<InferResponse, CallError> {
        self.stage(subject, Postprocess { response, settings }).await
    }

    /// Monitors: whether what was seen lately is other than before.
    ///
    /// # Errors
    /// A fault that names a setting, or the plugin fails.
    pub async fn compare(
        &self,
        subject: &Subject,
        window: Window,
        settings: Vec<Setting>,
    ) -> Result<Report, CallError> {
        let context = super::instance::context(self.core());
        self.stage(subject, Compare { context, window, settings }).await
    }

    async fn stage<I: Invocation>(&self, subject: &Subject, invocation: I) -> Result<I::Answer, CallError> {
        call::run(self.core(), Origin::outermost(self.core(), subject), invocation).await
    }
}

fn exported(index: Option<&ComponentExportIndex>, stage: Stage) -> wasmtime::Result<&ComponentExportIndex> {
    index.ok_or_else(|| format_err!("the component exports no `{}`", stage.interface()))
}

struct Explain {
    context: Context,
    request: InferRequest,
    settings: Vec<Setting>,
    predictor: Arc<dyn ServedModel>,
    files: Arc<ModelFiles>,
    timeout: Duration,
}

impl Invocation for Explain {
    type Answer = InferResponse;
    const STAGE: Option<Stage> = Some(Stage::Explainer);

    fn function(&self) -> &'static str {
        "explain"
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.context)
    }

    fn timeout(&self) -> Option<Duration> {
        Some(self.timeout)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<InferResponse, Fault>> {
        let index = exported(exports.explain.as_ref(), Stage::Explainer)?;
        let mut serving = ServingState::of(self.files);
        serving.predictor = Some(self.predictor);
        store.data_mut().serving = Some(Box::new(serving));
        let request = convert::infer_request(store, self.context, self.request)?;
        let explain = Function::<
            (serving::InferRequest, Vec<Setting>),
            (Result<serving::InferResponse, Fault>,),
        >::of(store, instance, index)?;
        let (answer,) = explain.call(store, (request, self.settings)).await?;
        convert::answered(store, answer)
    }
}

struct Preprocess {
    context: Context,
    request: InferRequest,
    settings: Vec<Setting>,
}

impl Invocation for Preprocess {
    type Answer = InferRequest;
    const STAGE: Option<Stage> = Some(Stage::Transformer);

    fn function(&self) -> &'static str {
        "preprocess"
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.context)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<InferRequest, Fault>> {
        let index = exported(exports.preprocess.as_ref(), Stage::Transformer)?;
        store.data_mut().serving.get_or_insert_default();
        let request = convert::infer_request(store, self.context, self.request)?;
        let preprocess = Function::<
            (serving::InferRequest, Vec<Setting>),
            (Result<serving::InferRequest, Fault>,),
        >::of(store, instance, index)?;
        let (answer,) = preprocess.call(store, (request, self.settings)).await?;
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault) => return Ok(Err(fault)),
        };
        Ok(Ok(InferRequest {
            id: answer.id,
            inputs: convert::taken(store, answer.inputs)?,
            outputs: answer.outputs,
            parameters: convert::parameters(answer.parameters),
        }))
    }
}

struct Postprocess {
    response: InferResponse,
    settings: Vec<Setting>,
}

impl Invocation for Postprocess {
    type Answer = InferResponse;
    const STAGE: Option<Stage> = Some(Stage::Transformer);

    fn function(&self) -> &'static str {
        "postprocess"
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<InferResponse, Fault>> {
        let index = exported(exports.postprocess.as_ref(), Stage::Transformer)?;
        store.data_mut().serving.get_or_insert_default();
        let response = serving::InferResponse {
            outputs: convert::given(store, self.response.outputs)?,
            parameters: convert::lower_parameters(self.response.parameters),
        };
        let postprocess = Function::<
            (serving::InferResponse, Vec<Setting>),
            (Result<serving::InferResponse, Fault>,),
        >::of(store, instance, index)?;
        let (answer,) = postprocess.call(store, (response, self.settings)).await?;
        convert::answered(store, answer)
    }
}

struct Compare {
    context: Context,
    window: Window,
    settings: Vec<Setting>,
}

impl Invocation for Compare {
    type Answer = Report;
    const STAGE: Option<Stage> = Some(Stage::Monitor);

    fn function(&self) -> &'static str {
        "compare"
    }

    fn context(&self) -> Option<&Context> {
        Some(&self.context)
    }

    async fn invoke(
        self,
        store: &mut Store<CallState>,
        instance: &Instance,
        exports: &Exports,
    ) -> wasmtime::Result<Result<Report, Fault>> {
        let index = exported(exports.compare.as_ref(), Stage::Monitor)?;
        store.data_mut().serving.get_or_insert_default();
        let window = monitor::Window {
            context: self.context,
            settings: self.settings,
            reference: convert::given(store, self.window.reference)?,
            current: convert::given(store, self.window.current)?,
        };
        let compare =
            Function::<(monitor::Window,), (Result<monitor::Report, Fault>,)>::of(store, instance, index)?;
        let (answer,) = compare.call(store, (window,)).await?;
        Ok(answer.map(|report| Report {
            drift: report.drift,
            summary: report.summary,
            scores: (report.scores.into_iter())
                .map(|score| Score {
                    feature: score.feature,
                    statistic: score.statistic,
                    p_value: score.p_value,
                })
                .collect(),
        }))
    }
}
