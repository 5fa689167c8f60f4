//! What all protocols have in common: finding a place for a request, a lease on its model, and asking it within the time.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::StatusCode;
use purlin_nn::{InferError, InferRequest, InferResponse, ModelMetadata, ServedModel};
use tokio::time::Instant;

use crate::admission::Place;
use crate::batch;
use crate::body::{Buffers, ReadLimits};
use crate::config::GatewayConfig;
use crate::failure::Failure;
use crate::metrics::{Ids, Metrics};
use crate::models::{Lease, ModelState, Models, Target};
use crate::payload::PayloadLog;
use crate::proxy::Clients;
use crate::served::Served;
use crate::table::Table;

/// What requests share.
pub(crate) struct Core {
    pub(crate) config: GatewayConfig,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) table: ArcSwap<Table>,
    pub(crate) metrics: Metrics,
    pub(crate) ids: Ids,
    pub(crate) buffers: Arc<Buffers>,
    pub(crate) draining: AtomicBool,
    pub(crate) clients: Clients,
    /// Asks the servers elsewhere that graphs name.
    pub(crate) steps: OnceLock<reqwest::Client>,
    pub(crate) payloads: Arc<PayloadLog>,
}

/// When a request's time is over.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    /// How long it had in all, for the message.
    pub(crate) limit: Duration,
}

impl Deadline {
    /// So long after a moment.
    pub(crate) fn after(start: Instant, limit: Duration) -> Deadline {
        Deadline { at: start + limit, limit }
    }

    /// What a future gives, if it is in time.
    pub(crate) async fn bound<T>(self, future: impl Future<Output = T>) -> Result<T, Failure> {
        tokio::time::timeout_at(self.at, future).await.map_err(|_| Failure::deadline(self.limit))
    }
}

/// A place and a lease.
pub(crate) struct Opened {
    pub(crate) lease: Lease,
    pub(crate) place: Place,
}

impl Opened {
    /// The model, where it is not a server elsewhere.
    pub(crate) fn model(&self, served: &Served) -> Result<Arc<dyn ServedModel>, Failure> {
        match self.lease.target() {
            Target::Model(model) => Ok(model.clone()),
            Target::Upstream(_) => Err(Failure::new(
                StatusCode::BAD_GATEWAY,
                format!(
                    "model {:?} is served by containers, which this operation does not reach",
                    served.name
                ),
            )),
        }
    }
}

