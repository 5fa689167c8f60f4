//! What the API server refuses in built-in objects beyond their types: names, labels, pods, and fields that may not
//! change.
//!
//! Called after schema validation, with the stored object where there is one. Nothing here changes an object.

mod names;
mod pod;

use serde_json::{Value, json};

use crate::FieldError;

pub use names::{is_dns_label, is_label_value, is_qualified_name, is_subdomain};

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
            frozen(object, old, &mut errors);
        }
        ("", "Secret") => {
            keys(object, "data", &mut errors);
            frozen(object, old, &mut errors);
            if let Some(old) = old {
                unchanged(&object["type"], &old["type"], "type", &mut errors);
            }
        }
        ("batch", "Job") => job(object, old, &mut errors),
        ("apps", "Deployment" | "ReplicaSet" | "StatefulSet" | "DaemonSet") => apps(object, old, &mut errors),
        _ => {}
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
        if old["suspend"] != true {
            unchanged(&spec["template"], &old["template"], "spec.template", errors);
        }
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

fn apps(object: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = &object["spec"];
    not_negative(&spec["replicas"], "spec.replicas", errors);
    let template = &spec["template"];
    let (selector, labels) = (&spec["selector"], &template["metadata"]["labels"]);
    let matches = selector["matchLabels"]
        .as_object()
        .is_none_or(|wanted| wanted.iter().all(|(key, value)| labels[key] == *value));
    if !matches {
        let detail = "`selector` does not match template `labels`";
        errors.push(FieldError::invalid("spec.template.metadata.labels", labels, detail));
    }
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
