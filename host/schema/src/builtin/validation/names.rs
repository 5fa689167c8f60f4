//! Names, labels and annotations.

use serde_json::{Value, json};

use crate::{FieldError, FieldErrorKind};

pub(super) const CONFIG_KEY: &str = "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. \
    'key.name',  or 'KEY_NAME',  or 'key-name', regex used for validation is '[-._a-zA-Z0-9]+')";
const SUBDOMAIN: &str = "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and \
    must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')";
pub(super) const LABEL: &str = "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must \
    start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is \
    '[a-z0-9]([-a-z0-9]*[a-z0-9])?')";
const LABEL_VALUE: &str = "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and \
    must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation \
    is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')";
const QUALIFIED: &str = "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

const NO_DOTS: &str = "must not contain dots";

/// Whether a text is a DNS label of at most 63 characters.
pub fn is_dns_label(text: &str) -> bool {
    text.len() <= 63 && is_label(text)
}

/// Whether a text is a DNS subdomain of at most 253 characters.
pub fn is_subdomain(text: &str) -> bool {
    text.len() <= 253 && text.split('.').all(is_label)
}

/// Whether a text may be a label's value.
pub fn is_label_value(text: &str) -> bool {
    text.is_empty() || is_name_part(text)
}

/// Whether a text may be a label's key: a name, with a subdomain and a slash before it or without.
pub fn is_qualified_name(text: &str) -> bool {
    match text.split_once('/') {
        Some((prefix, name)) => is_subdomain(prefix) && is_name_part(name),
        None => is_name_part(text),
    }
}

fn is_label(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    ends_with(text, edge) && text.bytes().all(|byte| edge(byte) || byte == b'-')
}

fn is_name_part(text: &str) -> bool {
    text.len() <= 63 && is_name_form(text)
}

fn is_name_form(text: &str) -> bool {
    let edge = |byte: u8| byte.is_ascii_alphanumeric();
    ends_with(text, edge) && text.bytes().all(|byte| edge(byte) || b"-_.".contains(&byte))
}

fn ends_with(text: &str, edge: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| edge(*byte)) && bytes.last().is_some_and(|byte| edge(*byte))
}

/// Finalizers that need no domain before their name.
const STANDARD_FINALIZERS: [&str; 3] = ["kubernetes", "orphan", "foregroundDeletion"];

