//! The client against the loopback registry, and against registries that misbehave.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::response::IntoResponse;
use http::StatusCode;
use purlin_registry::{Client, ClientConfig, ClientError, Loopback, Resolved};

use crate::fixture::{artifact, serve, serve_router};

#[tokio::test]
async fn what_was_pushed_is_pulled_by_digest() {
    let served = serve().await;
    let client = Client::new(ClientConfig::default());
    let reference = served.reference("purlin/tuner-random:0.1.0");
    let artifact = artifact("tuner-random");
    let pushed = client.push(&reference, &artifact).await.expect("push");
    let resolved = client.resolve(&reference).await.expect("resolve");
    assert_eq!(resolved, pushed);
    assert_eq!(client.pull(&resolved).await.expect("pull"), artifact);
    // Another process over the same folder has it too.
    let address = serve_router(Loopback::open(served.folder.path()).expect("open again").router()).await;
    let again = format!("{address}/purlin/tuner-random:0.1.0").parse().expect("reference");
    let resolved = client.resolve(&again).await.expect("resolve");
    assert_eq!(client.pull(&resolved).await.expect("pull again"), artifact);
}

#[tokio::test]
async fn a_seeded_registry_serves_its_seed() {
    let served = serve().await;
    let seed = tempfile::tempdir().expect("dir");
    let artifact = artifact("tuner-random");
    let named = [("purlin/tuner-random:0.1.0".to_owned(), artifact.clone())];
    purlin_registry::layout::write(seed.path(), &named).expect("layout");
    assert_eq!(served.loopback.seed(seed.path()).expect("seed"), 1);
    let client = Client::new(ClientConfig::default());
    let resolved = client.resolve(&served.reference("purlin/tuner-random:0.1.0")).await.expect("resolve");
    assert_eq!(client.pull(&resolved).await.expect("pull"), artifact);
}

#[tokio::test]
async fn a_missing_tag_is_not_found() {
    let served = serve().await;
    let client = Client::new(ClientConfig::default());
    let error = client.resolve(&served.reference("purlin/none:1")).await.expect_err("missing");
    assert!(matches!(error, ClientError::NotFound(_)), "{error}");
}

#[tokio::test]
async fn damaged_and_truncated_blobs_are_refused() {
    let served = serve().await;
    let client = Client::new(ClientConfig::default());
    let reference = served.reference("purlin/tuner-random:0.1.0");
    let artifact = artifact("tuner-random");
    let resolved = client.push(&reference, &artifact).await.expect("push");
    let blob = served.folder.path().join("blobs/sha256").join(artifact.component_digest().hex());
    let good = std::fs::read(&blob).expect("blob");
    let mut damaged = good.clone();
    damaged[40] ^= 1;
    for bad in [&damaged[..], &good[..good.len() / 2]] {
        std::fs::write(&blob, bad).expect("damage");
        let error = client.pull(&resolved).await.expect_err("must be refused").to_string();
        assert!(error.contains("damaged"), "{error}");
    }
    std::fs::write(served.folder.path().join("blobs/sha256").join(resolved.digest().hex()), "{}")
        .expect("damage");
    client.pull(&resolved).await.expect_err("a damaged manifest must be refused");
}

#[tokio::test]
async fn a_component_over_the_limit_is_not_fetched() {
    let served = serve().await;
    let reference = served.reference("purlin/tuner-random:0.1.0");
    let client = Client::new(ClientConfig { max_component: 100, ..Default::default() });
    let resolved = client.push(&reference, &artifact("tuner-random")).await.expect("push");
    let error = client.pull(&resolved).await.expect_err("must be refused").to_string();
    assert!(error.contains("at most 100 are taken"), "{error}");
}

#[tokio::test]
async fn a_registry_that_recovers_is_asked_again() {
    let served = serve().await;
    let artifact = artifact("tuner-random");
    let client = Client::new(ClientConfig::default());
    client.push(&served.reference("a:1"), &artifact).await.expect("push");
    let failures = Arc::new(AtomicU32::new(2));
    let flaky = axum::middleware::from_fn(move |request, next: axum::middleware::Next| {
        let failures = Arc::clone(&failures);
        async move {
            let failing =
                failures.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
            match failing {
                Ok(_) => StatusCode::SERVICE_UNAVAILABLE.into_response(),
                Err(_) => next.run(request).await,
            }
        }
    });
    let address = serve_router(served.loopback.router().layer(flaky)).await;
    let reference = format!("{address}/a:1").parse().expect("reference");
    let resolved = Resolved::assume(reference, artifact.digest().clone());
    assert_eq!(client.pull(&resolved).await.expect("after two failures"), artifact);
}

#[tokio::test]
async fn nobody_listening_is_said() {
    let client = Client::new(ClientConfig::default());
    let error = client.resolve(&"127.0.0.1:9/a:1".parse().expect("reference")).await.expect_err("nobody");
    assert!(matches!(error, ClientError::Registry { .. }), "{error}");
}
