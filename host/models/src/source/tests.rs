use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use purlin_nn::Device;
use tempfile::TempDir;

use super::*;

const MODEL: &[u8] = b"a model, in some bytes that can be cut in two";

fn options() -> LoadOptions {
    LoadOptions { device: Device::Cpu, threads: 0 }
}

fn sources(folder: &TempDir) -> Sources {
    // Whichever test is first installs it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let models = folder.path().join("models");
    std::fs::create_dir_all(models.join("claim/digits")).unwrap();
    std::fs::write(models.join("claim/digits/model.onnx"), MODEL).unwrap();
    std::fs::write(folder.path().join("secret"), "not for models").unwrap();
    let models = models.canonicalize().unwrap();
    let config =
        SourceConfig { folders: vec![models], cache: folder.path().join("cache"), max_file: 1 << 20 };
    Sources::new(config).unwrap()
}

fn names(fetched: &Fetched) -> Vec<(String, u64)> {
    fetched.files.names().map(|(name, size)| (name.to_owned(), size)).collect()
}

#[tokio::test]
async fn a_claim_is_a_folder_below_those_that_may_be_read() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let fetched = sources.fetch("pvc://claim/digits", options()).await.unwrap();
    assert_eq!(names(&fetched), [("model.onnx".to_owned(), MODEL.len() as u64)]);
    let file = folder.path().join("models/claim/digits/model.onnx");
    let fetched = sources.fetch(&format!("file://{}", file.display()), options()).await.unwrap();
    assert_eq!(names(&fetched), [("model.onnx".to_owned(), MODEL.len() as u64)]);
}

#[tokio::test]
async fn nothing_else_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let secret = folder.path().join("secret");
    std::os::unix::fs::symlink(&secret, folder.path().join("models/claim/link")).unwrap();
    for uri in [
        format!("file://{}", secret.display()),
        format!("file://{}/models/claim/../../secret", folder.path().display()),
        format!("file://{}/models/claim/link", folder.path().display()),
        "pvc://claim/../../secret".to_owned(),
        "pvc://claim/link".to_owned(),
    ] {
        let refused = sources.fetch(&uri, options()).await.unwrap_err();
        assert_eq!(refused.reason, "SourceForbidden", "{uri}: {refused}");
    }
    let listed = sources.fetch("pvc://claim", options()).await.unwrap();
    assert_eq!(names(&listed), [("digits/model.onnx".to_owned(), MODEL.len() as u64)], "a link is left out");
}

#[tokio::test]
async fn what_cannot_be_read_says_whether_it_may_come() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    for (uri, reason, passing) in [
        ("pvc://claim/other", "SourceUnavailable", true),
        ("ftp://example.com/model", "SourceUnsupported", false),
        ("models/digits", "SourceInvalid", false),
    ] {
        let refused = sources.fetch(uri, options()).await.unwrap_err();
        assert_eq!((refused.reason, refused.passing), (reason, passing), "{refused}");
    }
}

/// A server that counts its requests and can go on in the middle.
async fn server() -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = asked.clone();
    let model = get(move |headers: HeaderMap| async move {
        counted.fetch_add(1, Ordering::SeqCst);
        let from = headers
            .get("range")
            .and_then(|range| range.to_str().ok())
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse::<usize>().ok());
        match from {
            Some(from) => (StatusCode::PARTIAL_CONTENT, MODEL[from..].to_vec()),
            None => (StatusCode::OK, MODEL.to_vec()),
        }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/model.onnx", model)).await });
    (format!("http://{address}/model.onnx"), asked)
}

#[tokio::test]
async fn a_download_is_shared_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let (uri, asked) = server().await;
    let all = futures::future::join_all((0..8).map(|_| sources.fetch(&uri, options()))).await;
    for fetched in all {
        assert_eq!(names(&fetched.unwrap()), [("model.onnx".to_owned(), MODEL.len() as u64)]);
    }
    assert_eq!(asked.load(Ordering::SeqCst), 1);
    let refused = sources.fetch(&uri.replace("model.onnx", "other"), options()).await.unwrap_err();
    assert!(refused.message.contains("404") && !refused.passing, "{refused}");
}

#[tokio::test]
async fn a_cut_download_goes_on() {
    let folder = tempfile::tempdir().unwrap();
    let sources = sources(&folder);
    let (uri, _) = server().await;
    let key = hex::encode(Sha256::digest(uri.as_bytes()));
    std::fs::write(folder.path().join("cache").join(format!("{key}.partial")), &MODEL[..10]).unwrap();
    let fetched = sources.fetch(&uri, options()).await.unwrap();
    assert_eq!(fetched.digest, format!("sha256:{}", hex::encode(Sha256::digest(MODEL))));
}
