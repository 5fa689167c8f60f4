//! The server as Purlin's own parts use it: a `kube::Client` with no socket in between.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{ConfigMap, Namespace, Pod, ServiceAccount};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, DeleteParams, ListParams, ObjectMeta, Patch, PatchParams, PostParams, PropagationPolicy, WatchEvent,
    WatchParams,
};
use kube::core::{ApiResource, DynamicObject, GroupVersionKind};
use purlin_apiserver::{ApiServer, Config, Identity};
use serde_json::json;

struct Fixture {
    server: ApiServer,
    client: kube::Client,
    _folder: tempfile::TempDir,
}

async fn fixture() -> anyhow::Result<Fixture> {
    let folder = tempfile::tempdir()?;
    let server = ApiServer::open(Config { data_dir: folder.path().to_owned(), ..Config::default() }).await?;
    let client = server.client(Identity::component("test"));
    Ok(Fixture { server, client, _folder: folder })
}

fn map(name: &str, value: &str) -> ConfigMap {
    ConfigMap {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some(BTreeMap::from([("v".into(), value.into())])),
            ..ObjectMeta::default()
        },
        data: Some(BTreeMap::from([("key".into(), value.into())])),
        ..ConfigMap::default()
    }
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

async fn until<F: AsyncFnMut() -> bool>(mut done: F) -> bool {
    for _ in 0..300 {
        if done().await {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    false
}

#[tokio::test]
async fn objects_are_created_read_changed_and_deleted() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), "default");
    let made = maps.create(&PostParams::default(), &map("a", "1")).await?;
    assert!(made.metadata.uid.is_some() && made.metadata.resource_version.is_some());
    let twice = maps.create(&PostParams::default(), &map("a", "1")).await.expect_err("taken");
    assert_eq!(code(&twice), 409);
    let mut stale = made.clone();
    let patched =
        maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"data": {"key": "2"}}))).await?;
    assert_eq!(patched.data.and_then(|data| data.get("key").cloned()).as_deref(), Some("2"));
    stale.data = None;
    let conflict = maps.replace("a", &PostParams::default(), &stale).await.expect_err("changed meanwhile");
    assert_eq!(code(&conflict), 409);
    assert!(conflict.to_string().contains("the object has been modified"), "{conflict}");
    assert_eq!(maps.list(&ListParams::default().labels("v=1")).await?.items.len(), 1);
    assert_eq!(maps.list(&ListParams::default().labels("v=2")).await?.items.len(), 0);
    maps.delete("a", &DeleteParams::default()).await?;
    assert_eq!(code(&maps.get("a").await.expect_err("gone")), 404);
    Ok(())
}

#[tokio::test]
async fn a_watch_tells_what_happened_since() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), "default");
    let since = maps.list(&ListParams::default()).await?.metadata.resource_version.unwrap_or_default();
    maps.create(&PostParams::default(), &map("a", "1")).await?;
    let params = WatchParams::default().labels("v=1").timeout(5);
    let mut events = maps.watch(&params, &since).await?.boxed();
    assert!(
        matches!(events.try_next().await?, Some(WatchEvent::Added(object)) if object.metadata.name.as_deref() == Some("a"))
    );
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"v": "2"}}})))
        .await?;
    assert!(matches!(events.try_next().await?, Some(WatchEvent::Deleted(_))), "it left the selection");
    maps.patch("a", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"labels": {"v": "1"}}})))
        .await?;
    assert!(matches!(events.try_next().await?, Some(WatchEvent::Added(_))), "it came back");
    Ok(())
}

#[tokio::test]
async fn lists_come_in_pages_of_one_snapshot() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), "kube-public");
    for n in 0..5 {
        maps.create(&PostParams::default(), &map(&format!("m{n}"), "1")).await?;
    }
    let first = maps.list(&ListParams::default().labels("v").limit(2)).await?;
    let token = first.metadata.continue_.clone().unwrap_or_default();
    maps.delete("m3", &DeleteParams::default()).await?;
    let rest = maps.list(&ListParams::default().labels("v").continue_token(&token)).await?;
    let names: Vec<_> = rest.items.iter().filter_map(|object| object.metadata.name.clone()).collect();
    assert_eq!(names, ["m2", "m3", "m4"], "the second page is of the snapshot of the first");
    assert_eq!(rest.metadata.resource_version, first.metadata.resource_version);
    Ok(())
}

