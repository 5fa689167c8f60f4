//! A Predictor through its life: created, changed, a version that cannot be loaded, a spec that makes no sense, a runtime that
//! comes late.

#[path = "../../dialect-kserve/tests/world/mod.rs"]
mod world;

use dialect_modelmesh::ModelMesh as Subject;
use purlin_sdk::Object as _;
use purlin_sdk::serde_json::{Value, json};
use world::{World, documents, folder};

const NAME: &str = "example-onnx-mnist";

fn manifest(name: &str) -> Vec<Value> {
    let file = folder("modelmesh").into_iter().find(|file| file.file_stem().is_some_and(|stem| stem == name));
    documents(&file.unwrap_or_else(|| panic!("no manifest {name}")))
}

fn started() -> World {
    let mut world = World::default();
    manifest("onnx").into_iter().for_each(|object| world.apply(object));
    world.settle();
    world
}

fn status<'a>(world: &'a World, name: &str) -> &'a Value {
    &world.get("Predictor", name)["status"]
}

/// `available active target transition`
fn states(world: &World) -> String {
    let status = status(world, NAME);
    let text = |field: &str| status.text(&[field]).to_owned();
    let states = [text("activeModelState"), text("targetModelState"), text("transitionStatus")];
    format!("{} {}", status["available"], states.join("/"))
}

fn backend(world: &World) -> String {
    world.get("Route", NAME)["spec"]["backends"][0].text(&["model"]).to_owned()
}

/// The Model that is not this one.
fn other_than(world: &World, name: &str) -> String {
    let others: Vec<_> = world.of_kind("Model").into_iter().filter(|other| *other != name).collect();
    assert_eq!(others.len(), 1, "{others:?}");
    others[0].to_owned()
}

fn path(world: &mut World, path: &str) {
    world.edit("Predictor", NAME, |predictor| predictor["spec"]["path"] = path.into());
    world.settle();
}

#[test]
fn a_predictor_is_available_once_its_model_could_be_loaded() {
    let mut world = started();
    let model = world.of_kind("Model")[0].to_owned();
    assert!(model.starts_with("example-onnx-mnist-ksp-"), "{model}");
    assert_eq!(states(&world), "false Pending//UpToDate");
    assert_eq!(backend(&world), model);
    let route = &world.get("Route", NAME)["spec"];
    assert_eq!(route["sharedHosts"][0], "modelmesh-serving.default.");
    assert_eq!(route["modelHeader"], "mm-vmodel-id");
    let spec = &world.get("Model", &model)["spec"];
    assert_eq!(spec["modelName"], NAME);
    let source =
        json!({"uri": "s3:///onnx/mnist.onnx", "secret": "storage-config", "secretKey": "localMinIO"});
    assert_eq!(spec["source"], source);
    world.set_ready(&model);
    world.settle();
    assert_eq!(states(&world), "true Loaded//UpToDate");
    let status = status(&world, NAME);
    assert_eq!(status["grpcEndpoint"], "grpc://modelmesh-serving.default.localhost:8085");
    assert_eq!(status["httpEndpoint"], "http://modelmesh-serving.default.localhost:8085");
    assert_eq!((&status["totalCopies"], &status["failedCopies"]), (&json!(1), &json!(0)));
    assert_eq!(status.get("lastFailureInfo"), None);
    assert!(world.events.contains(&format!("PredictorAvailable: Predictor {NAME} answers")));
}

#[test]
fn requests_move_once_the_new_version_can_answer_and_not_before() {
    let mut world = started();
    let first = world.of_kind("Model")[0].to_owned();
    world.set_ready(&first);
    world.settle();
    path(&mut world, "onnx/other.onnx");
    let second = other_than(&world, &first);
    assert_eq!(
        (backend(&world), states(&world)),
        (first.clone(), "true Loaded/Pending/InProgress".to_owned())
    );
    world.set_ready(&second);
    world.settle();
    assert_eq!((backend(&world), states(&world)), (second.clone(), "true Loaded//UpToDate".to_owned()));
    assert_eq!(world.of_kind("Model"), [second.as_str()]);
    // The same spec is the same Model.
    path(&mut world, "onnx/mnist.onnx");
    assert_eq!(other_than(&world, &second), first);
}

