//! Columns of the built-in kinds, and the rows of those that are neither pods nor make them.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::since;
use super::{Cells, Column, pod, workload};

const REPLICA_COLUMNS: &[&str] =
    &["Desired:integer", "Current:integer", "Ready:integer", "Age", "Containers+", "Images+", "Selector+"];
const BINDING_COLUMNS: &[&str] = &["Role", "Age", "Users+", "Groups+", "ServiceAccounts+"];

/// The columns of a kind after its name, each `Title`, `Title:type`, with a `+` where only wide output shows it.
pub(super) fn columns(group: &str, kind: &str) -> (Vec<Column>, Cells) {
    let (titles, cells): (&[&str], Cells) = match kind {
        "Pod" => (
            &["Ready", "Status", "Restarts", "Age", "IP+", "Node+", "Nominated Node+", "Readiness Gates+"],
            pod::cells,
        ),
        "Deployment" => (
            &["Ready", "Up-to-date", "Available", "Age", "Containers+", "Images+", "Selector+"],
            workload::deployment,
        ),
        "ReplicaSet" | "ReplicationController" => (REPLICA_COLUMNS, workload::replicas),
        "StatefulSet" => (&["Ready", "Age", "Containers+", "Images+"], workload::stateful_set),
        "DaemonSet" => (
            &[
                "Desired:integer",
                "Current:integer",
                "Ready:integer",
                "Up-to-date:integer",
                "Available:integer",
                "Node Selector",
                "Age",
                "Containers+",
                "Images+",
                "Selector+",
            ],
            workload::daemon_set,
        ),
        "Job" => (
            &["Status", "Completions", "Duration", "Age", "Containers+", "Images+", "Selector+"],
            workload::job,
        ),
        "CronJob" => (
            &[
                "Schedule",
                "Timezone",
                "Suspend:boolean",
                "Active:integer",
                "Last Schedule",
                "Age",
                "Containers+",
                "Images+",
                "Selector+",
            ],
            workload::cron_job,
        ),
        "Service" => (&["Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector+"], service),
        "ConfigMap" => {
            (&["Data", "Age"], |object, now| vec![name(object), data_count(object), age(object, now)])
        }
        "Secret" => (&["Type", "Data", "Age"], |object, now| {
            vec![
                name(object),
                object["type"].clone(),
                json!(object["data"].as_object().map_or(0, |data| data.len())),
                age(object, now),
            ]
        }),
        "Namespace" => (&["Status", "Age"], |object, now| {
            vec![name(object), object["status"]["phase"].clone(), age(object, now)]
        }),
        "Node" => (
            &[
                "Status",
                "Roles",
                "Age",
                "Version",
                "Internal-IP+",
                "External-IP+",
                "OS-Image+",
                "Kernel-Version+",
                "Container-Runtime+",
            ],
            node,
        ),
        "Event" if group.is_empty() || group == "events.k8s.io" => return (event_columns(), event),
        "PersistentVolumeClaim" => (
            &[
                "Status",
                "Volume",
                "Capacity",
                "Access Modes",
                "StorageClass",
                "VolumeAttributesClass",
                "Age",
                "VolumeMode+",
            ],
            claim,
        ),
        "PersistentVolume" => (
            &[
                "Capacity",
                "Access Modes",
                "Reclaim Policy",
                "Status",
                "Claim",
                "StorageClass",
                "VolumeAttributesClass",
                "Reason",
                "Age",
                "VolumeMode+",
            ],
            volume,
        ),
        "Lease" => (&["Holder", "Age"], |object, now| {
            vec![name(object), text(&object["spec"]["holderIdentity"]).into(), age(object, now)]
        }),
        "Role" | "ClusterRole" | "LimitRange" => (&["Created At:date"], |object, _| {
            vec![name(object), object["metadata"]["creationTimestamp"].clone()]
        }),
        "RoleBinding" | "ClusterRoleBinding" => (BINDING_COLUMNS, binding),
        "CustomResourceDefinition" => (
            &[
                "Scope",
                "Versions",
                "Created At:date",
                "Group+",
                "Kind+",
                "ShortNames+",
                "Established:boolean+",
            ],
            definition,
        ),
        "PodDisruptionBudget" => {
            (&["Min Available", "Max Unavailable", "Allowed Disruptions:integer", "Age"], |object, now| {
                let amount = |key: &str| match &object["spec"][key] {
                    Value::Null => json!("N/A"),
                    Value::String(text) => json!(text),
                    other => json!(other.to_string()),
                };
                let allowed = json!(number(&object["status"]["disruptionsAllowed"]));
                vec![
                    name(object),
                    amount("minAvailable"),
                    amount("maxUnavailable"),
                    allowed,
                    age(object, now),
                ]
            })
        }
        "NetworkPolicy" => (&["Pod-Selector", "Age"], |object, now| {
            vec![name(object), selector(&object["spec"]["podSelector"]), age(object, now)]
        }),
        "PriorityClass" => {
            (&["Value:integer", "Global-Default:boolean", "Age", "PreemptionPolicy"], |object, now| {
                let default = json!(object["globalDefault"] == true);
                vec![
                    name(object),
                    json!(number(&object["value"])),
                    default,
                    age(object, now),
                    object["preemptionPolicy"].clone(),
                ]
            })
        }
        "StorageClass" => (
            &["Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion", "Age"],
            |object, now| {
                let expands = json!(object["allowVolumeExpansion"] == true);
                vec![
                    name(object),
                    object["provisioner"].clone(),
                    object["reclaimPolicy"].clone(),
                    object["volumeBindingMode"].clone(),
                    expands,
                    age(object, now),
                ]
            },
        ),
        _ => (&["Age"], |object, now| vec![name(object), age(object, now)]),
    };
    let mut columns = vec![Column::new("Name", "string", "name", 0)];
    columns.extend(titles.iter().map(|title| column(title)));
    (columns, cells)
}

