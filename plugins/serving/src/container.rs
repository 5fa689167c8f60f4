//! Pods of a component: a runtime's and the user's own description put together, with names filled in.

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Map, Value, json};

use crate::names::CONTAINER;

/// Fields of a component that are not of a Pod: what serves, and how it is deployed.
const NOT_OF_A_POD: &[&str] = &[
    "sklearn",
    "xgboost",
    "lightgbm",
    "onnx",
    "tensorflow",
    "pytorch",
    "triton",
    "pmml",
    "paddle",
    "huggingface",
    "model",
    "art",
    "alibi",
    "aix",
    "storageUris",
    "workerSpec",
    "minReplicas",
    "maxReplicas",
    "scaleTarget",
    "scaleMetric",
    "scaleMetricType",
    "autoScaling",
    "containerConcurrency",
    "timeout",
    "canaryTrafficPercent",
    "logger",
    "batcher",
    "labels",
    "annotations",
    "deploymentStrategy",
];

/// Fields of `model` that are not of a container.
const NOT_OF_A_CONTAINER: &[&str] = &[
    "modelFormat",
    "runtime",
    "storageUri",
    "storage",
    "runtimeVersion",
    "protocolVersion",
    "config",
    "type",
];

/// Fields of a runtime that are of a Pod.
const OF_A_POD: &[&str] =
    &["volumes", "nodeSelector", "affinity", "tolerations", "imagePullSecrets", "hostIPC"];

/// The Pod's fields of a component.
pub fn pod(component: &Value) -> Value {
    fields(component, |name| !NOT_OF_A_POD.contains(&name))
}

/// The container's fields of `spec.predictor.model` and the like.
pub fn own(model: &Value) -> Value {
    fields(model, |name| !NOT_OF_A_CONTAINER.contains(&name))
}

/// The Pod's fields of a runtime, without its containers.
pub fn pod_of_runtime(runtime: &Value) -> Value {
    fields(runtime, |name| OF_A_POD.contains(&name))
}

fn fields(object: &Value, keep: impl Fn(&str) -> bool) -> Value {
    let fields =
        object.as_object().into_iter().flatten().filter(|(name, value)| keep(name) && !value.is_null());
    Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
}

/// The field by which the items of a list are told apart, for lists whose items are merged. Others are replaced.
fn merge_key(list: &str) -> Option<&'static str> {
    Some(match list {
        "env" | "volumes" | "imagePullSecrets" | "containers" | "initContainers" => "name",
        "ports" => "containerPort",
        "volumeMounts" => "mountPath",
        "volumeDevices" => "devicePath",
        "hostAliases" => "ip",
        _ => return None,
    })
}

/// What becomes of the arguments of a container when more come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arguments {
    /// They follow, as in an InferenceService.
    Append,
    /// They replace them, as in an LLMInferenceService.
    Replace,
}

/// Puts `over` on top of `base`, as a strategic merge patch of a Pod does.
pub fn merge(base: &mut Value, over: &Value, arguments: Arguments) {
    let (Value::Object(fields), Value::Object(changes)) = (&mut *base, over) else {
        *base = over.clone();
        return;
    };
    for (name, change) in changes {
        match (fields.get_mut(name), change) {
            (_, Value::Null) => {}
            (Some(Value::Array(items)), Value::Array(more))
                if name == "args" && arguments == Arguments::Append =>
            {
                items.extend(more.iter().cloned())
            }
            (Some(Value::Array(items)), Value::Array(more)) => match merge_key(name) {
                Some(key) => more.iter().for_each(|item| merge_item(items, item, key, arguments)),
                None => more.clone_into(items),
            },
            (Some(present), _) if present.is_object() && change.is_object() => {
                merge(present, change, arguments);
            }
            _ => drop(fields.insert(name.clone(), change.clone())),
        }
    }
}

fn merge_item(items: &mut Vec<Value>, item: &Value, key: &str, arguments: Arguments) {
    let same = |other: &&mut Value| item.get(key).is_some() && other.get(key) == item.get(key);
    match items.iter_mut().find(same) {
        Some(present) => merge(present, item, arguments),
        None => items.push(item.clone()),
    }
}

/// Fills in what stands between `{{` and `}}`, in every text.
///
/// # Errors
/// The placeholder that `lookup` does not know.
pub fn fill_in(value: &mut Value, lookup: &impl Fn(&str) -> Option<String>) -> Result<(), String> {
    match value {
        Value::String(text) if text.contains("{{") => *text = filled(text, lookup)?,
        Value::Array(items) => items.iter_mut().try_for_each(|item| fill_in(item, lookup))?,
        Value::Object(fields) => fields.values_mut().try_for_each(|field| fill_in(field, lookup))?,
        _ => {}
    }
    Ok(())
}

fn filled(text: &str, lookup: &impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("{{") {
        result.push_str(before);
        let Some((inside, behind)) = after.split_once("}}") else {
            return Err(format!("{{{{{after}"));
        };
        match lookup(inside.trim()) {
            Some(value) => result.push_str(&value),
            None => return Err(format!("{{{{{inside}}}}}")),
        }
        rest = behind;
    }
    result.push_str(rest);
    Ok(result)
}

/// `.Name`, `.Namespace`, `.Labels.x` and `.Annotations.x` of an object.
pub fn of_metadata(object: &Value, path: &str) -> Option<String> {
    let of_map = |map: &str, key: &str| object.at(&["metadata", map, key]).and_then(Value::as_str);
    // A label that is not there is the empty text, as a missing key of a map is in Go.
    let found = match path {
        ".Name" => object.name(),
        ".Namespace" => object.namespace(),
        _ => match (path.strip_prefix(".Labels."), path.strip_prefix(".Annotations.")) {
            (Some(key), _) => of_map("labels", key).unwrap_or_default(),
            (_, Some(key)) => of_map("annotations", key).unwrap_or_default(),
            _ => return None,
        },
    };
    Some(found.to_owned())
}

