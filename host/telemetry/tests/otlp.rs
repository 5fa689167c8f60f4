//! Spans reach an OTLP/HTTP collector, here a socket that reads one request.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::time::Duration;

use purlin_telemetry::{LogFormat, TracingConfig};

#[test]
fn spans_reach_a_collector() {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}/", listener.local_addr().unwrap());
    let collector = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut request = Vec::new();
        let mut chunk = [0; 4096];
        while !request.windows(9).any(|window| window == b"reconcile") {
            let read = stream.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "the request ended without the span");
            request.extend_from_slice(&chunk[..read]);
        }
        stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").unwrap();
        request
    });
    let guard = TracingConfig {
        format: LogFormat::Json,
        filter: "info".to_owned(),
        otlp_endpoint: Some(endpoint),
        version: "0.0.0-test".to_owned(),
    }
    .install()
    .unwrap();
    tracing::info_span!("reconcile", namespace = "default", name = "one").in_scope(|| {});
    drop(guard);
    let request = collector.join().unwrap();
    assert!(request.starts_with(b"POST /v1/traces HTTP/1.1"));
}
