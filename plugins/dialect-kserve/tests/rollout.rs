//! A service through its life: created, changed, a canary, taken back, a bad revision, and more than one part.

mod world;

use std::path::Path;

use dialect_kserve::KServe as Subject;
use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Value, json};
use world::{World, documents};

const SERVICE: &str = "sklearn-iris";

fn manifest(name: &str) -> Vec<Value> {
    documents(
        &Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../../tests/manifests/kserve/{name}.yaml")),
    )
}

fn started() -> World {
    let mut world = World::default();
    manifest("sklearn-v1").into_iter().for_each(|object| world.apply(object));
    world
}

fn revision(number: u32) -> String {
    format!("{SERVICE}-predictor-{number:05}")
}

fn predictor(world: &mut World, change: impl FnOnce(&mut Value)) {
    world.edit("InferenceService", SERVICE, |service| change(&mut service["spec"]["predictor"]));
}

fn another_model(world: &mut World, uri: &str) {
    predictor(world, |predictor| predictor["model"]["storageUri"] = uri.into());
}

/// `revision:percent` of the status, in order.
fn traffic(world: &World) -> Vec<String> {
    let service = world.get("InferenceService", SERVICE);
    let shares = service.items(&["status", "components", "predictor", "traffic"]).iter();
    shares.map(|share| format!("{}:{}", share.text(&["revisionName"]), share["percent"])).collect()
}

/// The same of a Route.
fn backends(world: &World, route: &str) -> Vec<String> {
    let shares = world.get("Route", route).items(&["spec", "backends"]).iter();
    shares.map(|share| format!("{}:{}", share.text(&["model"]), share["weight"])).collect()
}

fn shares(of: &[(u32, u32)]) -> Vec<String> {
    of.iter().map(|(number, percent)| format!("{}:{percent}", revision(*number))).collect()
}

fn condition(world: &World, kind: &str) -> String {
    let service = world.get("InferenceService", SERVICE);
    service.condition(kind).map(|entry| entry.text(&["status"]).to_owned()).unwrap_or_default()
}

fn said(world: &World, path: &[&str]) -> String {
    let path: Vec<&str> = std::iter::once("status").chain(path.iter().copied()).collect();
    world.get("InferenceService", SERVICE).text(&path).to_owned()
}

#[test]
fn a_service_is_ready_once_its_model_and_its_way_are() {
    let mut world = started();
    world.settle();
    assert_eq!(world.of_kind("Model"), [revision(1)]);
    assert_eq!(world.of_kind("Route"), [SERVICE.to_owned(), format!("{SERVICE}-predictor")]);
    assert_eq!(condition(&world, "Ready"), "Unknown");
    assert_eq!(said(&world, &["url"]), "");
    assert_eq!(said(&world, &["modelStatus", "transitionStatus"]), "InProgress");
    assert_eq!(backends(&world, SERVICE), shares(&[(1, 100)]));
    assert_eq!(traffic(&world), [""; 0]);

    world.set_ready(&revision(1));
    world.settle();
    for kind in [
        "Ready",
        "PredictorReady",
        "PredictorRouteReady",
        "PredictorConfigurationReady",
        "IngressReady",
        "RoutesReady",
        "LatestDeploymentReady",
    ] {
        assert_eq!(condition(&world, kind), "True", "{kind}");
    }
    assert_eq!(said(&world, &["url"]), "http://sklearn-iris.default.localhost:8085");
    assert_eq!(said(&world, &["address", "url"]), "http://sklearn-iris.default.svc.cluster.local");
    assert_eq!(said(&world, &["servingRuntimeName"]), "runtime-of-the-format");
    assert_eq!(said(&world, &["modelStatus", "states", "activeModelState"]), "Loaded");
    assert_eq!(said(&world, &["components", "predictor", "latestRolledoutRevision"]), revision(1));
    assert_eq!(traffic(&world), shares(&[(1, 100)]));
    assert!(world.events.contains(&format!("InferenceServiceReady: InferenceService [{SERVICE}] is Ready")));
}