/// The image with its tag replaced. A digest stays what it is.
pub fn with_tag(image: &str, tag: &str) -> String {
    if image.contains('@') {
        return image.to_owned();
    }
    let name = image.rsplit('/').next().unwrap_or_default();
    let repository = match name.rsplit_once(':') {
        Some((_, old)) => &image[..image.len() - old.len() - 1],
        None => image,
    };
    format!("{repository}:{tag}")
}

/// The container that serves: the one called so, else the first.
pub fn serving(containers: &[Value]) -> Option<usize> {
    let named = containers.iter().position(|container| container.text(&["name"]) == CONTAINER);
    named.or((!containers.is_empty()).then_some(0))
}

/// `spec.container` of a Model, from a Pod whose containers are complete.
pub fn model(component: &Value, extra: &Value, mut pod: Value) -> Value {
    let containers = pod.items(&["containers"]);
    let index = serving(containers).unwrap_or_default();
    let (port, grpc) = ports(containers.get(index).unwrap_or(&Value::Null));
    // KServe calls the one that serves by this name, and its users read logs by it.
    if let Some(name) = pod.pointer_mut(&format!("/containers/{index}/name")) {
        if name.as_str().unwrap_or_default().is_empty() {
            *name = CONTAINER.into();
        }
    } else if let Some(Value::Object(container)) = pod.pointer_mut(&format!("/containers/{index}")) {
        container.insert("name".to_owned(), CONTAINER.into());
    }
    let mut metadata = Map::new();
    for field in ["labels", "annotations"] {
        let mut entries = extra.at(&[field]).cloned().unwrap_or_else(|| json!({}));
        if let Some(own) = component.at(&[field]) {
            merge(&mut entries, own, Arguments::Replace);
        }
        if entries.as_object().is_some_and(|entries| !entries.is_empty()) {
            metadata.insert(field.to_owned(), entries);
        }
    }
    let mut model = json!({"template": {"metadata": metadata, "spec": pod}, "port": port.unwrap_or(8080)});
    if let Some(grpc) = grpc {
        model["grpcPort"] = grpc.into();
    }
    model
}

/// Where a container listens: a port whose name speaks of HTTP/2 is for gRPC.
fn ports(container: &Value) -> (Option<i64>, Option<i64>) {
    let is_grpc = |port: &&Value| ["h2c", "grpc"].iter().any(|name| port.text(&["name"]).contains(name));
    let number = |port: &Value| port.int(&["containerPort"]).filter(|number| (1..=65_535).contains(number));
    let (grpc, http): (Vec<&Value>, Vec<&Value>) = container.items(&["ports"]).iter().partition(is_grpc);
    let first = |ports: Vec<&Value>| ports.into_iter().find_map(number);
    (first(http), first(grpc))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_merged_by_their_key_and_arguments_appended() {
        let mut base = json!({
            "name": "kserve-container", "args": ["--a"], "command": ["x", "y"],
            "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
            "resources": {"limits": {"cpu": "1", "memory": "2Gi"}},
        });
        merge(
            &mut base,
            &json!({
                "args": ["--b"], "command": ["z"], "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
                "resources": {"limits": {"cpu": "2"}}, "image": null,
            }),
            Arguments::Append,
        );
        assert_eq!(
            base,
            json!({
                "name": "kserve-container", "args": ["--a", "--b"], "command": ["z"],
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
                "resources": {"limits": {"cpu": "2", "memory": "2Gi"}},
            })
        );
        merge(&mut base, &json!({"args": ["--c"]}), Arguments::Replace);
        assert_eq!(base["args"], json!(["--c"]));
    }

    #[test]
    fn placeholders_are_of_the_service() {
        let service =
            json!({"metadata": {"name": "iris", "namespace": "team", "labels": {"modelClass": "m.M"}}});
        let fill = |text: &str| {
            let mut value = json!([text]);
            fill_in(&mut value, &|path| of_metadata(&service, path))
                .map(|()| value[0].as_str().unwrap_or_default().to_owned())
        };
        assert_eq!(fill("--model_name={{.Name}}").as_deref(), Ok("--model_name=iris"));
        assert_eq!(
            fill("{{ .Namespace }}/{{.Labels.modelClass}}{{.Annotations.none}}").as_deref(),
            Ok("team/m.M")
        );
        assert_eq!(fill("{{.UID}}"), Err("{{.UID}}".to_owned()));
        assert_eq!(fill("{{.Name"), Err("{{.Name".to_owned()));
    }

    #[test]
    fn a_tag_is_what_follows_the_last_colon_of_the_name() {
        for (image, expected) in [
            ("server:1", "server:2"),
            ("server", "server:2"),
            ("localhost:5000/a/server", "localhost:5000/a/server:2"),
            ("localhost:5000/server:1", "localhost:5000/server:2"),
            ("server@sha256:abc", "server@sha256:abc"),
        ] {
            assert_eq!(with_tag(image, "2"), expected);
        }
    }

    #[test]
    fn ports_are_told_apart_by_their_names() {
        let model = |ports: Value| model(&json!({}), &json!({}), json!({"containers": [{"ports": ports}]}));
        let both = model(json!([{"containerPort": 9000, "name": "h2c"}, {"containerPort": 8000}]));
        assert_eq!((&both["port"], &both["grpcPort"]), (&json!(8000), &json!(9000)));
        let none = model(json!([{"containerPort": 0}]));
        assert_eq!((&none["port"], none.get("grpcPort")), (&json!(8080), None));
        assert_eq!(none["template"]["spec"]["containers"][0]["name"], "kserve-container");
    }
}
