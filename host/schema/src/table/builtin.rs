//! Columns of the built-in kinds, and what their rows are told from: texts, counts, labels, selectors.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::since;
use super::{Cells, Column, network, pod, rows, workload};

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
        "Service" => {
            (&["Type", "Cluster-IP", "External-IP", "Port(s)", "Age", "Selector+"], network::service)
        }
        "ConfigMap" => {
            (&["Data", "Age"], |object, now| vec![name(object), rows::data_count(object), age(object, now)])
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
            rows::node,
        ),
        "Event" if group.is_empty() || group == "events.k8s.io" => return (event_columns(), rows::event),
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
            rows::claim,
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
            rows::volume,
        ),
        "Lease" => (&["Holder", "Age"], |object, now| {
            vec![name(object), text(&object["spec"]["holderIdentity"]).into(), age(object, now)]
        }),
        "Role" | "ClusterRole" | "LimitRange" => (&["Created At:date"], |object, _| {
            vec![name(object), object["metadata"]["creationTimestamp"].clone()]
        }),
        "RoleBinding" | "ClusterRoleBinding" => (BINDING_COLUMNS, rows::binding),
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
            rows::definition,
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
        "Endpoints" => (&["Endpoints", "Age"], network::endpoints),
        "EndpointSlice" => (&["AddressType", "Ports", "Endpoints", "Age"], network::slice),
        "Ingress" => (&["Class", "Hosts", "Address", "Ports", "Age"], network::ingress),
        "ResourceQuota" => (&["Request", "Limit", "Age"], rows::quota),
        "ControllerRevision" => (&["Controller", "Revision", "Age"], rows::revision),
        "HorizontalPodAutoscaler" => {
            (&["Reference", "Targets", "MinPods", "MaxPods", "Replicas", "Age"], workload::autoscaler)
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

/// A label selector in its text form: requirements by key, values in order.
pub(super) fn selector(selector: &Value) -> Value {
    let equal = selector["matchLabels"].as_object().into_iter().flatten();
    let mut parts: Vec<(&str, String)> =
        equal.map(|(key, value)| (key.as_str(), format!("{key}={}", text(value)))).collect();
    for test in items(&selector["matchExpressions"]) {
        let key = text(&test["key"]);
        let mut values: Vec<&str> = items(&test["values"]).iter().map(text).collect();
        values.sort_unstable();
        let values = values.join(",");
        let part = match text(&test["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "DoesNotExist" => format!("!{key}"),
            _ => key.to_owned(),
        };
        parts.push((key, part));
    }
    parts.sort_by_key(|(key, _)| *key);
    or_none(&parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(","))
}
