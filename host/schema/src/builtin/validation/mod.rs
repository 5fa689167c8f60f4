//! What the API server refuses in built-in objects beyond their types: names, labels, pods, and fields that may not
//! change.
//!
//! Called after schema validation, with the stored object where there is one. Nothing here changes an object.

mod names;
mod pod;
mod rbac;

use serde_json::{Value, json};

use crate::{FieldError, FieldErrorKind};

pub use names::{is_dns_label, is_label_value, is_qualified_name, is_subdomain, key_faults, value_faults};

/// Everything that is wrong with an object; `old` is the stored one on an update.
pub fn validate(group: &str, kind: &str, object: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    names::metadata(group, kind, &object["metadata"], &mut errors);
    match (group, kind) {
        ("", "Pod") => match old {
            None => pod::spec(&object["spec"], "spec", &mut errors),
            Some(old) => pod::update(&object["spec"], &old["spec"], &mut errors),
        },
        ("", "ConfigMap") => {
            keys(object, "data", &mut errors);
            keys(object, "binaryData", &mut errors);
            once(object, &mut errors);
            small(object, &["data", "binaryData"], "[]", &mut errors);
            frozen(object, old, &mut errors);
        }
        ("", "Secret") => {
            keys(object, "data", &mut errors);
            small(object, &["data"], "data", &mut errors);
            secret_type(object, &mut errors);
            frozen(object, old, &mut errors);
            if let Some(old) = old {
                unchanged(&object["type"], &old["type"], "type", &mut errors);
            }
        }
        ("", "Event") => event(object, &mut errors),
        ("batch", "Job") => job(object, old, &mut errors),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => apps(object, old, &mut errors),
        ("rbac.authorization.k8s.io", "Role") => rbac::role(object, true, &mut errors),
        ("rbac.authorization.k8s.io", "ClusterRole") => rbac::role(object, false, &mut errors),
        ("rbac.authorization.k8s.io", "RoleBinding") => rbac::binding(object, old, true, &mut errors),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => rbac::binding(object, old, false, &mut errors),
        _ => {}
    }
    errors
}

/// Everything that is wrong with a status that was written by itself.
pub fn validate_status(group: &str, kind: &str, object: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let counts: &[&str] = match (group, kind) {
        ("batch", "Job") => &["active", "succeeded", "failed", "ready", "terminating"],
        ("apps", "Deployment") => &[
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ],
        _ => &[],
    };
    let status = &object["status"];
    for field in counts {
        not_negative(&status[*field], &format!("status.{field}"), &mut errors);
    }
    if (group, kind) == ("apps", "Deployment") {
        let count = |field: &str| status[field].as_i64().unwrap_or(0);
        let mut at_most = |field: &str, most: &str, why: &str| {
            if count(field) > count(most) {
                errors.push(FieldError::invalid(format!("status.{field}"), &status[field], why));
            }
        };
        for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
            at_most(field, "replicas", "cannot be greater than status.replicas");
        }
        at_most("availableReplicas", "readyReplicas", "cannot be greater than readyReplicas");
    }
    errors
}

/// A field that keeps the value that it was created with.
fn unchanged(new: &Value, old: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if new != old {
        errors.push(FieldError::invalid(path, new, "field is immutable"));
    }
}

/// The keys of a ConfigMap or a Secret are file names.
fn keys(object: &Value, field: &str, errors: &mut Vec<FieldError>) {
    for key in object[field].as_object().into_iter().flat_map(|data| data.keys()) {
        let path = format!("{field}[{key}]");
        let fits = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
        if !fits {
            errors.push(FieldError::invalid(path, &json!(key), names::CONFIG_KEY));
        } else if key == "." || key == ".." {
            errors.push(FieldError::invalid(path, &json!(key), format!("must not be '{key}'")));
        } else if key.starts_with("..") {
            errors.push(FieldError::invalid(path, &json!(key), "must not start with '..'"));
        }
    }
}

/// What a ConfigMap or a Secret may hold in all, in bytes.
const MOST_DATA: usize = 1024 * 1024;

