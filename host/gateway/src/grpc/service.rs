//! The service's methods.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::{self, BoxStream};
use http::{HeaderMap, StatusCode};
use purlin_nn::TensorInfo;
use tonic::{Request, Response, Status, Streaming};
use tracing::Instrument as _;

use super::inference::grpc_inference_service_server::GrpcInferenceService;
use super::inference::model_metadata_response::TensorMetadata;
use super::inference::repository_index_response::ModelIndex;
use super::inference::{
    ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse, ModelReadyRequest,
    ModelReadyResponse, ModelStreamInferResponse, RepositoryIndexRequest, RepositoryIndexResponse,
    RepositoryModelLoadRequest, RepositoryModelLoadResponse, RepositoryModelUnloadRequest,
    RepositoryModelUnloadResponse, ServerLiveRequest, ServerLiveResponse, ServerMetadataRequest,
    ServerMetadataResponse, ServerReadyRequest, ServerReadyResponse,
};
use super::{convert, status};
use crate::call::Call;
use crate::core::Core;
use crate::failure::Failure;
use crate::served::Served;
use crate::table::Place;
use crate::v2;

/// The service, as one request's route has it.
#[derive(Clone)]
pub(super) struct Inference {
    core: Arc<Core>,
    place: Place,
    headers: Arc<HeaderMap>,
}

impl Inference {
    pub(super) fn new(core: Arc<Core>, place: Place, headers: HeaderMap) -> Inference {
        Inference { core, place, headers: Arc::new(headers) }
    }

    fn call(&self) -> Call {
        let mut call = Call::new(self.core.clone(), self.place.clone(), 0, &self.headers);
        call.limit = self.headers.get("grpc-timeout").and_then(|value| timeout(value.to_str().ok()?));
        call
    }

    fn served(&self, call: &mut Call, name: &str, version: &str) -> Result<Arc<Served>, Failure> {
        let name = match name {
            "" => call.named_by_header(&self.headers).unwrap_or_default(),
            name => name,
        };
        let served = call.model(name, &self.headers)?;
        v2::check_version(&served, Some(version))?;
        Ok(served)
    }

    async fn infer(&self, message: ModelInferRequest) -> Result<ModelInferResponse, Failure> {
        let mut call = self.call();
        let span = tracing::info_span!(
            "grpc request",
            route.namespace = call.route.namespace,
            route.name = call.route.name,
            request.id = call.request_id,
            trace.id = %call.trace.id(),
            model = message.model_name,
        );
        let answered = self.infer_in(&mut call, message).instrument(span).await;
        let status = answered.as_ref().map_or_else(|failure| failure.status, |_| StatusCode::OK);
        match &call.served {
            Some(served) => served.metrics.answered(status, call.started.elapsed()),
            None => {
                self.core.metrics.refused.inc();
            }
        }
        answered
    }

    async fn infer_in(
        &self,
        call: &mut Call,
        message: ModelInferRequest,
    ) -> Result<ModelInferResponse, Failure> {
        let served = self.served(call, &message.model_name, &message.model_version)?;
        let (request, raw) = convert::request(message)?;
        let (id, deadline) = (request.id.clone(), call.deadline(&served));
        let answer = v2::infer_or_generate(&call.core, &served, request, deadline).await?;
        Ok(convert::response(&served.name, &served.config.version, id, answer, raw))
    }
}

/// `grpc-timeout`: up to eight digits and a unit.
fn timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    let number: u64 = digits.parse().ok().filter(|_| digits.len() <= 8)?;
    match unit {
        "H" => Some(Duration::from_secs(number * 3600)),
        "M" => Some(Duration::from_secs(number * 60)),
        "S" => Some(Duration::from_secs(number)),
        "m" => Some(Duration::from_millis(number)),
        "u" => Some(Duration::from_micros(number)),
        "n" => Some(Duration::from_nanos(number)),
        _ => None,
    }
}

fn tensors(infos: &[TensorInfo]) -> Vec<TensorMetadata> {
    let one = |info: &TensorInfo| TensorMetadata {
        name: info.name.clone(),
        datatype: info.datatype.as_str().to_owned(),
        shape: info.shape.clone(),
    };
    infos.iter().map(one).collect()
}

/// The model that is to be loaded or unloaded. KServe's clients send it where Triton's send a repository.
fn repository_model<'a>(repository: &'a str, model: &'a str) -> &'a str {
    if model.is_empty() { repository } else { model }
}

type Answer<T> = Result<Response<T>, Status>;

#[tonic::async_trait]
impl GrpcInferenceService for Inference {
    async fn server_live(&self, _: Request<ServerLiveRequest>) -> Answer<ServerLiveResponse> {
        Ok(Response::new(ServerLiveResponse { live: true }))
    }

    async fn server_ready(&self, _: Request<ServerReadyRequest>) -> Answer<ServerReadyResponse> {
        Ok(Response::new(ServerReadyResponse { ready: !self.core.is_draining() }))
    }

