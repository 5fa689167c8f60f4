//! The service over a listener, as clients meet it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt as _;
use http::uri::PathAndQuery;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use prost::Message;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::{Code, Request, Status};
use tonic_prost::ProstCodec;

use super::inference::model_infer_request::{InferInputTensor, InferRequestedOutputTensor};
use super::inference::{
    InferTensorContents, ModelInferRequest, ModelInferResponse, ModelMetadataRequest, ModelMetadataResponse,
    ModelReadyRequest, ModelReadyResponse, ModelStreamInferResponse, RepositoryIndexRequest,
    RepositoryIndexResponse, RepositoryModelLoadRequest, RepositoryModelLoadResponse, ServerReadyRequest,
    ServerReadyResponse,
};
use crate::{BackendConfig, Gateway, GatewayConfig, ModelConfig, RouteConfig, TableConfig};

#[path = "../../tests/common/models.rs"]
#[expect(dead_code, unreachable_pub, reason = "shared with the tests over listeners")]
mod models;

use models::{Arithmetic, Echo, Entry, Shelf, Story};

type Grpc = tonic::client::Grpc<Client<HttpConnector, tonic::body::Body>>;

fn client(address: &str) -> Grpc {
    let client = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    Grpc::with_origin(client, format!("http://{address}").parse().unwrap())
}

async fn call<Q, A>(client: &mut Grpc, method: &str, request: Request<Q>) -> Result<A, Status>
where
    Q: Message + 'static,
    A: Message + Default + 'static,
{
    client.ready().await.unwrap();
    let path: PathAndQuery = format!("/inference.GRPCInferenceService/{method}").parse().unwrap();
    Ok(client.unary(request, path, ProstCodec::<Q, A>::default()).await?.into_inner())
}

async fn start(table: &TableConfig, config: GatewayConfig) -> (SocketAddr, Arc<Shelf>) {
    let shelf = Arc::new(Shelf::default());
    shelf.put("echo", Entry::Ready(Arc::new(Echo::new(Duration::ZERO))));
    shelf.put("arithmetic", Entry::Ready(Arc::new(Arithmetic::new())));
    shelf.put("story", Entry::Ready(Arc::new(Story::new(Duration::ZERO))));
    let gateway = Gateway::new(shelf.clone(), config);
    assert_eq!(gateway.update(table), []);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { gateway.serve(listener, CancellationToken::new()).await });
    (address, shelf)
}

fn table() -> TableConfig {
    let backend = BackendConfig { model: "echo".to_owned(), weight: 1, tag: None };
    TableConfig {
        routes: vec![RouteConfig {
            namespace: "team".to_owned(),
            name: "all".to_owned(),
            hosts: vec!["*".to_owned()],
            backends: vec![backend],
            models: vec!["arithmetic".to_owned(), "story".to_owned()],
            ..RouteConfig::default()
        }],
        models: Vec::new(),
    }
}

fn input(name: &str, values: &[i64]) -> InferInputTensor {
    InferInputTensor {
        name: name.to_owned(),
        datatype: "INT64".to_owned(),
        shape: vec![values.len() as i64],
        contents: Some(InferTensorContents { int64_contents: values.to_vec(), ..Default::default() }),
        ..InferInputTensor::default()
    }
}

fn sum() -> ModelInferRequest {
    ModelInferRequest {
        model_name: "arithmetic".to_owned(),
        id: "7".to_owned(),
        inputs: vec![input("a", &[1, 2]), input("b", &[10, 20])],
        outputs: vec![InferRequestedOutputTensor { name: "sum".to_owned(), ..Default::default() }],
        ..ModelInferRequest::default()
    }
}

