//! What KServe's webhook refuses, and what no one could serve.

use purlin_sdk::serde_json::Value;
use purlin_sdk::{FieldError, Object as _, fault};

use crate::names::{self, AUTOSCALER, CONTAINER};
use crate::predictor::{FRAMEWORKS, described};
use crate::scaling;

/// Who may scale a service. Here the gateway does in any case, unless nobody is to.
const AUTOSCALERS: &[&str] = &["hpa", "keda", "external", "none"];

/// A name that begins with a letter and has letters, digits and dashes, and so can be part of a host.
pub(crate) fn name(object: &Value, errors: &mut Vec<FieldError>) {
    let name = object.name();
    let fits = name.starts_with(|c: char| c.is_ascii_lowercase())
        && !name.ends_with('-')
        && name.bytes().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == b'-');
    if !fits {
        let reason = "it must consist of lower case letters, digits and '-', start with a letter and not end with '-', \
                      such as my-name";
        errors.push(fault::field("metadata.name", name, reason));
    }
}

/// Everything to correct in an InferenceService.
pub(crate) fn service(service: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    name(service, &mut errors);
    let Some(predictor) = service.at(&["spec", "predictor"]).filter(|predictor| predictor.is_object()) else {
        errors.push(fault::field("spec.predictor", "", "it is required: say what serves, such as model"));
        return errors;
    };
    implementation(predictor, &mut errors);
    if names::is_mesh(service) {
        mesh(predictor, &mut errors);
    }
    if let Some(class) = service.annotation(AUTOSCALER).filter(|class| !AUTOSCALERS.contains(class)) {
        let reason = format!("it must be one of {}", AUTOSCALERS.join(", "));
        errors.push(fault::field(format!("metadata.annotations[{AUTOSCALER}]"), class, reason));
    }
    for component in ["predictor", "transformer", "explainer"] {
        if let Some(spec) = service.at(&["spec", component]) {
            scaling::validate(spec, &format!("spec.{component}"), &mut errors);
        }
    }
    if let Some(transformer) = service.at(&["spec", "transformer"])
        && transformer.items(&["containers"]).is_empty()
    {
        errors.push(fault::field(
            "spec.transformer.containers",
            "",
            "a transformer is a container: say which",
        ));
    }
    errors
}

/// A model that shares an address with others says what it is and where.
fn mesh(predictor: &Value, errors: &mut Vec<FieldError>) {
    let Some(described) = described(predictor) else {
        let reason = "with the deployment mode ModelMesh a predictor names its model: set model, or leave the \
                      annotation out for containers of your own";
        errors.push(fault::field("spec.predictor.model", "", reason));
        return;
    };
    if ["storageUri", "storage"].iter().all(|field| described.model.at(&[field]).is_none()) {
        let reason = "say where the model is: set storageUri, or storage with key and path";
        errors.push(fault::field(format!("spec.predictor.{}.storage", described.key), "", reason));
    }
}

/// Exactly one thing serves.
fn implementation(predictor: &Value, errors: &mut Vec<FieldError>) {
    let named: Vec<&str> = std::iter::once(&"model")
        .chain(FRAMEWORKS)
        .copied()
        .filter(|name| predictor.at(&[name]).is_some())
        .collect();
    match named.as_slice() {
        [] if predictor.items(&["containers"]).is_empty() => {
            let reason = "nothing serves: set model, or containers for a server of your own";
            errors.push(fault::field("spec.predictor", "", reason));
        }
        [] => {}
        [name] => {
            let path = format!("spec.predictor.{name}");
            let model = &predictor[*name];
            if *name == "model" && model.text(&["modelFormat", "name"]).is_empty() {
                let reason = "say the format of the model, such as sklearn or onnx";
                errors.push(fault::field(format!("{path}.modelFormat.name"), "", reason));
            }
            if !model.text(&["name"]).is_empty() {
                let reason = "the 'name' field is not allowed in standard predictor; leave it out";
                errors.push(fault::field(format!("{path}.name"), model.text(&["name"]), reason));
            }
            let containers = predictor.items(&["containers"]).iter();
            if containers.into_iter().any(|container| container.text(&["name"]) == CONTAINER) {
                let reason = format!("it serves beside {name}, and one of them has to go");
                errors.push(fault::field("spec.predictor.containers", CONTAINER, reason));
            }
        }
        [_, second, ..] => {
            let reason =
                format!("exactly one of model and the frameworks serves; {} are set", named.join(" and "));
            errors.push(fault::field(format!("spec.predictor.{second}"), "", reason));
        }
    }
}