fn finalizers(metadata: &Value, errors: &mut Vec<FieldError>) {
    for (at, finalizer) in metadata["finalizers"].as_array().into_iter().flatten().enumerate() {
        let name = finalizer.as_str().unwrap_or_default();
        refuse("metadata.finalizers", name, key_faults(name), errors);
        if !name.contains('/') && !STANDARD_FINALIZERS.contains(&name) {
            errors.push(FieldError::invalid(
                format!("metadata.finalizers[{at}]"),
                finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
}

fn owners(metadata: &Value, errors: &mut Vec<FieldError>) {
    let owners = metadata["ownerReferences"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (at, owner) in owners.iter().enumerate() {
        for field in ["apiVersion", "kind", "name", "uid"] {
            if owner[field].as_str().is_none_or(str::is_empty) {
                errors.push(FieldError::required(
                    format!("metadata.ownerReferences[{at}].{field}"),
                    "must not be empty",
                ));
            }
        }
    }
    let mut controllers = owners.iter().filter(|owner| owner["controller"] == true);
    if let (Some(first), Some(second)) = (controllers.next(), controllers.next()) {
        let called = |owner: &Value| {
            let text = |field: &str| owner[field].as_str().unwrap_or_default().to_owned();
            format!("{}/{}", text("kind"), text("name"))
        };
        let shown: Vec<String> = owners.iter().map(shown_owner).collect();
        errors.push(FieldError {
            path: "metadata.ownerReferences".to_owned(),
            kind: FieldErrorKind::Invalid,
            value: Some(format!("[{}]", shown.join(","))),
            detail: format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                called(first),
                called(second)
            ),
        });
    }
}

/// An owner as JSON, its fields in the order in which a real server shows them.
fn shown_owner(owner: &Value) -> String {
    let fields: Vec<String> = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"]
        .into_iter()
        .filter_map(|field| Some(format!("\"{field}\":{}", owner.get(field)?)))
        .collect();
    format!("{{{}}}", fields.join(","))
}

/// The metadata of any object, named as its kind must be.
pub(super) fn metadata(group: &str, kind: &str, metadata: &Value, errors: &mut Vec<FieldError>) {
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() && metadata["generateName"].as_str().is_none_or(str::is_empty) {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    }
    let faults = |name: &str| match (group, kind) {
        _ if name.is_empty() => Vec::new(),
        ("rbac.authorization.k8s.io", _) => path_segment_faults(name),
        ("", "Namespace" | "Service") => label_faults(name, "characters"),
        _ => subdomain_faults(name),
    };
    let base = metadata["generateName"].as_str().unwrap_or_default();
    // A dash at its end will be followed by something.
    let as_name = base.strip_suffix('-').filter(|rest| !rest.is_empty()).map(|rest| format!("{rest}a"));
    refuse("metadata.generateName", base, faults(as_name.as_deref().unwrap_or(base)), errors);
    refuse("metadata.name", name, faults(name), errors);
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        let value = value.as_str().unwrap_or_default();
        refuse("metadata.labels", key, key_faults(key), errors);
        refuse("metadata.labels", value, value_faults(value), errors);
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        refuse("metadata.annotations", key, key_faults(&key.to_lowercase()), errors);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    finalizers(metadata, errors);
    owners(metadata, errors);
    const MOST: usize = 256 * 1024;
    if size > MOST {
        let detail = format!("may not be more than {MOST} bytes");
        let path = "metadata.annotations".to_owned();
        errors.push(FieldError { path, kind: FieldErrorKind::TooLong, value: None, detail });
    }
}

/// One error a fault.
pub(super) fn refuse(
    path: &str,
    value: &str,
    faults: impl IntoIterator<Item = String>,
    errors: &mut Vec<FieldError>,
) {
    errors.extend(faults.into_iter().map(|fault| FieldError::invalid(path, &json!(value), fault)));
}

fn misfit(fits: bool, wanted: &str) -> Option<String> {
    (!fits).then(|| wanted.to_owned())
}

/// The server counts bytes in both cases, but calls them characters in the names of objects.
fn too_long(text: &str, most: usize, unit: &str) -> Option<String> {
    (text.len() > most).then(|| format!("must be no more than {most} {unit}"))
}

/// What is wrong with a DNS label, whose length is counted in `unit`.
pub(super) fn label_faults(text: &str, unit: &str) -> Vec<String> {
    let form = if text.contains('.') && text.split('.').all(is_label) { NO_DOTS } else { LABEL };
    [too_long(text, 63, unit), misfit(is_label(text), form)].into_iter().flatten().collect()
}

pub(super) fn subdomain_faults(text: &str) -> Vec<String> {
    let form = misfit(text.split('.').all(is_label), SUBDOMAIN);
    [too_long(text, 253, "characters"), form].into_iter().flatten().collect()
}

/// Roles may be named freely, but for what would break a path.
pub(super) fn path_segment_faults(text: &str) -> Vec<String> {
    if text == "." || text == ".." {
        return vec![format!("may not be '{text}'")];
    }
    ["/", "%"]
        .into_iter()
        .filter(|part| text.contains(part))
        .map(|part| format!("may not contain '{part}'"))
        .collect()
}

/// What is wrong with the value of a label.
pub fn value_faults(value: &str) -> Vec<String> {
    let form = misfit(value.is_empty() || is_name_form(value), LABEL_VALUE);
    [too_long(value, 63, "bytes"), form].into_iter().flatten().collect()
}

/// What is wrong with the key of a label or an annotation.
pub fn key_faults(key: &str) -> Vec<String> {
    let mut faults = Vec::new();
    let name = match key.split('/').collect::<Vec<_>>().as_slice() {
        [name] => *name,
        ["", name] => {
            faults.push("prefix part must be non-empty".to_owned());
            *name
        }
        [prefix, name] => {
            faults.extend(subdomain_faults(prefix).into_iter().map(|fault| format!("prefix part {fault}")));
            *name
        }
        _ => {
            return vec![format!(
                "a valid label key {QUALIFIED} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
            )];
        }
    };
    match name.len() {
        0 => faults.push("name part must be non-empty".to_owned()),
        64.. => faults.push("name part must be no more than 63 bytes".to_owned()),
        1..=63 => {}
    }
    faults.extend(misfit(is_name_form(name), &format!("name part {QUALIFIED}")));
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_forms_of_their_kinds() {
        assert!(is_dns_label("a-b1") && !is_dns_label("A") && !is_dns_label("-a") && !is_dns_label("a.b"));
        assert!(is_subdomain("a.b-c") && !is_subdomain("a..b") && !is_subdomain("a_b"));
        assert!(is_label_value("") && is_label_value("A_b.c") && !is_label_value("_a"));
        assert!(
            is_qualified_name("example.com/A") && !is_qualified_name("/A") && !is_qualified_name("a/b/c")
        );
    }
}
