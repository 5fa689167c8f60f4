//! What keeps the gateway and its models up: limits in time and number, tokens, and a quiet end.
#![allow(clippy::unwrap_used, reason = "for tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use common::models::{Echo, Entry};
use common::{ROW, model, read, request, route, send, start, start_usual, usual};
use purlin_gateway::{BatchConfig, GatewayConfig, ModelConfig, ModelKey, ModelLoad, TableConfig};
use purlin_nn::{InferError, InferRequest, InferResponse, ModelMetadata, ServedModel};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};

const INFER: &str = "/v2/models/echo/infer";

fn slow(delay: Duration) -> Entry {
    Entry::Ready(Arc::new(Echo::new(delay)))
}

fn only(config: ModelConfig) -> TableConfig {
    TableConfig { models: vec![config], ..usual() }
}

#[tokio::test]
async fn a_request_is_answered_in_time_or_not_at_all() {
    let table = only(ModelConfig { timeout: Some(Duration::from_millis(100)), ..model("echo") });
    let running = start(GatewayConfig::default(), &table).await;
    running.shelf.put("echo", slow(Duration::from_secs(10)));
    let reply = running.post(INFER, ROW).await;
    assert_eq!((reply.status, reply.json()), (504, json!({"error": "no answer within 100ms"})));
    assert_eq!(running.shelf.leases.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a_sleeping_model_is_woken_and_waited_for() {
    let running = start_usual().await;
    let echo = || Arc::new(Echo::new(Duration::ZERO));
    running.shelf.put("echo", Entry::Sleeping(echo(), Duration::from_millis(200)));
    assert_eq!(running.get("/v2/models/echo/ready").await.status, 200);
    assert_eq!(running.post(INFER, ROW).await.status, 200);
    let table = only(ModelConfig { timeout: Some(Duration::from_millis(100)), ..model("echo") });
    running.gateway.update(&table);
    running.shelf.put("echo", Entry::Sleeping(echo(), Duration::from_secs(10)));
    assert_eq!(running.post(INFER, ROW).await.status, 504);
}

#[tokio::test]
async fn what_is_too_much_for_a_model_is_sent_away_at_once() {
    let table = only(ModelConfig { concurrency: 1, queue: 1, ..model("echo") });
    let running = Arc::new(start(GatewayConfig::default(), &table).await);
    running.shelf.put("echo", slow(Duration::from_millis(300)));
    let ask = |running: &Arc<common::Running>| {
        let running = running.clone();
        tokio::spawn(async move { running.post(INFER, ROW).await })
    };
    let (first, second) = (ask(&running), ask(&running));
    tokio::time::sleep(Duration::from_millis(100)).await;
    let key = ModelKey::new("team", "echo");
    assert_eq!(running.gateway.load(&key), ModelLoad { in_flight: 1, waiting: 1 });
    let began = Instant::now();
    let third = running.post(INFER, ROW).await;
    assert_eq!((third.status, third.header("retry-after")), (503, Some("1")));
    assert!(began.elapsed() < Duration::from_millis(100));
    assert_eq!((first.await.unwrap().status, second.await.unwrap().status), (200, 200));
    assert_eq!(running.gateway.load(&key), ModelLoad::default());
}

#[tokio::test]
async fn only_those_with_a_token_are_let_in() {
    let mut table = usual();
    table.routes[0].tokens = Some(vec!["secret".to_owned(), "other".to_owned()]);
    let running = start(GatewayConfig::default(), &table).await;
    let with = async |value: &str| {
        running.post_with(INFER, &[("authorization", value)], ROW.as_bytes()).await.status
    };
    assert_eq!(with("Bearer secret").await, 200);
    assert_eq!(with("bearer other").await, 200);
    for wrong in ["Bearer secre", "Bearer secret2", "Bearer ", "Bearer", "Basic secret", "secret", ""] {
        assert_eq!(with(wrong).await, 401, "{wrong:?}");
    }
    let nothing = running.post(INFER, ROW).await;
    assert_eq!((nothing.status, nothing.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(running.get("/v2/models/echo").await.status, 401);
    assert_eq!(running.get("/v2/health/ready").await.status, 200);
    table.routes[0].tokens = Some(Vec::new());
    running.gateway.update(&table);
    assert_eq!(with("Bearer ").await, 401);
}

#[tokio::test]
async fn slow_and_idle_clients_are_cut() {
    let config = GatewayConfig {
        header_timeout: Duration::from_millis(200),
        idle_timeout: Duration::from_millis(600),
        body_timeout: Duration::from_millis(200),
        ..GatewayConfig::default()
    };
    let running = start(config, &usual()).await;
    // A head that comes byte by byte.
    let mut slow = TcpStream::connect(running.address).await.unwrap();
    let began = Instant::now();
    while slow.write_all(b"x").await.is_ok() && began.elapsed() < Duration::from_secs(5) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    // The beginning of HTTP/2, and no more.
    let mut cut = TcpStream::connect(running.address).await.unwrap();
    cut.write_all(b"PRI * HT").await.unwrap();
    assert!(read(&mut cut).await.is_none());
    // A connection that is opened ahead of its first request may wait longer than a head.
    let mut early = TcpStream::connect(running.address).await.unwrap();
    tokio::time::sleep(Duration::from_millis(400)).await;
    early.write_all(&request("POST", INFER, &[], ROW.as_bytes())).await.unwrap();
    assert_eq!(read(&mut early).await.unwrap().status, 200);
    // A connection that is used, and then idle: longer than for a head, and not for ever.
    let mut idle = TcpStream::connect(running.address).await.unwrap();
    for _ in 0..2 {
        idle.write_all(&request("POST", INFER, &[], ROW.as_bytes())).await.unwrap();
        assert_eq!(read(&mut idle).await.unwrap().status, 200);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    let began = Instant::now();
    assert!(read(&mut idle).await.is_none());
    assert!(began.elapsed() < Duration::from_secs(2));
    // A body that does not come.
    let reply =
        send(running.address, &request("POST", INFER, &[("content-length", "10")], b"{")).await.unwrap();
    assert_eq!((reply.status, reply.header("connection")), (408, Some("close")));
}

#[tokio::test]
async fn a_client_that_does_not_read_keeps_nothing_from_others() {
    let table = only(ModelConfig { timeout: Some(Duration::from_millis(300)), ..model("story") });
    let config = GatewayConfig {
        header_timeout: Duration::from_millis(200),
        body_timeout: Duration::from_millis(500),
        ..GatewayConfig::default()
    };
    let running = start(config, &table).await;
    // More than all buffers between here and there hold. The request is small, so that the model is asked in time however slow
    // the machine is.
    let body = json!({"text_input": "a flood"}).to_string();
    // Little room, so that the answer has to wait however slowly it is made.
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut stream = socket.connect(running.address).await.unwrap();
    stream
        .write_all(&request("POST", "/v2/models/story/generate_stream", &[], body.as_bytes()))
        .await
        .unwrap();
    let began = Instant::now();
    while running.shelf.leases.load(Ordering::SeqCst) != 1 {
        assert!(began.elapsed() < Duration::from_secs(5), "the model was not asked");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    tokio::time::sleep(Duration::from_millis(600)).await;
    assert_eq!(running.shelf.leases.load(Ordering::SeqCst), 0);
    // And it is cut in the end.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut all = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut all).await;
    assert!(!all.ends_with(b"0\r\n\r\n"));
}

#[tokio::test]
async fn a_text_without_end_is_cut_in_time_though_each_piece_is_there_at_once() {
    let table = only(ModelConfig { timeout: Some(Duration::from_millis(50)), ..model("story") });
    let running = start(GatewayConfig::default(), &table).await;
    let body = json!({"text_input": "for ever"}).to_string();
    let reply = running.post("/v2/models/story/generate", &body).await;
    assert!(matches!(reply.status, 500 | 504), "{}", reply.text());
    let reply = running.post("/v2/models/story/generate_stream", &body).await;
    assert_eq!(reply.status, 200);
    assert!(reply.text().trim_end().ends_with(r#"data: {"error":"no answer within 50ms"}"#));
}

#[tokio::test]
async fn a_text_of_no_pieces_is_empty() {
    let running = start_usual().await;
    let body = json!({"text_input": "nothing"}).to_string();
    let reply = running.post("/v2/models/story/generate", &body).await;
    assert_eq!((reply.status, reply.json()["text_output"].as_str()), (200, Some("")));
    let reply = running.post("/v2/models/story/generate_stream", &body).await;
    assert_eq!((reply.status, reply.text().as_str()), (200, ""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_idle_connections_do_not_hurt() {
    let running = start_usual().await;
    let mut idle = Vec::new();
    for _ in 0..1000 {
        let mut stream = TcpStream::connect(running.address).await.unwrap();
        stream.write_all(&request("GET", "/v2/health/live", &[], b"")).await.unwrap();
        assert_eq!(read(&mut stream).await.unwrap().status, 200);
        idle.push(stream);
    }
    let began = Instant::now();
    for _ in 0..20 {
        assert_eq!(running.post(INFER, ROW).await.status, 200);
    }
    assert!(began.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_gateway_that_is_told_to_stop_finishes_what_it_has() {
    let config = GatewayConfig { drain_delay: Duration::from_millis(200), ..GatewayConfig::default() };
    let running = start(config, &usual()).await;
    running.shelf.put("echo", slow(Duration::from_millis(600)));
    let address = running.address;
    let in_flight =
        tokio::spawn(async move { send(address, &request("POST", INFER, &[], ROW.as_bytes())).await });
    let mut idle = TcpStream::connect(address).await.unwrap();
    idle.write_all(&request("GET", "/v2/health/ready", &[], b"")).await.unwrap();
    assert_eq!(read(&mut idle).await.unwrap().status, 200);
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.stop.cancel();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(running.get("/v2/health/ready").await.status, 503);
    assert_eq!(in_flight.await.unwrap().unwrap().status, 200);
    tokio::time::timeout(Duration::from_secs(2), running.task).await.unwrap().unwrap();
    assert!(read(&mut idle).await.is_none());
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_cut() {
    let config = GatewayConfig { drain_timeout: Duration::from_millis(200), ..GatewayConfig::default() };
    let running = start(config, &usual()).await;
    running.shelf.put("echo", slow(Duration::from_secs(60)));
    let address = running.address;
    let in_flight =
        tokio::spawn(async move { send(address, &request("POST", INFER, &[], ROW.as_bytes())).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    running.stop.cancel();
    tokio::time::timeout(Duration::from_secs(2), running.task).await.unwrap().unwrap();
    assert!(in_flight.await.unwrap().is_none());
}

#[tokio::test]
async fn requests_that_come_together_are_computed_together() {
    let batching = Some(BatchConfig { max_size: 4, max_latency: Duration::from_millis(300) });
    let running =
        Arc::new(start(GatewayConfig::default(), &only(ModelConfig { batching, ..model("echo") })).await);
    let echo = Arc::new(Echo::new(Duration::ZERO));
    running.shelf.put("echo", Entry::Ready(echo.clone()));
    let ask = |value: usize| {
        let running = running.clone();
        async move {
            let row = format!(
                r#"{{"inputs":[{{"name":"input","datatype":"FP32","shape":[1,4],"data":[{value},0,0,0]}}]}}"#
            );
            running.post(INFER, &row).await.json()["outputs"][0].clone()
        }
    };
    let bad = async {
        running
            .post(INFER, r#"{"inputs":[{"name":"input","datatype":"FP32","shape":[1,3],"data":[1,0,0]}]}"#)
            .await
    };
    let (answers, bad) = tokio::join!(futures::future::join_all((0..4).map(ask)), bad);
    for (value, answer) in answers.iter().enumerate() {
        assert_eq!((&answer["shape"], &answer["data"][0]), (&json!([1, 4]), &json!(value as f64)));
    }
    assert_eq!(bad.status, 400, "{}", bad.text());
    assert_eq!(echo.asked.load(Ordering::SeqCst), 1);
}

/// Is gone the first times that it is asked.
struct Flaky {
    metadata: ModelMetadata,
    fails: std::sync::atomic::AtomicUsize,
}

#[async_trait]
impl ServedModel for Flaky {
    fn metadata(&self) -> &ModelMetadata {
        &self.metadata
    }

    async fn infer(&self, request: InferRequest) -> Result<InferResponse, InferError> {
        let left = self.fails.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        match left {
            Ok(_) => Err(InferError::Unavailable("the replica is gone".to_owned())),
            Err(_) => Ok(InferResponse { outputs: request.inputs, parameters: Vec::new() }),
        }
    }
}

#[tokio::test]
async fn a_request_whose_replica_is_gone_is_sent_again_but_not_for_ever() {
    let running = start_usual().await;
    let flaky = |fails: usize| {
        Entry::Ready(Arc::new(Flaky { metadata: ModelMetadata::default(), fails: fails.into() }))
    };
    running.shelf.put("echo", flaky(2));
    assert_eq!(running.post(INFER, ROW).await.status, 200);
    running.shelf.put("echo", flaky(3));
    let reply = running.post(INFER, ROW).await;
    assert_eq!((reply.status, reply.json()), (503, json!({"error": "the replica is gone"})));
}

#[tokio::test]
async fn requests_are_counted_and_keep_their_names() {
    let running = start_usual().await;
    let mut registry = prometheus_client::registry::Registry::default();
    running.gateway.register_metrics(&mut registry);
    let reply = running.post_with(INFER, &[("x-request-id", "mine")], ROW.as_bytes()).await;
    assert_eq!(reply.header("x-request-id"), Some("mine"));
    assert_eq!(running.post(INFER, "{}").await.header("x-request-id").unwrap().len(), 32);
    running.post("/v2/models/story/generate", r#"{"text_input":"a b"}"#).await;
    running.gateway.refresh_metrics();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    for line in [
        r#"request_count_total{namespace="team",model_name="echo",response_code_class="2xx"} 1"#,
        r#"request_count_total{namespace="team",model_name="echo",response_code_class="4xx"} 1"#,
        r#"request_predict_seconds_count{namespace="team",model_name="echo"} 1"#,
        r#"vllm:generation_tokens_total{namespace="team",model_name="story"} 2"#,
        r#"vllm:time_to_first_token_seconds_count{namespace="team",model_name="story"} 1"#,
        r#"purlin_gateway_requests_in_flight{namespace="team",model_name="echo"} 0"#,
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    // What is gone is not shown for ever.
    running.gateway.update(&TableConfig { routes: vec![route("story", &["story"])], models: Vec::new() });
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(!text.contains("model_name=\"echo\"") && text.contains("model_name=\"story\""));
}
