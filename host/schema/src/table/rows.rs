//! The rows of nodes, storage, events, roles and definitions.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::since;
use super::builtin::{age, items, name, number, or_none, text};

pub(super) fn data_count(object: &Value) -> Value {
    let count = |key: &str| object[key].as_object().map_or(0, |data| data.len());
    json!(count("data") + count("binaryData"))
}

fn texts(value: &Value) -> String {
    items(value).iter().map(text).collect::<Vec<_>>().join(",")
}

pub(super) fn node(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let ready = items(&status["conditions"]).iter().find(|condition| condition["type"] == "Ready");
    let mut state = match ready.map(|condition| text(&condition["status"])) {
        Some("True") => "Ready",
        Some(_) => "NotReady",
        None => "Unknown",
    }
    .to_owned();
    if object["spec"]["unschedulable"] == true {
        state.push_str(",SchedulingDisabled");
    }
    let labels = object["metadata"]["labels"].as_object();
    let mut roles: Vec<&str> = labels
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role),
            None => (key == "kubernetes.io/role").then(|| text(value)),
        })
        .filter(|role| !role.is_empty())
        .collect();
    roles.sort_unstable();
    let address = |kind: &str| {
        or_none(
            items(&status["addresses"])
                .iter()
                .find(|one| one["type"] == kind)
                .map_or("", |one| text(&one["address"])),
        )
    };
    let unknown = |key: &str| match text(&status["nodeInfo"][key]) {
        "" => json!("<unknown>"),
        known => json!(known),
    };
    vec![
        name(object),
        state.into(),
        or_none(&roles.join(",")),
        age(object, now),
        text(&status["nodeInfo"]["kubeletVersion"]).into(),
        address("InternalIP"),
        address("ExternalIP"),
        unknown("osImage"),
        unknown("kernelVersion"),
        unknown("containerRuntimeVersion"),
    ]
}

pub(super) fn event(object: &Value, now: Timestamp) -> Vec<Value> {
    let either = |old: &str, new: &str| if object[old].is_null() { &object[new] } else { &object[old] };
    let about = either("involvedObject", "regarding");
    let first =
        if object["firstTimestamp"].is_string() { &object["firstTimestamp"] } else { &object["eventTime"] };
    let last = if object["series"]["lastObservedTime"].is_string() {
        &object["series"]["lastObservedTime"]
    } else if object["lastTimestamp"].is_string() {
        &object["lastTimestamp"]
    } else {
        first
    };
    let component = match text(&either("source", "deprecatedSource")["component"]) {
        "" => text(either("reportingComponent", "reportingController")),
        component => component,
    };
    let host = match text(&either("source", "deprecatedSource")["host"]) {
        "" => text(&object["reportingInstance"]),
        host => host,
    };
    let source = match host {
        "" => component.to_owned(),
        host => format!("{component}, {host}"),
    };
    let count = number(&object["count"]).max(number(&object["series"]["count"])).max(1);
    vec![
        since(last, now).into(),
        object["type"].clone(),
        object["reason"].clone(),
        format!("{}/{}", text(&about["kind"]).to_lowercase(), text(&about["name"])).into(),
        text(&about["fieldPath"]).into(),
        source.into(),
        text(either("message", "note")).trim().into(),
        since(first, now).into(),
        json!(count),
        name(object),
    ]
}

/// Access modes in their short forms.
fn modes(modes: &Value) -> String {
    let short = items(modes).iter().map(|mode| match text(mode) {
        "ReadWriteOnce" => "RWO",
        "ReadOnlyMany" => "ROX",
        "ReadWriteMany" => "RWX",
        "ReadWriteOncePod" => "RWOP",
        other => other,
    });
    short.collect::<Vec<_>>().join(",")
}

