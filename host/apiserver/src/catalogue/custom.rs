//! From a `CustomResourceDefinition` to the resources that it serves, and the conditions that its status gets.
//!
//! Called by the engine when a definition is stored, and for every stored one at start.

use std::collections::BTreeSet;
use std::sync::Arc;

use purlin_schema::{FieldError, FieldErrorKind, Schema, check_structural};
use serde_json::{Value, json};

use super::{Catalogue, Custom, Resource, ScalePaths, Subresource};

/// The group of definitions.
pub(crate) const GROUP: &str = "apiextensions.k8s.io";
/// Their plural.
pub(crate) const PLURAL: &str = "customresourcedefinitions";
/// Their table in the store.
pub(crate) const TABLE: &str = "apiextensions.k8s.io/customresourcedefinitions";

const VERBS: [&str; 8] = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn texts(value: &Value) -> Vec<String> {
    value.as_array().map(|items| items.iter().map(text).collect()).unwrap_or_default()
}

/// Everything that `definition` serves: one resource a served version.
pub(crate) fn resources(definition: &Value) -> Vec<Resource> {
    let spec = &definition["spec"];
    let (group, names) = (text(&spec["group"]), &spec["names"]);
    let plural = text(&names["plural"]);
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    let storage = versions
        .iter()
        .find(|version| version["storage"] == true)
        .map(|version| text(&version["name"]))
        .unwrap_or_default();
    versions
        .iter()
        .filter(|version| version["served"] == true)
        .map(|version| Resource {
            group: group.clone(),
            version: text(&version["name"]),
            plural: plural.clone(),
            singular: text(&names["singular"]),
            kind: text(&names["kind"]),
            list_kind: text(&names["listKind"]),
            namespaced: spec["scope"] == "Namespaced",
            verbs: VERBS.to_vec(),
            short_names: texts(&names["shortNames"]),
            categories: texts(&names["categories"]),
            subresources: subresources(version, &text(&names["kind"])),
            table: Arc::from(format!("{group}/{plural}")),
            custom: Some(Custom {
                schema: version["schema"]["openAPIV3Schema"].clone(),
                // Refused when it was created, so that a schema that cannot be read is only met in a damaged store.
                parsed: Schema::parse_object(&version["schema"]["openAPIV3Schema"]).ok(),
                columns: version["additionalPrinterColumns"].as_array().cloned().unwrap_or_default(),
                fields: version["selectableFields"]
                    .as_array()
                    .map(|fields| fields.iter().map(|field| text(&field["jsonPath"])).collect())
                    .unwrap_or_default(),
                scale: scale(&version["subresources"]["scale"]),
                storage: storage.clone(),
                deprecated: deprecation(spec, version),
            }),
            blank: json!({}),
            converted: false,
        })
        .collect()
}

/// What clients of a deprecated version are told: the definition's own words, or which version to use instead.
fn deprecation(spec: &Value, version: &Value) -> Option<String> {
    if version["deprecated"] != true {
        return None;
    }
    if let Some(own) = version["deprecationWarning"].as_str() {
        return Some(own.to_owned());
    }
    let (group, kind) = (text(&spec["group"]), text(&spec["names"]["kind"]));
    let name = text(&version["name"]);
    let served = spec["versions"].as_array().into_iter().flatten();
    let better = served
        .filter(|other| other["served"] == true && other["deprecated"] != true)
        .map(|other| text(&other["name"]))
        .filter(|other| super::priority(other) > super::priority(&name))
        .max_by_key(|other| super::priority(other));
    let instead = better.map(|better| format!("; use {group}/{better} {kind}")).unwrap_or_default();
    Some(format!("{group}/{name} {kind} is deprecated{instead}"))
}

fn subresources(version: &Value, kind: &str) -> Vec<Subresource> {
    let declared = &version["subresources"];
    let one = |name: &str, kind: &str, group: &str, version: &str| Subresource {
        name: name.to_owned(),
        kind: kind.to_owned(),
        group: group.to_owned(),
        version: version.to_owned(),
        verbs: vec!["get", "patch", "update"],
    };
    let mut found = Vec::new();
    if declared["status"].is_object() {
        found.push(one("status", kind, "", ""));
    }
    if declared["scale"].is_object() {
        found.push(one("scale", "Scale", "autoscaling", "v1"));
    }
    found
}

