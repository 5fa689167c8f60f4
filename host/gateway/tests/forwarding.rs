//! Models that servers behind the gateway have. The servers are gateways themselves.
#![allow(clippy::unwrap_used, reason = "for tests")]

mod common;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use common::models::{Entry, Story};
use common::{ROW, Running, model, request, route, send, start, start_usual};
use purlin_gateway::{GatewayConfig, LoggingConfig, ModelConfig, PrefillConfig, TableConfig};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

fn container() -> ModelConfig {
    ModelConfig { container: true, ..model("echo") }
}

/// A gateway before servers.
async fn before(servers: Vec<String>, model: ModelConfig) -> Running {
    let table = TableConfig { routes: vec![route("web", &["echo"])], models: vec![model] };
    let running = start(GatewayConfig::default(), &table).await;
    running.shelf.put("echo", Entry::Servers(servers));
    running
}

/// An address at which nobody is.
async fn nobody() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A server that takes connections, reads, and closes them without an answer.
async fn dying() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let _ = stream.read(&mut [0; 1024]).await;
        }
    });
    address
}

#[tokio::test]
async fn requests_are_forwarded_as_they_are() {
    let behind = start_usual().await;
    let running = before(vec![behind.address.to_string()], container()).await;
    let web = "/serving/team/web";
    let reply = running.post(&format!("{web}/v2/models/echo/infer"), ROW).await;
    assert_eq!((reply.status, &reply.json()["model_name"]), (200, &json!("echo")));
    // Names, protocols and paths that only the server knows.
    let reply = running.post(&format!("{web}/v2/models/arithmetic/infer"), ROW).await;
    assert_eq!(reply.status, 400, "{}", reply.text());
    let reply = running.post(&format!("{web}/v1/models/echo:predict"), r#"{"instances":[[1,2,3,4]]}"#).await;
    assert_eq!(reply.json(), json!({"predictions": [[1.0, 2.0, 3.0, 4.0]]}));
    let reply = running.get(&format!("{web}/v2/models/echo")).await;
    assert_eq!(reply.json()["platform"], "echo");
    let reply = running.get(&format!("{web}/some/path?a=b")).await;
    assert!(reply.status == 404 && reply.text().contains("/some/path"), "{}", reply.text());
    let chat = r#"{"model":"story","messages":[{"role":"user","content":"a b"}],"stream":true}"#;
    let reply = running.post(&format!("{web}/openai/v1/chat/completions"), chat).await;
    assert!(reply.text().ends_with("data: [DONE]\n\n"), "{}", reply.text());
    // More than is read before it is sent on.
    let large = format!("{}{ROW}", " ".repeat(3 << 20));
    let reply = running.post(&format!("{web}/v2/models/echo/infer"), &large).await;
    assert_eq!(reply.status, 200, "{}", reply.text());
    let reply = running
        .post_with(&format!("{web}/v2/models/echo/infer"), &[("content-length", "99999999")], b"")
        .await;
    assert_eq!(reply.status, 413);
}

#[tokio::test]
async fn a_server_that_is_gone_is_replaced_by_another() {
    let behind = start_usual().await;
    let path = "/serving/team/web/v2/models/echo/infer";
    let large = format!("{}{ROW}", " ".repeat(3 << 20));
    for gone in [nobody().await, dying().await] {
        let running = before(vec![gone.clone(), behind.address.to_string()], container()).await;
        for _ in 0..4 {
            assert_eq!(running.post(path, ROW).await.status, 200);
        }
        let running = before(vec![gone], container()).await;
        let reply = running.post(path, ROW).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{}", reply.text());
    }
    // A large body is sent again only where nothing of it went out.
    let running = before(vec![nobody().await, behind.address.to_string()], container()).await;
    for _ in 0..4 {
        assert_eq!(running.post(path, &large).await.status, 200);
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let model = ModelConfig { timeout: Some(Duration::from_millis(200)), ..container() };
    let running = before(vec![silent.local_addr().unwrap().to_string()], model).await;
    assert_eq!(running.post("/serving/team/web/v2/models/echo/infer", ROW).await.status, 504);
}

/// Takes requests, and tells their heads and bodies.
async fn receiver() -> (String, mpsc::UnboundedReceiver<(String, Vec<u8>)>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (sender, received) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let sender = sender.clone();
            tokio::spawn(async move {
                let mut buffer = Vec::new();
                loop {
                    let mut piece = [0; 4096];
                    let Ok(length @ 1..) = stream.read(&mut piece).await else { break };
                    buffer.extend_from_slice(&piece[..length]);
                    while let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                        let head = String::from_utf8(buffer[..at].to_vec()).unwrap().to_ascii_lowercase();
                        let length = head.split("content-length: ").nth(1).unwrap();
                        let length: usize = length.split("\r\n").next().unwrap().parse().unwrap();
                        if buffer.len() < at + 4 + length {
                            break;
                        }
                        let body = buffer[at + 4..at + 4 + length].to_vec();
                        buffer.drain(..at + 4 + length);
                        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
                        let _ = sender.send((head, body));
                    }
                }
            });
        }
    });
    (address, received)
}