#[tokio::test]
async fn a_definition_serves_its_kind_and_takes_it_along() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let definitions: Api<CustomResourceDefinition> = Api::all(fixture.client.clone());
    let definition = serde_json::from_value(json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": "widgets.example.com"},
        "spec": {"group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
          "versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}, "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}},
            "subresources": {"status": {}}}]},
    }))?;
    definitions.create(&PostParams::default(), &definition).await?;
    let kind =
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk("example.com", "v1", "Widget"), "widgets");
    let widgets: Api<DynamicObject> = Api::namespaced_with(fixture.client.clone(), "default", &kind);
    let widget = DynamicObject::new("w", &kind).data(json!({"spec": {"size": 1}, "status": {"seen": 1}}));
    let made = widgets.create(&PostParams::default(), &widget).await?;
    assert_eq!(made.metadata.generation, Some(1));
    assert!(made.data.get("status").is_none(), "the status is only set through its own path");
    let seen = widgets
        .patch_status(
            "w",
            &PatchParams::default(),
            &Patch::Merge(json!({"status": {"seen": 2}, "spec": {"size": 9}})),
        )
        .await?;
    assert_eq!((&seen.data["status"]["seen"], &seen.data["spec"]["size"]), (&json!(2), &json!(1)));
    assert_eq!(seen.metadata.generation, Some(1));
    let grown =
        widgets.patch("w", &PatchParams::default(), &Patch::Merge(json!({"spec": {"size": 2}}))).await?;
    assert_eq!(grown.metadata.generation, Some(2));
    definitions.delete("widgets.example.com", &DeleteParams::default()).await?;
    assert!(until(async || definitions.get("widgets.example.com").await.is_err()).await);
    assert_eq!(code(&widgets.get("w").await.expect_err("its kind is gone")), 404);
    Ok(())
}

fn owned(name: &str, owner: &ConfigMap, block: bool) -> ConfigMap {
    let mut object = map(name, "owned");
    object.metadata.owner_references = serde_json::from_value(json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": owner.metadata.name, "uid": owner.metadata.uid,
        "blockOwnerDeletion": block,
    }]))
    .ok();
    object
}

#[tokio::test]
async fn dependents_follow_their_owner_in_each_way() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), "default");
    for (policy, stays) in [
        (PropagationPolicy::Background, false),
        (PropagationPolicy::Foreground, false),
        (PropagationPolicy::Orphan, true),
    ] {
        let owner = maps.create(&PostParams::default(), &map("owner", "1")).await?;
        maps.create(&PostParams::default(), &owned("child", &owner, true)).await?;
        let params = DeleteParams { propagation_policy: Some(policy.clone()), ..DeleteParams::default() };
        maps.delete("owner", &params).await?;
        assert!(until(async || maps.get("owner").await.is_err()).await, "{policy:?}");
        if stays {
            assert!(
                maps.get("child").await?.metadata.owner_references.is_none_or(|owners| owners.is_empty())
            );
        } else {
            assert!(until(async || maps.get("child").await.is_err()).await, "{policy:?}");
        }
    }
    Ok(())
}

