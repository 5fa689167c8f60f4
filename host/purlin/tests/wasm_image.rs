//! A Pod whose image is a Wasm component in an OCI registry: pushed, pulled, run by the node, its log read.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::runtime::wait::await_condition;
use kube::{Api, Client};
use serde_json::json;
use sha2::{Digest, Sha256};

struct Platform {
    process: Child,
    folder: tempfile::TempDir,
    port: u16,
}

impl Platform {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // Three ports in a row, of which the first was free a moment ago.
        let port =
            std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().min(65000);
        let process = Command::new(env!("CARGO_BIN_EXE_purlin"))
            .args(["up", "--no-plugins", "--port", &port.to_string(), "--data-dir"])
            .arg(folder.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let platform = Platform { process, folder, port };
        let ready = format!("http://127.0.0.1:{}/readyz", port + 2);
        for _ in 0..300 {
            if reqwest::get(&ready).await.is_ok_and(|answer| answer.status().is_success()) {
                return platform;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("purlin up was not ready in 30 s");
    }

    async fn client(&self) -> Client {
        let kubeconfig = Kubeconfig::read_from(self.folder.path().join("kubeconfig")).unwrap();
        let config =
            kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    /// Pushes a component as any tool of the CNCF layout does, and gives back its image reference.
    async fn push(&self, component: Vec<u8>) -> String {
        let base = format!("http://127.0.0.1:{}/v2/test/hello", self.port + 1);
        let config =
            br#"{"architecture":"wasm","os":"wasip2","created":"1970-01-01T00:00:00Z","layerDigests":[]}"#;
        let client = reqwest::Client::new();
        let mut described = Vec::new();
        for (media_type, blob) in
            [("application/vnd.wasm.config.v0+json", config.to_vec()), ("application/wasm", component)]
        {
            let digest = format!("sha256:{}", hex::encode(Sha256::digest(&blob)));
            described.push(json!({"mediaType": media_type, "digest": digest, "size": blob.len()}));
            let put = client
                .post(format!("{base}/blobs/uploads/?digest={digest}"))
                .body(blob)
                .send()
                .await
                .unwrap();
            assert_eq!(put.status(), 201);
        }
        let media_type = "application/vnd.oci.image.manifest.v1+json";
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media_type, "config": described[0], "layers": [described[1]],
        });
        let put = client
            .put(format!("{base}/manifests/1"))
            .header("content-type", media_type)
            .body(manifest.to_string())
            .send()
            .await
            .unwrap();
        assert_eq!(put.status(), 201);
        format!("localhost:{}/test/hello:1", self.port + 1)
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn a_pod_runs_a_component_from_a_registry() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let platform = Platform::start().await;
    let image = platform.push(wat::parse_str(include_str!("fixtures/hello.wat")).unwrap()).await;
    let pods: Api<Pod> = Api::namespaced(platform.client().await, "default");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "hello"},
        "spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": image}]},
    }))
    .unwrap();
    pods.create(&PostParams::default(), &pod).await.unwrap();
    let ended = |pod: Option<&Pod>| {
        let phase = pod.and_then(|pod| pod.status.as_ref()?.phase.as_deref());
        matches!(phase, Some("Succeeded" | "Failed"))
    };
    let pod = tokio::time::timeout(Duration::from_secs(60), await_condition(pods.clone(), "hello", ended))
        .await
        .expect("the Pod ends")
        .unwrap()
        .unwrap();
    let status = pod.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Succeeded"), "{status:?}");
    let container = &status.container_statuses.unwrap()[0];
    assert!(container.image_id.contains("/test/hello@sha256:"), "{}", container.image_id);
    assert_eq!(pods.logs("hello", &LogParams::default()).await.unwrap(), "hello from wasm\n");
}