fn column(title: &str) -> Column {
    let (title, priority) = title.strip_suffix('+').map_or((title, 0), |title| (title, 1));
    let (title, kind) = title.split_once(':').unwrap_or((title, "string"));
    Column::new(title, kind, "", priority)
}

/// Events are the one kind whose name comes last.
fn event_columns() -> Vec<Column> {
    let titles = [
        "Last Seen",
        "Type",
        "Reason",
        "Object",
        "Subobject+",
        "Source+",
        "Message",
        "First Seen+",
        "Count+",
    ];
    let mut columns: Vec<Column> = titles.iter().map(|title| column(title)).collect();
    columns.push(Column::new("Name", "string", "name", 1));
    columns
}

pub(super) fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

pub(super) fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or_default()
}

pub(super) fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

pub(super) fn name(object: &Value) -> Value {
    object["metadata"]["name"].clone()
}

pub(super) fn age(object: &Value, now: Timestamp) -> Value {
    since(&object["metadata"]["creationTimestamp"], now).into()
}

pub(super) fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Labels as `a=b,c=d`.
pub(super) fn labels(labels: &Value) -> Value {
    let labels = labels.as_object().into_iter().flatten();
    or_none(&labels.map(|(key, value)| format!("{key}={}", text(value))).collect::<Vec<_>>().join(","))
}

/// A label selector in its text form.
pub(super) fn selector(selector: &Value) -> Value {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<String> = equal.map(|(key, value)| format!("{key}={}", text(value))).collect();
    for test in items(&selector["matchExpressions"]) {
        let (key, values) =
            (text(&test["key"]), items(&test["values"]).iter().map(text).collect::<Vec<_>>().join(","));
        parts.push(match text(&test["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        });
    }
    parts.sort();
    or_none(&parts.join(","))
}

fn data_count(object: &Value) -> Value {
    let count = |key: &str| object[key].as_object().map_or(0, |data| data.len());
    json!(count("data") + count("binaryData"))
}

fn texts(value: &Value) -> String {
    items(value).iter().map(text).collect::<Vec<_>>().join(",")
}

fn service(object: &Value, now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let mut external: Vec<&str> = items(&spec["externalIPs"]).iter().map(text).collect();
    let balanced = items(&object["status"]["loadBalancer"]["ingress"]);
    external.extend(
        balanced
            .iter()
            .map(|one| if one["ip"].is_string() { text(&one["ip"]) } else { text(&one["hostname"]) }),
    );
    let outside = match text(&spec["type"]) {
        "ExternalName" => text(&spec["externalName"]).into(),
        "LoadBalancer" if external.is_empty() => json!("<pending>"),
        _ => or_none(&external.join(",")),
    };
    let port = |port: &Value| match port["nodePort"].as_i64() {
        Some(node) if node > 0 => format!("{}:{node}/{}", number(&port["port"]), text(&port["protocol"])),
        _ => format!("{}/{}", number(&port["port"]), text(&port["protocol"])),
    };
    let ports = items(&spec["ports"]).iter().map(port).collect::<Vec<_>>().join(",");
    vec![
        name(object),
        spec["type"].clone(),
        or_none(text(&spec["clusterIP"])),
        outside,
        or_none(&ports),
        age(object, now),
        labels(&spec["selector"]),
    ]
}

fn node(object: &Value, now: Timestamp) -> Vec<Value> {
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

fn event(object: &Value, now: Timestamp) -> Vec<Value> {
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
    let component = match text(&object["source"]["component"]) {
        "" => text(&object["reportingComponent"]),
        component => component,
    };
    let source = match text(&object["source"]["host"]) {
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

fn claim(object: &Value, now: Timestamp) -> Vec<Value> {
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

fn volume(object: &Value, now: Timestamp) -> Vec<Value> {
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

fn binding(object: &Value, now: Timestamp) -> Vec<Value> {
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

fn definition(object: &Value, _now: Timestamp) -> Vec<Value> {
    let spec = &object["spec"];
    let versions =
        items(&spec["versions"]).iter().map(|version| text(&version["name"])).collect::<Vec<_>>().join(",");
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
