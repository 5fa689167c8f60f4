//! Names that others know.

use purlin_sdk::serde_json::{Value, json};

/// The group and version of ServingRuntime and ClusterServingRuntime.
pub const V1ALPHA1: &str = "serving.kserve.io/v1alpha1";
/// The group and version of the generic kinds.
pub const GENERIC: &str = "purlin.dev/v1alpha1";

/// The container that serves, where a Pod has several.
pub const CONTAINER: &str = "kserve-container";
/// Where a container finds its model.
pub const MODEL_DIR: &str = "/mnt/models";

/// A generic object with the fields that a dialect decides.
pub fn generic(kind: &str, name: &str, labels: Value, annotations: Value, spec: Value) -> Value {
    let mut metadata = json!({"name": name, "labels": labels});
    if annotations.as_object().is_some_and(|annotations| !annotations.is_empty()) {
        metadata["annotations"] = annotations;
    }
    json!({"apiVersion": GENERIC, "kind": kind, "metadata": metadata, "spec": spec})
}

/// FNV-1a over the text of a spec, whose fields are in order: the same spec has the same.
pub fn hash(spec: &Value) -> u64 {
    let text = spec.to_string();
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}
