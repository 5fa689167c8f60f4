//! `spec.predictor`, as the spec of a generic Model: a format that a plugin serves, or containers.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Fault, Object as _, fault};
use purlin_serving::container::{self, Arguments};
use purlin_serving::runtime::{self, Found, Wanted};

use crate::names::{CONTAINER, MODEL_DIR, RUNTIME};
use crate::settings::{flag, settings, variable};
use crate::storage::Place;
use crate::{names, scaling};

/// Frameworks that may be named in place of `model`.
pub(crate) const FRAMEWORKS: &[&str] = &[
    "sklearn",
    "xgboost",
    "lightgbm",
    "onnx",
    "tensorflow",
    "pytorch",
    "triton",
    "pmml",
    "paddle",
    "huggingface",
];

/// What serves a predictor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Server {
    /// A plugin, chosen by the format.
    Plugin,
    /// A ServingRuntime's containers.
    Runtime(String),
    /// A ClusterServingRuntime's containers.
    ClusterRuntime(String),
    /// The user's own containers.
    Custom,
}

/// A predictor, translated.
pub(crate) struct Predictor {
    /// The spec of the Model. None where the predictor has no model of its own and waits for TrainedModels.
    pub(crate) spec: Option<Value>,
    /// It has at least so many replicas.
    pub(crate) min: i64,
    pub(crate) server: Server,
    /// What was asked for and has no effect, for the user.
    pub(crate) notes: Vec<String>,
}

/// A predictor whose runtime cannot be taken. It may be, once somebody changes the runtime.
pub(crate) struct Refused {
    /// As in `lastFailureInfo`.
    pub(crate) reason: &'static str,
    /// What is wrong.
    pub(crate) message: String,
}

/// The format and the description of a predictor that names one: of `model`, or under the framework's name.
pub(crate) struct Described<'a> {
    pub(crate) key: &'a str,
    pub(crate) model: &'a Value,
    pub(crate) format: &'a str,
    pub(crate) version: &'a str,
    /// Empty where it is not said.
    pub(crate) protocol: &'a str,
}

/// What a predictor says about its model, unless it is the user's own containers.
pub(crate) fn described(predictor: &Value) -> Option<Described<'_>> {
    if let Some(model) = predictor.at(&["model"]) {
        let format = model.text(&["modelFormat", "name"]);
        let protocol = match (model.text(&["protocolVersion"]), format) {
            ("", "triton") => "v2",
            (protocol, _) => protocol,
        };
        let version = model.text(&["modelFormat", "version"]);
        return Some(Described { key: "model", model, format, version, protocol });
    }
    let key = FRAMEWORKS.iter().find(|name| predictor.at(&[name]).is_some())?;
    let model = predictor.at(&[key])?;
    let protocol = match (model.text(&["protocolVersion"]), *key) {
        ("", "triton" | "onnx" | "huggingface") => "v2",
        (protocol, _) => protocol,
    };
    Some(Described { key, model, format: key, version: "", protocol })
}

/// The runtime that the user names. ModelMesh takes it from an annotation, too.
pub(crate) fn runtime_of<'a>(service: &'a Value, described: &Described<'a>) -> &'a str {
    match described.model.text(&["runtime"]) {
        "" if names::is_mesh(service) => service.annotation(RUNTIME).unwrap_or_default(),
        runtime => runtime,
    }
}

/// Whether the predictor has no model of its own, so that TrainedModels bring theirs. With ModelMesh each has its own.
pub(crate) fn is_multi_model(service: &Value) -> bool {
    let predictor = &service["spec"]["predictor"];
    match described(predictor) {
        _ if names::is_mesh(service) => false,
        Some(described) => {
            described.format != "huggingface"
                && ["storageUri", "storage"].iter().all(|field| described.model.at(&[field]).is_none())
                && predictor.items(&["storageUris"]).is_empty()
        }
        None => predictor
            .items(&["containers"])
            .first()
            .is_some_and(|container| variable(container, "MULTI_MODEL_SERVER") == Some("true")),
    }
}

/// The protocol of requests to a service, for URLs: `v1` unless another is said.
pub(crate) fn protocol(predictor: &Value) -> &str {
    match described(predictor).map(|described| described.protocol) {
        Some("") | None => "v1",
        Some(protocol) => protocol,
    }
}

