//! Attempts to reach servers that were not granted. Two servers listen on loopback: `open` is granted, `closed` is not,
//! and no case may make `closed` hear anything.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::any;
use futures::StreamExt as _;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::host::{Host, Probe};

struct Server {
    address: SocketAddr,
    heard: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Server {
        let heard = Arc::new(AtomicUsize::new(0));
        let router = Router::new()
            .route("/hello", any(hello))
            .route("/echo", any(echo))
            .route("/to", any(to))
            .route("/loop", any(|| async { Redirect::temporary("/loop") }))
            .route("/large", any(|| async { vec![b'x'; 1 << 20] }))
            .route("/endless", any(endless))
            .route("/slow", any(slow))
            .with_state(heard.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
        let address = listener.local_addr().expect("address");
        tokio::spawn(async move { axum::serve(listener, router).await });
        Server { address, heard }
    }

    fn port(&self) -> u16 {
        self.address.port()
    }

    fn url(&self, path: &str) -> String {
        format!("http://localhost:{}{path}", self.port())
    }

    fn heard(&self) -> usize {
        self.heard.load(Ordering::SeqCst)
    }
}

async fn hello(State(heard): State<Arc<AtomicUsize>>) -> &'static str {
    heard.fetch_add(1, Ordering::SeqCst);
    "hello"
}

async fn echo(
    State(heard): State<Arc<AtomicUsize>>,
    method: axum::http::Method,
    headers: HeaderMap,
    body: Bytes,
) -> String {
    heard.fetch_add(1, Ordering::SeqCst);
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    json!({
        "method": method.as_str(), "body": String::from_utf8_lossy(&body),
        "authorization": header("authorization"), "x-kept": header("x-kept"), "cookie": header("cookie"),
    })
    .to_string()
}

#[derive(Deserialize)]
struct Target {
    url: String,
    status: Option<u16>,
}

async fn to(State(heard): State<Arc<AtomicUsize>>, Query(target): Query<Target>) -> Response {
    heard.fetch_add(1, Ordering::SeqCst);
    let status =
        target.status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or(StatusCode::FOUND);
    (status, [("location", target.url)]).into_response()
}

async fn endless() -> Body {
    Body::from_stream(
        futures::stream::repeat(Ok::<_, std::convert::Infallible>(Bytes::from_static(&[b'x'; 4096])))
            .map(|piece| piece),
    )
}

async fn slow() -> &'static str {
    tokio::time::sleep(Duration::from_secs(30)).await;
    "late"
}

/// A probe that may GET and POST to `open`, and nothing else.
async fn granted(open: &Server) -> (Host, Probe) {
    let host = Host::new();
    let grant = format!("http(GET,POST http://localhost:{} in 127.0.0.0/8)", open.port());
    let probe = host.probe(&grant).await;
    (host, probe)
}

fn get(url: impl Into<String>) -> Value {
    json!({"do": "http", "url": url.into()})
}

