//! A dialect and plugin resources against a real API server.
#![allow(clippy::unwrap_used)]

mod common;

use common::{
    Counting, Native, Running, Translating, client, counting_manifest, eventually, install, namespace,
    reaches,
};
use k8s_openapi::api::core::v1::{ConfigMap, Event};
use kube::api::{Api, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use kube::core::{ApiResource, GroupVersionKind};
use kube::{Client, ResourceExt};
use purlin_kernel::api::Plugin;
use purlin_sandbox::contract::{Fault, FieldError, Selector};
use purlin_sandbox::{CallError, Child, SyncAnswer};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

const GROUP: &str = "test.purlin.dev";
const GRANTS: &[&str] = &["kube(write core/ConfigMap)", "kube(read core/Secret)"];

fn crd() -> Value {
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("bundles.{GROUP}")},
        "spec": {
            "group": GROUP, "scope": "Namespaced",
            "names": {"plural": "bundles", "singular": "bundle", "kind": "Bundle", "listKind": "BundleList"},
            "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": any, "status": any}}}}],
        },
    })
}

fn manifest(name: &str) -> Value {
    json!({
        "name": name, "version": "0.1.0", "wit": "0.1.0", "stages": ["dialect"],
        "owns": [{"crd": crd()}],
        "children": [{"apiVersion": "v1", "kind": "ConfigMap"}],
        "related": [{"apiVersion": "v1", "kind": "Secret"}],
    })
}

/// A Bundle has as many ConfigMaps as `spec.count` says, and shows how many there are and what its Secret is called.
fn bundles() -> Translating {
    let answer = |children: Vec<Value>, status| {
        let children =
            children.iter().map(|child| Child::new(child.to_string()).expect("an object")).collect();
        SyncAnswer { children, status, requeue_after: None, events: vec![] }
    };
    Translating {
        related: Arc::new(|parent| {
            vec![Selector {
                api_version: "v1".to_owned(),
                kind: "Secret".to_owned(),
                namespace: None,
                names: vec![],
                labels: format!("bundle={}", parent["metadata"]["name"].as_str().unwrap()),
            }]
        }),
        sync: Arc::new(move |parent, children, related| {
            let count = parent["spec"]["count"].as_u64().unwrap();
            if count > 9 {
                let error = FieldError {
                    field: "spec.count".to_owned(),
                    value: count.to_string(),
                    reason: "at most 9".to_owned(),
                };
                return Err(CallError::Fault(Fault::Invalid(vec![error])));
            }
            let name = parent["metadata"]["name"].as_str().unwrap();
            let child = |at: u64| {
                json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{name}-{at}")},
                       "data": {"at": at.to_string()}})
            };
            let secrets: Vec<_> = related.iter().map(|secret| secret["metadata"]["name"].clone()).collect();
            let status = json!({"children": children.len(), "secrets": secrets, "conditions": []});
            Ok(answer((0..count).map(child).collect(), Some(status)))
        }),
        finalize: Arc::new(move |_, _, _| Ok(answer(vec![], None))),
    }
}