fn scale(declared: &Value) -> Option<ScalePaths> {
    Some(ScalePaths {
        spec: declared["specReplicasPath"].as_str()?.to_owned(),
        status: declared["statusReplicasPath"].as_str()?.to_owned(),
        selector: declared["labelSelectorPath"].as_str().map(str::to_owned),
    })
}

/// What is wrong with a definition; `old` is the stored one on an update.
pub(crate) fn check(definition: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let spec = &definition["spec"];
    let mut errors = Vec::new();
    let name = definition["metadata"]["name"].as_str().unwrap_or_default();
    let expected = format!("{}.{}", text(&spec["names"]["plural"]), text(&spec["group"]));
    if old.is_none() && name != expected {
        let why = "must be spec.names.plural+\".\"+spec.group";
        errors.push(FieldError::invalid("metadata.name", &definition["metadata"]["name"], why));
    }
    for (path, value) in [
        ("spec.group", &spec["group"]),
        ("spec.scope", &spec["scope"]),
        ("spec.names.plural", &spec["names"]["plural"]),
        ("spec.names.kind", &spec["names"]["kind"]),
    ] {
        if text(value).is_empty() {
            errors.push(FieldError::required(path, ""));
        }
    }
    let scope = text(&spec["scope"]);
    if !scope.is_empty() && scope != "Namespaced" && scope != "Cluster" {
        errors.push(FieldError::not_supported("spec.scope", &spec["scope"], &["Cluster", "Namespaced"]));
    }
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    check_versions(definition, versions, &mut errors);
    for (index, version) in versions.iter().enumerate() {
        let schema = &version["schema"]["openAPIV3Schema"];
        if schema.is_null() {
            errors.push(FieldError::required(format!("spec.versions[{index}].schema.openAPIV3Schema"), ""));
            continue;
        }
        // A real server keeps what all versions share in one place, and speaks of it there.
        let shared = alike(versions, "schema");
        if shared && index > 0 {
            continue;
        }
        let path = if shared {
            "spec.validation.openAPIV3Schema".to_owned()
        } else {
            format!("spec.versions[{index}].schema.openAPIV3Schema")
        };
        let faults = check_structural(schema, &path);
        if faults.is_empty()
            && let Err(error) = Schema::parse(schema)
        {
            errors.push(FieldError::invalid(format!("{path}{}", error.path), &Value::Null, error.reason));
        }
        errors.extend(faults);
    }
    if let Some(old) = old {
        for (path, new, old) in [
            ("spec.scope", &spec["scope"], &old["spec"]["scope"]),
            ("spec.names.kind", &spec["names"]["kind"], &old["spec"]["names"]["kind"]),
            ("spec.group", &spec["group"], &old["spec"]["group"]),
            ("spec.names.plural", &spec["names"]["plural"], &old["spec"]["names"]["plural"]),
        ] {
            if new != old {
                errors.push(FieldError::invalid(path, new, "field is immutable"));
            }
        }
    }
    errors
}

/// Whether all versions say the same in a field.
fn alike(versions: &[Value], field: &str) -> bool {
    versions.iter().all(|version| version[field] == versions[0][field])
}

fn check_versions(definition: &Value, versions: &[Value], errors: &mut Vec<FieldError>) {
    let mut refuse = |why: &str| {
        errors.push(FieldError {
            path: "spec.versions".to_owned(),
            kind: FieldErrorKind::Invalid,
            value: Some(shown_versions(versions)),
            detail: why.to_owned(),
        });
    };
    let names: BTreeSet<String> = versions.iter().map(|version| text(&version["name"])).collect();
    if names.len() < versions.len() {
        refuse("must contain unique version names");
    }
    let storage: Vec<&Value> = versions.iter().filter(|version| version["storage"] == true).collect();
    if storage.len() != 1 {
        refuse("must have exactly one version marked as storage version");
    }
    // Which version a definition is first stored in is only known when there is one.
    let stored = match storage.as_slice() {
        [] => Vec::new(),
        [first, ..] if names.len() < versions.len() => vec![text(&first["name"])],
        _ => texts(&definition["status"]["storedVersions"]),
    };
    if stored.is_empty() {
        let why = "must have at least one stored version";
        errors.push(FieldError::invalid("status.storedVersions", &Value::Null, why));
    } else if names.len() < versions.len() {
        let why = format!("must have the storage version {}", stored[0]);
        errors.push(FieldError::invalid("status.storedVersions", &stored.into(), why));
    }
}