#[test]
fn requests_move_once_the_new_revision_is_ready_and_not_before() {
    let mut world = started();
    world.settle();
    world.set_ready(&revision(1));
    world.settle();
    another_model(&mut world, "gs://models/2");
    world.settle();
    assert_eq!(world.of_kind("Model"), [revision(1), revision(2)]);
    assert_eq!(backends(&world, SERVICE), shares(&[(1, 100)]));
    assert_eq!(condition(&world, "Ready"), "Unknown", "the current spec is not served yet");
    assert_ne!(said(&world, &["url"]), "", "and the old one still is");

    world.set_ready(&revision(2));
    world.settle();
    assert_eq!(backends(&world, SERVICE), shares(&[(2, 100)]));
    assert_eq!(condition(&world, "Ready"), "True");
    assert_eq!(said(&world, &["components", "predictor", "previousRolledoutRevision"]), revision(1));
    let previous = world.get("Model", &revision(1));
    assert_eq!(previous["spec"]["scaling"]["minReplicas"], 0, "one to go back to takes nothing");
    assert_eq!(previous["spec"]["source"]["uri"], "gs://kfserving-examples/models/sklearn/1.0/model");
}

#[test]
fn a_canary_gets_its_share_is_promoted_and_taken_back() {
    let mut world = started();
    world.settle();
    world.set_ready(&revision(1));
    world.settle();
    predictor(&mut world, |predictor| {
        predictor["canaryTrafficPercent"] = 10.into();
        predictor["model"]["storageUri"] = "gs://models/2".into();
    });
    world.edit("InferenceService", SERVICE, |service| {
        service["metadata"]["annotations"]["serving.kserve.io/enable-tag-routing"] = "true".into();
    });
    world.settle();
    assert_eq!(traffic(&world), shares(&[(1, 100)]));
    world.set_ready(&revision(2));
    world.settle();
    assert_eq!(traffic(&world), shares(&[(2, 10), (1, 90)]));
    assert_eq!(backends(&world, &format!("{SERVICE}-predictor")), shares(&[(2, 10), (1, 90)]));
    let service = world.get("InferenceService", SERVICE);
    let share = |index: usize| &service["status"]["components"]["predictor"]["traffic"][index];
    assert_eq!((&share(0)["tag"], &share(0)["latestRevision"]), (&json!("latest"), &json!(true)));
    assert_eq!((&share(1)["tag"], &share(1)["latestRevision"]), (&json!("prev"), &json!(false)));
    assert_eq!(share(1)["url"], "http://prev-sklearn-iris-predictor.default.localhost:8085");
    assert_eq!(said(&world, &["components", "predictor", "latestRolledoutRevision"]), revision(1));
    assert_eq!(world.get("Model", &revision(1))["spec"]["scaling"]["minReplicas"], 1);

    predictor(&mut world, |predictor| predictor["canaryTrafficPercent"] = 50.into());
    world.settle();
    assert_eq!(traffic(&world), shares(&[(2, 50), (1, 50)]), "another share is no other revision");

    predictor(&mut world, |predictor| {
        drop(predictor.as_object_mut().expect("fields").remove("canaryTrafficPercent"))
    });
    world.settle();
    assert_eq!(traffic(&world), shares(&[(2, 100)]));
    assert_eq!(said(&world, &["components", "predictor", "latestRolledoutRevision"]), revision(2));
    assert_eq!(said(&world, &["components", "predictor", "previousRolledoutRevision"]), revision(1));

    predictor(&mut world, |predictor| predictor["canaryTrafficPercent"] = 0.into());
    world.settle();
    assert_eq!(traffic(&world), shares(&[(2, 0), (1, 100)]));
    assert_eq!(world.get("Model", &revision(1))["spec"]["scaling"]["minReplicas"], 1, "it serves again");

    // The next one is a canary of the revision that serves, not of the one that was taken back.
    another_model(&mut world, "gs://models/3");
    world.settle();
    assert_eq!(traffic(&world), shares(&[(2, 0), (1, 100)]));
    world.set_ready(&revision(3));
    world.settle();
    assert_eq!(traffic(&world), shares(&[(3, 0), (1, 100)]));
    predictor(&mut world, |predictor| predictor["canaryTrafficPercent"] = 100.into());
    world.settle();
    assert_eq!(traffic(&world), shares(&[(3, 100)]));
    assert_eq!(said(&world, &["components", "predictor", "previousRolledoutRevision"]), revision(1));
    assert_eq!(world.of_kind("Model"), [revision(1), revision(3)]);
}

