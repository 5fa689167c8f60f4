//! The status of an InferenceService, as KServe has it in its serverless mode.

use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Object as _, SyncRequest};
use purlin_serving::mesh::{self, Told};
use purlin_serving::progress;

use crate::knative::{Living, State, worst};
use crate::names::{self, GENERIC, HASH};
use crate::predictor::Server;
use crate::revisions::{self, Plan};
use crate::{model_status, routes, words};

/// What `Ready` sums up.
const DEPENDENTS: &[&str] = &["PredictorReady", "IngressReady"];

/// What the status is about.
pub(crate) struct Observed<'a> {
    pub(crate) request: &'a SyncRequest,
    /// None for a service whose models are all TrainedModels.
    pub(crate) plan: Option<&'a Plan>,
    pub(crate) server: &'a Server,
    /// Components beside the predictor, with their Models.
    pub(crate) components: &'a [(&'static str, String)],
}

/// How far a part is, seen from two sides.
struct Progress {
    /// The Models.
    configuration: State,
    /// The way to them.
    route: State,
}

impl Progress {
    fn ready(&self) -> State {
        worst([&self.configuration, &self.route])
    }
}

/// The conditions of a component, in KServe's names.
fn conditions_of(component: &str) -> [&'static str; 3] {
    match component {
        "predictor" => ["PredictorReady", "PredictorConfigurationReady", "PredictorRouteReady"],
        "transformer" => ["TransformerReady", "TransformerConfigurationReady", "TransformerRouteReady"],
        _ => ["ExplainerReady", "ExplainerConfigurationReady", "ExplainerRoutesReady"],
    }
}

/// The whole status.
pub(crate) fn of(observed: &Observed<'_>) -> Value {
    let request = observed.request;
    let service = &request.parent;
    if let Some(plan) = observed.plan.filter(|_| names::is_mesh(service)) {
        return of_mesh(observed, plan);
    }
    let mut conditions = Living::of(service, DEPENDENTS, request.context.now_ms);
    let mut parts = vec![("predictor", predictor(observed))];
    for (component, model) in observed.components {
        parts.push((component, companion(request, component, model)));
    }
    for (component, progress) in &parts {
        let [ready, configuration, route] = conditions_of(component);
        conditions.set(ready, progress.ready());
        conditions.set(configuration, progress.configuration.clone());
        conditions.set(route, progress.route.clone());
    }
    conditions.set("RoutesReady", across(&parts, 2, |progress| &progress.route));
    conditions.set("LatestDeploymentReady", across(&parts, 1, |progress| &progress.configuration));
    let route = routes::observed(request, service.name());
    conditions.set("IngressReady", ingress(&parts, route));
    conditions.set("Stopped", State::fails("", ""));
    let ready = conditions.ready();

    let mut status = Map::new();
    status.insert(
        "observedGeneration".to_owned(),
        service.int(&["metadata", "generation"]).unwrap_or_default().into(),
    );
    status.insert("conditions".to_owned(), conditions.into_value());
    status.insert("deploymentMode".to_owned(), names::deployment_mode(service).into());
    // A place that was told once stays: clients hold on to it while another revision is on its way.
    let told = |field: &str| service.at(&["status", field]).cloned();
    let url =
        route.map(|route| route.text(&["status", "url"])).filter(|url| ready.is_true() && !url.is_empty());
    if let Some(url) = url.map(Value::from).or_else(|| told("url")) {
        status.insert("url".to_owned(), url);
        status.insert("address".to_owned(), names::address(service.name(), service.namespace()));
    }
    let mut components = Map::new();
    for (component, progress) in &parts {
        components.insert((*component).to_owned(), component_status(observed, component, progress));
    }
    status.insert("components".to_owned(), components.into());
    if let Some(plan) = observed.plan {
        status.insert("annotations".to_owned(), json!({HASH: plan.hash}));
        status.insert("modelStatus".to_owned(), model_status::of(request, plan));
    } else {
        status.insert("modelStatus".to_owned(), model_status::without_model(ready.is_true()));
    }
    served_by(observed, &mut status);
    status.into()
}