/// The versions as a real server shows them in an error: without what they share, under the names of its own fields.
fn shown_versions(versions: &[Value]) -> String {
    let shown: Vec<String> = versions
        .iter()
        .map(|version| {
            let own = |field: &str| {
                if alike(versions, field) { Value::Null } else { version[field].clone() }
            };
            format!(
                "{{\"Name\":{},\"Served\":{},\"Storage\":{},\"Deprecated\":{},\"DeprecationWarning\":{},\"Schema\":{},\
                 \"Subresources\":{},\"AdditionalPrinterColumns\":{},\"SelectableFields\":{}}}",
                version["name"],
                version["served"] == true,
                version["storage"] == true,
                version["deprecated"] == true,
                version["deprecationWarning"],
                own("schema"),
                own("subresources"),
                own("additionalPrinterColumns"),
                own("selectableFields"),
            )
        })
        .collect();
    format!("[{}]", shown.join(","))
}

/// Fills what a definition leaves to the server: names, the conversion strategy, list kind.
pub(crate) fn fill(definition: &mut Value) {
    let spec = &mut definition["spec"];
    let kind = text(&spec["names"]["kind"]);
    let names = &mut spec["names"];
    if names["singular"].as_str().is_none_or(str::is_empty) {
        names["singular"] = kind.to_lowercase().into();
    }
    if names["listKind"].as_str().is_none_or(str::is_empty) {
        names["listKind"] = format!("{kind}List").into();
    }
    if spec["conversion"].is_null() {
        spec["conversion"] = json!({"strategy": "None"});
    }
}

/// Writes the status of an accepted definition: its names, its conditions and its stored versions.
pub(crate) fn establish(definition: &mut Value, catalogue: &Catalogue, now: &str) {
    let spec = definition["spec"].clone();
    let names = spec["names"].clone();
    let (group, plural, kind) = (text(&spec["group"]), text(&names["plural"]), text(&names["kind"]));
    let taken = catalogue
        .served()
        .iter()
        .filter(|((name, _), _)| *name == group)
        .flat_map(|(_, resources)| resources.values().cloned().collect::<Vec<_>>())
        .find(|other| {
            other.plural != plural && (other.kind == kind || other.singular == text(&names["singular"]))
        });
    let condition = |kind: &str, ok: bool, reason: &str, message: &str| {
        json!({"type": kind, "status": if ok { "True" } else { "False" }, "reason": reason, "message": message,
               "lastTransitionTime": now})
    };
    let fresh = match taken {
        None => vec![
            condition("NamesAccepted", true, "NoConflicts", "no conflicts found"),
            condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted"),
        ],
        Some(other) => {
            let message = format!("\"{kind}\" is already in use by {}.{group}", other.plural);
            vec![
                condition("NamesAccepted", false, "KindConflict", &message),
                condition("Established", false, "NotAccepted", "not all names are accepted"),
            ]
        }
    };
    let status = &mut definition["status"];
    if !status.is_object() {
        *status = json!({});
    }
    let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
    for condition in fresh {
        match conditions.iter_mut().find(|old| old["type"] == condition["type"]) {
            Some(old) if old["status"] == condition["status"] => {}
            Some(old) => *old = condition,
            None => conditions.push(condition),
        }
    }
    status["conditions"] = Value::Array(conditions);
    status["acceptedNames"] = names;
    let mut stored = texts(&status["storedVersions"]);
    let versions = spec["versions"].as_array().map(Vec::as_slice).unwrap_or_default();
    for version in versions.iter().filter(|version| version["storage"] == true) {
        let name = text(&version["name"]);
        if !stored.contains(&name) {
            stored.push(name);
        }
    }
    status["storedVersions"] = stored.into();
}

/// Whether the definition's names were accepted, so that its resources are served.
pub(crate) fn is_established(definition: &Value) -> bool {
    definition["status"]["conditions"].as_array().is_some_and(|conditions| {
        conditions.iter().any(|c| c["type"] == "Established" && c["status"] == "True")
    })
}
