//! Names that others know: groups, labels, annotations, and how the parts of a service are called.

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Value, json};
pub(crate) use purlin_serving::names::{CONTAINER, MODEL_DIR, generic};
pub use purlin_serving::names::{GENERIC, V1ALPHA1};

/// KServe's current group and version of the InferenceService.
pub const V1BETA1: &str = "serving.kserve.io/v1beta1";
/// The group and version of the newer kinds for language models.
pub const V1ALPHA2: &str = "serving.kserve.io/v1alpha2";

/// The service that a child belongs to, as KServe labels Pods.
pub(crate) const SERVICE_LABEL: &str = "serving.kserve.io/inferenceservice";
/// Which part of the service a child is: `predictor`, `transformer` or `explainer`.
pub(crate) const COMPONENT_LABEL: &str = "component";
/// What a revision was made from; the answer to whether the spec has changed since.
pub(crate) const HASH: &str = "internal.serving.kserve.io/revision-hash";
/// How many replicas a revision has at least while it gets requests.
pub(crate) const MIN_REPLICAS: &str = "internal.serving.kserve.io/min-replicas";

pub(crate) const DEPLOYMENT_MODE: &str = "serving.kserve.io/deploymentMode";
pub(crate) const AUTOSCALER: &str = "serving.kserve.io/autoscalerClass";
pub(crate) const TAG_ROUTING: &str = "serving.kserve.io/enable-tag-routing";
pub(crate) const STOP: &str = "serving.kserve.io/stop";
pub(crate) const STORAGE_SECRET: &str = "serving.kserve.io/storageSecretName";
/// The entry of that Secret, and the runtime, as ModelMesh reads them.
pub(crate) const STORAGE_KEY: &str = "serving.kserve.io/secretKey";
pub(crate) const RUNTIME: &str = "serving.kserve.io/servingRuntime";

/// `<service>-<component>`: a Route, and the stem of revisions.
pub(crate) fn component(service: &str, component: &str) -> String {
    format!("{service}-{component}")
}

/// The hosts of a route: both of the forms that KServe's domain templates make, with the gateway's domain behind them,
/// and the names of a Service of the same name.
pub(crate) fn hosts(name: &str, namespace: &str) -> Value {
    json!([
        format!("{name}.{namespace}."),
        format!("{name}-{namespace}."),
        format!("{name}.{namespace}.svc.cluster.local"),
        format!("{name}.{namespace}.svc"),
        format!("{name}.{namespace}"),
    ])
}

/// Where clients inside the cluster find a route.
pub(crate) fn address(name: &str, namespace: &str) -> Value {
    json!({"url": format!("http://{name}.{namespace}.svc.cluster.local")})
}

/// KServe's name of the deployment mode. The two old names stand for the new ones.
pub(crate) fn deployment_mode(object: &Value) -> &'static str {
    match object.annotation(DEPLOYMENT_MODE) {
        Some("Standard" | "RawDeployment") => "Standard",
        Some("ModelMesh") => "ModelMesh",
        _ => "Knative",
    }
}

/// Whether a service is one of those that ModelMesh has: it shares an address with the others of its namespace.
pub(crate) fn is_mesh(service: &Value) -> bool {
    deployment_mode(service) == "ModelMesh"
}

/// A child as it was observed, in the fields that this dialect decides: given again, nothing changes.
pub(crate) fn as_observed(child: &Value) -> Value {
    let kept = |path: &[&str], ours: &[&str]| -> Value {
        let fields = child.at(path).and_then(Value::as_object);
        let fields = fields.into_iter().flatten().filter(|(name, _)| ours.contains(&name.as_str()));
        Value::Object(fields.map(|(name, value)| (name.clone(), value.clone())).collect())
    };
    generic(
        child.text(&["kind"]),
        child.name(),
        kept(&["metadata", "labels"], &[SERVICE_LABEL, COMPONENT_LABEL]),
        kept(&["metadata", "annotations"], &[HASH, MIN_REPLICAS]),
        child.at(&["spec"]).cloned().unwrap_or_else(|| json!({})),
    )
}
