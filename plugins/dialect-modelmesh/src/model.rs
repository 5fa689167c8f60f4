//! The spec of a Predictor's Model: a format that a plugin serves, or a ServingRuntime's containers.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{FieldError, Object as _, fault};
use purlin_serving::container::{self, Arguments};
use purlin_serving::mesh;
use purlin_serving::runtime::{self, Found, Wanted};

use crate::place;

/// The longest name of a Predictor: that of its Model is longer, and may have as many characters as any name.
const LONGEST_NAME: usize = 253 - "-ksp-0123456789".len();

/// Why a spec is not served. What was served before goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refused {
    /// As in `lastFailureInfo`.
    pub(crate) reason: &'static str,
    /// With the field, its value and what to do.
    pub(crate) message: String,
}

impl Refused {
    /// Whether the spec itself is wrong, whatever runtimes there are.
    pub(crate) fn is_of_spec(&self) -> bool {
        self.reason == "InvalidPredictorSpec"
    }
}

impl From<FieldError> for Refused {
    fn from(error: FieldError) -> Self {
        let FieldError { field, value, reason } = error;
        let message = if value.is_empty() {
            format!("{field}: {reason}")
        } else {
            format!("{field}: {value:?}: {reason}")
        };
        Refused { reason: "InvalidPredictorSpec", message }
    }
}

/// Translates. `idle_seconds` takes the place of the usual time for which a Model stays.
///
/// # Errors
/// Why it is not served.
pub(crate) fn spec(
    predictor: &Value,
    related: &[Value],
    idle_seconds: Option<i64>,
) -> Result<Value, Refused> {
    let name = predictor.name();
    if name.len() > LONGEST_NAME {
        let reason = format!("it has {} characters and may have {LONGEST_NAME}", name.len());
        return Err(fault::field("metadata.name", name, reason).into());
    }
    let kind = &predictor["spec"]["modelType"];
    let (format, version) = (kind.text(&["name"]), kind.text(&["version"]));
    if format.is_empty() {
        return Err(fault::field("spec.modelType.name", "", "say the format, such as sklearn or onnx").into());
    }
    let source = place::source(predictor)?;
    let named = predictor.text(&["spec", "runtime", "name"]);
    let wanted = Wanted {
        format,
        version,
        protocol: predictor.text(&["spec", "protocolVersion"]),
        runtime: named,
        multi_node: false,
        multi_model: true,
    };
    let found = runtime::select(wanted, related).map_err(|refusal| Refused {
        reason: refusal.reason,
        message: format!(
            "spec.runtime.name: {named:?}: {}. Name a ServingRuntime of this namespace or a ClusterServingRuntime that \
             fits, or leave it out.",
            refusal.message
        ),
    })?;
    let mut spec = Map::new();
    spec.insert("modelName".to_owned(), name.into());
    spec.insert("source".to_owned(), source);
    match found {
        Found::Format => {
            let mut model_format = json!({"name": format});
            if !version.is_empty() {
                model_format["version"] = version.into();
            }
            spec.insert("format".to_owned(), model_format);
            if predictor.text(&["spec", "gpu"]) == "required" {
                spec.insert("device".to_owned(), "gpu".into());
            }
        }
        Found::Runtime(runtime) => drop(spec.insert("container".to_owned(), containers(predictor, runtime)?)),
    }
    let in_containers = spec.contains_key("container");
    spec.insert("scaling".to_owned(), mesh::scaling(in_containers, idle_seconds));
    Ok(spec.into())
}

/// `spec.container` of a Model: the Pod of a runtime, with the Predictor's names filled in.
fn containers(predictor: &Value, runtime: &Value) -> Result<Value, Refused> {
    let invalid = |message: String| Refused { reason: "InvalidPredictorSpec", message };
    let spec = &runtime["spec"];
    let mut containers = spec.items(&["containers"]).to_vec();
    let serving = container::serving(&containers).and_then(|index| containers.get_mut(index));
    let Some(serving) = serving else {
        let name = runtime.name();
        return Err(invalid(format!(
            "spec.runtime.name: {name:?}: the runtime has no container that could serve"
        )));
    };
    if let Err(placeholder) = container::fill_in(serving, &|path| container::of_metadata(predictor, path)) {
        return Err(invalid(format!(
            "spec.runtime.name: {:?}: {placeholder} in its container cannot be filled in: it may name .Name, .Namespace, \
             .Labels and .Annotations",
            runtime.name()
        )));
    }
    let mut pod = container::pod_of_runtime(spec);
    container::merge(&mut pod, &json!({"containers": containers}), Arguments::Replace);
    Ok(container::model(&json!({}), spec, pod))
}

