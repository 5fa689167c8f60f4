//! Where the object of a trial comes from: `trialTemplate.trialSpec`, or a ConfigMap that holds it as YAML. Placeholders
//! stay in it; the kernel fills them in for each trial.

use purlin_sdk::serde_json::Value;
use purlin_sdk::{Fault, Object as _, Selector, fault};

use crate::{EXPERIMENT_LABEL, TRIAL_LABEL};

/// The path of the template in an Experiment.
const PATH: [&str; 3] = ["spec", "trialTemplate", "configMap"];

/// How long to wait for a ConfigMap that is not there.
const CONFIG_MAP_RETRY_MS: u64 = 10_000;

/// What selects the ConfigMap, if the template is in one.
pub fn config_map(experiment: &Value) -> Option<Selector> {
    let source = experiment.at(&PATH)?;
    let (name, namespace) = (source.text(&["configMapName"]), source.text(&["configMapNamespace"]));
    if name.is_empty() || namespace.is_empty() {
        return None;
    }
    Some(Selector {
        api_version: "v1".to_owned(),
        kind: "ConfigMap".to_owned(),
        namespace: Some(namespace.to_owned()),
        names: vec![name.to_owned()],
        labels: String::new(),
    })
}

/// The object with its placeholders.
///
/// # Errors
/// A retry while the ConfigMap is not there; an invalid field where it has no such entry, or the entry is no object.
pub fn object(experiment: &Value, related: &[Value]) -> Result<Value, Fault> {
    if let Some(object) = experiment.at(&["spec", "trialTemplate", "trialSpec"]) {
        return Ok(object.clone());
    }
    let text = |field| experiment.text(&[PATH[0], PATH[1], PATH[2], field]);
    let (name, namespace, entry) = (text("configMapName"), text("configMapNamespace"), text("templatePath"));
    let found = related.iter().find(|object| {
        object.is("v1", "ConfigMap") && object.name() == name && object.namespace() == namespace
    });
    let Some(config_map) = found else {
        return Err(fault::retry(
            CONFIG_MAP_RETRY_MS,
            format!("waiting for ConfigMap {namespace}/{name}, which spec.trialTemplate.configMap names"),
        ));
    };
    let invalid = |reason: String| {
        Fault::Invalid(vec![fault::field("spec.trialTemplate.configMap.templatePath", entry, reason)])
    };
    let Some(yaml) = config_map.at(&["data", entry]).and_then(Value::as_str) else {
        return Err(invalid(format!("ConfigMap {namespace}/{name} has no entry of this name")));
    };
    match serde_norway::from_str::<Value>(yaml) {
        Ok(object) if object.is_object() => Ok(object),
        Ok(_) => Err(invalid(format!("this entry of ConfigMap {namespace}/{name} is not an object"))),
        Err(error) => {
            Err(invalid(format!("this entry of ConfigMap {namespace}/{name} is not YAML: {error}")))
        }
    }
}

/// Labels the Pods of a trial's object as Katib's users and its SDK select them: by experiment and by trial. A Pod template
/// is known by its shape, an object `template` with `spec.containers`, because the object may be of any kind.
pub(crate) fn label_pods(object: &mut Value, experiment: &str) {
    match object {
        Value::Object(fields) => {
            for (name, field) in fields {
                let fits =
                    |path: &[&str]| field.at(path).is_none_or(|value| value.is_object() || value.is_null());
                let is_template = field.at(&["spec", "containers"]).is_some_and(Value::is_array);
                if name == "template" && is_template && fits(&["metadata"]) && fits(&["metadata", "labels"]) {
                    field["metadata"]["labels"][EXPERIMENT_LABEL] = experiment.into();
                    field["metadata"]["labels"][TRIAL_LABEL] = "${trialSpec.Name}".into();
                }
                label_pods(field, experiment);
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| label_pods(item, experiment)),
        _ => {}
    }
}