#[test]
fn a_bad_revision_leaves_the_good_one_serving() {
    let mut world = started();
    world.settle();
    world.set_ready(&revision(1));
    world.settle();
    another_model(&mut world, "gs://models/broken");
    world.settle();
    world.set_failed(&revision(2));
    world.settle();
    assert_eq!(backends(&world, SERVICE), shares(&[(1, 100)]));
    assert_eq!(condition(&world, "PredictorReady"), "False");
    assert_eq!(condition(&world, "PredictorRouteReady"), "True");
    assert_eq!(said(&world, &["modelStatus", "transitionStatus"]), "BlockedByFailedLoad");
    assert_eq!(said(&world, &["modelStatus", "states", "activeModelState"]), "Loaded");
    assert_eq!(said(&world, &["modelStatus", "lastFailureInfo", "reason"]), "ModelLoadFailed");
    assert_eq!(said(&world, &["modelStatus", "lastFailureInfo", "modelRevisionName"]), revision(2));
    let failures = || world.events.iter().filter(|event| event.starts_with("ModelLoadFailed")).count();
    assert_eq!(failures(), 1, "it is told once");

    another_model(&mut world, "gs://models/3");
    world.settle();
    assert_eq!(world.of_kind("Model"), [revision(1), revision(3)], "nobody needs the broken one");
    world.set_ready(&revision(3));
    world.settle();
    assert_eq!(backends(&world, SERVICE), shares(&[(3, 100)]));
    assert_eq!(said(&world, &["modelStatus", "lastFailureInfo", "reason"]), "");
}

#[test]
fn a_revision_that_was_not_seen_yet_is_not_made_twice() {
    let mut world = started();
    world.round().expect("no fault");
    let key = ("InferenceService".to_owned(), SERVICE.to_owned());
    let mut request = world.request(&key);
    assert_eq!(request.children.len(), 3);
    request.children.clear();
    let answer = <Subject as purlin_sdk::Dialect>::sync(&request).expect("no fault");
    assert_eq!(answer.children[0].name(), revision(1));
}

#[test]
fn a_stopped_service_takes_nothing_and_starts_again() {
    let mut world = started();
    world.willing = true;
    world.settle();
    world.edit("InferenceService", SERVICE, |service| {
        service["metadata"]["annotations"]["serving.kserve.io/stop"] = "true".into();
    });
    world.settle();
    assert_eq!((world.of_kind("Model").len(), world.of_kind("Route").len()), (0, 0));
    assert_eq!(condition(&world, "Stopped"), "True");
    assert_eq!(condition(&world, "Ready"), "False");
    world.edit("InferenceService", SERVICE, |service| {
        service["metadata"]["annotations"]["serving.kserve.io/stop"] = "false".into();
    });
    world.settle();
    assert_eq!(condition(&world, "Ready"), "True");
}

#[test]
fn a_transformer_is_told_where_the_predictor_is() {
    let mut world = World::willing();
    manifest("transformer").into_iter().for_each(|object| world.apply(object));
    world.settle();
    let name = "torchserve-transformer";
    let args = |model: &str| {
        world.get("Model", model)["spec"]["container"]["template"]["spec"]["containers"][0]["args"]
            .to_string()
    };
    let transformer = args("torchserve-transformer-transformer");
    assert!(
        transformer.contains("127.0.0.1:8085/serving/default/torchserve-transformer-predictor"),
        "{transformer}"
    );
    assert!(args("torchserve-transformer-explainer").contains("/serving/default/torchserve-transformer\""));
    let route = world.get("Route", name);
    assert_eq!(route["spec"]["transformer"], "torchserve-transformer-transformer");
    assert_eq!(route["spec"]["explainer"], "torchserve-transformer-explainer");
    let service = world.get("InferenceService", name);
    for kind in
        ["Ready", "TransformerReady", "TransformerRouteReady", "ExplainerReady", "ExplainerRoutesReady"]
    {
        assert!(service.is_true(kind), "{kind}");
    }
    let model = format!("{name}-predictor-00001");
    assert_eq!(world.get("Model", &model)["spec"]["modelName"], "mnist", "the transformer's name for it");
}

