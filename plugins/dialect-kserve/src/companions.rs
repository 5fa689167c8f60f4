//! The transformer and the explainer: containers that are told where the predictor is.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Fault, Object as _, SyncRequest, fault};
use purlin_serving::container;

use crate::names::{self, COMPONENT_LABEL, GENERIC, MODEL_DIR, SERVICE_LABEL};
use crate::predictor::model_name;
use crate::settings::{flag, settings};
use crate::storage::Place;
use crate::{routes, scaling};

/// What there is beside a predictor.
#[derive(Default)]
pub(crate) struct Companions {
    /// Models that should exist.
    pub(crate) models: Vec<Value>,
    /// The components that the spec has, with the names of their Models.
    pub(crate) components: Vec<(&'static str, String)>,
    /// What has no effect, for the user.
    pub(crate) notes: Vec<String>,
}

/// Translates both. `explained` is the Model that an explainer without a container explains.
///
/// # Errors
/// Fields that cannot be translated.
pub(crate) fn translate(request: &SyncRequest, explained: &str) -> Result<Companions, Fault> {
    let service = &request.parent;
    let mut companions = Companions::default();
    for component in ["transformer", "explainer"] {
        let Some(spec) = service.at(&["spec", component]) else { continue };
        let name = names::component(service.name(), component);
        companions.components.push((component, name.clone()));
        // An explainer asks the service as it answers its users: through the transformer, where there is one.
        let through_transformer = component == "explainer" && service.at(&["spec", "transformer"]).is_some();
        let asked = match through_transformer {
            true => service.name().to_owned(),
            false => names::component(service.name(), "predictor"),
        };
        let route = routes::observed(request, &asked);
        let host = match speaks_grpc(spec) {
            true => routes::host_of_calls(route),
            false => routes::host_and_path(route),
        };
        let observed = request.child(GENERIC, "Model", &name);
        if component == "explainer"
            && spec.items(&["containers"]).is_empty()
            && spec.text(&["art", "image"]).is_empty()
        {
            companions.models.push(by_plugin(request, spec, &name, explained, &mut companions.notes)?);
            continue;
        }
        match (host, observed) {
            (Some(host), _) => {
                companions.models.push(one(request, component, &name, &host, &mut companions.notes)?)
            }
            // The route is not seen for a moment: what runs goes on.
            (None, Some(observed)) => companions.models.push(names::as_observed(observed)),
            // It starts once it can be told where the predictor is.
            (None, None) => {}
        }
    }
    Ok(companions)
}

/// Whether the container says that it asks the predictor over gRPC.
fn speaks_grpc(spec: &Value) -> bool {
    let containers = spec.items(&["containers"]);
    let args = container::serving(containers).map_or(&[][..], |index| containers[index].items(&["args"]));
    ["--predictor_protocol", "--protocol"].iter().any(|name| flag(args, name).as_deref() == Some("grpc-v2"))
}

fn one(
    request: &SyncRequest,
    component: &'static str,
    name: &str,
    host: &str,
    notes: &mut Vec<String>,
) -> Result<Value, Fault> {
    let service = &request.parent;
    let spec = &service["spec"][component];
    let mut pod = container::pod(spec);
    if let Some(art) = spec.at(&["art"]).filter(|_| spec.items(&["containers"]).is_empty()) {
        pod["containers"] = json!([with_art(art)]);
    }
    let containers = pod.items(&["containers"]);
    let Some(index) = container::serving(containers) else {
        let reason = "it needs a container: say which image";
        return Err(Fault::Invalid(vec![fault::field(format!("spec.{component}.containers"), "", reason)]));
    };
    let args = arguments(service, spec, &containers[index], host);
    let path = format!("spec.{component}.containers[{index}]");
    let serving = spec.at(&["art"]).unwrap_or(&containers[index]);
    let place = Place { service, component: spec, model: serving, path: &path, hub: false };
    let source = place.source(&request.related).map_err(|error| Fault::Invalid(vec![error]))?;
    if let Some(Value::Object(container)) = pod.pointer_mut(&format!("/containers/{index}")) {
        container.insert("args".to_owned(), args);
    }
    let mut model = Map::new();
    model.insert("modelName".to_owned(), model_name(service).into());
    model.insert("container".to_owned(), container::model(spec, &Value::Null, pod));
    if let Some(source) = source {
        model.insert("source".to_owned(), source);
    }
    scaling::extend(spec, &scaling::of(service, spec), &mut model, notes);
    Ok(names::generic("Model", name, labels(service, component), json!({}), model.into()))
}

fn labels(service: &Value, component: &str) -> Value {
    json!({SERVICE_LABEL: service.name(), COMPONENT_LABEL: component})
}

/// The user's arguments, and those that KServe adds where the user has not.
fn arguments(service: &Value, spec: &Value, container: &Value, host: &str) -> Value {
    let mut args = container.items(&["args"]).to_vec();
    let concurrency = spec.int(&["containerConcurrency"]).map(|limit| limit.to_string());
    for (name, value) in [
        ("--model_name", Some(model_name(service))),
        ("--predictor_host", Some(host.to_owned())),
        ("--http_port", Some("8080".to_owned())),
        ("--workers", concurrency),
    ] {
        if let Some(value) = value.filter(|_| flag(&args, name).is_none()) {
            args.extend([name.into(), value.into()]);
        }
    }
    args.into()
}

/// The container of an ART explainer with an image of its own.
fn with_art(art: &Value) -> Value {
    let mut container = container::own(art);
    let mut args = vec![json!("--adversary_type"), art.text(&["type"]).into()];
    if !art.text(&["storageUri"]).is_empty() {
        args.extend([json!("--storage_uri"), MODEL_DIR.into()]);
    }
    for (name, value) in art.at(&["config"]).and_then(Value::as_object).into_iter().flatten() {
        args.extend([format!("--{name}").into(), value.clone()]);
    }
    args.extend(container.items(&["args"]).iter().cloned());
    if let Some(fields) = container.as_object_mut() {
        fields.insert("args".to_owned(), args.into());
    }
    container
}

/// An explainer that names a method and no image: a plugin that knows the method.
fn by_plugin(
    request: &SyncRequest,
    spec: &Value,
    name: &str,
    explained: &str,
    notes: &mut Vec<String>,
) -> Result<Value, Fault> {
    let service = &request.parent;
    let Some((method, art)) =
        ["art", "alibi", "aix"].iter().find_map(|method| Some((*method, spec.at(&[method])?)))
    else {
        let reason = "it needs a container or art";
        return Err(Fault::Invalid(vec![fault::field("spec.explainer", "", reason)]));
    };
    let mut options = vec![json!({"name": "type", "value": art.text(&["type"])})];
    for (name, value) in art.at(&["config"]).and_then(Value::as_object).into_iter().flatten() {
        options.push(json!({"name": format!("--{name}"), "value": value.as_str().unwrap_or_default()}));
    }
    options.extend(settings(art, &[]).0);
    let mut model = Map::new();
    model.insert("modelName".to_owned(), model_name(service).into());
    model.insert("format".to_owned(), json!({"name": method}));
    model.insert("explains".to_owned(), explained.into());
    model.insert("settings".to_owned(), options.into());
    let path = format!("spec.explainer.{method}");
    let place = Place { service, component: spec, model: art, path: &path, hub: false };
    if let Some(source) = place.source(&request.related).map_err(|error| Fault::Invalid(vec![error]))? {
        model.insert("source".to_owned(), source);
    }
    scaling::extend(spec, &scaling::of(service, spec), &mut model, notes);
    Ok(names::generic("Model", name, labels(service, "explainer"), json!({}), model.into()))
}

/// The transformer that the service's route has. One that is added to a service that answers is put in front once it is
/// ready: until then the predictor goes on answering by itself, as before.
pub(crate) fn in_front(request: &SyncRequest, companions: &Companions) -> Option<String> {
    let name = companions.components.iter().find(|(component, _)| *component == "transformer")?.1.clone();
    let without = routes::observed(request, request.parent.name())
        .is_some_and(|route| route.text(&["spec", "transformer"]).is_empty());
    let ready = request.child(GENERIC, "Model", &name).is_some_and(|model| model.is_true("Ready"));
    (ready || !without).then_some(name)
}
