//! What ModelMesh's users see of it: one address for all models of a namespace, where the name in a request says which model
//! answers, and models that are loaded when they are asked and go when others need their memory.

use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Map, Value, json};

use crate::progress::{self, Progress};
use crate::storage;

/// The Service that stands for all models of a namespace.
pub const SERVICE: &str = "modelmesh-serving";

/// The metadata of a gRPC call that names a model, for calls whose messages do not.
pub const MODEL_HEADER: &str = "mm-vmodel-id";

/// A model in the gateway's memory stays for so many seconds without requests, where it has the room. What others need
/// goes before, that used least lately first. It is the longest that there is.
const STAYS: i64 = 86_400;

/// Containers that nobody asks stay for so many seconds: each model has its own here, so that they cannot be shared, and
/// ModelMesh waits as long before it takes away the Pods of a runtime without models.
const CONTAINERS_STAY: i64 = 60;

/// `spec.scaling` of a Model that is there when it is asked. `idle_seconds` takes the place of the usual time.
pub fn scaling(in_containers: bool, idle_seconds: Option<i64>) -> Value {
    let usual = if in_containers { CONTAINERS_STAY } else { STAYS };
    json!({"minReplicas": 0, "idleSeconds": idle_seconds.unwrap_or(usual).clamp(1, STAYS)})
}

/// The entry of the Secret `storage-config` that opens a place, where buckets have one that the user need not name.
pub fn entry<'a>(named: &'a str, uri: &str) -> Option<&'a str> {
    storage::entry(named, uri).or_else(|| uri.starts_with("s3:").then_some("default_s3"))
}

/// What a Route says so that its models answer under the namespace's address. Others share it, and are told apart by their
/// names.
pub fn extend_route(namespace: &str, spec: &mut Map<String, Value>) {
    let hosts = ["", "svc.cluster.local", "svc"].map(|behind| format!("{SERVICE}.{namespace}.{behind}"));
    let hosts: Vec<String> = hosts.into_iter().chain([format!("{SERVICE}.{namespace}")]).collect();
    spec.insert("sharedHosts".to_owned(), hosts.into());
    spec.insert("modelHeader".to_owned(), MODEL_HEADER.into());
}

/// Where a namespace's models answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoints {
    /// Over gRPC.
    pub grpc: String,
    /// Over REST.
    pub rest: String,
}

/// Reasons of a Model whose containers do not run, whatever its files are.
const UNHEALTHY: &[&str] = &[
    "ContainerConfigInvalid",
    "ContainerFailed",
    "ContainerWaiting",
    "ImagePullFailed",
    "PodRefused",
    "Unschedulable",
];

/// What is told of a model that may be on its way from one version to another. A version is a Model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// The state of the version that has the requests.
    pub active: &'static str,
    /// That of the version of the current spec, and nothing where it is the same.
    pub target: &'static str,
    /// How the two stand to each other.
    pub transition: &'static str,
    /// Why the current spec is not served, where it is not.
    pub failure: Option<Failure>,
    /// Copies that could not be loaded.
    pub failed_copies: i64,
    /// All copies, those among them.
    pub total_copies: i64,
}

/// Why a version is not served.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// As in `lastFailureInfo`.
    pub reason: &'static str,
    /// For a person.
    pub message: String,
    /// What could not load it: a Plugin, or `containers`.
    pub location: String,
    /// Since when.
    pub time: String,
}

impl Told {
    /// By what was observed of both versions; the same one twice where there is no other.
    pub fn of(active: Option<&Value>, target: Option<&Value>) -> Self {
        let name = |model: Option<&Value>| model.map(|model| model.name().to_owned());
        let (state, failure) = look(active);
        let mut told = Told {
            active: state,
            target: "",
            transition: "UpToDate",
            failure,
            failed_copies: 0,
            total_copies: copies(active),
        };
        // Without a runtime there is no copy that could fail.
        let copy = |failure: &Option<Failure>| {
            i64::from(failure.as_ref().is_some_and(|failure| failure.reason == "ModelLoadFailed"))
        };
        told.failed_copies = copy(&told.failure);
        if name(active) != name(target) {
            let (state, failure) = look(target);
            told.target = state;
            told.transition = if state == "FailedToLoad" { "BlockedByFailedLoad" } else { "InProgress" };
            told.failure = failure;
            told.failed_copies += copy(&told.failure);
            told.total_copies += copies(target);
        }
        told.total_copies += told.failed_copies;
        told
    }

    /// Whether requests are answered, at once or once the model is loaded again.
    pub fn is_available(&self) -> bool {
        matches!(self.active, "Loaded" | "Standby")
    }
}

fn copies(model: Option<&Value>) -> i64 {
    model
        .and_then(|model| model.int(&["status", "replicas"]))
        .unwrap_or_default()
        .clamp(0, i64::from(u32::MAX))
}