/// Translates.
///
/// # Errors
/// Fields that cannot be translated. The spec has been validated.
pub(crate) fn translate(service: &Value, related: &[Value]) -> Result<Result<Predictor, Refused>, Fault> {
    let predictor = &service["spec"]["predictor"];
    let scaling = scaling::of(service, predictor);
    let mut notes = Vec::new();
    if predictor.at(&["workerSpec"]).is_some() {
        notes.push("workerSpec has no effect: a replica is on one node".to_owned());
    }
    let mut spec = Map::new();
    let server = match described(predictor) {
        Some(described) => {
            let wanted = Wanted {
                format: described.format,
                version: described.version,
                protocol: described.protocol,
                runtime: runtime_of(service, &described),
                multi_node: predictor.at(&["workerSpec"]).is_some(),
                multi_model: names::is_mesh(service),
            };
            match runtime::select(wanted, related) {
                Err(refusal) => {
                    return Ok(Err(Refused { reason: refusal.reason, message: refusal.message.to_owned() }));
                }
                Ok(Found::Format) => {
                    if is_multi_model(service) {
                        let min = scaling.min;
                        return Ok(Ok(Predictor { spec: None, min, server: Server::Plugin, notes }));
                    }
                    by_format(service, &described, related, &mut spec, &mut notes)?;
                    Server::Plugin
                }
                Ok(Found::Runtime(found)) => {
                    match by_runtime(service, &described, found, related, &mut spec)? {
                        Err(refused) => return Ok(Err(refused)),
                        Ok(()) if found.text(&["kind"]) == "ServingRuntime" => {
                            Server::Runtime(found.name().to_owned())
                        }
                        Ok(()) => Server::ClusterRuntime(found.name().to_owned()),
                    }
                }
            }
        }
        None => {
            custom(service, related, &mut spec)?;
            Server::Custom
        }
    };
    spec.insert("modelName".to_owned(), model_name(service).into());
    scaling::extend(predictor, &scaling, &mut spec, &mut notes);
    if names::is_mesh(service) {
        scaling::by_need(&mut spec);
    }
    Ok(Ok(Predictor { spec: Some(spec.into()), min: scaling.min, server, notes }))
}

/// The name in requests.
pub(crate) fn model_name(service: &Value) -> String {
    let predictor = &service["spec"]["predictor"];
    let transformer = service.items(&["spec", "transformer", "containers"]).first();
    let model = described(predictor).map(|described| described.model);
    let container = predictor.items(&["containers"]).first();
    let named = |part: Option<&Value>| {
        let part = part?;
        let by_variable = variable(part, "MLSERVER_MODEL_NAME").map(str::to_owned);
        by_variable.or_else(|| flag(part.items(&["args"]), "--model_name")).filter(|name| !name.is_empty())
    };
    named(transformer).or_else(|| named(model.or(container))).unwrap_or_else(|| service.name().to_owned())
}

fn by_format(
    service: &Value,
    described: &Described<'_>,
    related: &[Value],
    spec: &mut Map<String, Value>,
    notes: &mut Vec<String>,
) -> Result<(), Fault> {
    let predictor = &service["spec"]["predictor"];
    let model = described.model;
    let mut format = json!({"name": described.format});
    if !described.version.is_empty() {
        format["version"] = described.version.into();
    }
    spec.insert("format".to_owned(), format);
    let path = format!("spec.predictor.{}", described.key);
    let place = Place { service, component: predictor, model, path: &path, hub: true };
    let source = place.source(related).map_err(|error| Fault::Invalid(vec![error]))?;
    // The hub's repository is the source, unless files were brought along and the flag names one among them.
    let from_hub = model.at(&["storageUri"]).or(model.at(&["storage"])).is_none();
    let used: &[&str] = if from_hub { &["--model_id", "--model_revision"] } else { &[] };
    let (settings, elsewhere) = settings(model, used);
    if !settings.is_empty() {
        spec.insert("settings".to_owned(), settings.into());
    }
    let secret = source.as_ref().map_or("", |source| source.text(&["secret"]));
    for name in elsewhere.iter().filter(|name| secret.is_empty() || !name.contains("TOKEN")) {
        notes.push(format!(
            "{path}.env: {name} is read from elsewhere (valueFrom), which a plugin is not given"
        ));
    }
    if let Some(source) = source {
        spec.insert("source".to_owned(), source);
    }
    if asks_for_gpu(model) {
        spec.insert("device".to_owned(), "gpu".into());
    }
    for field in ["image", "command", "runtimeVersion"] {
        if model.at(&[field]).is_some_and(|value| value != "") {
            notes.push(format!(
                "{path}.{field} has no effect: a plugin serves the format {}; a ServingRuntime for it would be used",
                described.format
            ));
        }
    }
    if !predictor.items(&["containers"]).is_empty() {
        let reason = "a plugin serves this model, and no container can be beside it: move the container to \
                      spec.transformer, or install a ServingRuntime for the format";
        let name = predictor.items(&["containers"])[0].text(&["name"]);
        return Err(Fault::Invalid(vec![fault::field("spec.predictor.containers", name, reason)]));
    }
    Ok(())
}

pub(crate) fn asks_for_gpu(model: &Value) -> bool {
    let asked = |kind: &str| {
        let amounts = model.at(&["resources", kind]).and_then(Value::as_object);
        amounts.into_iter().flatten().any(|(name, amount)| {
            (name.ends_with("/gpu") || name.ends_with("/gaudi")) && amount != "0" && amount != 0
        })
    };
    asked("limits") || asked("requests")
}

