//! Which ServingRuntime serves a model, by KServe's rules.
//!
//! One that the user names has to fit. Otherwise those that offer themselves for the format (`autoSelect`) are looked at:
//! a namespace's own before the cluster's, then by priority, then by protocol, the newest first. Where none is there the
//! format is left to Purlin's own plugins.
//!
//! Models that share a server (ModelMesh) have runtimes with `multiModel`, the others those without. A server to which
//! models are told by calls serves nothing when its container is started by itself, and nobody makes these calls here: where
//! it is one of those that ModelMesh knows (`builtInAdapter`) its format says enough, and others are not taken.

use std::cmp::Reverse;

use purlin_sdk::serde_json::Value;
use purlin_sdk::{Object as _, Selector};

use crate::names::V1ALPHA1;

/// What KServe brings along. A manifest may name one of them where none is installed: its format says enough.
const OF_KSERVE: &[&str] = &[
    "kserve-sklearnserver",
    "kserve-xgbserver",
    "kserve-lgbserver",
    "kserve-mlserver",
    "kserve-pmmlserver",
    "kserve-paddleserver",
    "kserve-predictiveserver",
    "kserve-tensorflow-serving",
    "kserve-torchserve",
    "kserve-tritonserver",
    "kserve-huggingfaceserver",
    "kserve-huggingfaceserver-multinode",
    "kserve-autogluonserver",
];

/// The same of ModelMesh.
const OF_MODELMESH: &[&str] = &["triton-2.x", "mlserver-0.x", "mlserver-1.x", "ovms-1.x", "torchserve-0.x"];

/// What is asked of a runtime.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The format of the model.
    pub format: &'a str,
    /// Its version; empty where the user has not said.
    pub version: &'a str,
    /// Empty where the user has not said.
    pub protocol: &'a str,
    /// The runtime that the user named, or empty.
    pub runtime: &'a str,
    /// Whether a replica is on several nodes.
    pub multi_node: bool,
    /// Whether it is for models that share a server.
    pub multi_model: bool,
}

/// What was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Found<'a> {
    /// This ServingRuntime or ClusterServingRuntime.
    Runtime(&'a Value),
    /// A plugin that serves the format.
    Format,
}

/// Why a named runtime cannot be taken: the reason as KServe has it in `lastFailureInfo`, and its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// One word.
    pub reason: &'static str,
    /// A sentence.
    pub message: &'static str,
}

/// All runtimes that a service can see.
pub fn selectors() -> [Selector; 2] {
    ["ServingRuntime", "ClusterServingRuntime"].map(|kind| Selector {
        api_version: V1ALPHA1.to_owned(),
        kind: kind.to_owned(),
        namespace: None,
        names: Vec::new(),
        labels: String::new(),
    })
}

/// The runtime for a model.
///
/// # Errors
/// Why the one that the user named cannot be taken.
pub fn select<'a>(wanted: Wanted<'_>, related: &'a [Value]) -> Result<Found<'a>, Refusal> {
    if !wanted.runtime.is_empty() {
        return named(wanted, related);
    }
    let protocol = match wanted.protocol {
        "" if !wanted.multi_model => "v1",
        protocol => protocol,
    };
    let mut candidates: Vec<&Value> = runtimes(related)
        .filter(|runtime| {
            !is(runtime, "disabled")
                && is(runtime, "multiModel") == wanted.multi_model
                && !is_told(runtime)
                && runtime.at(&["spec", "workerSpec"]).is_some() == wanted.multi_node
                && offers(runtime, wanted, true)
                && speaks(runtime, protocol)
        })
        .collect();
    candidates.sort_by(|left, right| {
        // A text of the same length for every time: the newest is the greatest.
        let age = |runtime: &Value| Reverse(runtime.text(&["metadata", "creationTimestamp"]).to_owned());
        let order = |runtime: &Value| {
            let cluster = runtime.is(V1ALPHA1, "ClusterServingRuntime");
            (cluster, Reverse(priority(runtime, wanted.format)), first_protocol(runtime), age(runtime))
        };
        order(left).cmp(&order(right)).then_with(|| left.name().cmp(right.name()))
    });
    Ok(candidates.first().map_or(Found::Format, |runtime| Found::Runtime(runtime)))
}

