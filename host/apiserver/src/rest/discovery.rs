//! Discovery: which groups, versions and resources there are, in the legacy and the aggregated form.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use super::{meta, respond};
use crate::catalogue::{self, Resource, api_version, custom};
use crate::server::Core;

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";

/// Versions of each group, the preferred one first.
fn versions(core: &Core) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (group, version) in core.engine.catalogue.served().keys() {
        groups.entry(group.clone()).or_default().push(version.clone());
    }
    for versions in groups.values_mut() {
        versions.sort_by_key(|version| std::cmp::Reverse(catalogue::priority(version)));
    }
    groups
}

fn wants_aggregated(headers: &HeaderMap) -> bool {
    let accept = headers.get(header::ACCEPT).and_then(|value| value.to_str().ok()).unwrap_or_default();
    accept
        .split(',')
        .map(|clause| clause.replace(' ', ""))
        .find(|clause| clause.starts_with("application/json") || clause.starts_with("*/*"))
        .is_some_and(|clause| {
            clause.contains("as=APIGroupDiscoveryList")
                && clause.contains("v=v2")
                && !clause.contains("v2beta1")
        })
}

/// `/api`.
pub(super) async fn legacy(State(core): State<Arc<Core>>, headers: HeaderMap) -> Response {
    if wants_aggregated(&headers) {
        return aggregated(&core, &headers, |group| group.is_empty());
    }
    respond::plain(
        200,
        &json!({
            "kind": "APIVersions", "versions": ["v1"],
            "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": core.address()}],
        }),
    )
}

/// `/apis`.
pub(super) async fn groups(State(core): State<Arc<Core>>, headers: HeaderMap) -> Response {
    if wants_aggregated(&headers) {
        return aggregated(&core, &headers, |group| !group.is_empty());
    }
    let groups: Vec<Value> = versions(&core)
        .iter()
        .filter(|(group, _)| !group.is_empty())
        .map(|(group, versions)| group_of(group, versions))
        .collect();
    respond::plain(200, &json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

fn group_of(group: &str, versions: &[String]) -> Value {
    let one = |version: &String| json!({"groupVersion": api_version(group, version), "version": version});
    json!({
        "name": group, "versions": versions.iter().map(one).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(one),
    })
}

/// `/apis/<group>`.
pub(super) async fn group(State(core): State<Arc<Core>>, Path(group): Path<String>) -> Response {
    match versions(&core).get(&group).filter(|_| !group.is_empty()) {
        Some(versions) => {
            let mut shown = group_of(&group, versions);
            shown["kind"] = "APIGroup".into();
            shown["apiVersion"] = "v1".into();
            respond::plain(200, &shown)
        }
        None => meta::not_a_page(),
    }
}

/// `/api/v1`.
pub(super) async fn core_resources(State(core): State<Arc<Core>>) -> Response {
    resource_list(&core, "", "v1")
}

/// `/apis/<group>/<version>`.
pub(super) async fn resources(
    State(core): State<Arc<Core>>,
    Path((group, version)): Path<(String, String)>,
) -> Response {
    resource_list(&core, &group, &version)
}

fn resource_list(core: &Core, group: &str, version: &str) -> Response {
    let served = core.engine.catalogue.served();
    let Some(plurals) = served.get(&(group.to_owned(), version.to_owned())) else {
        return meta::not_a_page();
    };
    let mut resources = Vec::new();
    for resource in plurals.values() {
        resources.push(resource_entry(resource));
        resources.extend(resource.subresources.iter().map(|subresource| {
            let mut entry = json!({
                "name": format!("{}/{}", resource.plural, subresource.name), "singularName": "",
                "namespaced": resource.namespaced, "kind": subresource.kind, "verbs": subresource.verbs,
            });
            if !subresource.group.is_empty() {
                entry["group"] = subresource.group.as_str().into();
            }
            if !subresource.version.is_empty() {
                entry["version"] = subresource.version.as_str().into();
            }
            entry
        }));
    }
    let mut list = json!({
        "kind": "APIResourceList", "groupVersion": api_version(group, version), "resources": resources,
    });
    // The list of the oldest group is as old, and has no version of its own.
    if !group.is_empty() {
        list["apiVersion"] = "v1".into();
    }
    respond::plain(200, &list)
}

fn resource_entry(resource: &Resource) -> Value {
    let mut entry = json!({
        "name": resource.plural, "singularName": resource.singular, "namespaced": resource.namespaced,
        "kind": resource.kind, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    if resource.verbs.contains(&"watch") {
        let storage = match &resource.custom {
            Some(custom) => custom.storage.as_str(),
            // Definitions are still kept in the version that they began with.
            None if resource.is(custom::GROUP, custom::PLURAL) => "v1beta1",
            None => &resource.version,
        };
        let hash = Sha256::digest(format!("{}/{storage}/{}", resource.group, resource.kind));
        entry["storageVersionHash"] =
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &hash[..8]).into();
    }
    entry
}

fn aggregated(core: &Core, headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> Response {
    let served = core.engine.catalogue.served();
    let items: Vec<Value> = versions(core)
        .iter()
        .filter(|(group, _)| wanted(group))
        .map(|(group, versions)| {
            let versions: Vec<Value> = versions
                .iter()
                .map(|version| {
                    let resources: Vec<Value> = served
                        .get(&(group.clone(), version.clone()))
                        .map(|plurals| plurals.values().map(|resource| aggregated_entry(resource)).collect())
                        .unwrap_or_default();
                    json!({"version": version, "resources": resources, "freshness": "Current"})
                })
                .collect();
            let mut metadata = json!({"creationTimestamp": null});
            if !group.is_empty() {
                metadata["name"] = group.as_str().into();
            }
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    let body = json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {}, "items": items,
    })
    .to_string();
    let tag = format!("\"{}\"", hex::encode_upper(Sha256::digest(&body)));
    if headers.get(header::IF_NONE_MATCH).is_some_and(|given| given == tag.as_str()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, tag)]).into_response();
    }
    let mut response = (StatusCode::OK, [(header::ETAG, tag)], body).into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(AGGREGATED));
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("Accept"));
    response
}

fn aggregated_entry(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| {
        // Where it is the group and version around it, a real server leaves both out for its own kinds.
        if resource.custom.is_none() && group == resource.group && version == resource.version {
            return json!({"group": "", "version": "", "kind": kind});
        }
        json!({"group": group, "version": version, "kind": kind})
    };
    let mut entry = json!({
        "resource": resource.plural,
        "responseKind": kind(&resource.group, &resource.version, &resource.kind),
        "scope": if resource.namespaced { "Namespaced" } else { "Cluster" },
        "singularResource": resource.singular, "verbs": resource.verbs,
    });
    if !resource.short_names.is_empty() {
        entry["shortNames"] = resource.short_names.clone().into();
    }
    if !resource.categories.is_empty() {
        entry["categories"] = resource.categories.clone().into();
    }
    if !resource.subresources.is_empty() {
        let subresources: Vec<Value> = resource
            .subresources
            .iter()
            .map(|subresource| {
                let own = subresource.version.is_empty();
                let (group, version) = if own {
                    (resource.group.as_str(), resource.version.as_str())
                } else {
                    (subresource.group.as_str(), subresource.version.as_str())
                };
                json!({
                    "subresource": subresource.name, "responseKind": kind(group, version, &subresource.kind),
                    "verbs": subresource.verbs,
                })
            })
            .collect();
        entry["subresources"] = subresources.into();
    }
    entry
}