#[tokio::test]
async fn every_method_answers() {
    let (address, _) = start(&table(), GatewayConfig::default()).await;
    let mut client = client(&address.to_string());
    let ready: ServerReadyResponse =
        call(&mut client, "ServerReady", Request::new(ServerReadyRequest {})).await.unwrap();
    assert!(ready.ready);
    let named = ModelReadyRequest { name: "echo".to_owned(), version: String::new() };
    let ready: ModelReadyResponse = call(&mut client, "ModelReady", Request::new(named)).await.unwrap();
    assert!(ready.ready);
    let named = ModelMetadataRequest { name: "arithmetic".to_owned(), version: String::new() };
    let metadata: ModelMetadataResponse =
        call(&mut client, "ModelMetadata", Request::new(named)).await.unwrap();
    assert_eq!((metadata.inputs.len(), metadata.outputs[0].name.as_str()), (2, "sum"));
    let answer: ModelInferResponse = call(&mut client, "ModelInfer", Request::new(sum())).await.unwrap();
    assert_eq!((answer.id.as_str(), answer.outputs.len()), ("7", 1));
    assert_eq!(answer.outputs[0].contents.as_ref().unwrap().int64_contents, [11, 22]);
    let raw = |values: [i64; 2]| Bytes::from(values.map(i64::to_le_bytes).concat());
    let mut request = sum();
    request.inputs.iter_mut().for_each(|input| input.contents = None);
    request.raw_input_contents = vec![raw([1, 2]), raw([10, 20])];
    let answer: ModelInferResponse = call(&mut client, "ModelInfer", Request::new(request)).await.unwrap();
    assert_eq!(answer.raw_output_contents, [raw([11, 22])]);
    let index: RepositoryIndexResponse =
        call(&mut client, "RepositoryIndex", Request::new(RepositoryIndexRequest::default())).await.unwrap();
    assert_eq!(index.models.len(), 3);
}

#[tokio::test]
async fn a_header_names_the_model_where_the_message_does_not() {
    let mut table = table();
    table.routes[0].model_header = Some("x-model".to_owned());
    let (address, _) = start(&table, GatewayConfig::default()).await;
    let mut client = client(&address.to_string());
    let mut code = async |name: &str, header: Option<&'static str>| {
        let mut request = Request::new(ModelInferRequest { model_name: name.to_owned(), ..sum() });
        if let Some(header) = header {
            request.metadata_mut().insert("x-model", header.parse().unwrap());
        }
        let answer: Result<ModelInferResponse, _> = call(&mut client, "ModelInfer", request).await;
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(code("", Some("arithmetic")).await, Code::Ok);
    assert_eq!(code("arithmetic", Some("arithmetic")).await, Code::Ok);
    assert_eq!(code("", Some("nobody")).await, Code::NotFound);
    assert_eq!(code("", None).await, Code::NotFound);
}