#[test]
fn a_transformer_that_speaks_grpc_is_told_a_host_without_a_path() {
    let mut world = World::willing();
    for mut object in manifest("transformer") {
        let args = &mut object["spec"]["transformer"]["containers"][0]["args"];
        *args = json!(["--model_name=mnist", "--predictor_protocol", "grpc-v2"]);
        world.apply(object);
    }
    world.settle();
    let model = world.get("Model", "torchserve-transformer-transformer");
    let args = &model["spec"]["container"]["template"]["spec"]["containers"][0]["args"];
    let args: Vec<&str> = args.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let at = args.iter().position(|arg| *arg == "--predictor_host").unwrap();
    assert_eq!(args[at + 1], "torchserve-transformer-predictor.default.localhost:8085");
}

#[test]
fn a_transformer_that_is_added_takes_over_once_it_is_ready() {
    let mut world = started();
    world.willing = true;
    world.settle();
    world.willing = false;
    world.edit("InferenceService", SERVICE, |service| {
        service["spec"]["transformer"] = json!({"containers": [{"image": "transformer:1"}]});
    });
    world.settle();
    assert_eq!(world.get("Route", SERVICE)["spec"].get("transformer"), None);
    world.set_ready("sklearn-iris-transformer");
    world.settle();
    assert_eq!(world.get("Route", SERVICE)["spec"]["transformer"], "sklearn-iris-transformer");
    assert_eq!(condition(&world, "Ready"), "True");
}

#[test]
fn a_runtime_that_is_not_there_is_waited_for() {
    let mut world = started();
    world.willing = true;
    world.settle();
    predictor(&mut world, |predictor| predictor["model"]["runtime"] = "own".into());
    world.settle();
    assert_eq!(condition(&world, "Ready"), "False");
    assert_eq!(said(&world, &["modelStatus", "lastFailureInfo", "reason"]), "RuntimeNotRecognized");
    assert_eq!(backends(&world, SERVICE), shares(&[(1, 100)]), "what serves goes on");
    assert!(
        world.events.iter().any(|event| event.contains("spec.predictor.model.runtime")),
        "{:?}",
        world.events
    );
    world.apply(json!({
        "apiVersion": "serving.kserve.io/v1alpha1", "kind": "ServingRuntime", "metadata": {"name": "own"},
        "spec": {
            "supportedModelFormats": [{"name": "sklearn"}],
            "containers": [{"name": "kserve-container", "image": "own:1", "args": ["--name={{.Name}}"]}],
        },
    }));
    world.settle();
    assert_eq!(condition(&world, "Ready"), "True");
    let model = world.get("Model", &revision(2));
    assert_eq!(
        model["spec"]["container"]["template"]["spec"]["containers"][0]["args"],
        json!(["--name=sklearn-iris"])
    );
    assert_eq!(said(&world, &["servingRuntimeName"]), "own");
}

#[test]
fn trained_models_answer_beside_each_other() {
    let mut world = World::willing();
    manifest("trained-model").into_iter().for_each(|object| world.apply(object));
    world.settle();
    assert_eq!(world.get("Route", "triton-mms")["spec"]["models"], json!(["cifar10", "simple-string"]));
    let model = world.get("TrainedModel", "cifar10");
    for kind in
        ["Ready", "InferenceServiceReady", "FrameworkSupported", "MemoryResourceAvailable", "IsMMSPredictor"]
    {
        assert!(model.is_true(kind), "{kind}");
    }
    assert_eq!(model["status"]["url"], "http://triton-mms.default.localhost:8085/v2/models/cifar10/infer");

    // The service has 2Gi; one more of 1Gi does not fit, and takes nobody's room, whatever it is called.
    let third = json!({
        "apiVersion": model["apiVersion"], "kind": "TrainedModel", "metadata": {"name": "another"}, "spec": model["spec"],
    });
    world.apply(third);
    world.settle();
    assert_eq!(world.find("Model", "another"), None);
    assert_eq!(world.get("Route", "triton-mms")["spec"]["models"], json!(["cifar10", "simple-string"]));
    assert!(world.get("TrainedModel", "cifar10").is_true("Ready"));
    let third = world.get("TrainedModel", "another");
    assert_eq!(
        third.condition("MemoryResourceAvailable").map(|found| found.text(&["status"])),
        Some("False")
    );
    assert!(!third.is_true("Ready"));
}