/// A key of a ConfigMap stands for one file.
fn once(object: &Value, errors: &mut Vec<FieldError>) {
    let keys = |field: &str| object[field].as_object().into_iter().flat_map(|data| data.keys());
    for key in keys("data").filter(|key| object["binaryData"].get(key.as_str()).is_some()) {
        let why = "duplicate of key present in binaryData";
        errors.push(FieldError::invalid(format!("data[{key}]"), &json!(key), why));
    }
}

fn small(object: &Value, fields: &[&str], path: &str, errors: &mut Vec<FieldError>) {
    let size = |field: &str| -> usize {
        let encoded = field == "binaryData" || path == "data";
        let length = |value: &Value| {
            let text = value.as_str().unwrap_or_default();
            if encoded {
                text.len() / 4 * 3 - text.bytes().rev().take_while(|byte| *byte == b'=').count()
            } else {
                text.len()
            }
        };
        object[field].as_object().into_iter().flat_map(|data| data.values()).map(length).sum()
    };
    if fields.iter().map(|field| size(field)).sum::<usize>() > MOST_DATA {
        errors.push(FieldError {
            path: path.to_owned(),
            kind: FieldErrorKind::TooLong,
            value: None,
            detail: format!("may not be more than {MOST_DATA} bytes"),
        });
    }
}

/// The keys that a Secret of a well-known type must have.
fn secret_type(object: &Value, errors: &mut Vec<FieldError>) {
    let missing = |key: &&&str| object["data"].get(**key).is_none();
    let wanted: &[&str] = match object["type"].as_str().unwrap_or_default() {
        "kubernetes.io/tls" => &["tls.crt", "tls.key"],
        "kubernetes.io/dockercfg" => &[".dockercfg"],
        "kubernetes.io/dockerconfigjson" => &[".dockerconfigjson"],
        "kubernetes.io/ssh-auth" => &["ssh-privatekey"],
        // One of the two is enough.
        "kubernetes.io/basic-auth" if ["username", "password"].iter().any(|key| !missing(&key)) => &[],
        "kubernetes.io/basic-auth" => &["username", "password"],
        _ => &[],
    };
    errors.extend(wanted.iter().filter(missing).map(|key| FieldError::required(format!("data[{key}]"), "")));
}

/// An Event lies in the namespace of what it is about; those about cluster-wide objects in `default`.
fn event(object: &Value, errors: &mut Vec<FieldError>) {
    let namespace = object["metadata"]["namespace"].as_str().unwrap_or_default();
    let about = object["involvedObject"]["namespace"].as_str().unwrap_or_default();
    let fits = if about.is_empty() { matches!(namespace, "" | "default") } else { about == namespace };
    if !fits {
        let why = "does not match event.namespace";
        errors.push(FieldError::invalid("involvedObject.namespace", &json!(about), why));
    }
}

fn frozen(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let Some(old) = old.filter(|old| old["immutable"] == true) else { return };
    let refused = |field: &str| FieldError::forbidden(field, "field is immutable when `immutable` is set");
    if object["immutable"] != true {
        errors.push(refused("immutable"));
    }
    errors.extend(
        ["data", "binaryData"].into_iter().filter(|field| object[*field] != old[*field]).map(refused),
    );
}

fn job(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    for field in
        ["parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"]
    {
        not_negative(&spec[field], &format!("spec.{field}"), errors);
    }
    if let Some(old) = old {
        let old = &old["spec"];
        if spec["selector"].is_null() {
            errors.push(FieldError::required("spec.selector", ""));
        }
        selected(&spec["selector"], &spec["template"]["metadata"]["labels"], errors);
        for field in ["selector", "completionMode", "podFailurePolicy", "backoffLimitPerIndex", "managedBy"] {
            unchanged(&spec[field], &old[field], &format!("spec.{field}"), errors);
        }
        // An indexed job may grow and shrink, if its parallelism does so with it.
        let indexed = spec["completionMode"] == "Indexed";
        if spec["completions"] != old["completions"]
            && !(indexed && spec["completions"] == spec["parallelism"])
        {
            let detail = if indexed {
                "can only be modified in tandem with spec.parallelism"
            } else {
                "field is immutable"
            };
            errors.push(FieldError::invalid("spec.completions", &spec["completions"], detail));
        }
        let suspended = old["suspend"] == true;
        job_template(&spec["template"], &old["template"], suspended, errors);
        return;
    }
    pod::spec(&spec["template"]["spec"], "spec.template.spec", errors);
    let policy = &spec["template"]["spec"]["restartPolicy"];
    if policy != "Never" && policy != "OnFailure" {
        let path = "spec.template.spec.restartPolicy";
        if matches!(policy.as_str(), None | Some("" | "Always")) {
            errors.push(FieldError::required(path, "valid values: \"OnFailure\", \"Never\""));
        } else {
            errors.push(FieldError::not_supported(path, policy, &["OnFailure", "Never"]));
        }
    }
}