#[tokio::test]
async fn errors_have_their_codes() {
    let mut locked = table();
    locked.routes.push(RouteConfig {
        name: "locked".to_owned(),
        hosts: vec!["locked.example".to_owned()],
        tokens: Some(vec!["secret".to_owned()]),
        ..locked.routes[0].clone()
    });
    let config = GatewayConfig { max_body: 10_000, ..GatewayConfig::default() };
    let (address, shelf) = start(&locked, config).await;
    let mut client = client(&address.to_string());
    let mut code = async |request: ModelInferRequest| {
        let answer: Result<ModelInferResponse, _> =
            call(&mut client, "ModelInfer", Request::new(request)).await;
        answer.map_or_else(|status| status.code(), |_| Code::Ok)
    };
    assert_eq!(code(ModelInferRequest { model_name: "nobody".to_owned(), ..sum() }).await, Code::NotFound);
    let bad = ModelInferRequest { inputs: vec![input("a", &[1])], ..sum() };
    assert_eq!(code(bad).await, Code::InvalidArgument);
    let large = ModelInferRequest { inputs: vec![input("a", &[i64::MAX; 2000])], ..sum() };
    assert_eq!(code(large).await, Code::OutOfRange);
    shelf.put("echo", Entry::Broken("gone".to_owned()));
    assert_eq!(code(ModelInferRequest { model_name: "echo".to_owned(), ..sum() }).await, Code::Unavailable);
    shelf.put("echo", Entry::Ready(Arc::new(Echo::new(Duration::from_secs(60)))));
    let mut hurried = Request::new(ModelInferRequest { model_name: "echo".to_owned(), ..sum() });
    hurried.set_timeout(Duration::from_millis(100));
    let late: Result<ModelInferResponse, _> = call(&mut client, "ModelInfer", hurried).await;
    assert_eq!(late.unwrap_err().code(), Code::DeadlineExceeded);
    let load = RepositoryModelLoadRequest { model_name: "echo".to_owned(), ..Default::default() };
    let load: Result<RepositoryModelLoadResponse, _> =
        call(&mut client, "RepositoryModelLoad", Request::new(load)).await;
    assert_eq!(load.unwrap_err().code(), Code::InvalidArgument);
    let none: Result<ModelInferResponse, _> = call(&mut client, "NoSuchMethod", Request::new(sum())).await;
    assert_eq!(none.unwrap_err().code(), Code::Unimplemented);

    let http = Client::builder(TokioExecutor::new()).http2_only(true).build_http();
    let mut locked =
        Grpc::with_origin(http, format!("http://{address}/serving/team/locked").parse().unwrap());
    let path = |method: &str| -> PathAndQuery {
        format!("/inference.GRPCInferenceService/{method}").parse().unwrap()
    };
    locked.ready().await.unwrap();
    let codec = || ProstCodec::<ModelInferRequest, ModelInferResponse>::default();
    let refused = locked.unary(Request::new(sum()), path("ModelInfer"), codec()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
    locked.ready().await.unwrap();
    let mut with_token = Request::new(sum());
    with_token.metadata_mut().insert("authorization", "Bearer secret".parse().unwrap());
    locked.unary(with_token, path("ModelInfer"), codec()).await.unwrap();
}

#[tokio::test]
async fn a_stream_answers_each_in_order() {
    let (address, _) = start(&table(), GatewayConfig::default()).await;
    let mut client = client(&address.to_string());
    client.ready().await.unwrap();
    let bad = ModelInferRequest { model_name: "nobody".to_owned(), id: "bad".to_owned(), ..sum() };
    let requests = futures::stream::iter([sum(), bad, ModelInferRequest { id: "8".to_owned(), ..sum() }]);
    let codec = ProstCodec::<ModelInferRequest, ModelStreamInferResponse>::default();
    let path = PathAndQuery::from_static("/inference.GRPCInferenceService/ModelStreamInfer");
    let answers = client.streaming(Request::new(requests), path, codec).await.unwrap().into_inner();
    let answers: Vec<ModelStreamInferResponse> = answers.map(Result::unwrap).collect().await;
    let ids: Vec<_> =
        answers.iter().map(|answer| answer.infer_response.as_ref().unwrap().id.as_str()).collect();
    assert_eq!(ids, ["7", "bad", "8"]);
    assert!(answers[0].error_message.is_empty() && answers[1].error_message.contains("nobody"));
}

#[tokio::test]
async fn calls_are_handed_on_to_containers() {
    let (behind, _) = start(&table(), GatewayConfig::default()).await;
    let mut before = table();
    before.routes[0].models.clear();
    before.models = vec![ModelConfig {
        namespace: "team".to_owned(),
        name: "echo".to_owned(),
        container: true,
        ..ModelConfig::default()
    }];
    let (address, shelf) = start(&before, GatewayConfig::default()).await;
    shelf.put("echo", Entry::Servers(vec!["127.0.0.1:1".to_owned(), behind.to_string()]));
    let mut client = client(&address.to_string());
    for _ in 0..3 {
        let answer: ModelInferResponse = call(&mut client, "ModelInfer", Request::new(sum())).await.unwrap();
        assert_eq!(answer.outputs[0].contents.as_ref().unwrap().int64_contents, [11, 22]);
    }
    let bad = ModelInferRequest { model_name: "nobody".to_owned(), ..sum() };
    let answer: Result<ModelInferResponse, _> = call(&mut client, "ModelInfer", Request::new(bad)).await;
    assert_eq!(answer.unwrap_err().code(), Code::NotFound);
    shelf.put("echo", Entry::Servers(vec!["127.0.0.1:1".to_owned()]));
    let answer: Result<ModelInferResponse, _> = call(&mut client, "ModelInfer", Request::new(sum())).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unavailable);
}