    async fn model_ready(&self, request: Request<ModelReadyRequest>) -> Answer<ModelReadyResponse> {
        let (mut call, request) = (self.call(), request.into_inner());
        let served =
            self.served(&mut call, &request.name, &request.version).map_err(|error| status(&error))?;
        Ok(Response::new(ModelReadyResponse { ready: self.core.is_ready(&served) }))
    }

    async fn server_metadata(&self, _: Request<ServerMetadataRequest>) -> Answer<ServerMetadataResponse> {
        Ok(Response::new(ServerMetadataResponse {
            name: self.core.config.name.clone(),
            version: self.core.config.version.clone(),
            extensions: v2::EXTENSIONS.map(str::to_owned).to_vec(),
        }))
    }

    async fn model_metadata(&self, request: Request<ModelMetadataRequest>) -> Answer<ModelMetadataResponse> {
        let (mut call, request) = (self.call(), request.into_inner());
        let read = async {
            let served = self.served(&mut call, &request.name, &request.version)?;
            let metadata = self.core.metadata(&served, call.deadline(&served)).await?;
            Ok(ModelMetadataResponse {
                name: served.name.clone(),
                versions: v2::versions(&served),
                platform: metadata.platform.clone(),
                inputs: tensors(&metadata.inputs),
                outputs: tensors(&metadata.outputs),
            })
        };
        read.await.map(Response::new).map_err(|error: Failure| status(&error))
    }

    async fn model_infer(&self, request: Request<ModelInferRequest>) -> Answer<ModelInferResponse> {
        self.infer(request.into_inner()).await.map(Response::new).map_err(|error| status(&error))
    }

    type ModelStreamInferStream = BoxStream<'static, Result<ModelStreamInferResponse, Status>>;

    async fn model_stream_infer(
        &self,
        request: Request<Streaming<ModelInferRequest>>,
    ) -> Answer<Self::ModelStreamInferStream> {
        // One after the other, as the answers must come in the order of the requests.
        let state = (self.clone(), request.into_inner());
        let answers = stream::unfold(state, |(service, mut requests)| async move {
            let message = match requests.message().await {
                Ok(Some(message)) => message,
                Ok(None) => return None,
                Err(status) => return Some((Err(status), (service, requests))),
            };
            let id = message.id.clone();
            let answer = match service.infer(message).await {
                Ok(answer) => {
                    ModelStreamInferResponse { error_message: String::new(), infer_response: Some(answer) }
                }
                Err(failure) => ModelStreamInferResponse {
                    error_message: failure.message,
                    infer_response: Some(ModelInferResponse { id, ..ModelInferResponse::default() }),
                },
            };
            Some((Ok(answer), (service, requests)))
        });
        Ok(Response::new(answers.boxed()))
    }

    async fn repository_index(
        &self,
        request: Request<RepositoryIndexRequest>,
    ) -> Answer<RepositoryIndexResponse> {
        let models =
            v2::index_of(&self.call(), request.into_inner().ready).into_iter().map(|entry| ModelIndex {
                name: entry.name,
                version: entry.version,
                state: entry.state.to_owned(),
                reason: entry.reason,
            });
        Ok(Response::new(RepositoryIndexResponse { models: models.collect() }))
    }

    async fn repository_model_load(
        &self,
        request: Request<RepositoryModelLoadRequest>,
    ) -> Answer<RepositoryModelLoadResponse> {
        let request = request.into_inner();
        let name = repository_model(&request.repository_name, &request.model_name);
        let served = self.call().model(name, &self.headers).map_err(|error| status(&error))?;
        self.core.models.load(&served.key).await.map_err(|error| status(&error.into()))?;
        Ok(Response::new(RepositoryModelLoadResponse { model_name: served.name.clone(), is_loaded: true }))
    }

    async fn repository_model_unload(
        &self,
        request: Request<RepositoryModelUnloadRequest>,
    ) -> Answer<RepositoryModelUnloadResponse> {
        let request = request.into_inner();
        let name = repository_model(&request.repository_name, &request.model_name);
        let served = self.call().model(name, &self.headers).map_err(|error| status(&error))?;
        self.core.models.unload(&served.key).await.map_err(|error| status(&error.into()))?;
        Ok(Response::new(RepositoryModelUnloadResponse {
            model_name: served.name.clone(),
            is_unloaded: true,
        }))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::timeout;

    #[test]
    fn timeouts_have_a_unit() {
        assert_eq!(timeout("10S"), Some(Duration::from_secs(10)));
        assert_eq!(timeout("250m"), Some(Duration::from_millis(250)));
        assert_eq!(timeout("99999999H"), Some(Duration::from_secs(99_999_999 * 3600)));
        for wrong in ["", "S", "10", "-1S", "123456789S", "1x", "é"] {
            assert_eq!(timeout(wrong), None, "{wrong}");
        }
    }
}