#[tokio::test]
async fn a_lease_is_asked_for_with_what_a_prompt_begins_with() {
    let (server, _received) = receiver().await;
    let asked = async |model: ModelConfig, prompt: &str| {
        let running = before(vec![server.clone()], model).await;
        let body = json!({"model": "echo", "prompt": prompt}).to_string();
        assert_eq!(running.post("/serving/team/web/v1/completions", &body).await.status, 200);
        running.shelf.prompt.lock().unwrap().clone()
    };
    let beginning = "Once upon a time ".repeat(10);
    assert_eq!(asked(container(), &beginning).await, Vec::<u64>::new());
    let by_prefix = || ModelConfig { by_prefix: true, ..container() };
    let one = asked(by_prefix(), &beginning).await;
    let other = asked(by_prefix(), &format!("{beginning}{beginning}")).await;
    assert!(other.len() > one.len() && other.starts_with(&one), "{one:?} {other:?}");
    assert_eq!(asked(by_prefix(), "short").await, Vec::<u64>::new());
}

#[tokio::test]
async fn a_server_is_told_who_reads_the_prompt() {
    let (server, mut received) = receiver().await;
    let reader = PrefillConfig { model: "reader".to_owned(), header: "x-reader".to_owned() };
    let running = before(vec![server], ModelConfig { prefill: Some(reader), ..container() }).await;
    let prompt = json!({"model": "echo", "prompt": "Once upon a time ".repeat(10)}).to_string();
    let mut ask = async |body: &str| {
        let path = "/serving/team/web/v1/completions";
        let named = [("x-reader", "169.254.169.254:80"), ("content-type", "application/json")];
        let reply = running.post_with(path, &named, body.as_bytes()).await;
        assert_eq!(reply.status, 200, "{}", reply.text());
        let (head, _) = received.recv().await.unwrap();
        let header = head.split("\r\n").find_map(|line| line.strip_prefix("x-reader: "));
        header.map(str::to_owned)
    };
    // Nobody reads prompts yet: the server does itself, and nobody whom the client names.
    assert_eq!(ask(&prompt).await, None);
    running.shelf.put("reader", Entry::Servers(vec!["10.0.0.7:8000".to_owned()]));
    assert_eq!(ask(&prompt).await.as_deref(), Some("10.0.0.7:8000"));
    assert_eq!(ask(r#"{"inputs":[]}"#).await, None);
    // One that sleeps is told that it was missed.
    let asleep = Entry::Sleeping(Arc::new(Story::new(Duration::ZERO)), Duration::from_secs(10));
    running.shelf.put("reader", asleep);
    running.shelf.missed.lock().unwrap().clear();
    assert_eq!(ask(&prompt).await, None);
    assert_eq!(*running.shelf.missed.lock().unwrap(), ["reader"]);
    let none = async {
        while running.shelf.leases.load(Ordering::SeqCst) > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), none).await.unwrap();
}

#[tokio::test]
async fn no_client_says_whom_a_server_connects_to() {
    let (server, mut received) = receiver().await;
    let running = before(vec![server], container()).await;
    let names = [
        "x-prefiller-host-port",
        "X-Encoder-Hosts-Ports",
        "x-data-parallel-host-port",
        "x-kv-cache-source-host-port",
    ];
    let headers: Vec<(&str, &str)> = names.map(|name| (name, "169.254.169.254:80")).into_iter().collect();
    let reply = running.post_with("/serving/team/web/v1/completions", &headers, b"{}").await;
    assert_eq!(reply.status, 200);
    let (head, _) = received.recv().await.unwrap();
    assert!(!head.contains("169.254.169.254"), "{head}");
}

fn logging(address: &str) -> Option<LoggingConfig> {
    Some(LoggingConfig {
        url: format!("http://{address}/"),
        requests: true,
        responses: true,
        service: None,
        component: "predictor".to_owned(),
        endpoint: "default".to_owned(),
    })
}

#[tokio::test]
async fn payloads_are_sent_as_cloud_events() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let (address, mut received) = receiver().await;
    let behind = start_usual().await;
    for container in [false, true] {
        let model = ModelConfig { container, logging: logging(&address), ..model("echo") };
        let running = before(vec![behind.address.to_string()], model).await;
        if !container {
            let echo = common::models::Echo::new(Duration::ZERO);
            running.shelf.put("echo", Entry::Ready(std::sync::Arc::new(echo)));
        }
        let id = "4bf92f3577b34da6a3ce929d0e0e4736";
        let parent = format!("00-{id}-00f067aa0ba902b7-01");
        let headers =
            [("traceparent", parent.as_str()), ("x-request-id", "r1"), ("content-type", "application/json")];
        let reply =
            running.post_with("/serving/team/web/v2/models/echo/infer", &headers, ROW.as_bytes()).await;
        assert_eq!(reply.status, 200);
        let mut seen = Vec::new();
        for _ in 0..2 {
            let event = tokio::time::timeout(Duration::from_secs(5), received.recv()).await.unwrap().unwrap();
            for attribute in [
                "ce-specversion: 1.0",
                "ce-id: r1",
                "ce-source: /serving/team/web",
                "ce-inferenceservicename: web",
                "ce-namespace: team",
                "ce-component: predictor",
                "ce-endpoint: default",
                "content-type: application/json",
                &format!("traceparent: 00-{id}-"),
            ] {
                assert!(event.0.contains(attribute), "{attribute}\n{}", event.0);
            }
            seen.push(event);
        }
        seen.sort_by_key(|(head, _)| head.contains("inference.response"));
        assert!(seen[0].0.contains("ce-type: org.kubeflow.serving.inference.request"));
        assert_eq!(seen[0].1, ROW.as_bytes());
        assert!(seen[1].0.contains("ce-type: org.kubeflow.serving.inference.response"));
        assert_eq!(seen[1].1, reply.body);
    }
}