fn is(result: &Value, outcome: &str) -> bool {
    result.get(outcome).is_some()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_granted_works() {
    let open = Server::start().await;
    let (_host, probe) = granted(&open).await;
    let answer = probe.does(get(open.url("/hello"))).await;
    assert_eq!((&answer["ok"]["status"], &answer["ok"]["body"]), (&json!(200), &json!("hello")), "{answer}");
    let posted = probe
        .does(json!({"do": "http", "method": "POST", "url": open.url("/echo"), "value": "abc",
            "headers": [{"name": "X-Kept", "value": "yes"}]}))
        .await;
    let echoed: Value = serde_json::from_str(posted["ok"]["body"].as_str().expect("text")).expect("JSON");
    assert_eq!(
        (&echoed["body"], &echoed["x-kept"], &echoed["method"]),
        (&json!("abc"), &json!("yes"), &json!("POST"))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn no_url_reaches_another_server() {
    let (open, closed) = (Server::start().await, Server::start().await);
    let (_host, probe) = granted(&open).await;
    let (port, other) = (open.port(), closed.port());
    let attempts = [
        ("another port", closed.url("/hello")),
        ("the address itself", format!("http://127.0.0.1:{port}/hello")),
        ("the address of the other", format!("http://127.0.0.1:{other}/hello")),
        ("the address as a number", format!("http://2130706433:{other}/hello")),
        ("in hexadecimal", format!("http://0x7f000001:{other}/hello")),
        ("in octal", format!("http://0177.0.0.1:{other}/hello")),
        ("shortened", format!("http://127.1:{other}/hello")),
        ("another loopback address", format!("http://127.0.0.2:{other}/hello")),
        ("all addresses", format!("http://0.0.0.0:{other}/hello")),
        ("IPv6", format!("http://[::1]:{other}/hello")),
        ("IPv4 in IPv6", format!("http://[::ffff:127.0.0.1]:{other}/hello")),
        ("a name below", format!("http://a.localhost:{port}/hello")),
        ("a name that ends alike", format!("http://notlocalhost:{port}/hello")),
        ("a full-width name", format!("http://\u{ff4c}ocalhost:{other}/hello")),
        ("TLS where clear text was granted", format!("https://localhost:{port}/hello")),
        ("the default port", "http://localhost/hello".to_owned()),
        ("a backslash", format!("http://localhost:{other}\\@localhost:{port}/hello")),
        ("a tab in the scheme", format!("ht\ttp://localhost:{other}/hello")),
    ];
    for (what, url) in attempts {
        let result = probe.does(get(url.clone())).await;
        assert!(is(&result, "denied"), "{what}: {url}: {result}");
    }
    let invalid = [
        ("credentials in the URL", format!("http://localhost:{port}@localhost:{other}/hello")),
        ("a file", "file:///etc/passwd".to_owned()),
        ("another protocol", format!("gopher://localhost:{port}/")),
        ("data", "data:text/plain,hello".to_owned()),
        ("nothing", String::new()),
        ("a path", "/hello".to_owned()),
        ("no host", "http://".to_owned()),
        ("a port that is none", "http://localhost:99999/".to_owned()),
    ];
    for (what, url) in invalid {
        let result = probe.does(get(url.clone())).await;
        assert!(is(&result, "invalid"), "{what}: {url}: {result}");
    }
    for method in ["PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
        let result = probe.does(json!({"do": "http", "method": method, "url": open.url("/hello")})).await;
        assert!(is(&result, "denied"), "{method}: {result}");
    }
    assert_eq!((open.heard(), closed.heard()), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_redirect_leads_to_another_server() {
    let (open, closed) = (Server::start().await, Server::start().await);
    let (_host, probe) = granted(&open).await;
    let follow = |target: String, status: u16| {
        let url = format!("{}?status={status}&url={}", open.url("/to"), target.replace('&', "%26"));
        json!({"do": "http", "url": url, "redirects": 5})
    };
    for status in [301, 302, 303, 307, 308] {
        let result = probe.does(follow(closed.url("/hello"), status)).await;
        assert!(is(&result, "denied"), "{status}: {result}");
    }
    for target in [
        format!("http://127.0.0.1:{}/hello", open.port()),
        format!("//localhost:{}/hello", closed.port()),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
        "https://localhost/hello".to_owned(),
    ] {
        let result = probe.does(follow(target.clone(), 302)).await;
        assert!(is(&result, "denied"), "{target}: {result}");
    }
    for target in ["file:///etc/passwd", "gopher://localhost/"] {
        let result = probe.does(follow(target.to_owned(), 302)).await;
        assert!(is(&result, "invalid"), "{target}: {result}");
    }
    // By way of a second redirect.
    let twice = format!("{}?url={}", open.url("/to"), closed.url("/hello"));
    let result = probe.does(follow(twice, 302)).await;
    assert!(is(&result, "denied"), "{result}");
    assert_eq!(closed.heard(), 0);
    let allowed = probe.does(follow(open.url("/hello"), 302)).await;
    assert_eq!(allowed["ok"]["body"], "hello", "{allowed}");
    let around = probe.does(json!({"do": "http", "url": open.url("/loop"), "redirects": 10})).await;
    assert_eq!(around["ok"]["status"], 307, "after ten it is the redirect itself: {around}");
    let many = probe.does(json!({"do": "http", "url": open.url("/loop"), "redirects": 11})).await;
    assert!(is(&many, "invalid"), "{many}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_takes_no_credentials_to_another_origin() {
    let (open, second) = (Server::start().await, Server::start().await);
    let host = Host::new();
    let probe = host.probe("http(GET http://localhost:* in 127.0.0.0/8)").await;
    let headers = json!([{"name": "authorization", "value": "secret"}, {"name": "cookie", "value": "a=b"},
        {"name": "x-kept", "value": "yes"}]);
    let ask = |target: String| json!({"do": "http", "url": format!("{}?url={target}", open.url("/to")), "redirects": 1, "headers": headers});
    let same = probe.does(ask(open.url("/echo"))).await;
    assert!(same["ok"]["body"].as_str().is_some_and(|body| body.contains("secret")), "{same}");
    let other = probe.does(ask(second.url("/echo"))).await;
    let body = other["ok"]["body"].as_str().expect("a body");
    assert!(!body.contains("secret") && !body.contains("a=b") && body.contains("yes"), "{body}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_header_smuggles_another_request() {
    let open = Server::start().await;
    let (_host, probe) = granted(&open).await;
    for (name, value) in [
        ("Host", "other"),
        ("Content-Length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "keep-alive"),
        ("Upgrade", "websocket"),
        ("TE", "trailers"),
        ("Trailer", "x"),
        ("Expect", "100-continue"),
        ("Keep-Alive", "1"),
        ("Proxy-Authorization", "x"),
        ("Proxy-Connection", "x"),
        ("X-A", "b\r\nHost: other"),
        ("X-A\r\nHost", "other"),
        ("X A", "b"),
        ("", "b"),
    ] {
        let result = probe
            .does(
                json!({"do": "http", "url": open.url("/echo"), "headers": [{"name": name, "value": value}]}),
            )
            .await;
        assert!(is(&result, "invalid"), "{name:?}: {result}");
    }
    assert_eq!(open.heard(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_are_not_public_are_reached_only_where_their_range_was_granted() {
    let closed = Server::start().await;
    let host = Host::new();
    let probe = host.probe("http(* http://*:*)").await;
    let port = closed.port();
    for target in [
        format!("localhost:{port}"),
        format!("127.0.0.1:{port}"),
        format!("[::1]:{port}"),
        format!("[::ffff:127.0.0.1]:{port}"),
        format!("[::127.0.0.1]:{port}"),
        format!("[64:ff9b::7f00:1]:{port}"),
        format!("[2002:7f00:1::]:{port}"),
        format!("0.0.0.0:{port}"),
        format!("[::]:{port}"),
        "169.254.169.254".to_owned(),
        "[fe80::1]".to_owned(),
        "10.0.0.1".to_owned(),
        "172.16.0.1".to_owned(),
        "192.168.0.1".to_owned(),
        "100.64.0.1".to_owned(),
        "[fd00::1]".to_owned(),
        "224.0.0.1".to_owned(),
        "255.255.255.255".to_owned(),
    ] {
        let result = probe.does(get(format!("http://{target}/hello"))).await;
        let denied = result["denied"].as_str().unwrap_or_default();
        assert!(denied.contains("not public"), "{target}: {result}");
    }
    let other_range = host.probe("http(* http://*:* in 10.0.0.0/8)").await;
    assert!(is(&other_range.does(get(closed.url("/hello"))).await, "denied"));
    assert_eq!(closed.heard(), 0);
    let right_range = host.probe("http(* http://*:* in 127.0.0.0/8)").await;
    assert_eq!(right_range.does(get(closed.url("/hello"))).await["ok"]["body"], "hello");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_answer_is_too_large_or_too_late_for_the_host() {
    let open = Server::start().await;
    let (_host, probe) = granted(&open).await;
    for path in ["/large", "/endless"] {
        let result = probe.does(get(open.url(path))).await;
        assert_eq!(result["tooLarge"], 256 << 10, "{path}: {result}");
    }
    let started = std::time::Instant::now();
    let late = probe.does(json!({"do": "http", "url": open.url("/slow"), "timeoutMs": 200})).await;
    assert!(is(&late, "unavailable") && started.elapsed() < Duration::from_secs(1), "{late}");
    let longer = probe.does(json!({"do": "http", "url": open.url("/slow"), "timeoutMs": 60_000})).await;
    assert!(started.elapsed() < Duration::from_secs(3), "the call's own deadline holds: {longer}");
    let gone = probe.does(get(format!("http://localhost:{}/", free_port().await))).await;
    assert!(is(&gone, "denied"), "{gone}");
}

async fn free_port() -> u16 {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    listener.local_addr().expect("address").port()
}

/// A server over TLS whose certificate is for `localhost`; gives its port and its authority.
async fn over_tls() -> (u16, String) {
    let key = rcgen::KeyPair::generate().expect("key");
    let mut parameters = rcgen::CertificateParams::new(Vec::new()).expect("parameters");
    parameters.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = parameters.self_signed(&key).expect("authority");
    let issuer = rcgen::Issuer::from_params(&parameters, &key);
    let own_key = rcgen::KeyPair::generate().expect("key");
    let own = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).expect("parameters");
    let own = own.signed_by(&own_key, &issuer).expect("certificate");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let key = rustls::pki_types::PrivateKeyDer::try_from(own_key.serialize_der()).expect("key");
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![own.der().clone()], key)
        .expect("config");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("bind");
    let port = listener.local_addr().expect("address").port();
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { break };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let mut seen = vec![0; 4096];
                let _ = stream.read(&mut seen).await;
                let _ = stream
                    .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\nconnection: close\r\n\r\nsecure")
                    .await;
                let _ = stream.shutdown().await;
            });
        }
    });
    (port, authority.pem())
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_are_checked() {
    let (port, authority) = over_tls().await;
    let grant = format!("http(GET localhost:{port} in 127.0.0.0/8)");
    let url = format!("https://localhost:{port}/");
    let trusting = Host::trusting(Some(&authority));
    let answer = trusting.probe(&grant).await.does(get(url.clone())).await;
    assert_eq!(answer["ok"]["body"], "secure", "{answer}");
    let result = Host::new().probe(&grant).await.does(get(url)).await;
    assert!(is(&result, "unavailable"), "an unknown authority: {result}");
    let named = trusting.probe(&format!("http(GET 127.0.0.1:{port})")).await;
    let result = named.does(get(format!("https://127.0.0.1:{port}/"))).await;
    assert!(is(&result, "unavailable"), "a certificate for another name: {result}");
}
