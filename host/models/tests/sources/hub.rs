//! A mirror of a model hub, as small as the protocol allows.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use purlin_models::Hub;
use serde_json::json;
use sha2::{Digest as _, Sha256};

use crate::servers::{content, names, request, under};

const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
const WEIGHTS: &[u8] = b"weights that are large";

#[derive(Clone)]
struct Mirror {
    /// Whether the listing has sizes and digests.
    blobs: bool,
    /// What it says the weights are.
    claimed: String,
    downloads: Arc<AtomicUsize>,
}

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

async fn listing(
    State(mirror): State<Mirror>,
    Path((org, name, revision)): Path<(String, String, String)>,
    headers: HeaderMap,
) -> Response {
    if headers.get("authorization").and_then(|value| value.to_str().ok()) != Some("Bearer hf_right") {
        return StatusCode::UNAUTHORIZED.into_response();
    }
    if (org.as_str(), name.as_str()) != ("org", "name") || !matches!(revision.as_str(), "main" | "v1") {
        return StatusCode::NOT_FOUND.into_response();
    }
    let file = |name: &str, content: &[u8], lfs: bool| match mirror.blobs {
        false => json!({"rfilename": name}),
        true if lfs => {
            json!({"rfilename": name, "size": content.len(), "blobId": "1", "lfs": {"sha256": mirror.claimed, "size": content.len()}})
        }
        true => json!({"rfilename": name, "size": content.len(), "blobId": digest(content)[..40]}),
    };
    let siblings = [
        file(".gitattributes", b"", false),
        file("config.json", b"{}", false),
        file("model.safetensors", WEIGHTS, true),
        file("pytorch_model.bin", b"", true),
        file("onnx/model.onnx", b"onnx", false),
    ];
    axum::Json(json!({"id": "org/name", "sha": COMMIT, "siblings": siblings})).into_response()
}

async fn file(
    State(mirror): State<Mirror>,
    Path((_, _, commit, file)): Path<(String, String, String, String)>,
) -> Response {
    assert_eq!(commit, COMMIT, "files are of the commit that was listed");
    match file.as_str() {
        "config.json" => "{}".into_response(),
        "onnx/model.onnx" => "onnx".into_response(),
        "model.safetensors" => {
            let said = [
                ("x-linked-etag", format!("\"{}\"", mirror.claimed)),
                ("x-linked-size", WEIGHTS.len().to_string()),
                ("x-repo-commit", COMMIT.to_owned()),
            ];
            (said, Redirect::temporary("/cdn/weights")).into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn mirror(blobs: bool, claimed: String) -> (Hub, Arc<AtomicUsize>) {
    let downloads = Arc::new(AtomicUsize::new(0));
    let mirror = Mirror { blobs, claimed, downloads: downloads.clone() };
    let weights = |State(mirror): State<Mirror>, headers: HeaderMap| async move {
        mirror.downloads.fetch_add(1, Ordering::SeqCst);
        assert_eq!(headers.get("accept-encoding").and_then(|value| value.to_str().ok()), Some("identity"));
        WEIGHTS
    };
    let router = Router::new()
        .route("/api/models/{org}/{name}/revision/{revision}", get(listing))
        .route("/{org}/{name}/resolve/{commit}/{*file}", get(file))
        .route("/cdn/weights", get(weights))
        .with_state(mirror);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}").parse().unwrap(), downloads)
}

#[tokio::test]
async fn a_repository_is_a_folder() {
    for blobs in [true, false] {
        let (hub, downloads) = mirror(blobs, digest(WEIGHTS)).await;
        let under = under(hub);
        let token = [("HF_TOKEN", "hf_right")];
        let fetched = under.sources.fetch(&request("hf://org/name", &token)).await.unwrap();
        assert_eq!(names(&fetched), ["config.json", "model.safetensors"]);
        assert_eq!(content(&fetched, "model.safetensors"), WEIGHTS);
        under.sources.fetch(&request("hf://org/name:v1", &token)).await.unwrap();
        if blobs {
            assert_eq!(downloads.load(Ordering::SeqCst), 1, "another revision has the same weights");
        }
        let onnx = under.sources.fetch(&request("hf://org/name/onnx", &token)).await.unwrap();
        assert_eq!(names(&onnx), ["model.onnx"]);
        let one = under.sources.fetch(&request("hf://org/name/config.json", &token)).await.unwrap();
        assert_eq!(names(&one), ["config.json"]);
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let (hub, _) = mirror(true, digest(b"others")).await;
    let under = under(hub);
    let refused = async |uri: &str, token: &str| {
        under.sources.fetch(&request(uri, &[("HF_TOKEN", token)])).await.err().unwrap()
    };
    assert_eq!(refused("hf://org/name", "hf_wrong").await.reason, "SourceUnauthorized");
    assert!(refused("hf://org/other", "hf_right").await.message.contains("404"));
    assert!(refused("hf://org/name/nowhere", "hf_right").await.message.contains("nowhere"));
    let corrupt = refused("hf://org/name", "hf_right").await;
    assert_eq!(corrupt.reason, "SourceCorrupt", "{corrupt}");
}
