//! Pushed metrics against a real API server.
#![allow(clippy::unwrap_used)]

mod common;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode};
use common::{Native, Running, client, eventually, namespace, reaches};
use k8s_openapi::api::core::v1::{ConfigMap, Secret};
use kube::ResourceExt;
use kube::api::{Api, Patch, PatchParams, PostParams};
use purlin_kernel::api::Trial;
use purlin_kernel::measure::push::{PushKey, push_path, push_router};
use serde_json::json;
use tower::ServiceExt;

async fn post(router: &Router, path: &str, token: &str, body: &'static str) -> StatusCode {
    let request = Request::post(path).header("authorization", format!("Bearer {token}"));
    router.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap().status()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_is_in_the_status() {
    let Some(client) = client().await else { return };
    let _alone = common::alone().await;
    let namespace = namespace(&client, "push").await;
    let kernel = Running::start(&client, &Native::default()).await;
    let trials: Api<Trial> = Api::namespaced(client.clone(), &namespace);
    let trial: Trial = serde_json::from_value(json!({
        "apiVersion": "purlin.dev/v1alpha1", "kind": "Trial", "metadata": {"name": "t"},
        "spec": {
            "index": 0, "objective": {"metric": "loss"}, "metricsCollector": {"source": "push"},
            "successCondition": "object.data.done == 'yes'", "retain": true,
            "object": {"apiVersion": "v1", "kind": "ConfigMap", "data": {"done": "no"}},
        },
    }))
    .unwrap();
    let trial = trials.create(&PostParams::default(), &trial).await.unwrap();
    reaches(&trials, "t", "Running", "True/ObjectRunning").await;

    let secrets: Api<Secret> = Api::namespaced(client.clone(), "purlin-system");
    let kept = secrets.get("purlin-metrics-key").await.unwrap().data.unwrap();
    let key = PushKey::new(kept["key"].0.clone());
    let router = push_router(client.clone(), key.clone());
    let (path, token) = (push_path(&namespace, "t"), key.token(&trial.uid().unwrap()));
    assert_eq!(post(&router, &path, "wrong", "loss=1").await, StatusCode::UNAUTHORIZED);
    assert_eq!(
        post(&router, &push_path(&namespace, "none"), &token, "loss=1").await,
        StatusCode::UNAUTHORIZED
    );
    assert_eq!(post(&router, &path, &token, "loss=0.5\nnoise=3").await, StatusCode::OK);
    let pushes = futures::future::join_all((0..4).map(|_| post(&router, &path, &token, "loss=0.25")));
    assert!(pushes.await.iter().all(|status| *status == StatusCode::OK));
    let status = trials.get("t").await.unwrap().status.unwrap();
    assert_eq!(status.measurements.len(), 5, "none of the writers lost another's reading");
    assert_eq!((status.metrics[0].max.as_str(), status.metrics[0].latest.as_str()), ("0.5", "0.25"));

    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let done = json!({"data": {"done": "yes"}});
    maps.patch("t", &PatchParams::default(), &Patch::Merge(&done)).await.unwrap();
    let ended = reaches(&trials, "t", "Succeeded", "True/ObjectSucceeded").await;
    assert_eq!(ended["status"]["metrics"][0]["min"], "0.25");
    assert_eq!(post(&router, &path, &token, "loss=0.1").await, StatusCode::CONFLICT);

    // Stopping a trial ends its object, kept or not.
    let stop: Trial = serde_json::from_value(json!({
        "apiVersion": "purlin.dev/v1alpha1", "kind": "Trial", "metadata": {"name": "s"}, "spec": trial.spec,
    }))
    .unwrap();
    trials.create(&PostParams::default(), &stop).await.unwrap();
    reaches(&trials, "s", "Running", "True/ObjectRunning").await;
    let patch = json!({"spec": {"stop": true}});
    trials.patch("s", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    reaches(&trials, "s", "EarlyStopped", "True/Stopped").await;
    eventually("the stopped trial's object is gone", async || {
        maps.get_opt("s").await.ok()?.is_none().then_some(())
    })
    .await;
    kernel.stop().await;
}