#[test]
fn a_version_that_cannot_be_loaded_takes_nothing_away() {
    let mut world = started();
    let first = world.of_kind("Model")[0].to_owned();
    world.set_ready(&first);
    world.settle();
    path(&mut world, "nowhere");
    let second = other_than(&world, &first);
    world.set_failed(&second);
    world.settle();
    assert_eq!(states(&world), "true Loaded/FailedToLoad/BlockedByFailedLoad");
    assert_eq!(backend(&world), first);
    let info = &status(&world, NAME)["lastFailureInfo"];
    assert_eq!((info.text(&["reason"]), info.text(&["modelId"])), ("ModelLoadFailed", second.as_str()));
    assert_eq!(status(&world, NAME)["failedCopies"], 1);
    path(&mut world, "onnx/mnist.onnx");
    assert_eq!(states(&world), "true Loaded//UpToDate");
    assert_eq!(world.of_kind("Model"), [first.as_str()]);
}

#[test]
fn a_first_version_that_fails_is_given_up_for_the_next() {
    let mut world = started();
    let first = world.of_kind("Model")[0].to_owned();
    world.set_failed(&first);
    world.settle();
    assert_eq!(states(&world), "false FailedToLoad//UpToDate");
    path(&mut world, "onnx/right.onnx");
    assert_eq!(states(&world), "false Pending//UpToDate");
    assert_eq!(other_than(&world, &first), backend(&world));
}

#[test]
fn a_spec_that_makes_no_sense_says_so_and_takes_nothing_away() {
    let mut world = started();
    let first = world.of_kind("Model")[0].to_owned();
    world.set_ready(&first);
    world.settle();
    world.edit("Predictor", NAME, |predictor| predictor["spec"]["storage"]["path"] = "b".into());
    world.settle();
    assert_eq!(states(&world), "true Loaded//InvalidSpec");
    let info = &status(&world, NAME)["lastFailureInfo"];
    assert_eq!(info["reason"], "InvalidPredictorSpec");
    assert!(info.text(&["message"]).starts_with("spec.storage.path: \"b\": only one of"), "{info}");
    assert_eq!((world.of_kind("Model"), backend(&world)), (vec![first.as_str()], first.clone()));
    world.edit("Predictor", NAME, |predictor| predictor["spec"]["path"] = Value::Null);
    world.settle();
    let info = &status(&world, NAME)["lastFailureInfo"];
    assert!(
        info.text(&["message"]).starts_with("spec.storage.path: \"b\": spec.storage.s3 cannot"),
        "{info}"
    );
}

#[test]
fn a_runtime_that_is_not_there_is_waited_for() {
    let mut world = World::willing();
    let objects = manifest("runtime");
    for object in objects.iter().filter(|object| object["kind"] == "Predictor") {
        let mut object = object.clone();
        if object.name() == "scored" {
            object["spec"]["runtime"] = json!({"name": "own"});
        }
        world.apply(object);
    }
    world.settle();
    let scored = status(&world, "scored");
    assert_eq!(
        (scored.text(&["activeModelState"]), scored.text(&["lastFailureInfo", "reason"])),
        ("FailedToLoad", "RuntimeNotRecognized")
    );
    // One that ModelMesh brings along need not be there: the format says enough.
    assert_eq!(status(&world, "by-name")["available"], true);
    objects
        .into_iter()
        .filter(|object| object["kind"] == "ServingRuntime")
        .for_each(|object| world.apply(object));
    world.settle();
    assert_eq!(status(&world, "scored")["available"], true);
    let of = |name: &str| {
        let models = world.of_kind("Model");
        let model = models.into_iter().find(|model| model.starts_with(name)).expect("its Model").to_owned();
        world.get("Model", &model)["spec"].clone()
    };
    let container = &of("scored")["container"]["template"]["spec"]["containers"][0];
    assert_eq!(container["args"], json!(["--model_name=scored"]));
    assert_eq!(of("scored")["scaling"]["idleSeconds"], 60);
    assert_eq!(of("by-name")["format"], json!({"name": "sklearn"}));
}

#[test]
fn what_has_no_effect_is_told_once() {
    let mut world = World::willing();
    manifest("sklearn").into_iter().for_each(|object| world.apply(object));
    world.settle();
    let told: Vec<_> = world.events.iter().filter(|event| event.starts_with("NoEffect")).collect();
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("spec.storage.schemaPath"), "{told:?}");
}
