//! Pods: that their containers can be told apart and run, and that a running one is not changed.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::names::{label_faults, refuse};
use crate::{FieldError, FieldErrorKind, quantity};

fn items(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

/// A pod's spec at `path`.
pub(super) fn spec(spec: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let volumes = volumes(&spec["volumes"], path, errors);
    if items(&spec["containers"]).is_empty() {
        errors.push(FieldError::required(format!("{path}.containers"), ""));
    }
    let mut names = BTreeSet::new();
    for list in ["containers", "initContainers"] {
        for (at, container) in items(&spec[list]).iter().enumerate() {
            let path = format!("{path}.{list}[{at}]");
            if container["image"].as_str().unwrap_or_default().is_empty() {
                errors.push(FieldError::required(format!("{path}.image"), ""));
            }
            mounts(container, &path, &volumes, errors);
            named(container, &path, &mut names, errors);
            variables(container, &path, errors);
            ports(container, &path, errors);
            resources(&container["resources"], &path, errors);
        }
    }
    let policies = ["Always", "OnFailure", "Never"];
    one_of(&spec["restartPolicy"], &format!("{path}.restartPolicy"), &policies, errors);
    one_of(
        &spec["dnsPolicy"],
        &format!("{path}.dnsPolicy"),
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        errors,
    );
}

fn one_of(value: &Value, path: &str, allowed: &[&str], errors: &mut Vec<FieldError>) {
    if value.as_str().is_some_and(|text| !text.is_empty() && !allowed.contains(&text)) {
        errors.push(FieldError::not_supported(path, value, allowed));
    }
}

fn named<'a>(item: &'a Value, path: &str, names: &mut BTreeSet<&'a str>, errors: &mut Vec<FieldError>) {
    let path = format!("{path}.name");
    let name = item["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required(path, ""));
    } else if !names.insert(name) {
        errors.push(FieldError::duplicate(path, &json!(name)));
    } else {
        refuse(&path, name, label_faults(name, "bytes"), errors);
    }
}

fn volumes<'a>(volumes: &'a Value, path: &str, errors: &mut Vec<FieldError>) -> BTreeSet<&'a str> {
    let mut names = BTreeSet::new();
    for (at, volume) in items(volumes).iter().enumerate() {
        named(volume, &format!("{path}.volumes[{at}]"), &mut names, errors);
    }
    names
}

fn mounts(container: &Value, path: &str, volumes: &BTreeSet<&str>, errors: &mut Vec<FieldError>) {
    let mut paths = BTreeSet::new();
    for (at, mount) in items(&container["volumeMounts"]).iter().enumerate() {
        let path = format!("{path}.volumeMounts[{at}]");
        let name = mount["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(format!("{path}.name"), ""));
        }
        if !volumes.contains(name) {
            errors.push(FieldError::of(FieldErrorKind::NotFound, format!("{path}.name"), &json!(name), ""));
        }
        let target = mount["mountPath"].as_str().unwrap_or_default();
        if target.is_empty() {
            errors.push(FieldError::required(format!("{path}.mountPath"), ""));
        } else if !paths.insert(target) {
            errors.push(FieldError::invalid(format!("{path}.mountPath"), &json!(target), "must be unique"));
        }
    }
}

fn variables(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (at, variable) in items(&container["env"]).iter().enumerate() {
        let path = format!("{path}.env[{at}].name");
        let name = variable["name"].as_str().unwrap_or_default();
        if name.is_empty() {
            errors.push(FieldError::required(path, ""));
        } else if !name.bytes().all(|byte| (b' '..=b'~').contains(&byte) && byte != b'=') {
            let why = "a valid environment variable name must consist only of printable ASCII characters other than '='";
            errors.push(FieldError::invalid(path, &json!(name), why));
        }
    }
}

fn ports(container: &Value, path: &str, errors: &mut Vec<FieldError>) {
    for (at, port) in items(&container["ports"]).iter().enumerate() {
        let path = format!("{path}.ports[{at}]");
        for (field, required) in [("containerPort", true), ("hostPort", false)] {
            let number = port[field].as_i64().unwrap_or(0);
            if number == 0 && required {
                errors.push(FieldError::required(format!("{path}.{field}"), ""));
            } else if number != 0 && !(1..=65535).contains(&number) {
                let why = "must be between 1 and 65535, inclusive";
                errors.push(FieldError::invalid(format!("{path}.{field}"), &json!(number), why));
            }
        }
    }
}

/// No more can be promised than may be used.
fn resources(resources: &Value, path: &str, errors: &mut Vec<FieldError>) {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    for (name, request) in resources["requests"].as_object().into_iter().flatten() {
        let Some(limit) = resources["limits"].get(name) else { continue };
        let (request, limit) = (text(request), text(limit));
        if quantity::number(&request) > quantity::number(&limit) {
            let why = format!("must be less than or equal to {name} limit of {limit}");
            errors.push(FieldError::invalid(format!("{path}.resources.requests"), &json!(request), why));
        }
    }
}

/// An update of a pod: images, deadlines and added tolerations may change, nothing else.
pub(super) fn update(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    if fixed_part(new) != fixed_part(old) {
        errors.push(FieldError::forbidden(
            "spec",
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,\
             `spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),\
             `spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
    if items(&old["tolerations"]).iter().any(|toleration| !items(&new["tolerations"]).contains(toleration)) {
        errors.push(FieldError::forbidden(
            "spec.tolerations",
            "existing toleration can not be modified except its tolerationSeconds",
        ));
    }
}

/// What of a spec must stay: `nodeName` is set by binding and scheduling gates are lifted by their owners.
fn fixed_part(spec: &Value) -> Value {
    let mut fixed = spec.clone();
    if let Some(spec) = fixed.as_object_mut() {
        for field in
            ["activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates"]
        {
            spec.remove(field);
        }
        for list in ["containers", "initContainers"] {
            for container in spec.get_mut(list).and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(container) = container.as_object_mut() {
                    container.remove("image");
                }
            }
        }
    }
    fixed
}
