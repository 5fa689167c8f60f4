//! A gateway with small models in memory, to measure it and to try clients against it: `cargo run --release -p purlin-gateway
//! --example echo -- 127.0.0.1:8080`. The models are `echo`, `arithmetic`, `story` and `vectors`.

#[allow(dead_code, unreachable_pub, reason = "shared with the tests")]
#[path = "../tests/common/models.rs"]
mod models;

use std::sync::Arc;
use std::time::Duration;

use purlin_gateway::{BackendConfig, Gateway, GatewayConfig, RouteConfig, TableConfig};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use models::{Arithmetic, Echo, Entry, Shelf, Story, Vectors};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:8080".to_owned());
    let shelf = Shelf::default();
    shelf.put("echo", Entry::Ready(Arc::new(Echo::new(Duration::ZERO))));
    shelf.put("arithmetic", Entry::Ready(Arc::new(Arithmetic::new())));
    shelf.put("story", Entry::Ready(Arc::new(Story::new(Duration::from_millis(20)))));
    shelf.put("vectors", Entry::Ready(Arc::new(Vectors::new())));
    let gateway = Gateway::new(Arc::new(shelf), GatewayConfig::default());
    gateway.update(&TableConfig {
        routes: vec![RouteConfig {
            namespace: "default".to_owned(),
            name: "echo".to_owned(),
            hosts: vec!["*".to_owned()],
            backends: vec![BackendConfig { model: "echo".to_owned(), weight: 100, tag: None }],
            models: ["arithmetic", "story", "vectors"].map(str::to_owned).to_vec(),
            ..RouteConfig::default()
        }],
        models: Vec::new(),
    });
    gateway.serve(TcpListener::bind(&address).await?, CancellationToken::new()).await;
    Ok(())
}