/// The state of one version, and why it is not served. Containers that do not run are waited for.
fn look(model: Option<&Value>) -> (&'static str, Option<Failure>) {
    let Progress::Failed { kind, reason, message, since } = progress::of(model) else {
        return (progress::state(model), None);
    };
    let unhealthy = UNHEALTHY.contains(&reason.as_str());
    let failure = Failure {
        reason: if unhealthy { "RuntimeUnhealthy" } else { kind },
        message,
        location: model.map(|model| model.text(&["status", "runtime"]).to_owned()).unwrap_or_default(),
        time: since,
    };
    (if unhealthy { "Loading" } else { "FailedToLoad" }, Some(failure))
}

/// The endpoints that a Route with the namespace's address tells of. The gateway has one port for both.
pub fn endpoints(route: Option<&Value>) -> Option<Endpoints> {
    let url = route?.text(&["status", "url"]).trim_end_matches('/');
    let address = url.strip_prefix("http://")?;
    Some(Endpoints { grpc: format!("grpc://{address}"), rest: url.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_those_of_the_service() {
        let mut spec = Map::new();
        extend_route("team", &mut spec);
        assert_eq!(
            Value::from(spec),
            json!({
                "sharedHosts": [
                    "modelmesh-serving.team.", "modelmesh-serving.team.svc.cluster.local",
                    "modelmesh-serving.team.svc", "modelmesh-serving.team",
                ],
                "modelHeader": "mm-vmodel-id",
            })
        );
    }

    #[test]
    fn endpoints_are_where_the_route_answers() {
        let route = json!({"status": {"url": "http://modelmesh-serving.team.localhost:7446"}});
        let found = endpoints(Some(&route)).expect("endpoints");
        assert_eq!(found.grpc, "grpc://modelmesh-serving.team.localhost:7446");
        assert_eq!(found.rest, "http://modelmesh-serving.team.localhost:7446");
        assert_eq!(endpoints(Some(&json!({}))), None);
        assert_eq!(endpoints(None), None);
    }

    fn version(name: &str, ready: &str, reason: &str, replicas: i64) -> Value {
        let condition = |kind: &str, status: &str| {
            let (message, since) = ("m", "t");
            json!({"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since})
        };
        json!({
            "metadata": {"name": name}, "spec": {"scaling": {"minReplicas": 0}},
            "status": {
                "runtime": "runtime-onnx", "replicas": replicas,
                "conditions": [condition("Resolved", "True"), condition("Loaded", ready), condition("Ready", ready)],
            },
        })
    }

    fn words(told: &Told) -> [&'static str; 3] {
        [told.active, told.target, told.transition]
    }

    #[test]
    fn one_version_has_no_target() {
        let loaded = version("a", "True", "Loaded", 1);
        let told = Told::of(Some(&loaded), Some(&loaded));
        assert_eq!(words(&told), ["Loaded", "", "UpToDate"]);
        assert!(told.is_available() && told.failure.is_none());
        assert_eq!((told.failed_copies, told.total_copies), (0, 1));
        let failed = version("a", "False", "InvalidModel", 0);
        let told = Told::of(Some(&failed), Some(&failed));
        assert_eq!(words(&told), ["FailedToLoad", "", "UpToDate"]);
        assert!(!told.is_available());
        assert_eq!((told.failed_copies, told.total_copies), (1, 1));
        let failure = told.failure.expect("a failure");
        assert_eq!((failure.reason, failure.location.as_str()), ("ModelLoadFailed", "runtime-onnx"));
        assert_eq!(words(&Told::of(None, None)), ["Pending", "", "UpToDate"]);
    }

    #[test]
    fn two_versions_are_told_apart() {
        let old = version("a", "True", "Idle", 0);
        let on_its_way = version("b", "False", "Loading", 0);
        let told = Told::of(Some(&old), Some(&on_its_way));
        assert_eq!(words(&told), ["Standby", "Loading", "InProgress"]);
        assert!(told.is_available());
        let failed = version("b", "False", "InvalidModel", 0);
        let told = Told::of(Some(&old), Some(&failed));
        assert_eq!(words(&told), ["Standby", "FailedToLoad", "BlockedByFailedLoad"]);
        assert!(told.is_available() && told.failure.is_some());
        assert_eq!(words(&Told::of(Some(&old), None)), ["Standby", "Pending", "InProgress"]);
    }

    #[test]
    fn containers_that_do_not_run_are_waited_for() {
        let waiting = version("a", "False", "ImagePullFailed", 0);
        let told = Told::of(Some(&waiting), Some(&waiting));
        assert_eq!(words(&told), ["Loading", "", "UpToDate"]);
        assert_eq!(told.failure.map(|failure| failure.reason), Some("RuntimeUnhealthy"));
    }

    #[test]
    fn models_stay_longer_than_containers() {
        assert_eq!(scaling(false, None), json!({"minReplicas": 0, "idleSeconds": 86_400}));
        assert_eq!(scaling(true, None), json!({"minReplicas": 0, "idleSeconds": 60}));
        assert_eq!(scaling(true, Some(0)), json!({"minReplicas": 0, "idleSeconds": 1}));
    }
}