fn named<'a>(wanted: Wanted<'_>, related: &'a [Value]) -> Result<Found<'a>, Refusal> {
    let refuse = |reason, message| Err(Refusal { reason, message });
    let of_kind =
        |kind| runtimes(related).find(|object| object.is(V1ALPHA1, kind) && object.name() == wanted.runtime);
    let Some(runtime) = of_kind("ServingRuntime").or_else(|| of_kind("ClusterServingRuntime")) else {
        let own = if wanted.multi_model { OF_MODELMESH } else { OF_KSERVE };
        return match wanted.multi_model {
            _ if own.contains(&wanted.runtime) => Ok(Found::Format),
            true => refuse("RuntimeNotRecognized", "Specified runtime name not recognized"),
            false => refuse("RuntimeNotRecognized", "Waiting for runtime to become available"),
        };
    };
    if wanted.multi_model && !is(runtime, "multiModel") {
        return refuse("RuntimeNotRecognized", "Specified runtime has no spec.multiModel: true");
    }
    if is(runtime, "disabled") {
        return refuse("RuntimeDisabled", "Specified runtime is disabled");
    }
    if !wanted.protocol.is_empty() && !speaks(runtime, wanted.protocol) {
        return refuse(
            "NoSupportingRuntime",
            "Specified runtime does not support specified protocol version",
        );
    }
    if !offers(runtime, wanted, false) {
        return refuse(
            "NoSupportingRuntime",
            "Specified runtime does not support specified framework/version",
        );
    }
    match wanted.multi_model && is_told(runtime) {
        true if runtime.at(&["spec", "builtInAdapter"]).is_some() => Ok(Found::Format),
        true => refuse(
            "NoSupportingRuntime",
            "Specified runtime is told its models by calls to spec.grpcEndpoint, which nobody makes here; a runtime \
             without it has to serve the files in /mnt/models",
        ),
        false => Ok(Found::Runtime(runtime)),
    }
}

/// Whether its server is told which models to serve, in place of finding them when it starts.
fn is_told(runtime: &Value) -> bool {
    let says = |field: &str| runtime.at(&["spec", field]).is_some();
    is(runtime, "multiModel") && (says("builtInAdapter") || says("grpcEndpoint"))
}

fn runtimes(related: &[Value]) -> impl Iterator<Item = &Value> {
    let is_runtime = |object: &&Value| {
        object.is(V1ALPHA1, "ServingRuntime") || object.is(V1ALPHA1, "ClusterServingRuntime")
    };
    related.iter().filter(is_runtime)
}

fn is(runtime: &Value, field: &str) -> bool {
    runtime.at(&["spec", field]).and_then(Value::as_bool).unwrap_or_default()
}

/// Whether the runtime serves the format in the version that was asked for, where one was.
fn offers(runtime: &Value, wanted: Wanted<'_>, by_itself: bool) -> bool {
    let offered = |format: &Value| {
        format.text(&["name"]) == wanted.format
            && (wanted.version.is_empty() || format.text(&["version"]) == wanted.version)
            && (!by_itself || format.at(&["autoSelect"]).and_then(Value::as_bool).unwrap_or_default())
    };
    runtime.items(&["spec", "supportedModelFormats"]).iter().any(offered)
}

fn speaks(runtime: &Value, protocol: &str) -> bool {
    let protocols = runtime.items(&["spec", "protocolVersions"]);
    protocol.is_empty() || protocols.is_empty() || protocols.iter().any(|other| other == protocol)
}

/// The runtime's priority for a format; the first entry of that name counts.
fn priority(runtime: &Value, format: &str) -> i64 {
    let mut formats = runtime.items(&["spec", "supportedModelFormats"]).iter();
    let found = formats.find(|entry| entry.text(&["name"]) == format);
    found.and_then(|entry| entry.int(&["priority"])).unwrap_or_default()
}

fn first_protocol(runtime: &Value) -> usize {
    let known = ["v1", "v2", "grpc-v1", "grpc-v2"];
    let place = |protocol: &Value| known.iter().position(|other| protocol == other).unwrap_or(known.len());
    runtime.items(&["spec", "protocolVersions"]).iter().map(place).min().unwrap_or(known.len())
}

#[cfg(test)]
mod tests {
    use purlin_sdk::serde_json::json;

    use super::*;

