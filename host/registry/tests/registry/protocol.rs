//! The distribution protocol, request by request.

use http::StatusCode;
use purlin_registry::{Client, ClientConfig, Digest};
use reqwest::Response;
use serde_json::{Value, json};

use crate::fixture::{Served, artifact, serve};

fn http() -> reqwest::Client {
    // Made before the client's own, which needs a TLS provider even for plain HTTP.
    let _ = Client::new(ClientConfig::default());
    reqwest::Client::new()
}

fn header<'a>(response: &'a Response, name: &str) -> &'a str {
    response.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

async fn begin(served: &Served, name: &str) -> String {
    let response =
        http().post(served.url(&format!("/v2/{name}/blobs/uploads/"))).send().await.expect("begin");
    assert_eq!(response.status(), StatusCode::ACCEPTED);
    served.url(header(&response, "location"))
}

async fn code(response: Response) -> String {
    let body: Value = response.json().await.expect("error body");
    body["errors"][0]["code"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn an_upload_in_pieces_is_resumed_where_it_ended() {
    let served = serve().await;
    let session = begin(&served, "team/blobs").await;
    let first =
        http().patch(&session).header("content-range", "0-4").body("hello").send().await.expect("first");
    assert_eq!((first.status(), header(&first, "range")), (StatusCode::ACCEPTED, "0-4"));
    let again =
        http().patch(&session).header("content-range", "0-4").body("hello").send().await.expect("again");
    assert_eq!((again.status(), header(&again, "range")), (StatusCode::RANGE_NOT_SATISFIABLE, "0-4"));
    let asked = http().get(&session).send().await.expect("progress");
    assert_eq!((asked.status(), header(&asked, "range")), (StatusCode::NO_CONTENT, "0-4"));
    let digest = Digest::of(b"hello world");
    let done = http().put(format!("{session}?digest={digest}")).body(" world").send().await.expect("finish");
    assert_eq!(done.status(), StatusCode::CREATED);
    let blob = served.url(header(&done, "location"));
    let part = http().get(&blob).header("range", "bytes=6-").send().await.expect("range");
    assert_eq!(part.status(), StatusCode::PARTIAL_CONTENT);
    assert_eq!(header(&part, "content-range"), "bytes 6-10/11");
    assert_eq!(part.text().await.expect("text"), "world");
    let head = http().head(&blob).send().await.expect("head");
    assert_eq!(
        (header(&head, "content-length"), header(&head, "docker-content-digest")),
        ("11", digest.as_str())
    );
    assert_eq!(http().get(&session).send().await.expect("closed").status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn content_with_another_digest_is_refused_and_gone() {
    let served = serve().await;
    let session = begin(&served, "a").await;
    let digest = Digest::of(b"expected");
    let refused = http().put(format!("{session}?digest={digest}")).body("altered").send().await.expect("put");
    assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
    assert_eq!(code(refused).await, "DIGEST_INVALID");
    let blob = http().get(served.url(&format!("/v2/a/blobs/{digest}"))).send().await.expect("get");
    assert_eq!(code(blob).await, "BLOB_UNKNOWN");
    let left = std::fs::read_dir(served.folder.path().join("uploads")).expect("list").count();
    assert_eq!(left, 0, "nothing of it is left");
}

#[tokio::test]
async fn manifests_need_their_blobs_and_are_found_by_tag_digest_and_referrer() {
    let served = serve().await;
    let put = |tag: &str, manifest: &Value| {
        let url = served.url(&format!("/v2/a/manifests/{tag}"));
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        http().put(url).header("content-type", media_type).body(manifest.to_string()).send()
    };
    let missing = json!({"schemaVersion": 2, "config": {"mediaType": "x", "digest": Digest::of(b"{}"), "size": 2}, "layers": []});
    assert_eq!(code(put("1", &missing).await.expect("put")).await, "MANIFEST_BLOB_UNKNOWN");
    let mono = served.url(&format!("/v2/a/blobs/uploads/?digest={}", Digest::of(b"{}")));
    assert_eq!(http().post(mono).body("{}").send().await.expect("post").status(), StatusCode::CREATED);
    let stored = put("1", &missing).await.expect("put");
    assert_eq!(stored.status(), StatusCode::CREATED);
    let digest = header(&stored, "docker-content-digest").to_owned();

    let mut signature = missing.clone();
    signature["artifactType"] = json!("application/signature");
    signature["subject"] = json!({"mediaType": "x", "digest": digest, "size": 1});
    let signed = put("sig", &signature).await.expect("put");
    assert_eq!(header(&signed, "oci-subject"), digest);
    let url = served.url(&format!("/v2/a/referrers/{digest}"));
    let index: Value = http().get(&url).send().await.expect("referrers").json().await.expect("index");
    assert_eq!(index["manifests"].as_array().map(Vec::len), Some(1));
    assert_eq!(index["manifests"][0]["artifactType"], "application/signature");
    let none: Value =
        http().get(format!("{url}?artifactType=x")).send().await.expect("get").json().await.expect("json");
    assert_eq!(none["manifests"], json!([]));

    let by_tag = served.url("/v2/a/manifests/1");
    assert_eq!(http().delete(&by_tag).send().await.expect("delete").status(), StatusCode::ACCEPTED);
    assert_eq!(code(http().get(&by_tag).send().await.expect("get")).await, "MANIFEST_UNKNOWN");
    let by_digest = served.url(&format!("/v2/a/manifests/{digest}"));
    assert_eq!(http().get(&by_digest).send().await.expect("get").status(), StatusCode::OK);
    assert_eq!(http().delete(&by_digest).send().await.expect("delete").status(), StatusCode::ACCEPTED);
    assert_eq!(http().get(&by_digest).send().await.expect("get").status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn lists_come_in_pages() {
    let served = serve().await;
    let client = Client::new(ClientConfig::default());
    for tag in ["a", "b", "c"] {
        client.push(&served.reference(&format!("purlin/x:{tag}")), &artifact("x")).await.expect("push");
    }
    let first = http().get(served.url("/v2/purlin/x/tags/list?n=2")).send().await.expect("first");
    assert_eq!(header(&first, "link"), "</v2/purlin/x/tags/list?n=2&last=b>; rel=\"next\"");
    let first: Value = first.json().await.expect("json");
    assert_eq!(first, json!({"name": "purlin/x", "tags": ["a", "b"]}));
    let rest = http().get(served.url("/v2/purlin/x/tags/list?n=2&last=b")).send().await.expect("rest");
    assert_eq!(header(&rest, "link"), "");
    assert_eq!(rest.json::<Value>().await.expect("json")["tags"], json!(["c"]));
    let catalog: Value =
        http().get(served.url("/v2/_catalog")).send().await.expect("catalog").json().await.expect("json");
    assert_eq!(catalog, json!({"repositories": ["purlin/x"]}));
}

#[tokio::test]
async fn a_blob_is_mounted_from_another_repository() {
    let served = serve().await;
    let session = begin(&served, "a").await;
    let digest = Digest::of(b"shared");
    http().put(format!("{session}?digest={digest}")).body("shared").send().await.expect("put");
    let mount = served.url(&format!("/v2/b/blobs/uploads/?mount={digest}&from=a"));
    assert_eq!(http().post(mount).send().await.expect("mount").status(), StatusCode::CREATED);
}

#[tokio::test]
async fn names_that_lead_out_of_the_folder_are_refused() {
    let served = serve().await;
    for path in ["/v2/a/blobs/sha256:..%2f..%2fetc", "/v2/A/tags/list", "/v2/a/blobs/uploads/..%2fx"] {
        let response = http().get(served.url(path)).send().await.expect("get");
        assert!(response.status().is_client_error(), "{path}: {}", response.status());
    }
}
