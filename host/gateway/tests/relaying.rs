//! Models that another gateway has in memory.
#![allow(clippy::unwrap_used, reason = "for tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use common::models::{Echo, Entry};
use common::{ROW, Running, backend, route, start};
use purlin_gateway::{GatewayConfig, TableConfig};
use tokio::net::TcpListener;

const INFER: &str = "/serving/team/echo/v2/models/echo/infer";

/// A gateway, and how often its model was asked.
async fn gateway(others: Vec<String>) -> (Running, Arc<Echo>) {
    let table = TableConfig { routes: vec![route("echo", &["echo"])], models: Vec::new() };
    let running = start(GatewayConfig::default(), &table).await;
    *running.shelf.others.lock().unwrap() = others;
    let echo = Arc::new(Echo::new(Duration::ZERO));
    running.shelf.put("echo", Entry::Ready(echo.clone()));
    (running, echo)
}

fn asked(echo: &Echo) -> u64 {
    let count: &AtomicU64 = &echo.asked;
    count.load(Ordering::SeqCst)
}

/// An address at which nobody is.
async fn nobody() -> String {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn every_protocol_is_answered_by_the_gateway_that_has_the_model() {
    let (home, echo) = gateway(Vec::new()).await;
    let (first, own) = gateway(vec![home.address.to_string()]).await;
    let reply = first.post(INFER, ROW).await;
    assert_eq!((reply.status, reply.json()["model_name"].as_str()), (200, Some("echo")));
    assert!(reply.header("x-request-id").is_some());
    let host = [("host", "echo.team.example")];
    let reply = first.post_with("/v2/models/echo/infer", &host, ROW.as_bytes()).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = first.post_with("/v1/models/echo:predict", &host, br#"{"instances":[[1,2,3,4]]}"#).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    // More than is read before it is sent on.
    let large = format!("{}{ROW}", " ".repeat(3 << 20));
    assert_eq!(first.post(INFER, &large).await.status, 200);
    assert_eq!((asked(&echo), asked(&own)), (4, 0));
    let reply = first.get("/serving/team/echo/v2/models/echo/ready").await;
    assert_eq!(reply.status, 200);
    let reply = first.post("/serving/team/echo/v2/models/nothing/infer", ROW).await;
    assert_eq!(reply.status, 404, "{}", reply.text());
    let reply = first.post_with(INFER, &[("content-length", "99999999")], b"").await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn a_request_is_handed_on_once() {
    let (second, echo) = gateway(Vec::new()).await;
    let (first, _) = gateway(vec![second.address.to_string()]).await;
    // Both think that it is the other's, as while one of them has not heard of a change.
    *second.shelf.others.lock().unwrap() = vec![first.address.to_string()];
    assert_eq!(first.post(INFER, ROW).await.status, 200);
    assert_eq!(asked(&echo), 1);
}

#[tokio::test]
async fn a_gateway_that_is_gone_costs_no_request() {
    let (home, echo) = gateway(Vec::new()).await;
    let (first, own) = gateway(vec![nobody().await, home.address.to_string()]).await;
    assert_eq!(first.post(INFER, ROW).await.status, 200);
    assert_eq!((asked(&echo), asked(&own)), (1, 0));
    let large = format!("{}{ROW}", " ".repeat(3 << 20));
    for body in [ROW, &large] {
        *first.shelf.others.lock().unwrap() = vec![nobody().await];
        let before = asked(&own);
        let reply = first.post(INFER, body).await;
        assert_eq!((reply.status, asked(&own) - before), (200, 1), "{}", reply.text());
    }
}

#[tokio::test]
async fn a_tag_goes_along() {
    let mut split = route("echo", &[]);
    split.backends = vec![backend("echo", 100), backend("other", 0)];
    split.backends[1].tag = Some("next".to_owned());
    let table = TableConfig { routes: vec![split], models: Vec::new() };
    let home = start(GatewayConfig::default(), &table).await;
    let other = Arc::new(Echo::new(Duration::ZERO));
    home.shelf.put("other", Entry::Ready(other.clone()));
    let first = start(GatewayConfig::default(), &table).await;
    *first.shelf.others.lock().unwrap() = vec![home.address.to_string()];
    let host = [("host", "next-echo.team.example")];
    let reply = first.post_with("/v2/models/other/infer", &host, ROW.as_bytes()).await;
    assert_eq!((reply.status, asked(&other)), (200, 1), "{}", reply.text());
}
