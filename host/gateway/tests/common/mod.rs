//! A gateway on a port of its own, and requests to it byte by byte.
#![allow(dead_code, reason = "each test uses its part")]
#![allow(clippy::unwrap_used, unreachable_pub, reason = "for tests")]

pub mod models;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use purlin_gateway::{BackendConfig, Gateway, GatewayConfig, ModelConfig, RouteConfig, TableConfig};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use models::{Arithmetic, Echo, Entry, Shelf, Story, Vectors};

/// A gateway that is being served.
pub struct Running {
    pub address: SocketAddr,
    pub gateway: Gateway,
    pub shelf: Arc<Shelf>,
    pub stop: CancellationToken,
    pub task: JoinHandle<()>,
}

/// An answer.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("{}", self.text()))
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

pub fn backend(model: &str, weight: u32) -> BackendConfig {
    BackendConfig { model: model.to_owned(), weight, tag: None }
}

pub fn route(name: &str, models: &[&str]) -> RouteConfig {
    RouteConfig {
        namespace: "team".to_owned(),
        name: name.to_owned(),
        hosts: vec![format!("{name}.team.example")],
        backends: models.iter().map(|model| backend(model, 100)).collect(),
        ..RouteConfig::default()
    }
}

pub fn model(name: &str) -> ModelConfig {
    ModelConfig { namespace: "team".to_owned(), name: name.to_owned(), ..ModelConfig::default() }
}

/// The models that every test has: `echo`, `arithmetic`, `story` and `vectors` on any host.
pub fn usual() -> TableConfig {
    let mut all = route("all", &["echo"]);
    all.hosts.push("*".to_owned());
    all.models = ["arithmetic", "story", "vectors", "broken"].map(str::to_owned).to_vec();
    TableConfig { routes: vec![all], models: Vec::new() }
}

pub async fn start(config: GatewayConfig, table: &TableConfig) -> Running {
    let shelf = Arc::new(Shelf::default());
    shelf.put("echo", Entry::Ready(Arc::new(Echo::new(Duration::ZERO))));
    shelf.put("arithmetic", Entry::Ready(Arc::new(Arithmetic::new())));
    shelf.put("story", Entry::Ready(Arc::new(Story::new(Duration::ZERO))));
    shelf.put("vectors", Entry::Ready(Arc::new(Vectors::new())));
    shelf.put("broken", Entry::Broken("the file is no model".to_owned()));
    let gateway = Gateway::new(shelf.clone(), config);
    assert_eq!(gateway.update(table), []);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let stop = CancellationToken::new();
    let serving = (gateway.clone(), stop.clone());
    let task = tokio::spawn(async move { serving.0.serve(listener, serving.1).await });
    Running { address, gateway, shelf, stop, task }
}

pub async fn start_usual() -> Running {
    start(GatewayConfig::default(), &usual()).await
}

/// The bytes of a request.
pub fn request(method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        head.push_str("host: localhost\r\n");
    }
    let has = |wanted: &str| headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(wanted));
    if !has("content-length") && !has("transfer-encoding") && method == "POST" {
        head.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    head.push_str("\r\n");
    [head.as_bytes(), body].concat()
}

/// Sends bytes on a connection of their own, and reads the answer. `None` where the gateway only closed.
pub async fn send(address: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // The gateway may close before it has all.
    let _ = stream.write_all(bytes).await;
    tokio::time::timeout(Duration::from_secs(20), read(&mut stream)).await.expect("no answer")
}

/// Reads one answer from a connection.
pub async fn read(stream: &mut TcpStream) -> Option<Reply> {
    let mut buffer = Vec::new();
    let head = loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            break at;
        }
        let mut piece = [0; 4096];
        match stream.read(&mut piece).await {
            Ok(0) | Err(_) => return None,
            Ok(length) => buffer.extend_from_slice(&piece[..length]),
        }
    };
    let text = String::from_utf8(buffer[..head].to_vec()).unwrap();
    let mut lines = text.split("\r\n");
    let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    let headers: Vec<(String, String)> = lines
        .filter_map(|line| line.split_once(": "))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()))
        .collect();
    let mut body = buffer[head + 4..].to_vec();
    let value = |name: &str| headers.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str());
    if let Some(length) = value("content-length") {
        let length: usize = length.parse().unwrap();
        while body.len() < length {
            let mut piece = vec![0; 65536];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(read) => body.extend_from_slice(&piece[..read]),
            }
        }
        // What follows is another answer.
        body.truncate(length);
    } else if value("transfer-encoding") == Some("chunked") {
        while !body.ends_with(b"0\r\n\r\n") {
            let mut piece = vec![0; 65536];
            match stream.read(&mut piece).await {
                Ok(0) | Err(_) => break,
                Ok(read) => body.extend_from_slice(&piece[..read]),
            }
        }
        body = unchunk(&body);
    }
    Some(Reply { status, headers, body })
}

fn unchunk(mut bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    while let Some(at) = bytes.windows(2).position(|window| window == b"\r\n") {
        let length = usize::from_str_radix(std::str::from_utf8(&bytes[..at]).unwrap(), 16).unwrap();
        let end = (at + 2 + length).min(bytes.len());
        out.extend_from_slice(&bytes[at + 2..end]);
        bytes = bytes.get(end + 2..).unwrap_or_default();
    }
    out
}

impl Running {
    pub async fn get(&self, path: &str) -> Reply {
        self.get_at("localhost", path).await
    }

    pub async fn get_at(&self, host: &str, path: &str) -> Reply {
        send(self.address, &request("GET", path, &[("host", host)], b"")).await.unwrap()
    }

    pub async fn post(&self, path: &str, body: &str) -> Reply {
        self.post_with(path, &[], body.as_bytes()).await
    }

    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Reply {
        send(self.address, &request("POST", path, headers, body)).await.unwrap()
    }
}

/// A request of V2 with one row of four numbers.
pub const ROW: &str = r#"{"inputs":[{"name":"input","datatype":"FP32","shape":[1,4],"data":[1,2,3,4]}]}"#;