fn bundle_api(client: &Client, namespace: &str) -> Api<DynamicObject> {
    let resource =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(GROUP, "v1", "Bundle"), "bundles");
    Api::namespaced_with(client.clone(), namespace, &resource)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dialect_keeps_its_children() {
    let Some(client) = client().await else { return };
    let _alone = common::alone().await;
    let namespace = namespace(&client, "dialect").await;
    let plugins = Native::default();
    plugins.add("native/bundles:1", manifest("bundles"), bundles());
    plugins.add("native/rival:1", manifest("rival"), bundles());
    let kernel = Running::start(&client, &plugins).await;
    install(&client, "bundles", "native/bundles:1", GRANTS).await;
    let installed: Api<Plugin> = Api::all(client.clone());
    reaches(&installed, "bundles", "Ready", "True/Loaded").await;

    let bundles = bundle_api(&client, &namespace);
    let bundle: DynamicObject = serde_json::from_value(json!({
        "apiVersion": format!("{GROUP}/v1"), "kind": "Bundle", "metadata": {"name": "b"}, "spec": {"count": 3},
    }))
    .unwrap();
    bundles.create(&PostParams::default(), &bundle).await.unwrap();
    let status = async |field: &str, value: Value| {
        eventually(&format!("status.{field} = {value}"), async || {
            (bundles.get("b").await.ok()?.data["status"][field] == value).then_some(())
        })
        .await;
    };
    status("children", json!(3)).await;
    assert_eq!(bundles.get("b").await.unwrap().finalizers(), ["purlin.dev/bundles"]);

    // A child that somebody changed is put right, one that somebody deleted comes back.
    let maps: Api<ConfigMap> = Api::namespaced(client.clone(), &namespace);
    let change = json!({"data": {"at": "changed"}});
    maps.patch("b-0", &PatchParams::default(), &Patch::Merge(&change)).await.unwrap();
    maps.delete("b-1", &Default::default()).await.unwrap();
    eventually("the children are put right", async || {
        let first = maps.get_opt("b-0").await.ok()??;
        let second = maps.get_opt("b-1").await.ok()??;
        (first.data?["at"] == "0" && second.data?["at"] == "1").then_some(())
    })
    .await;

    // A related object that appears is seen.
    let secrets: Api<k8s_openapi::api::core::v1::Secret> = Api::namespaced(client.clone(), &namespace);
    let secret =
        serde_json::from_value(json!({"metadata": {"name": "s", "labels": {"bundle": "b"}}})).unwrap();
    secrets.create(&PostParams::default(), &secret).await.unwrap();
    status("secrets", json!(["s"])).await;

    // While nothing changes, nothing is written.
    tokio::time::sleep(Duration::from_millis(500)).await;
    let before = bundles.get("b").await.unwrap().resource_version();
    let map_before = maps.get("b-0").await.unwrap().resource_version();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(bundles.get("b").await.unwrap().resource_version(), before);
    assert_eq!(maps.get("b-0").await.unwrap().resource_version(), map_before);

    // What the dialect cannot translate is shown, and goes when it is corrected.
    let set = async |count: u32| {
        let patch = json!({"spec": {"count": count}});
        bundles.patch("b", &PatchParams::default(), &Patch::Merge(&patch)).await.unwrap();
    };
    set(10).await;
    reaches(&bundles, "b", "PurlinSynced", "False/InvalidSpec").await;
    let events: Api<Event> = Api::namespaced(client.clone(), &namespace);
    eventually("an Event about it", async || {
        let all = events.list(&ListParams::default()).await.ok()?.items;
        all.into_iter().find(|event| event.reason.as_deref() == Some("InvalidSpec"))
    })
    .await;
    set(1).await;
    status("children", json!(1)).await;
    status("conditions", json!([])).await;
    assert!(maps.get_opt("b-2").await.unwrap().is_none(), "orphans are deleted");

    // A second owner of the kind is refused and changes nothing.
    install(&client, "rival", "native/rival:1", GRANTS).await;
    reaches(&installed, "rival", "Ready", "False/KindConflict").await;
    installed.delete("rival", &Default::default()).await.unwrap();

    // The parent goes after its children.
    bundles.delete("b", &Default::default()).await.unwrap();
    eventually("the bundle is gone", async || bundles.get_opt("b").await.ok()?.is_none().then_some(())).await;
    assert!(maps.get_opt("b-0").await.unwrap().is_none());
    installed.delete("bundles", &Default::default()).await.unwrap();
    kernel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_says_what_keeps_it_from_loading() {
    let Some(client) = client().await else { return };
    let _alone = common::alone().await;
    let plugins = Native::default();
    let mut asking = counting_manifest("asking", "asking");
    asking["capabilities"] = json!([{"name": "call(tuner)", "reason": "to ask"}]);
    plugins.add("native/asking:1", asking, Counting::default());
    let kernel = Running::start(&client, &plugins).await;
    let installed: Api<Plugin> = Api::all(client.clone());

    install(&client, "asking", "native/asking:1", &[]).await;
    let refused = reaches(&installed, "asking", "Granted", "False/GrantsMissing").await;
    assert_eq!(refused["status"]["refused"], json!(["call(tuner)"]));
    let grant = json!({"spec": {"grants": ["call(tuner)"]}});
    installed.patch("asking", &PatchParams::default(), &Patch::Merge(&grant)).await.unwrap();
    let ready = reaches(&installed, "asking", "Ready", "True/Loaded").await;
    assert_eq!(ready["status"]["granted"], json!(["call(tuner)"]));
    let digest = ready["status"]["digest"].as_str().unwrap().to_owned();

    // A tag that moved is reported and not followed.
    plugins.tags.lock().unwrap().insert("native/asking:1".to_owned(), format!("sha256:{}", "b".repeat(64)));
    let touch = json!({"metadata": {"annotations": {"touched": "1"}}});
    installed.patch("asking", &PatchParams::default(), &Patch::Merge(&touch)).await.unwrap();
    let moved = reaches(&installed, "asking", "Resolved", "True/TagMoved").await;
    assert_eq!(moved["status"]["digest"], digest);

    install(&client, "absent", "native/absent:1", &[]).await;
    reaches(&installed, "absent", "Ready", "False/PullFailed").await;
    reaches(&installed, "asking", "Ready", "True/Loaded").await;
    for name in ["asking", "absent"] {
        installed.delete(name, &Default::default()).await.unwrap();
    }
    kernel.stop().await;
}