#[tokio::test]
async fn payloads_that_find_no_room_are_dropped_and_counted() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    // It takes connections, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = silent.local_addr().unwrap().to_string();
    let config = GatewayConfig { payload_queue: 4, ..GatewayConfig::default() };
    let table = TableConfig {
        routes: vec![route("web", &["echo"])],
        models: vec![ModelConfig { logging: logging(&address), ..model("echo") }],
    };
    let running = start(config, &table).await;
    for _ in 0..40 {
        assert_eq!(running.post("/serving/team/web/v2/models/echo/infer", ROW).await.status, 200);
    }
    let mut registry = prometheus_client::registry::Registry::default();
    running.gateway.register_metrics(&mut registry);
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains(r#"purlin_gateway_payload_events_total{outcome="dropped"}"#), "{text}");
}

#[tokio::test]
async fn what_is_about_one_connection_is_not_handed_on() {
    let (address, mut received) = receiver().await;
    let mut table = TableConfig { routes: vec![route("web", &["echo"])], models: vec![container()] };
    table.routes[0].tokens = Some(vec!["secret".to_owned()]);
    let running = start(GatewayConfig::default(), &table).await;
    running.shelf.put("echo", Entry::Servers(vec![address]));
    let headers = [
        ("authorization", "Bearer secret"),
        ("connection", "x-mine"),
        ("x-mine", "1"),
        ("x-theirs", "2"),
        ("host", "web.team.example"),
    ];
    let bytes = request("POST", "/v2/models/echo/infer?a=b", &headers, b"{}");
    send(running.address, &bytes).await.unwrap();
    let (head, _) = received.recv().await.unwrap();
    assert!(head.starts_with("post /v2/models/echo/infer?a=b http/1.1\r\n"), "{head}");
    assert!(head.contains("x-theirs: 2") && head.contains("x-forwarded-host: web.team.example"), "{head}");
    assert!(head.contains("traceparent: 00-") && head.contains("x-request-id: "), "{head}");
    assert!(!head.contains("x-mine") && !head.contains("secret"), "{head}");
}