impl Core {
    /// Whether the gateway is on its way down.
    pub(crate) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }

    /// The limits for reading a body.
    pub(crate) fn read_limits(&self) -> ReadLimits {
        ReadLimits { size: self.config.max_body, time: self.config.body_timeout }
    }

    /// A place among the model's requests, and then a lease on it.
    pub(crate) async fn open(&self, served: &Served, deadline: Deadline) -> Result<Opened, Failure> {
        let place = served.admission.enter(deadline.at, deadline.limit).await?;
        Ok(Opened { lease: self.lease(served, &[], deadline).await?, place })
    }

    /// A lease, for a request that begins with `prompt`.
    pub(crate) async fn lease(
        &self,
        served: &Served,
        prompt: &[u64],
        deadline: Deadline,
    ) -> Result<Lease, Failure> {
        if let Some(lease) = self.models.try_lease(&served.key, prompt) {
            return Ok(lease);
        }
        Ok(deadline.bound(self.models.lease(&served.key, prompt)).await??)
    }

    /// What a model says about itself; loads it if that is not known otherwise.
    pub(crate) async fn metadata(
        &self,
        served: &Served,
        deadline: Deadline,
    ) -> Result<Arc<ModelMetadata>, Failure> {
        if let Some(metadata) = self.models.metadata(&served.key) {
            return Ok(metadata);
        }
        let opened = self.open(served, deadline).await?;
        Ok(Arc::new(opened.model(served)?.metadata().clone()))
    }

    /// Tensors for tensors.
    pub(crate) async fn infer(
        &self,
        served: &Arc<Served>,
        request: InferRequest,
        deadline: Deadline,
    ) -> Result<InferResponse, Failure> {
        self.ask(served, request, deadline, false).await
    }

    /// Why an answer is what it is.
    pub(crate) async fn explain(
        &self,
        served: &Arc<Served>,
        request: InferRequest,
        deadline: Deadline,
    ) -> Result<InferResponse, Failure> {
        self.ask(served, request, deadline, true).await
    }

    async fn ask(
        &self,
        served: &Arc<Served>,
        request: InferRequest,
        deadline: Deadline,
        explain: bool,
    ) -> Result<InferResponse, Failure> {
        let mut opened = self.open(served, deadline).await?;
        let mut model = opened.model(served)?;
        if !explain && text_only(model.metadata()) {
            let message = format!("model {:?} generates text and takes no tensors", served.name);
            return Err(InferError::Unsupported(message).into());
        }
        check_outputs(&request, model.metadata(), explain)?;
        let wanted = request.outputs.clone();
        let mut retries = self.config.retries;
        let start = Instant::now();
        let response = loop {
            let answer = match explain {
                true => deadline.bound(model.explain(request.clone())).await?,
                false => compute(served, &model, request.clone(), deadline).await?,
            };
            match answer {
                // Whoever had the request is gone; inference changes nothing, so that another one may be asked.
                Err(InferError::Unavailable(reason)) if retries > 0 => {
                    tracing::debug!(model = %served.key, reason, "asking another replica");
                    retries -= 1;
                    self.metrics.retries.inc();
                    let place = opened.place;
                    drop(opened.lease);
                    opened = Opened { lease: self.lease(served, &[], deadline).await?, place };
                    model = opened.model(served)?;
                }
                answer => break answer?,
            }
        };
        let figure = if explain { &served.metrics.explain } else { &served.metrics.predict };
        figure.observe(start.elapsed().as_secs_f64());
        Ok(only_wanted(response, &wanted)?)
    }

    /// Whether a model can answer, or would once it is asked.
    pub(crate) fn is_ready(&self, served: &Served) -> bool {
        !self.is_draining() && matches!(self.models.state(&served.key), ModelState::Ready | ModelState::Idle)
    }
}

/// Asks a model, together with others where that is wanted and can be.
async fn compute(
    served: &Served,
    model: &Arc<dyn ServedModel>,
    request: InferRequest,
    deadline: Deadline,
) -> Result<Result<InferResponse, InferError>, Failure> {
    if let Some(batcher) = &served.batcher
        && let Some(rows) = batch::rows(&request, model.metadata())?
        && batcher.takes(rows)
    {
        return Box::pin(batcher.infer(model.clone(), request, rows, deadline)).await;
    }
    deadline.bound(model.infer(request)).await
}

/// Whether a model generates text and does nothing else.
pub(crate) fn text_only(metadata: &ModelMetadata) -> bool {
    metadata.tasks.generate && !metadata.tasks.infer
}

/// Outputs that the model does not have are refused before it is asked.
fn check_outputs(request: &InferRequest, metadata: &ModelMetadata, explain: bool) -> Result<(), Failure> {
    if metadata.outputs.is_empty() || explain {
        return Ok(());
    }
    for (index, name) in request.outputs.iter().enumerate() {
        if !metadata.outputs.iter().any(|output| output.name == *name) {
            let known: Vec<_> = metadata.outputs.iter().map(|output| output.name.as_str()).collect();
            let reason = format!("the model has no such output; it has: {}", known.join(", "));
            return Err(
                InferError::invalid(format!("outputs[{index}].name"), format!("{name:?}"), reason).into()
            );
        }
    }
    Ok(())
}

/// The outputs that were asked for, in the order in which they were.
fn only_wanted(mut response: InferResponse, wanted: &[String]) -> Result<InferResponse, InferError> {
    if wanted.is_empty() {
        return Ok(response);
    }
    let mut outputs = Vec::with_capacity(wanted.len());
    for (index, name) in wanted.iter().enumerate() {
        let Some(at) = response.outputs.iter().position(|(output, _)| output == name) else {
            let reason = "the model gave no such output".to_owned();
            return Err(InferError::invalid(format!("outputs[{index}].name"), format!("{name:?}"), reason));
        };
        outputs.push(response.outputs.swap_remove(at));
    }
    response.outputs = outputs;
    Ok(response)
}
