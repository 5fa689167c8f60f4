//! Where a Predictor's files are: `spec.storage`, with two older forms of the same.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{FieldError, Object as _, fault};
use purlin_serving::{mesh, storage};

/// `spec.source` of a Model.
///
/// # Errors
/// What the user must correct.
pub(crate) fn source(predictor: &Value) -> Result<Value, FieldError> {
    let spec = &predictor["spec"];
    let Some(said) = spec.at(&["storage"]) else {
        let reason = "say where the model is: storage.key names an entry of the Secret storage-config, and storage.path \
                      the files";
        return Err(fault::field("spec.storage", "", reason));
    };
    let path = match (spec.text(&["path"]), said.text(&["path"])) {
        (older, "") => older,
        ("", path) => path,
        (_, path) => {
            return Err(fault::field(
                "spec.storage.path",
                path,
                "only one of spec.path and spec.storage.path may be set",
            ));
        }
    };
    if let (Some(_), Some(schema)) = (spec.at(&["schemaPath"]), said.at(&["schemaPath"])) {
        let reason = "only one of spec.schemaPath and spec.storage.schemaPath may be set";
        return Err(fault::field("spec.storage.schemaPath", schema.as_str().unwrap_or_default(), reason));
    }
    if let Some(claim) = said.at(&["persistentVolumeClaim"]) {
        return volume(said, claim, path);
    }
    let (said, named) = match said.at(&["s3"]) {
        Some(bucket) => (older(said, bucket)?, bucket.text(&["secretKey"])),
        None => (said.clone(), said.text(&["key"])),
    };
    let uri = storage::uri(&said, path, "spec.storage", true)?;
    let mut source = json!({"uri": uri.as_str()});
    if let Some(entry) = mesh::entry(named, &uri) {
        source["secret"] = storage::SECRET.into();
        source["secretKey"] = entry.into();
    }
    Ok(source)
}

/// A field of `storage` that is set beside another which has to be alone.
fn beside<'a>(said: &'a Value, alone: &str) -> Option<&'a str> {
    let mut fields = said.as_object().into_iter().flatten();
    fields.find(|(name, value)| *name != alone && !value.is_null()).map(|(name, _)| name.as_str())
}

/// `storage.s3` as `storage` says it today.
fn older(said: &Value, bucket: &Value) -> Result<Value, FieldError> {
    if let Some(other) = beside(said, "s3") {
        let reason = "spec.storage.s3 cannot be set with any other field of spec.storage: use key, path and parameters in \
                      place of s3";
        return Err(fault::field(format!("spec.storage.{other}"), said.text(&[other]), reason));
    }
    if bucket.text(&["secretKey"]).is_empty() {
        let reason = "name the entry of the Secret storage-config that opens the bucket";
        return Err(fault::field("spec.storage.s3.secretKey", "", reason));
    }
    let mut parameters = json!({"type": "s3"});
    if !bucket.text(&["bucket"]).is_empty() {
        parameters["bucket"] = bucket.text(&["bucket"]).into();
    }
    Ok(json!({"parameters": parameters}))
}

fn volume(said: &Value, claim: &Value, path: &str) -> Result<Value, FieldError> {
    if let Some(other) = beside(said, "persistentVolumeClaim").filter(|other| *other != "path") {
        let reason = "a volume is the whole store: leave this out, or spec.storage.persistentVolumeClaim";
        return Err(fault::field(format!("spec.storage.{other}"), said.text(&[other]), reason));
    }
    let name = claim.text(&["claimName"]);
    if name.is_empty() {
        return Err(fault::field("spec.storage.persistentVolumeClaim.claimName", "", "name the claim"));
    }
    Ok(json!({"uri": format!("pvc://{name}/{}", path.trim_start_matches('/'))}))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(spec: Value) -> String {
        match source(&json!({"spec": spec})) {
            Ok(source) => format!("{} {}", source.text(&["uri"]), source.text(&["secretKey"])),
            Err(error) => error.field,
        }
    }

    #[test]
    fn every_form_names_the_same_places() {
        for (spec, expected) in [
            (
                json!({"path": "onnx/mnist.onnx", "storage": {"s3": {"secretKey": "localMinIO"}}}),
                "s3:///onnx/mnist.onnx localMinIO",
            ),
            (json!({"path": "/a", "storage": {"s3": {"secretKey": "k", "bucket": "b"}}}), "s3://b/a k"),
            (json!({"storage": {"key": "localMinIO", "path": "a"}}), "storage:///a localMinIO"),
            (json!({"storage": {"path": "a"}}), "storage:///a default"),
            (
                json!({"storage": {"path": "a", "parameters": {"type": "s3", "bucket": "b"}}}),
                "s3://b/a default_s3",
            ),
            (json!({"storage": {"path": "a", "parameters": {"type": "pvc", "name": "c"}}}), "pvc://c/a "),
            (json!({"path": "a", "storage": {"persistentVolumeClaim": {"claimName": "c"}}}), "pvc://c/a "),
        ] {
            assert_eq!(told(spec.clone()), expected, "{spec}");
        }
    }

    #[test]
    fn what_contradicts_itself_is_named() {
        for (spec, field) in [
            (json!({"path": "a"}), "spec.storage"),
            (json!({"path": "a", "storage": {"key": "k", "path": "b"}}), "spec.storage.path"),
            (
                json!({"schemaPath": "a", "storage": {"key": "k", "schemaPath": "b"}}),
                "spec.storage.schemaPath",
            ),
            (json!({"storage": {"key": "k", "s3": {"secretKey": "k"}}}), "spec.storage.key"),
            (json!({"storage": {"s3": {"secretKey": ""}}}), "spec.storage.s3.secretKey"),
            (
                json!({"storage": {"s3": {"secretKey": "k"}, "persistentVolumeClaim": {"claimName": "c"}}}),
                "spec.storage.s3",
            ),
            (
                json!({"storage": {"persistentVolumeClaim": {}}}),
                "spec.storage.persistentVolumeClaim.claimName",
            ),
            (
                json!({"storage": {"key": "k", "parameters": {"type": "azure"}}}),
                "spec.storage.parameters.type",
            ),
        ] {
            assert_eq!(told(spec.clone()), field, "{spec}");
        }
    }
}