/// A workload's selector selects the pods that its template makes. One that is missing selects none.
fn selected(selector: &Value, labels: &Value, errors: &mut Vec<FieldError>) {
    let wanted = selector["matchLabels"].as_object();
    let all = wanted.is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value));
    if selector.is_null() || !all {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, detail));
    }
}

/// A job's pods stay as they are. While it is suspended, where they may run can still be decided.
fn job_template(new: &Value, old: &Value, suspended: bool, errors: &mut Vec<FieldError>) {
    let fixed = |template: &Value| {
        let mut template = template.clone();
        if suspended {
            for (part, fields) in [
                ("metadata", &["annotations", "labels"][..]),
                ("spec", &["nodeSelector", "affinity", "tolerations", "schedulingGates"][..]),
            ] {
                if let Some(part) = template.get_mut(part).and_then(Value::as_object_mut) {
                    part.retain(|field, _| !fields.contains(&field.as_str()));
                }
            }
        }
        template
    };
    if fixed(new) != fixed(old) {
        // While a job is suspended only the spec is looked at, since the rest may change.
        let (path, shown) =
            if suspended { ("spec.template.spec", &new["spec"]) } else { ("spec.template", new) };
        errors.push(FieldError::invalid(path, shown, "field is immutable"));
    }
}

fn apps(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    not_negative(&spec["replicas"], "spec.replicas", errors);
    let template = &spec["template"];
    let selector = &spec["selector"];
    selected(selector, &template["metadata"]["labels"], errors);
    if let Some(old) = old {
        unchanged(selector, &old["spec"]["selector"], "spec.selector", errors);
    }
    pod::spec(&template["spec"], "spec.template.spec", errors);
    let policy = &template["spec"]["restartPolicy"];
    if policy.as_str().is_some_and(|policy| policy != "Always") {
        errors.push(FieldError::not_supported("spec.template.spec.restartPolicy", policy, &["Always"]));
    }
}

fn not_negative(value: &Value, path: &str, errors: &mut Vec<FieldError>) {
    if value.as_i64().is_some_and(|number| number < 0) {
        errors.push(FieldError::invalid(path, value, "must be greater than or equal to 0"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(group: &str, kind: &str, object: Value, old: Option<Value>) -> Vec<String> {
        validate(group, kind, &object, old.as_ref()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_pod_needs_containers_with_names_and_images() {
        let pod = |containers: Value| json!({"metadata": {"name": "a"}, "spec": {"containers": containers}});
        assert_eq!(texts("", "Pod", pod(json!([])), None), ["spec.containers: Required value"]);
        let twice = json!([{"name": "a", "image": "x"}, {"name": "a", "image": "x"}]);
        assert_eq!(texts("", "Pod", pod(twice), None), [r#"spec.containers[1].name: Duplicate value: "a""#]);
        let bare = json!([{"name": "a"}]);
        assert_eq!(texts("", "Pod", pod(bare), None), ["spec.containers[0].image: Required value"]);
    }

    #[test]
    fn immutable_fields_may_not_change() {
        let secret = |kind: &str| json!({"metadata": {"name": "a"}, "type": kind});
        let errors = texts("", "Secret", secret("a"), Some(secret("Opaque")));
        assert_eq!(errors, [r#"type: Invalid value: "a": field is immutable"#]);
        let map = |value: &str| json!({"metadata": {"name": "a"}, "immutable": true, "data": {"k": value}});
        let errors = texts("", "ConfigMap", map("a"), Some(map("b")));
        assert_eq!(errors, ["data: Forbidden: field is immutable when `immutable` is set"]);
    }
}