#[tokio::test]
async fn a_namespace_is_furnished_and_emptied() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let namespaces: Api<Namespace> = Api::all(fixture.client.clone());
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), "team");
    assert_eq!(
        code(&maps.create(&PostParams::default(), &map("a", "1")).await.expect_err("no namespace")),
        404
    );
    let team = serde_json::from_value(json!({"metadata": {"name": "team"}}))?;
    namespaces.create(&PostParams::default(), &team).await?;
    let accounts: Api<ServiceAccount> = Api::namespaced(fixture.client.clone(), "team");
    assert!(
        until(async || accounts.get("default").await.is_ok() && maps.get("kube-root-ca.crt").await.is_ok())
            .await
    );
    let mut held = map("held", "1");
    held.metadata.finalizers = Some(vec!["example.com/hold".into()]);
    maps.create(&PostParams::default(), &held).await?;
    namespaces.delete("team", &DeleteParams::default()).await?;
    let refused = maps.create(&PostParams::default(), &map("late", "1")).await.expect_err("terminating");
    assert_eq!(code(&refused), 403);
    assert!(refused.to_string().contains("because it is being terminated"), "{refused}");
    maps.patch("held", &PatchParams::default(), &Patch::Merge(json!({"metadata": {"finalizers": null}})))
        .await?;
    assert!(until(async || namespaces.get("team").await.is_err()).await);
    Ok(())
}

#[tokio::test]
async fn a_pod_on_a_node_ends_gracefully() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let pods: Api<Pod> = Api::namespaced(fixture.client.clone(), "default");
    let pod: Pod = serde_json::from_value(json!({
        "metadata": {"name": "p"}, "spec": {"nodeName": "n", "terminationGracePeriodSeconds": 7, "containers": [{"name": "c", "image": "i"}]},
    }))?;
    pods.create(&PostParams::default(), &pod).await?;
    pods.delete("p", &DeleteParams::default()).await?;
    let ending = pods.get("p").await?;
    assert_eq!(ending.metadata.deletion_grace_period_seconds, Some(7));
    pods.delete("p", &DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() }).await?;
    assert_eq!(code(&pods.get("p").await.expect_err("gone")), 404);
    drop(fixture.server);
    Ok(())
}

#[tokio::test]
async fn appliers_own_what_they_set_and_conflict_over_it() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let maps: Api<ConfigMap> = Api::namespaced(fixture.client.clone(), "default");
    let config = |value: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}, "data": {"key": value}});
    let made = maps.patch("m", &PatchParams::apply("one"), &Patch::Apply(config("1"))).await?;
    let fields = made.metadata.managed_fields.unwrap_or_default();
    assert_eq!(fields.len(), 1);
    assert_eq!((fields[0].manager.as_deref(), fields[0].operation.as_deref()), (Some("one"), Some("Apply")));
    let refused =
        maps.patch("m", &PatchParams::apply("two"), &Patch::Apply(config("2"))).await.expect_err("owned");
    assert_eq!(code(&refused), 409);
    assert!(refused.to_string().contains("conflict with \"one\": .data.key"), "{refused}");
    let forced = maps.patch("m", &PatchParams::apply("two").force(), &Patch::Apply(config("2"))).await?;
    assert_eq!(forced.data.and_then(|data| data.get("key").cloned()).as_deref(), Some("2"));
    let version = forced.metadata.resource_version;
    let again = maps.patch("m", &PatchParams::apply("two").force(), &Patch::Apply(config("2"))).await?;
    assert_eq!(again.metadata.resource_version, version, "applying the same again changes nothing");
    Ok(())
}

#[tokio::test]
async fn built_in_objects_are_filled_in_and_checked() -> anyhow::Result<()> {
    let fixture = fixture().await?;
    let pods: Api<Pod> = Api::namespaced(fixture.client.clone(), "default");
    let pod = |name: &str| {
        serde_json::from_value::<Pod>(
            json!({"metadata": {"name": "p"}, "spec": {"containers": [{"name": name, "image": "i"}]}}),
        )
    };
    let made = pods.create(&PostParams::default(), &pod("c")?).await?;
    assert_eq!(made.status.and_then(|status| status.phase).as_deref(), Some("Pending"));
    let spec = made.spec.unwrap_or_default();
    assert_eq!(spec.restart_policy.as_deref(), Some("Always"));
    assert_eq!(spec.containers[0].termination_message_path.as_deref(), Some("/dev/termination-log"));
    let refused = pods.create(&PostParams::default(), &pod("Not A Name")?).await.expect_err("invalid");
    assert_eq!(code(&refused), 422);
    assert!(refused.to_string().contains("spec.containers[0].name"), "{refused}");
    Ok(())
}