/// The status with ModelMesh: one address for all services of the namespace, and conditions for what answers, not for how
/// it came to be.
fn of_mesh(observed: &Observed<'_>, plan: &Plan) -> Value {
    let request = observed.request;
    let service = &request.parent;
    let version = |name: &str| request.child(GENERIC, "Model", name);
    let active = plan.ready.as_deref().unwrap_or(&plan.created);
    let told = Told::of(version(active), version(&plan.created));
    let route = routes::observed(request, service.name());
    let answers = match progress::of(version(active)) {
        progress::Progress::Ready => State::observed(route, "Ready"),
        progress::Progress::Failed { reason, message, .. } => {
            State::fails(reason, words::of_predictor(service, &message))
        }
        progress::Progress::Pending { reason, message } => State::pending(reason, message),
    };
    let mut conditions = Living::of(service, &["PredictorReady"], request.context.now_ms);
    conditions.set("PredictorReady", answers.clone());
    let mut components = Map::new();
    let progress = predictor(observed);
    components.insert("predictor".to_owned(), component_status(observed, "predictor", &progress));
    for (component, model) in observed.components {
        let progress = companion(request, component, model);
        conditions.set(conditions_of(component)[0], progress.ready());
        components.insert((*component).to_owned(), component_status(observed, component, &progress));
    }
    let mut status = Map::new();
    status.insert(
        "observedGeneration".to_owned(),
        service.int(&["metadata", "generation"]).unwrap_or_default().into(),
    );
    status.insert("conditions".to_owned(), conditions.into_value());
    status.insert("deploymentMode".to_owned(), names::deployment_mode(service).into());
    let told_before = |path: &[&str]| service.text(path).to_owned();
    let endpoints = mesh::endpoints(route).filter(|_| answers.is_true()).unwrap_or_else(|| mesh::Endpoints {
        grpc: told_before(&["status", "url"]),
        rest: told_before(&["status", "components", "predictor", "restUrl"]),
    });
    if let Some(Value::Object(predictor)) = components.get_mut("predictor") {
        let urls = [("url", &endpoints.grpc), ("grpcUrl", &endpoints.grpc), ("restUrl", &endpoints.rest)];
        for (field, url) in urls {
            predictor.remove(field);
            if !url.is_empty() {
                predictor.insert(field.to_owned(), url.as_str().into());
            }
        }
    }
    if !endpoints.grpc.is_empty() {
        status.insert("url".to_owned(), endpoints.grpc.into());
    }
    status.insert("components".to_owned(), components.into());
    status.insert("annotations".to_owned(), json!({HASH: plan.hash}));
    status.insert("modelStatus".to_owned(), model_status::of_mesh(service, &told, plan));
    served_by(observed, &mut status);
    status.into()
}

/// The status of a service whose runtime cannot be taken: what was rolled out goes on.
pub(crate) fn refused(service: &Value, reason: &str, message: &str, now_ms: u64) -> Value {
    let mut conditions = Living::of(service, DEPENDENTS, now_ms);
    conditions.set("PredictorReady", State::fails(reason, message));
    conditions.set("PredictorConfigurationReady", State::fails(reason, message));
    conditions.set("IngressReady", State::fails("Predictor ingress not created", ""));
    conditions.set("LatestDeploymentReady", State::fails("PredictorConfigurationReady not ready", ""));
    let mut status = service.at(&["status"]).and_then(Value::as_object).cloned().unwrap_or_default();
    status.insert(
        "observedGeneration".to_owned(),
        service.int(&["metadata", "generation"]).unwrap_or_default().into(),
    );
    status.insert("conditions".to_owned(), conditions.into_value());
    status.insert("deploymentMode".to_owned(), names::deployment_mode(service).into());
    status.insert("modelStatus".to_owned(), model_status::refused(service, reason, message));
    status.into()
}

/// The status of a service that was stopped.
pub(crate) fn stopped(service: &Value, now_ms: u64) -> Value {
    let mut conditions = Living::of(service, DEPENDENTS, now_ms);
    for kind in ["PredictorReady", "IngressReady"] {
        conditions.set(kind, State::fails("Stopped", ""));
    }
    conditions.set("Stopped", State::holds());
    json!({
        "observedGeneration": service.int(&["metadata", "generation"]).unwrap_or_default(),
        "conditions": conditions.into_value(),
        "deploymentMode": names::deployment_mode(service),
        "modelStatus": {"transitionStatus": "UpToDate"},
    })
}

fn predictor(observed: &Observed<'_>) -> Progress {
    let request = observed.request;
    let name = names::component(request.parent.name(), "predictor");
    let route = State::observed(routes::observed(request, &name), "Ready");
    let Some(plan) = observed.plan else {
        return Progress { configuration: State::holds(), route };
    };
    let model = request.child(GENERIC, "Model", &plan.created);
    let configuration = match progress::of(model) {
        progress::Progress::Ready => State::holds(),
        progress::Progress::Failed { message, .. } => {
            let message = words::of_predictor(&request.parent, &message);
            let message = format!("Revision \"{}\" failed with message: {message}.", plan.created);
            State::fails("RevisionFailed", message)
        }
        progress::Progress::Pending { reason, message } => State::pending(reason, message),
    };
    let route = match &plan.ready {
        Some(_) => route,
        None if configuration.is_false() => State::fails(
            "RevisionMissing",
            format!("Configuration \"{name}\" does not have any ready Revision."),
        ),
        None => State::pending(
            "RevisionMissing",
            format!("Configuration \"{name}\" is waiting for a Revision to become ready."),
        ),
    };
    Progress { configuration, route }
}