fn by_runtime(
    service: &Value,
    described: &Described<'_>,
    found: &Value,
    related: &[Value],
    spec: &mut Map<String, Value>,
) -> Result<Result<(), Refused>, Fault> {
    let predictor = &service["spec"]["predictor"];
    let runtime = &found["spec"];
    let invalid = |message: String| Ok(Err(Refused { reason: "InvalidPredictorSpec", message }));
    let mut containers = runtime.items(&["containers"]).to_vec();
    let Some(index) = container::serving(&containers) else {
        return invalid("no container configuration found in selected serving runtime".to_owned());
    };
    let path = format!("spec.predictor.{}", described.key);
    let place = Place { service, component: predictor, model: described.model, path: &path, hub: false };
    let source = place.source(related).map_err(|error| Fault::Invalid(vec![error]))?;

    let mut labelled = service.clone();
    let serving = &mut containers[index];
    container::merge(serving, &container::own(described.model), Arguments::Append);
    defaults_of(found.name(), service, described, source.is_some(), &mut labelled, serving);
    if let Err(placeholder) = container::fill_in(serving, &|path| container::of_metadata(&labelled, path)) {
        let (runtime, container) = (found.name(), serving.text(&["name"]));
        return invalid(format!(
            "failed to replace placeholders in serving runtime {runtime} Container {container}: {placeholder}"
        ));
    }
    retag(serving, found.name(), described.model);
    let mut pod = container::pod_of_runtime(runtime);
    pod["containers"] = containers.into();
    container::merge(&mut pod, &container::pod(predictor), Arguments::Append);
    spec.insert("container".to_owned(), container::model(predictor, runtime, pod));
    if let Some(source) = source {
        spec.insert("source".to_owned(), source);
    }
    Ok(Ok(()))
}

/// What KServe fills in for the servers that it knows by name.
fn defaults_of(
    runtime: &str,
    service: &Value,
    described: &Described<'_>,
    has_source: bool,
    labelled: &mut Value,
    container: &mut Value,
) {
    match runtime {
        "kserve-mlserver" => {
            let class = match described.format {
                "xgboost" => "mlserver_xgboost.XGBoostModel",
                "lightgbm" => "mlserver_lightgbm.LightGBMModel",
                "mlflow" => "mlserver_mlflow.MLflowRuntime",
                _ => "mlserver_sklearn.SKLearnModel",
            };
            label(labelled, "modelClass", class);
            if has_source {
                default_variable(container, "MLSERVER_MODEL_NAME", service.name());
                default_variable(container, "MLSERVER_MODEL_URI", MODEL_DIR);
            } else {
                default_variable(container, "MLSERVER_LOAD_MODELS_AT_STARTUP", "false");
            }
        }
        "kserve-torchserve" => {
            let newer = matches!(described.protocol, "v2" | "grpc-v2");
            label(labelled, "serviceEnvelope", if newer { "kservev2" } else { "kserve" });
            let protocol = if described.protocol.is_empty() { "v1" } else { described.protocol };
            default_variable(container, "PROTOCOL_VERSION", protocol);
        }
        _ => {}
    }
}

fn label(service: &mut Value, key: &str, value: &str) {
    if let Some(metadata) = service.get_mut("metadata").and_then(Value::as_object_mut) {
        let labels = metadata.entry("labels").or_insert_with(|| json!({}));
        if let Some(labels) = labels.as_object_mut() {
            labels.insert(key.to_owned(), value.into());
        }
    }
}

fn default_variable(container: &mut Value, name: &str, value: &str) {
    if container.items(&["env"]).iter().any(|variable| variable.text(&["name"]) == name) {
        return;
    }
    container::merge(container, &json!({"env": [{"name": name, "value": value}]}), Arguments::Append);
}

/// The tag of the image follows the user's version; three of KServe's servers have another one for a GPU.
fn retag(container: &mut Value, runtime: &str, model: &Value) {
    let image = container.text(&["image"]).to_owned();
    let version = model.text(&["runtimeVersion"]);
    let with_gpu = ["kserve-tensorflow-serving", "kserve-torchserve", "kserve-huggingfaceserver"];
    let tag = image.rsplit('/').next().and_then(|name| name.rsplit_once(':')).map(|(_, tag)| tag);
    let image = match tag {
        _ if !version.is_empty() => container::with_tag(&image, version),
        Some(tag) if with_gpu.contains(&runtime) && asks_for_gpu(container) && !tag.ends_with("-gpu") => {
            container::with_tag(&image, &format!("{tag}-gpu"))
        }
        _ => return,
    };
    container["image"] = image.into();
}

fn custom(service: &Value, related: &[Value], spec: &mut Map<String, Value>) -> Result<(), Fault> {
    let predictor = &service["spec"]["predictor"];
    let pod = container::pod(predictor);
    let containers = pod.items(&["containers"]);
    let serving = container::serving(containers).and_then(|index| containers.get(index));
    let path = format!("spec.predictor.containers[{CONTAINER}]");
    let model = serving.unwrap_or(&Value::Null);
    let place = Place { service, component: predictor, model, path: &path, hub: false };
    if let Some(source) = place.source(related).map_err(|error| Fault::Invalid(vec![error]))? {
        spec.insert("source".to_owned(), source);
    }
    spec.insert("container".to_owned(), container::model(predictor, &Value::Null, pod));
    Ok(())
}
