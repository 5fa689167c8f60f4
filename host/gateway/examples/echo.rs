//! A gateway with one small model in memory, to measure it and to try clients against it: `cargo run --release -p
//! purlin-gateway --example echo -- 127.0.0.1:8080`.

use std::sync::Arc;

use async_trait::async_trait;
use purlin_gateway::{
    BackendConfig, Gateway, GatewayConfig, Lease, ModelKey, ModelState, Models, RouteConfig, TableConfig,
    Target,
};
use purlin_nn::{
    Datatype, InferError, InferRequest, InferResponse, ModelMetadata, ServedModel, Tasks, TensorInfo,
};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

struct Echo(ModelMetadata);

#[async_trait]
impl ServedModel for Echo {
    fn metadata(&self) -> &ModelMetadata {
        &self.0
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        Ok(InferResponse { outputs: request.inputs, parameters: Vec::new() })
    }
}

struct One(Arc<dyn ServedModel>, Arc<ModelMetadata>);

#[async_trait]
impl Models for One {
    fn try_lease(&self, _: &ModelKey) -> Option<Lease> {
        Some(Lease::new(Target::Model(self.0.clone())))
    }

    async fn lease(&self, _: &ModelKey) -> Result<Lease, InferError> {
        Ok(Lease::new(Target::Model(self.0.clone())))
    }

    fn state(&self, _: &ModelKey) -> ModelState {
        ModelState::Ready
    }

    fn metadata(&self, _: &ModelKey) -> Option<Arc<ModelMetadata>> {
        Some(self.1.clone())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let metadata = ModelMetadata {
        platform: "echo".to_owned(),
        inputs: vec![TensorInfo { name: "input".to_owned(), datatype: Datatype::Fp32, shape: vec![-1, 64] }],
        tasks: Tasks { infer: true, ..Tasks::default() },
        ..ModelMetadata::default()
    };
    let model = One(Arc::new(Echo(metadata.clone())), Arc::new(metadata));
    let gateway = Gateway::new(Arc::new(model), GatewayConfig::default());
    gateway.update(&TableConfig {
        routes: vec![RouteConfig {
            namespace: "default".to_owned(),
            name: "echo".to_owned(),
            hosts: vec!["*".to_owned()],
            backends: vec![BackendConfig { model: "echo".to_owned(), weight: 100, tag: None }],
            ..RouteConfig::default()
        }],
        models: Vec::new(),
    });
    gateway.serve(TcpListener::bind(&address).await?, CancellationToken::new()).await;
    Ok(())
}
