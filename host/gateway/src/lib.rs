//! The inference data plane: HTTP and gRPC requests come in on a listener, a routing table says which model each is for, and
//! the model's answer goes back in the protocol of the request.
//!
//! It knows no Kubernetes and no plugin. Who runs it gives it models behind the trait [`Models`], puts routing tables in
//! place with [`Gateway::update`] as they change, and lets it [`Gateway::serve`] listeners. What a hostile client can do is
//! bounded in size, number and time by [`GatewayConfig`].
#![forbid(unsafe_code)]

mod admission;
mod batch;
mod body;
mod call;
mod config;
mod core;
mod dispatch;
mod endpoint;
mod failure;
mod fields;
mod gateway;
mod generate;
mod graph;
mod grpc;
mod json;
mod listen;
mod metrics;
mod models;
mod openai;
mod payload;
mod prompt;
mod proxy;
mod relay;
mod served;
mod steps;
mod table;
mod trace;
mod v1;
mod v2;

// The models that tests share name the crate as others do.
#[cfg(test)]
extern crate self as purlin_gateway;

pub use config::GatewayConfig;
pub use gateway::{Gateway, ModelLoad};
pub use models::{Lease, LeaseGuard, ModelKey, ModelState, Models, Target, Upstream};
pub use table::{
    BackendConfig, BatchConfig, GraphConfig, LoggingConfig, ModelConfig, NodeConfig, NodeKind, PrefillConfig,
    RouteConfig, StepConfig, Sticky, TableConfig, TableProblem,
};
pub use v1::{Layout, parse_predict};
pub use v2::{InferCall, parse_infer};
