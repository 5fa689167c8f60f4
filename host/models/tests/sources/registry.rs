//! Models in images and artifacts.

use std::io::Write as _;

use purlin_models::Hub;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::servers::{Invocation, Running, content, names, request, under};

fn registry() -> Option<Running> {
    Running::start("registry", |address, folder| {
        let data = folder.join("data");
        let config = folder.join("config.yml");
        let text = format!(
            "version: 0.1\nlog: {{level: error}}\nstorage: {{filesystem: {{rootdirectory: {}}}}}\nhttp: {{addr: '{address}'}}\n",
            data.display()
        );
        std::fs::write(&config, text).unwrap();
        let arguments = ["serve", config.to_str().unwrap()].map(str::to_owned).to_vec();
        Invocation { arguments, variables: vec![("OTEL_TRACES_EXPORTER", "none".to_owned())] }
    })
}

fn digest(bytes: &[u8]) -> String {
    format!("sha256:{}", hex::encode(Sha256::digest(bytes)))
}

/// Pushes a blob; returns what points to it.
async fn blob(server: &Running, kind: &str, content: &[u8]) -> Value {
    let client = reqwest::Client::new();
    let begun = client
        .post(format!("http://{}/v2/models/digits/blobs/uploads/", server.address))
        .send()
        .await
        .unwrap();
    let location = begun.headers()["location"].to_str().unwrap();
    let mut url = begun.url().join(location).unwrap();
    url.query_pairs_mut().append_pair("digest", &digest(content));
    let put = client.put(url).body(content.to_vec()).send().await.unwrap();
    assert!(put.status().is_success(), "{}", put.status());
    json!({"mediaType": kind, "digest": digest(content), "size": content.len()})
}

async fn manifest(server: &Running, tag: &str, content: &Value) -> Value {
    let kind = content["mediaType"].as_str().unwrap();
    let text = content.to_string();
    let url = format!("http://{}/v2/models/digits/manifests/{tag}", server.address);
    let put =
        reqwest::Client::new().put(url).header("content-type", kind).body(text.clone()).send().await.unwrap();
    assert!(put.status().is_success(), "{}: {}", put.status(), put.text().await.unwrap());
    json!({"mediaType": kind, "digest": digest(text.as_bytes()), "size": text.len()})
}

fn layer(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut builder = tar::Builder::new(Vec::new());
    for (name, content) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *content).unwrap();
    }
    builder.into_inner().unwrap()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

async fn image(server: &Running, tag: &str, layers: Vec<Value>) -> Value {
    let config = blob(
        server,
        "application/vnd.oci.image.config.v1+json",
        b"{\"architecture\":\"amd64\",\"os\":\"linux\"}",
    )
    .await;
    manifest(
        server,
        tag,
        &json!({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": layers}),
    )
    .await
}

#[tokio::test]
async fn the_folder_of_an_image() {
    let Some(server) = registry() else { return };
    let under = under(Hub::default());
    let base =
        gzip(&layer(&[("bin/sh", b"a shell"), ("models/old.bin", b"old"), ("models/a/keep.bin", b"keep")]));
    let base = blob(&server, GZIP, &base).await;
    let top = layer(&[("models/.wh.old.bin", b""), ("models/model.onnx", b"graph")]);
    let top = blob(&server, "application/vnd.oci.image.layer.v1.tar", &top).await;
    let one = image(&server, "1", vec![base.clone(), top]).await;
    let index = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
        "manifests": [{"mediaType": MANIFEST, "digest": one["digest"], "size": one["size"],
                       "platform": {"os": "linux", "architecture": "amd64"}}],
    });
    manifest(&server, "index", &index).await;
    for tag in ["1", "index"] {
        let uri = format!("oci://{}/models/digits:{tag}", server.address);
        let fetched = under.sources.fetch(&request(uri, &[])).await.unwrap();
        assert_eq!(names(&fetched), ["a/keep.bin", "model.onnx"]);
        assert_eq!(content(&fetched, "a/keep.bin"), b"keep");
    }
    assert_eq!(under.blobs(), 3, "files of the model, and neither layers nor the system");
    // Another image on the same layer reads it from the cache.
    let other = blob(&server, GZIP, &gzip(&layer(&[("models/model.onnx", b"other graph")]))).await;
    image(&server, "2", vec![base, other]).await;
    let fetched = under
        .sources
        .fetch(&request(format!("oci://{}/models/digits:2", server.address), &[]))
        .await
        .unwrap();
    assert_eq!(names(&fetched), ["a/keep.bin", "model.onnx", "old.bin"]);
    assert_eq!(under.blobs(), 4);
}

#[tokio::test]
async fn an_artifact_of_files_and_archives() {
    let Some(server) = registry() else { return };
    let under = under(Hub::default());
    let mut weights = blob(&server, "application/vnd.cncf.model.weight.v1.raw", b"weights").await;
    weights["annotations"] = json!({"org.cncf.model.filepath": "weights/model.bin"});
    let mut card = blob(&server, "text/markdown", b"# Model").await;
    card["annotations"] = json!({"org.opencontainers.image.title": "README.md"});
    let config = blob(&server, "application/vnd.cncf.model.config.v1+json", b"{}").await;
    let artifact = json!({"schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.cncf.model.manifest.v1+json",
                          "config": config, "layers": [weights, card]});
    manifest(&server, "artifact", &artifact).await;
    let uri = format!("oci://{}/models/digits:artifact", server.address);
    let fetched = under.sources.fetch(&request(uri, &[])).await.unwrap();
    assert_eq!(names(&fetched), ["README.md", "weights/model.bin"]);
    assert_eq!(content(&fetched, "weights/model.bin"), b"weights");
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let Some(server) = registry() else { return };
    let under = under(Hub::default());
    let system = blob(&server, GZIP, &gzip(&layer(&[("bin/sh", b"a shell")]))).await;
    image(&server, "none", vec![system]).await;
    let mut hostile = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Symlink);
    header.set_size(0);
    hostile.append_link(&mut header, "models/model.onnx", "/etc/passwd").unwrap();
    let hostile = blob(&server, GZIP, &gzip(&hostile.into_inner().unwrap())).await;
    image(&server, "hostile", vec![hostile]).await;
    for (tag, reason, text) in [
        ("none", "SourceInvalid", "/models"),
        ("hostile", "SourceInvalid", "model.onnx"),
        ("missing", "SourceUnavailable", "does not exist"),
    ] {
        let uri = format!("oci://{}/models/digits:{tag}", server.address);
        let refused = under.sources.fetch(&request(uri, &[])).await.err().unwrap();
        assert!(refused.reason == reason && refused.message.contains(text), "{tag}: {refused}");
    }
}