    const ASKED: Wanted<'_> = Wanted {
        format: "sklearn",
        version: "",
        protocol: "",
        runtime: "",
        multi_node: false,
        multi_model: false,
    };

    fn runtime(kind: &str, name: &str, format: Value, protocols: Value) -> Value {
        json!({
            "apiVersion": V1ALPHA1, "kind": kind, "metadata": {"name": name},
            "spec": {"supportedModelFormats": [format], "protocolVersions": protocols},
        })
    }

    fn sklearn(priority: i64) -> Value {
        json!({"name": "sklearn", "version": "1", "autoSelect": true, "priority": priority})
    }

    fn chosen(wanted: Wanted<'_>, related: &[Value]) -> String {
        match select(wanted, related) {
            Ok(Found::Runtime(runtime)) => runtime.name().to_owned(),
            Ok(Found::Format) => "format".to_owned(),
            Err(refusal) => refusal.reason.to_owned(),
        }
    }

    #[test]
    fn a_namespace_goes_before_the_cluster_and_priority_before_age() {
        let mut related = vec![
            runtime("ClusterServingRuntime", "low", sklearn(1), json!(["v1"])),
            runtime("ClusterServingRuntime", "high", sklearn(2), json!(["v1", "v2"])),
        ];
        assert_eq!(chosen(ASKED, &related), "high");
        let newest = |mut runtime: Value, time: &str| {
            runtime["metadata"]["creationTimestamp"] = time.into();
            runtime
        };
        related.push(newest(
            runtime("ClusterServingRuntime", "newer", sklearn(2), json!(["v1"])),
            "2026-01-01T00:00:00Z",
        ));
        assert_eq!(chosen(ASKED, &related), "newer");
        related.push(runtime("ServingRuntime", "own", sklearn(1), json!([])));
        assert_eq!(chosen(ASKED, &related), "own");
    }

    #[test]
    fn only_those_that_offer_themselves_are_taken_unasked() {
        let manual = json!({"name": "sklearn", "version": "1"});
        let related = [
            runtime("ClusterServingRuntime", "manual", manual, json!(["v1"])),
            runtime("ClusterServingRuntime", "v2-only", sklearn(1), json!(["v2"])),
        ];
        assert_eq!(chosen(ASKED, &related), "format");
        assert_eq!(chosen(Wanted { protocol: "v2", ..ASKED }, &related), "v2-only");
        assert_eq!(chosen(Wanted { runtime: "manual", ..ASKED }, &related), "manual");
        assert_eq!(chosen(Wanted { version: "2", protocol: "v2", ..ASKED }, &related), "format");
    }

    #[test]
    fn a_named_runtime_has_to_fit() {
        let mut disabled = runtime("ServingRuntime", "off", sklearn(1), json!(["v1"]));
        disabled["spec"]["disabled"] = true.into();
        let related = [disabled, runtime("ServingRuntime", "v1", sklearn(1), json!(["v1"]))];
        let named = |runtime| Wanted { runtime, ..ASKED };
        assert_eq!(chosen(named("off"), &related), "RuntimeDisabled");
        assert_eq!(chosen(named("gone"), &related), "RuntimeNotRecognized");
        assert_eq!(chosen(Wanted { protocol: "v2", ..named("v1") }, &related), "NoSupportingRuntime");
        assert_eq!(chosen(Wanted { format: "onnx", ..named("v1") }, &related), "NoSupportingRuntime");
        assert_eq!(chosen(named("kserve-mlserver"), &related), "format");
    }

    #[test]
    fn models_that_share_a_server_have_runtimes_of_their_own() {
        let multi = |name: &str, more: Value| {
            let mut runtime = runtime("ServingRuntime", name, sklearn(1), json!(["grpc-v2"]));
            runtime["spec"]["multiModel"] = true.into();
            for (field, value) in more.as_object().into_iter().flatten() {
                runtime["spec"][field] = value.clone();
            }
            runtime
        };
        let single = runtime("ServingRuntime", "single", sklearn(9), json!([]));
        let known = multi(
            "known",
            json!({"builtInAdapter": {"serverType": "mlserver"}, "grpcEndpoint": "port:8085"}),
        );
        let told = multi("told", json!({"grpcEndpoint": "port:8085"}));
        let mut related = vec![single, known, told];
        let shared = Wanted { multi_model: true, ..ASKED };
        assert_eq!(chosen(ASKED, &related), "single");
        assert_eq!(chosen(shared, &related), "format");
        let named = |runtime| Wanted { runtime, ..shared };
        assert_eq!(chosen(named("single"), &related), "RuntimeNotRecognized");
        assert_eq!(chosen(named("known"), &related), "format");
        assert_eq!(chosen(named("told"), &related), "NoSupportingRuntime");
        assert_eq!(chosen(named("mlserver-1.x"), &related), "format");
        assert_eq!(chosen(named("gone"), &related), "RuntimeNotRecognized");
        related.push(multi("own", json!({})));
        assert_eq!(chosen(shared, &related), "own");
        assert_eq!(chosen(Wanted { protocol: "v1", ..shared }, &related), "format");
        assert_eq!(chosen(ASKED, &related), "single");
    }
}