#[test]
fn a_graph_is_ready_with_its_services_and_its_route() {
    let mut world = World::willing();
    manifest("graph-ensemble").into_iter().for_each(|object| world.apply(object));
    world.settle();
    let ready = world.get("InferenceGraph", "ensemble").condition("Ready").cloned().unwrap_or_default();
    assert_eq!((ready.text(&["status"]), ready.text(&["reason"])), ("False", "ServiceNotFound"));
    let field = "spec.nodes.models.steps[0].serviceName: \"sklearn-iris\": ";
    assert!(ready.text(&["message"]).starts_with(field), "{ready}");
    for name in ["feature-transformer", "sklearn-iris", "xgboost-iris"] {
        world.apply(json!({
            "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService", "metadata": {"name": name},
            "spec": {"predictor": {"onnx": {"storageUri": "s3://models/iris"}}},
        }));
    }
    world.settle();
    let graph = world.get("InferenceGraph", "ensemble");
    assert!(graph.is_true("Ready"));
    assert_eq!(graph["status"]["url"], "http://ensemble.default.localhost:8085");
    let nodes = &world.get("Route", "ensemble")["spec"]["graph"]["nodes"];
    assert_eq!(nodes["root"]["steps"][1], json!({"node": "models", "data": "response", "required": false}));
    assert_eq!(nodes["models"]["kind"], "ensemble");
}

#[test]
fn language_models_are_served_by_containers_or_by_their_format() {
    let mut world = World::willing();
    manifest("llm").into_iter().for_each(|object| world.apply(object));
    world.settle();
    let spec = |name: &str| &world.get("Model", &format!("{name}-kserve"))["spec"];
    let container = |name: &str| &spec(name)["container"]["template"]["spec"]["containers"][0];
    let own = container("facebook-opt-125m-single");
    assert_eq!(own["command"], json!(["vllm", "serve", "/mnt/models"]));
    assert_eq!(own["args"], json!(["--served-model-name", "facebook/opt-125m", "--port", "8000"]));
    assert_eq!(spec("facebook-opt-125m-single")["container"]["port"], 8000);
    world.edit("LLMInferenceService", "facebook-opt-125m-single", |service| {
        service["spec"]["template"]["containers"][0]["args"] = json!(["--port=9000", "--max-model-len=64"]);
    });
    world.settle();
    let spec = |name: &str| &world.get("Model", &format!("{name}-kserve"))["spec"];
    let container = |name: &str| &spec(name)["container"]["template"]["spec"]["containers"][0];
    let given = json!(["--served-model-name", "facebook/opt-125m", "--port=9000", "--max-model-len=64"]);
    assert_eq!(container("facebook-opt-125m-single")["args"], given, "each once");
    assert_eq!(spec("facebook-opt-125m-single")["container"]["port"], 9000);
    assert_eq!(spec("tiny-llama")["format"]["name"], "huggingface");
    assert_eq!(spec("tiny-llama")["scaling"]["minReplicas"], 2);
    let based = container("qwen2-7b");
    assert_eq!(based["command"], json!(["/bin/sh", "-c"]));
    assert!(based["args"][0].to_string().contains("Qwen/Qwen2.5-7B-Instruct"), "{based}");
    assert_eq!(based["resources"]["limits"]["nvidia.com/gpu"], "1");
    let service = world.get("LLMInferenceService", "qwen2-7b");
    for kind in ["Ready", "PresetsCombined", "WorkloadsReady", "RouterReady", "PrefillWorkloadReady"] {
        assert!(service.is_true(kind), "{kind}");
    }
    assert_eq!(service["status"]["appliedConfigs"][0]["name"], "vllm-base");
    // Its command listens in the place of the one that would have prompts read elsewhere.
    let told = world.events.iter().filter(|event| event.contains("no effect")).collect::<Vec<_>>();
    assert!(
        matches!(told.as_slice(), [one] if one.contains("spec.prefill") && one.contains("8001")),
        "{told:?}"
    );
    let reader = spec("qwen2-7b")["prefill"]["model"].as_str().unwrap_or_default().to_owned();
    let reads = &world.get("Model", &reader)["spec"]["container"]["template"]["spec"]["containers"][0];
    assert_eq!(reads["image"], based["image"], "the server of the part that writes");
    world.edit("LLMInferenceService", "qwen2-7b", |service| {
        service["spec"].as_object_mut().unwrap().remove("prefill");
    });
    world.settle();
    assert!(world.find("Model", &reader).is_none());
    assert!(world.get("Model", "qwen2-7b-kserve")["spec"].get("prefill").is_none());
    let service = world.get("LLMInferenceService", "qwen2-7b");
    assert!(service.is_true("Ready") && service.condition("PrefillWorkloadReady").is_none());
}

