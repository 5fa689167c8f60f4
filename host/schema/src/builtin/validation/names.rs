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
const QUALIFIED: &str = "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an \
    alphanumeric character (e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is \
    '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')";

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
    let edge = |byte: u8| byte.is_ascii_alphanumeric();
    text.len() <= 63 && ends_with(text, edge) && text.bytes().all(|byte| edge(byte) || b"-_.".contains(&byte))
}

fn ends_with(text: &str, edge: impl Fn(u8) -> bool) -> bool {
    let bytes = text.as_bytes();
    bytes.first().is_some_and(|byte| edge(*byte)) && bytes.last().is_some_and(|byte| edge(*byte))
}

/// The metadata of any object, named as its kind must be.
pub(super) fn metadata(group: &str, kind: &str, metadata: &Value, errors: &mut Vec<FieldError>) {
    let name = metadata["name"].as_str().unwrap_or_default();
    if name.is_empty() {
        errors.push(FieldError::required("metadata.name", "name or generateName is required"));
    } else if group == "rbac.authorization.k8s.io" {
        // Roles may be named freely, but for what would break a path.
        if name.contains(['/', '%']) || name == "." || name == ".." {
            errors.push(FieldError::invalid(
                "metadata.name",
                &json!(name),
                "may not contain '/' or '%', nor be '.' or '..'",
            ));
        }
    } else if matches!((group, kind), ("", "Namespace" | "Service")) {
        check(name, "metadata.name", 63, is_dns_label, LABEL, errors);
    } else {
        check(name, "metadata.name", 253, is_subdomain, SUBDOMAIN, errors);
    }
    for (key, value) in metadata["labels"].as_object().into_iter().flatten() {
        key_of("metadata.labels", key, errors);
        let value = value.as_str().unwrap_or_default();
        check(value, "metadata.labels", 63, is_label_value, LABEL_VALUE, errors);
    }
    let mut size = 0;
    for (key, value) in metadata["annotations"].as_object().into_iter().flatten() {
        key_of("metadata.annotations", &key.to_lowercase(), errors);
        size += key.len() + value.as_str().map_or(0, str::len);
    }
    const MOST: usize = 256 * 1024;
    if size > MOST {
        let detail = format!("may not be more than {MOST} bytes");
        errors.push(FieldError {
            path: "metadata.annotations".to_owned(),
            kind: FieldErrorKind::TooLong,
            value: None,
            detail,
        });
    }
}

fn key_of(path: &str, key: &str, errors: &mut Vec<FieldError>) {
    if !is_qualified_name(key) {
        errors.push(FieldError::invalid(path, &json!(key), QUALIFIED));
    }
}

/// Refuses a text that is too long or has the wrong form.
pub(super) fn check(
    text: &str,
    path: &str,
    most: usize,
    fits: impl Fn(&str) -> bool,
    wanted: &str,
    errors: &mut Vec<FieldError>,
) {
    if fits(text) {
        return;
    }
    if text.len() > most {
        let detail = format!("must be no more than {most} bytes");
        errors.push(FieldError::invalid(path, &json!(text), detail));
    } else {
        errors.push(FieldError::invalid(path, &json!(text), wanted));
    }
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