/// What is asked for and has no effect.
pub(crate) fn notes(predictor: &Value, model: &Value) -> Vec<String> {
    let mut notes = Vec::new();
    let says = |path: &[&str]| predictor.at(path).is_some();
    for path in [&["spec", "schemaPath"][..], &["spec", "storage", "schemaPath"]] {
        if says(path) {
            notes.push(format!(
                "{} has no effect: inputs and outputs are those that the model's files have",
                path.join(".")
            ));
        }
    }
    if says(&["spec", "serviceAccountName"]) {
        notes.push(
            "spec.serviceAccountName has no effect: spec.storage.key says what opens the store".to_owned(),
        );
    }
    if says(&["spec", "gpu"]) && model.at(&["container"]).is_some() {
        notes.push(
            "spec.gpu has no effect: the resources of the ServingRuntime's containers count".to_owned(),
        );
    }
    notes
}

#[cfg(test)]
mod tests {
    use purlin_serving::names::V1ALPHA1;

    use super::*;

    fn predictor(more: Value) -> Value {
        let mut spec = json!({"modelType": {"name": "onnx"}, "storage": {"key": "k", "path": "a"}});
        for (field, value) in more.as_object().into_iter().flatten() {
            spec[field] = value.clone();
        }
        json!({"metadata": {"name": "mnist", "namespace": "team"}, "spec": spec})
    }

    fn runtime() -> Value {
        json!({
            "apiVersion": V1ALPHA1, "kind": "ServingRuntime", "metadata": {"name": "own"},
            "spec": {
                "multiModel": true,
                "supportedModelFormats": [{"name": "onnx", "autoSelect": true}],
                "containers": [{"name": "main", "image": "i", "args": ["--name={{.Name}}"], "ports": [{"containerPort": 9000}]}],
            },
        })
    }

    #[test]
    fn a_format_is_served_by_a_plugin_and_loaded_by_need() {
        let spec = spec(&predictor(json!({"gpu": "required"})), &[], None).expect("a spec");
        assert_eq!(
            spec,
            json!({
                "modelName": "mnist", "format": {"name": "onnx"}, "device": "gpu",
                "source": {"uri": "storage:///a", "secret": "storage-config", "secretKey": "k"},
                "scaling": {"minReplicas": 0, "idleSeconds": 86_400},
            })
        );
    }

    #[test]
    fn a_runtime_that_offers_itself_serves() {
        let spec = spec(&predictor(json!({})), &[runtime()], None).expect("a spec");
        let container = &spec["container"]["template"]["spec"]["containers"][0];
        assert_eq!(container["args"], json!(["--name=mnist"]));
        assert_eq!((&spec["container"]["port"], spec.get("format")), (&json!(9000), None));
        assert_eq!(spec["scaling"]["idleSeconds"], 60);
    }

    #[test]
    fn what_is_not_served_says_why() {
        let refused = |more: Value, related: &[Value]| {
            let refused = spec(&predictor(more), related, None).expect_err("it is refused");
            (refused.reason, refused.message)
        };
        let (reason, message) = refused(json!({"runtime": {"name": "gone"}}), &[]);
        assert_eq!(reason, "RuntimeNotRecognized");
        assert!(message.starts_with("spec.runtime.name: \"gone\""), "{message}");
        let (reason, message) = refused(json!({"modelType": {"name": ""}}), &[]);
        assert_eq!(
            (reason, message.split(':').next()),
            ("InvalidPredictorSpec", Some("spec.modelType.name"))
        );
        let mut broken = runtime();
        broken["spec"]["containers"][0]["args"] = json!(["{{.UID}}"]);
        let (reason, message) = refused(json!({}), &[broken]);
        assert!(reason == "InvalidPredictorSpec" && message.contains("{{.UID}}"), "{message}");
    }
}