#[test]
fn services_of_a_mesh_share_an_address_and_are_loaded_by_need() {
    let mut world = World::default();
    manifest("modelmesh").into_iter().for_each(|object| world.apply(object));
    world.settle();
    let name = "example-onnx-isvc";
    let (first, second) = (format!("{name}-predictor-00001"), format!("{name}-predictor-00002"));
    let spec = &world.get("Model", &first)["spec"];
    assert_eq!(
        spec["scaling"],
        json!({
            "minReplicas": 0, "idleSeconds": 86_400, "maxReplicas": 0, "metric": "concurrency", "concurrency": 0,
        })
    );
    assert_eq!(spec["source"]["secretKey"], "localMinIO");
    let other = &world.get("Model", "example-sklearn-isvc-predictor-00001")["spec"]["source"];
    assert_eq!(other["uri"], "storage:///sklearn/mnist-svm.joblib");
    let route = &world.get("Route", name)["spec"];
    assert_eq!(route["sharedHosts"][0], "modelmesh-serving.default.");
    assert_eq!((route.get("hosts"), &route["modelHeader"]), (None, &json!("mm-vmodel-id")));

    let said =
        |world: &World, path: &[&str]| world.get("InferenceService", name)["status"].text(path).to_owned();
    let states = |world: &World| {
        let of = |field: &str| said(world, &["modelStatus", "states", field]);
        [of("activeModelState"), of("targetModelState"), said(world, &["modelStatus", "transitionStatus"])]
    };
    assert_eq!(states(&world), ["Pending", "", "UpToDate"]);
    assert_eq!(said(&world, &["url"]), "");
    world.set_ready(&first);
    world.settle();
    assert_eq!(states(&world), ["Loaded", "", "UpToDate"]);
    assert_eq!(said(&world, &["url"]), "grpc://modelmesh-serving.default.localhost:8085");
    assert_eq!(said(&world, &["components", "predictor", "grpcUrl"]), said(&world, &["url"]));
    assert_eq!(
        said(&world, &["components", "predictor", "restUrl"]),
        "http://modelmesh-serving.default.localhost:8085"
    );
    assert_eq!(said(&world, &["deploymentMode"]), "ModelMesh");
    let service = world.get("InferenceService", name);
    let kinds: Vec<_> =
        service.items(&["status", "conditions"]).iter().map(|one| one.text(&["type"])).collect();
    assert_eq!(kinds, ["PredictorReady", "Ready"]);
    assert!(service.is_true("Ready"));

    // A revision that cannot be loaded blocks, and what answers goes on.
    world.edit("InferenceService", name, |service| {
        service["spec"]["predictor"]["onnx"]["storageUri"] = "s3://nowhere/x".into();
    });
    world.settle();
    assert_eq!(states(&world), ["Loaded", "Pending", "InProgress"]);
    world.set_failed(&second);
    world.settle();
    assert_eq!(states(&world), ["Loaded", "FailedToLoad", "BlockedByFailedLoad"]);
    assert_eq!(said(&world, &["modelStatus", "lastFailureInfo", "modelRevisionName"]), second);
    assert!(world.get("InferenceService", name).is_true("Ready"));
}
