//! What the spec of an LLMInferenceService builds on: a runtime's Pod, then each LLMInferenceServiceConfig that it names,
//! then its own fields.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Object as _, Selector};
use purlin_serving::container::{self, Arguments};

use crate::names::{V1ALPHA1, V1ALPHA2};

/// A spec with all that it builds on.
pub(crate) struct Combined {
    pub(crate) spec: Value,
    /// The name in requests.
    pub(crate) model_name: String,
    /// The configurations, in their order.
    pub(crate) configs: Vec<String>,
}

/// Why a spec cannot be put together, as in the condition `PresetsCombined`.
pub(crate) struct Refusal {
    pub(crate) reason: &'static str,
    pub(crate) message: String,
}

fn references(service: &Value) -> impl Iterator<Item = &str> {
    service
        .items(&["spec", "baseRefs"])
        .iter()
        .map(|reference| reference.text(&["name"]))
        .filter(|name| !name.is_empty())
}

/// What selects the configurations, if the spec names any.
pub(crate) fn selector(service: &Value) -> Option<Selector> {
    let names: Vec<String> = references(service).map(str::to_owned).collect();
    (!names.is_empty()).then(|| Selector {
        api_version: V1ALPHA2.to_owned(),
        kind: "LLMInferenceServiceConfig".to_owned(),
        namespace: None,
        names,
        labels: String::new(),
    })
}

/// Puts it together.
pub(crate) fn combine(service: &Value, related: &[Value]) -> Result<Combined, Refusal> {
    let mut spec = runtime(service, related)?;
    let mut configs = Vec::new();
    for name in references(service) {
        let config = related
            .iter()
            .find(|object| object.is(V1ALPHA2, "LLMInferenceServiceConfig") && object.name() == name);
        let Some(config) = config else {
            let message = format!(
                "LLMInferenceServiceConfig {name} is not in namespace {}, which spec.baseRefs names: create it there",
                service.namespace()
            );
            return Err(Refusal { reason: "ConfigNotFound", message });
        };
        configs.push(name.to_owned());
        container::merge(&mut spec, config.at(&["spec"]).unwrap_or(&json!({})), Arguments::Replace);
    }
    container::merge(&mut spec, service.at(&["spec"]).unwrap_or(&json!({})), Arguments::Replace);
    if !spec.is_object() {
        spec = json!({});
    }
    let model_name = match spec.text(&["model", "name"]) {
        "" => service.name().to_owned(),
        name => name.to_owned(),
    };
    let lookup = |path: &str| placeholder(path, service, &model_name);
    for (path, field) in [("/template", "spec.template"), ("/prefill/template", "spec.prefill.template")] {
        if let Some(template) = spec.pointer_mut(path)
            && let Err(placeholder) = container::fill_in(template, &lookup)
        {
            let message = format!("{field} has {placeholder}, which stands for nothing known");
            return Err(Refusal { reason: "InvalidRenderedConfig", message });
        }
    }
    Ok(Combined { spec, model_name, configs })
}

/// The Pod of the runtime that the spec names. Its container serves, and so is called as KServe calls that one.
fn runtime(service: &Value, related: &[Value]) -> Result<Value, Refusal> {
    let name = service.text(&["spec", "runtime"]);
    if name.is_empty() {
        return Ok(json!({}));
    }
    let of_kind = |kind| related.iter().find(|object| object.is(V1ALPHA1, kind) && object.name() == name);
    let Some(found) = of_kind("ServingRuntime").or_else(|| of_kind("ClusterServingRuntime")) else {
        let message = format!(
            "spec.runtime names {name}, and there is neither a ServingRuntime nor a ClusterServingRuntime"
        );
        return Err(Refusal { reason: "RuntimeNotFound", message });
    };
    let runtime = found.at(&["spec"]).unwrap_or(&Value::Null);
    let mut pod = container::pod_of_runtime(runtime);
    let mut containers = runtime.items(&["containers"]).to_vec();
    let serving = container::serving(&containers);
    if let Some(Value::Object(container)) = serving.and_then(|index| containers.get_mut(index)) {
        container.insert("name".to_owned(), "main".into());
    }
    pod["containers"] = containers.into();
    Ok(json!({"template": pod}))
}

/// What KServe's templates are given.
fn placeholder(path: &str, service: &Value, model_name: &str) -> Option<String> {
    if path == ".Spec.Model.Name" {
        return Some(model_name.to_owned());
    }
    // A name made from the service's: {{ ChildName .ObjectMeta.Name `-suffix` }}.
    if let Some(rest) = path.strip_prefix("ChildName .ObjectMeta.Name") {
        let suffix = rest.trim().trim_matches(|c| c == '`' || c == '"');
        return Some(format!("{}{suffix}", service.name()));
    }
    container::of_metadata(service, path.strip_prefix(".ObjectMeta").unwrap_or(path))
}
