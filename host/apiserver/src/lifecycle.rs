//! The life of namespaces and of custom resource definitions: what each new namespace is given, and how both are
//! emptied before they go.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::sync::watch;

use crate::catalogue::{Resource, custom};
use crate::engine::delete::{CUSTOM_CLEANUP, DeleteOptions};
use crate::engine::{Engine, Intent};
use crate::rest::query::Propagation;
use crate::status::ApiError;

const NAMESPACES: &str = "/namespaces";
const DEFAULT: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];
/// How often something that waits for others to let go is looked at again.
const AGAIN: Duration = Duration::from_millis(500);
/// How long changes of service accounts and ConfigMaps are gathered before what a namespace must have is looked for
/// among them: under load they change a thousand times a second, and hardly ever is it one of those.
const GATHER: Duration = Duration::from_millis(100);
/// How often the store drops old history.
const COMPACT: Duration = Duration::from_secs(60);

/// Makes the namespaces that every cluster has.
pub(crate) async fn ensure_defaults(engine: &Engine) -> Result<(), ApiError> {
    for name in DEFAULT {
        ensure(engine, "", "v1", "namespaces", "", json!({"metadata": {"name": name}})).await?;
    }
    Ok(())
}

async fn ensure(
    engine: &Engine,
    group: &str,
    version: &str,
    plural: &str,
    namespace: &str,
    mut object: Value,
) -> Result<(), ApiError> {
    let Some(resource) = engine.catalogue.find(group, version, plural) else { return Ok(()) };
    let name = object["metadata"]["name"].as_str().unwrap_or_default();
    if engine.store.get(&resource.table, namespace, name).is_some() {
        return Ok(());
    }
    object["apiVersion"] = resource.api_version().into();
    object["kind"] = resource.kind.as_str().into();
    match engine.create(&resource, namespace, object, &Intent::internal("purlin")).await {
        Err(error) if error.reason != "AlreadyExists" => Err(error),
        _ => Ok(()),
    }
}

/// Follows definitions for as long as the server lives, and namespaces where there is an authority's certificate to give
/// them.
pub(crate) async fn run(engine: Arc<Engine>, authority: Option<String>) {
    let mut namespaces = engine.store.subscribe(NAMESPACES);
    let mut accounts = engine.store.subscribe("/serviceaccounts");
    let mut maps = engine.store.subscribe("/configmaps");
    let mut definitions = engine.store.subscribe(custom::TABLE);
    let mut compaction = tokio::time::interval(COMPACT);
    loop {
        for wake in [&mut namespaces, &mut accounts, &mut maps, &mut definitions] {
            wake.mark_unchanged();
        }
        let waiting = round(&engine, authority.as_deref()).await;
        let again = if waiting { AGAIN } else { COMPACT };
        // Every receiver lives as long as the store, which this function holds: an error cannot come.
        tokio::select! {
            _ = namespaces.changed() => {}
            () = furniture_changed(&mut accounts, &mut maps) => {}
            _ = definitions.changed() => {}
            _ = compaction.tick() => engine.store.compact().await,
            () = tokio::time::sleep(again) => {}
        }
    }
}

/// Waits for a change of service accounts or ConfigMaps, and then for those that come close behind it.
async fn furniture_changed(accounts: &mut watch::Receiver<u64>, maps: &mut watch::Receiver<u64>) {
    tokio::select! {
        _ = accounts.changed() => {}
        _ = maps.changed() => {}
    }
    tokio::time::sleep(GATHER).await;
}

/// Looks at every namespace and definition; answers whether something waits.
async fn round(engine: &Engine, authority: Option<&str>) -> bool {
    let mut waiting = false;
    let namespaces = authority.map(|_| engine.store.list(NAMESPACES, None).items);
    for namespace in namespaces.into_iter().flatten() {
        let authority = authority.unwrap_or_default();
        let name = &*namespace.key.name;
        let done = if namespace.facts.terminating {
            empty_namespace(engine, name).await
        } else {
            furnish(engine, name, authority).await.map(|()| true)
        };
        match done {
            Ok(done) => waiting |= !done,
            Err(error) => {
                tracing::warn!(namespace = name, %error, "following a namespace failed; it is tried again");
                waiting = true;
            }
        }
    }
    for definition in
        engine.store.list(custom::TABLE, None).items.iter().filter(|object| object.facts.terminating)
    {
        match empty_definition(engine, &definition.key.name).await {
            Ok(done) => waiting |= !done,
            Err(error) => {
                tracing::warn!(definition = %definition.key.name, %error, "emptying a definition failed; it is tried again");
                waiting = true;
            }
        }
    }
    waiting
}

/// Gives a namespace its service account and the authority's certificate.
async fn furnish(engine: &Engine, namespace: &str, authority: &str) -> Result<(), ApiError> {
    ensure(engine, "", "v1", "serviceaccounts", namespace, json!({"metadata": {"name": "default"}})).await?;
    let root = json!({
        "metadata": {
            "name": "kube-root-ca.crt",
            "annotations": {"kubernetes.io/description": "The certificate authority that signs this server's certificate."},
        },
        "data": {"ca.crt": authority},
    });
    match ensure(engine, "", "v1", "configmaps", namespace, root).await {
        // It began to go away between the list and now.
        Err(error) if error.code == 403 || error.code == 404 => Ok(()),
        outcome => outcome,
    }
}

async fn delete_all(
    engine: &Engine,
    resource: &Resource,
    namespace: Option<&str>,
) -> Result<usize, ApiError> {
    let options = DeleteOptions { propagation: Some(Propagation::Background), ..DeleteOptions::default() };
    let objects = engine.store.list(&resource.table, namespace).items;
    for object in objects.iter().filter(|object| !object.facts.terminating) {
        match engine.delete(resource, &object.key.namespace, &object.key.name, &options).await {
            Err(error) if error.code != 404 => return Err(error),
            _ => {}
        }
    }
    Ok(engine.store.list(&resource.table, namespace).items.len())
}

/// Deletes what is in a namespace; when nothing is left, the namespace. Answers whether it is gone.
async fn empty_namespace(engine: &Engine, name: &str) -> Result<bool, ApiError> {
    let mut left = 0;
    for table in engine.store.resources() {
        let Some(resource) = engine.catalogue.by_table(&table) else { continue };
        if resource.namespaced && !engine.store.list(&table, Some(name)).items.is_empty() {
            left += delete_all(engine, &resource, Some(name)).await?;
        }
    }
    if left > 0 {
        return Ok(false);
    }
    let Some(resource) = engine.catalogue.find("", "v1", "namespaces") else { return Ok(true) };
    engine.drop_finalizer(&resource, "", name, "kubernetes").await?;
    Ok(true)
}

/// Deletes the objects of a definition; when none is left, the definition. Answers whether it is gone.
async fn empty_definition(engine: &Engine, name: &str) -> Result<bool, ApiError> {
    let Some((plural, group)) = name.split_once('.') else { return Ok(true) };
    if let Some(resource) = engine.catalogue.by_table(&format!("{group}/{plural}"))
        && delete_all(engine, &resource, None).await? > 0
    {
        return Ok(false);
    }
    let Some(resource) = engine.catalogue.find(custom::GROUP, "v1", custom::PLURAL) else { return Ok(true) };
    engine.drop_finalizer(&resource, "", name, CUSTOM_CLEANUP).await?;
    Ok(true)
}
