//! Places that an entry of the Secret `storage-config` opens, as `storage` of an InferenceService and of a Predictor name
//! them.
//!
//! A dialect sees no Secret. What only the entry says, the type of the store and its bucket, is left out of the URI, and
//! filled in by whoever reads the Secret: `storage:///PATH`, `s3:///PATH`.

use purlin_sdk::serde_json::Value;
use purlin_sdk::{FieldError, Object as _, fault};

/// The Secret with one entry for each key.
pub const SECRET: &str = "storage-config";

/// The entry that opens a place: the one that the user names, or else the one that is meant where the place is left to it.
pub fn entry<'a>(named: &'a str, uri: &str) -> Option<&'a str> {
    match named {
        "" => uri.starts_with("storage:").then_some("default"),
        named => Some(named),
    }
}

/// The URI of a place. `field` is where `storage` is, and `path` that of the files in the store. `opened` says whether there
/// is an entry that may say what `storage` does not.
///
/// # Errors
/// What the user must correct.
pub fn uri(storage: &Value, path: &str, field: &str, opened: bool) -> Result<String, FieldError> {
    let parameter = |name: &str| storage.text(&["parameters", name]);
    let path = path.trim_start_matches('/');
    let (scheme, root) = match parameter("type") {
        "" => ("storage", parameter("bucket")),
        "s3" => ("s3", parameter("bucket")),
        "gcs" | "gs" => ("gs", parameter("bucket")),
        "pvc" => ("pvc", parameter("name")),
        "http" | "https" => return web(parameter("url"), path, field),
        scheme @ ("hdfs" | "webhdfs" | "hf" | "file") => return Ok(format!("{scheme}://{path}")),
        other => {
            let reason =
                "it must be s3, gcs, pvc, http, hf, hdfs, webhdfs or file; copy the files to one of these";
            return Err(fault::field(format!("{field}.parameters.type"), other, reason));
        }
    };
    let missing = match scheme {
        "pvc" => Some("name"),
        "s3" | "gs" if !opened => Some("bucket"),
        _ => None,
    };
    match missing {
        Some(missing) if root.is_empty() => {
            let reason = format!("it is needed where the type is {}", parameter("type"));
            Err(fault::field(format!("{field}.parameters.{missing}"), "", reason))
        }
        _ => Ok(format!("{scheme}://{root}/{path}")),
    }
}

/// A file on a web server: the address, and the path below it where there is one.
fn web(url: &str, path: &str, field: &str) -> Result<String, FieldError> {
    if !["http://", "https://"].iter().any(|scheme| url.starts_with(scheme)) {
        let reason = "it is needed where the type is http, and begins with http:// or https://";
        return Err(fault::field(format!("{field}.parameters.url"), url, reason));
    }
    Ok(match path {
        "" => url.to_owned(),
        path => format!("{}/{path}", url.trim_end_matches('/')),
    })
}

#[cfg(test)]
mod tests {
    use purlin_sdk::serde_json::json;

    use super::*;

    fn told(storage: Value) -> String {
        let named = storage.text(&["key"]);
        match uri(&storage, storage.text(&["path"]), "spec.storage", !named.is_empty()) {
            Ok(uri) => format!("{uri} {}", entry(named, &uri).unwrap_or("-")),
            Err(error) => error.field,
        }
    }

    #[test]
    fn what_the_entry_says_is_left_to_it() {
        for (storage, expected) in [
            (json!({"key": "minio", "path": "/a/b"}), "storage:///a/b minio"),
            (json!({"path": "a"}), "storage:///a default"),
            (json!({"key": "k", "path": "a", "parameters": {"bucket": "b"}}), "storage://b/a k"),
            (json!({"key": "k", "path": "a", "parameters": {"type": "s3"}}), "s3:///a k"),
            (json!({"path": "a", "parameters": {"type": "s3", "bucket": "b"}}), "s3://b/a -"),
            (json!({"path": "a", "parameters": {"type": "gcs", "bucket": "b"}}), "gs://b/a -"),
            (json!({"path": "a", "parameters": {"type": "pvc", "name": "claim"}}), "pvc://claim/a -"),
            (json!({"parameters": {"type": "http", "url": "https://a/b.onnx"}}), "https://a/b.onnx -"),
            (json!({"path": "c", "parameters": {"type": "http", "url": "https://a/b/"}}), "https://a/b/c -"),
        ] {
            assert_eq!(told(storage.clone()), expected, "{storage}");
        }
    }

    #[test]
    fn what_nobody_says_is_named() {
        for (storage, field) in [
            (json!({"parameters": {"type": "s3"}}), "spec.storage.parameters.bucket"),
            (json!({"key": "k", "parameters": {"type": "pvc"}}), "spec.storage.parameters.name"),
            (json!({"parameters": {"type": "azure"}}), "spec.storage.parameters.type"),
            (json!({"parameters": {"type": "http", "url": "ftp://a"}}), "spec.storage.parameters.url"),
        ] {
            assert_eq!(told(storage.clone()), field, "{storage}");
        }
    }
}
