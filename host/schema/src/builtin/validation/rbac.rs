//! What is refused in roles and bindings.

use serde_json::{Value, json};

use super::names;
use crate::FieldError;

const GROUP: &str = "rbac.authorization.k8s.io";

/// Roles; rules of one in a namespace are about its objects alone.
pub(super) fn role(object: &Value, namespaced: bool, errors: &mut Vec<FieldError>) {
    for (index, rule) in object["rules"].as_array().into_iter().flatten().enumerate() {
        let path = format!("rules[{index}]");
        let empty = |field: &str| rule[field].as_array().is_none_or(Vec::is_empty);
        if empty("verbs") {
            errors.push(FieldError::required(format!("{path}.verbs"), ""));
        }
        if !empty("nonResourceURLs") {
            let mut refuse = |why: &str| {
                errors.push(FieldError::invalid(
                    format!("{path}.nonResourceURLs"),
                    &rule["nonResourceURLs"],
                    why,
                ));
            };
            if namespaced {
                refuse("namespaced rules cannot apply to non-resource URLs");
            }
            if !["apiGroups", "resources", "resourceNames"].into_iter().all(empty) {
                refuse("rules cannot apply to both regular resources and non-resource URLs");
            }
            continue;
        }
        for (field, what) in [("apiGroups", "api group"), ("resources", "resource")] {
            if empty(field) {
                let why = format!("resource rules must supply at least one {what}");
                errors.push(FieldError::required(format!("{path}.{field}"), why));
            }
        }
    }
    let rule = &object["aggregationRule"];
    if !rule.is_null() && rule["clusterRoleSelectors"].as_array().is_none_or(Vec::is_empty) {
        let why = "at least one clusterRoleSelector required if aggregationRule is non-nil";
        errors.push(FieldError::required("aggregationRule.clusterRoleSelectors", why));
    }
}

/// Bindings; one in a namespace may give a role of its own.
pub(super) fn binding(object: &Value, old: Option<&Value>, namespaced: bool, errors: &mut Vec<FieldError>) {
    let role = &object["roleRef"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    if text(&role["apiGroup"]) != GROUP {
        errors.push(FieldError::not_supported("roleRef.apiGroup", &json!(text(&role["apiGroup"])), &[GROUP]));
    }
    let kinds: &[&str] = if namespaced { &["Role", "ClusterRole"] } else { &["ClusterRole"] };
    if !kinds.contains(&text(&role["kind"]).as_str()) {
        errors.push(FieldError::not_supported("roleRef.kind", &json!(text(&role["kind"])), kinds));
    }
    let name = text(&role["name"]);
    if name.is_empty() {
        errors.push(FieldError::required("roleRef.name", ""));
    } else {
        names::refuse("roleRef.name", &name, names::path_segment_faults(&name), errors);
    }
    for (index, subject) in object["subjects"].as_array().into_iter().flatten().enumerate() {
        check_subject(subject, namespaced, &format!("subjects[{index}]"), errors);
    }
    if let Some(old) = old {
        super::unchanged(role, &old["roleRef"], "roleRef", errors);
    }
}

fn check_subject(subject: &Value, namespaced: bool, path: &str, errors: &mut Vec<FieldError>) {
    let text = |field: &str| subject[field].as_str().unwrap_or_default();
    let name = text("name");
    if name.is_empty() {
        errors.push(FieldError::required(format!("{path}.name"), ""));
    }
    let mut group = |wanted: &str| {
        if text("apiGroup") != wanted {
            let given = json!(text("apiGroup"));
            errors.push(FieldError::not_supported(format!("{path}.apiGroup"), &given, &[wanted]));
        }
    };
    match text("kind") {
        "User" | "Group" => group(GROUP),
        "ServiceAccount" => {
            group("");
            if !name.is_empty() {
                names::refuse(&format!("{path}.name"), name, names::subdomain_faults(name), errors);
            }
            if !namespaced && text("namespace").is_empty() {
                errors.push(FieldError::required(format!("{path}.namespace"), ""));
            }
        }
        other => errors.push(FieldError::not_supported(
            format!("{path}.kind"),
            &json!(other),
            &["ServiceAccount", "User", "Group"],
        )),
    }
}
