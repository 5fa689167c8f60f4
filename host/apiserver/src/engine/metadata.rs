//! The rules of `metadata` that hold for every kind: names, identity, generations and what an update may not touch.
//!
//! Pure functions over parsed objects, called by the verbs.

use rand::seq::IndexedRandom as _;
use serde_json::{Map, Value, json};

use crate::catalogue::Resource;
use crate::status::{ApiError, Cause};

/// Letters of generated names: no vowels and no look-alikes, as the real server has them.
const LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
/// Length to which the base of a generated name is cut.
const BASE: usize = 58;

/// Fields of `metadata` that the server sets once and an update keeps.
const KEPT: [&str; 6] = [
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "selfLink",
    "generateName",
];

/// `metadata`, made where it is missing.
pub(crate) fn metadata(object: &mut Value) -> Result<&mut Map<String, Value>, ApiError> {
    let object =
        object.as_object_mut().ok_or_else(|| ApiError::bad_request("the object is no JSON object"))?;
    object
        .entry("metadata")
        .or_insert_with(|| json!({}))
        .as_object_mut()
        .ok_or_else(|| ApiError::bad_request("metadata is no JSON object"))
}

/// A text field of `metadata`, empty where it is missing.
pub(crate) fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    object["metadata"][field].as_str().unwrap_or_default()
}

/// A name from `generateName`.
pub(crate) fn generate_name(base: &str) -> String {
    let mut rng = rand::rng();
    let mut cut = base.len().min(BASE);
    while !base.is_char_boundary(cut) {
        cut -= 1;
    }
    let mut name = base[..cut].to_owned();
    name.extend((0..5).filter_map(|_| LETTERS.choose(&mut rng)).map(|letter| char::from(*letter)));
    name
}

/// Whether `metadata.generation` counts changes of this resource.
pub(crate) fn has_generation(resource: &Resource) -> bool {
    if resource.custom.is_some() {
        return true;
    }
    let counted = [
        ("apps", ""),
        ("batch", ""),
        ("networking.k8s.io", "ingresses"),
        ("networking.k8s.io", "networkpolicies"),
        ("policy", ""),
        ("apiextensions.k8s.io", ""),
        ("", "pods"),
        ("", "replicationcontrollers"),
        ("admissionregistration.k8s.io", ""),
        ("storage.k8s.io", "csidrivers"),
    ];
    resource.plural != "controllerrevisions"
        && counted.iter().any(|(group, plural)| {
            resource.group == *group && (plural.is_empty() || resource.plural == *plural)
        })
}

/// Whether `new` asks for something else than `old` did: any field but metadata and status.
fn spec_changed(old: &Value, new: &Value) -> bool {
    let spec = |object: &Value| -> Map<String, Value> {
        object
            .as_object()
            .map(|fields| {
                fields
                    .iter()
                    .filter(|(name, _)| {
                        !matches!(name.as_str(), "metadata" | "status" | "apiVersion" | "kind")
                    })
                    .map(|(name, value)| (name.clone(), value.clone()))
                    .collect()
            })
            .unwrap_or_default()
    };
    spec(old) != spec(new)
}

/// Whether `new` is another generation of `old`. A Deployment's annotations count: they go down to what it makes.
pub(crate) fn is_new_generation(resource: &Resource, old: &Value, new: &Value) -> bool {
    let annotations = |object: &Value| object["metadata"]["annotations"].clone();
    spec_changed(old, new) || (resource.is("apps", "deployments") && annotations(old) != annotations(new))
}

/// Makes `new` carry what the server keeps of `old`.
pub(crate) fn carry_over(old: &Value, new: &mut Value) -> Result<(), ApiError> {
    let generation = old["metadata"].get("generation").cloned();
    let metadata = metadata(new)?;
    for field in KEPT {
        match old["metadata"].get(field) {
            Some(value) => metadata.insert(field.to_owned(), value.clone()),
            None => metadata.remove(field),
        };
    }
    match generation {
        Some(generation) => metadata.insert("generation".to_owned(), generation),
        None => metadata.remove("generation"),
    };
    Ok(())
}

/// Drops empty maps and lists of `metadata`, which the real server never shows.
pub(crate) fn tidy(object: &mut Value) -> Result<(), ApiError> {
    let metadata = metadata(object)?;
    metadata.retain(|name, value| match value {
        // An empty list there is a request to forget who owns what.
        _ if name == "managedFields" => true,
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
    Ok(())
}

/// Refuses names that no object may have.
pub(crate) fn check_name(resource: &Resource, name: &str) -> Result<(), ApiError> {
    let path_only = resource.group == "rbac.authorization.k8s.io";
    let label =
        matches!((resource.group.as_str(), resource.plural.as_str()), ("", "namespaces" | "services"));
    let problem = if path_only {
        (name.contains(['/', '%']) || name == "." || name == "..").then(|| "may not contain '/'".to_owned())
    } else if label {
        (!is_label(name)).then(|| LABEL.to_owned())
    } else {
        (!is_subdomain(name)).then(|| SUBDOMAIN.to_owned())
    };
    let Some(problem) = problem else { return Ok(()) };
    Err(ApiError::invalid(
        resource.about_kind(name),
        vec![Cause {
            reason: "FieldValueInvalid".into(),
            message: format!("Invalid value: \"{name}\": {problem}"),
            field: "metadata.name".into(),
        }],
    ))
}

const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";

fn is_label(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    text.len() <= 63
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

fn is_subdomain(text: &str) -> bool {
    text.len() <= 253
        && text.split('.').all(|part| is_label(part) || (part.len() > 63 && is_long_label(part)))
}

fn is_long_label(part: &str) -> bool {
    !part.starts_with('-')
        && !part.ends_with('-')
        && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_are_names() {
        let name = generate_name("a-");
        assert!(name.len() == 7 && is_subdomain(&name), "{name}");
        assert_eq!(generate_name(&"a".repeat(80)).len(), 63);
    }

    #[test]
    fn names_follow_dns() {
        assert!(is_subdomain("a.b-c.1") && is_label("x-1"));
        for bad in ["", "A", "-a", "a-", "a..b", "a_b", ".a"] {
            assert!(!is_subdomain(bad), "{bad}");
        }
    }
}