fn companion(request: &SyncRequest, component: &str, model: &str) -> Progress {
    let configuration = match progress::of(request.child(GENERIC, "Model", model)) {
        progress::Progress::Ready => State::holds(),
        progress::Progress::Failed { reason, message, .. } => State::fails(reason, message),
        progress::Progress::Pending { reason, message } => State::pending(reason, message),
    };
    let name = names::component(request.parent.name(), component);
    Progress { configuration, route: State::observed(routes::observed(request, &name), "Ready") }
}

/// A condition over all components. The last one that is not ready is named.
fn across(parts: &[(&str, Progress)], index: usize, of: impl Fn(&Progress) -> &State) -> State {
    let mut state = State::holds();
    for (component, progress) in parts {
        let part = of(progress);
        if !part.is_true() {
            state = part.because(&format!("{} not ready", conditions_of(component)[index]));
        }
    }
    state
}

/// The way in opens once all components are ready.
fn ingress(parts: &[(&str, Progress)], route: Option<&Value>) -> State {
    for (component, progress) in parts {
        let ready = progress.ready();
        if !ready.is_true() {
            let mut name = (*component).to_owned();
            if let Some(first) = name.get_mut(..1) {
                first.make_ascii_uppercase();
            }
            return ready.because(&format!("{name} ingress not created"));
        }
    }
    State::observed(route, "Ready")
}

fn component_status(observed: &Observed<'_>, component: &str, progress: &Progress) -> Value {
    let request = observed.request;
    let service = &request.parent;
    let name = names::component(service.name(), component);
    let route = routes::observed(request, &name);
    let mut status = Map::new();
    let mut set = |field: &str, text: Option<&str>| {
        if let Some(text) = text.filter(|text| !text.is_empty()) {
            status.insert(field.to_owned(), text.into());
        }
    };
    match (component, observed.plan) {
        ("predictor", None) => {}
        ("predictor", Some(plan)) => {
            set("latestCreatedRevision", Some(&plan.created));
            set("latestReadyRevision", plan.ready.as_deref());
            set("latestRolledoutRevision", plan.rolled_out.as_deref());
            set("previousRolledoutRevision", plan.previous.as_deref());
        }
        _ => {
            set("latestCreatedRevision", Some(&name));
            if progress.configuration.is_true() {
                set("latestReadyRevision", Some(&name));
                set("latestRolledoutRevision", Some(&name));
            }
        }
    }
    let told = |field: &str| service.text(&["status", "components", component, field]);
    let answers = progress.ready().is_true();
    let seen = |field: &str| {
        route.filter(|_| answers).map(|route| route.text(&["status", field])).unwrap_or_default()
    };
    let url = if seen("url").is_empty() { told("url") } else { seen("url") };
    set("url", Some(url));
    set("restUrl", Some(url));
    let grpc = match seen("grpcAddress") {
        "" => told("grpcUrl").to_owned(),
        address => format!("grpc://{address}"),
    };
    set("grpcUrl", Some(&grpc));
    if !url.is_empty() {
        status.insert("address".to_owned(), names::address(&name, service.namespace()));
    }
    let traffic = match (component, observed.plan) {
        ("predictor", Some(plan)) => traffic(plan, url),
        ("predictor", None) => Value::Null,
        _ if progress.configuration.is_true() => {
            json!([{"revisionName": name, "percent": 100, "latestRevision": true}])
        }
        _ => Value::Null,
    };
    if traffic.as_array().is_some_and(|shares| !shares.is_empty()) {
        status.insert("traffic".to_owned(), traffic);
    }
    status.into()
}

fn traffic(plan: &Plan, url: &str) -> Value {
    let share = |share: &revisions::Share| {
        let mut target =
            json!({"revisionName": share.revision, "percent": share.percent, "latestRevision": share.latest});
        if let Some(tag) = share.tag {
            target["tag"] = tag.into();
            if let Some((scheme, host)) = url.split_once("://") {
                target["url"] = format!("{scheme}://{tag}-{host}").into();
            }
        }
        target
    };
    plan.shares.iter().map(share).collect()
}

fn served_by(observed: &Observed<'_>, status: &mut Map<String, Value>) {
    let plugin = || {
        let model = observed.request.child(GENERIC, "Model", &observed.plan?.created)?;
        Some(model.text(&["status", "runtime"]).to_owned()).filter(|name| !name.is_empty())
    };
    let (field, name) = match observed.server {
        Server::Runtime(name) => ("servingRuntimeName", Some(name.clone())),
        Server::ClusterRuntime(name) => ("clusterServingRuntimeName", Some(name.clone())),
        Server::Plugin => ("servingRuntimeName", plugin()),
        Server::Custom => return,
    };
    if let Some(name) = name {
        status.insert(field.to_owned(), name.into());
    }
}