pub(super) fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let state = if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else {
        text(&status["phase"])
    };
    let bound = !text(&spec["volumeName"]).is_empty();
    let (capacity, access) = if bound {
        (text(&status["capacity"]["storage"]), modes(&status["accessModes"]))
    } else {
        ("", String::new())
    };
    let class = |key: &str| text(&spec[key]).to_owned();
    let attributes = class("volumeAttributesClassName");
    vec![
        name(object),
        state.into(),
        text(&spec["volumeName"]).into(),
        capacity.into(),
        access.into(),
        class("storageClassName").into(),
        if attributes.is_empty() { "<unset>".into() } else { attributes.into() },
        age(object, now),
        spec["volumeMode"].clone(),
    ]
}

pub(super) fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let state = if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else {
        text(&status["phase"])
    };
    let owner = &spec["claimRef"];
    let claim = if owner.is_object() {
        format!("{}/{}", text(&owner["namespace"]), text(&owner["name"]))
    } else {
        String::new()
    };
    let attributes = text(&spec["volumeAttributesClassName"]);
    vec![
        name(object),
        text(&spec["capacity"]["storage"]).into(),
        modes(&spec["accessModes"]).into(),
        spec["persistentVolumeReclaimPolicy"].clone(),
        state.into(),
        claim.into(),
        text(&spec["storageClassName"]).into(),
        if attributes.is_empty() { "<unset>".into() } else { attributes.into() },
        text(&status["reason"]).into(),
        age(object, now),
        spec["volumeMode"].clone(),
    ]
}

pub(super) fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
    let of = |kind: &str| -> Value {
        let subjects = items(&object["subjects"]).iter().filter(|subject| subject["kind"] == kind);
        let shown = subjects.map(|subject| match kind {
            "ServiceAccount" => format!("{}/{}", text(&subject["namespace"]), text(&subject["name"])),
            _ => text(&subject["name"]).to_owned(),
        });
        shown.collect::<Vec<_>>().join(", ").into()
    };
    let role = format!("{}/{}", text(&object["roleRef"]["kind"]), text(&object["roleRef"]["name"]));
    vec![name(object), role.into(), age(object, now), of("User"), of("Group"), of("ServiceAccount")]
}

pub(super) fn definition(object: &Value, _now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let version = |version: &Value| {
        let mark = if version["storage"] == true { "(storage)" } else { "" };
        format!("{}{mark}", text(&version["name"]))
    };
    let versions = items(&spec["versions"]).iter().map(version).collect::<Vec<_>>().join(",");
    let established = items(&object["status"]["conditions"])
        .iter()
        .any(|c| c["type"] == "Established" && c["status"] == "True");
    vec![
        name(object),
        spec["scope"].clone(),
        versions.into(),
        object["metadata"]["creationTimestamp"].clone(),
        spec["group"].clone(),
        spec["names"]["kind"].clone(),
        texts(&spec["names"]["shortNames"]).into(),
        json!(established),
    ]
}

/// Requests and limits apart, each `resource: used/hard`.
pub(super) fn quota(object: &Value, now: Timestamp) -> Vec<Value> {
    let status = &object["status"];
    let (mut requests, mut limits) = (Vec::new(), Vec::new());
    for (resource, hard) in status["hard"].as_object().into_iter().flatten() {
        let shown = format!("{resource}: {}/{}", text(&status["used"][resource]), text(hard));
        if resource.starts_with("limits") { limits.push(shown) } else { requests.push(shown) }
    }
    vec![name(object), requests.join(", ").into(), limits.join(", ").into(), age(object, now)]
}

pub(super) fn revision(object: &Value, now: Timestamp) -> Vec<Value> {
    let owner =
        items(&object["metadata"]["ownerReferences"]).iter().find(|owner| owner["controller"] == true);
    let owner = owner.map(|owner| {
        let (group, _) = text(&owner["apiVersion"]).split_once('/').unwrap_or_default();
        let kind = text(&owner["kind"]).to_lowercase();
        let kind = if group.is_empty() { kind } else { format!("{kind}.{group}") };
        format!("{kind}/{}", text(&owner["name"]))
    });
    vec![
        name(object),
        or_none(&owner.unwrap_or_default()),
        json!(number(&object["revision"])),
        age(object, now),
    ]
}
