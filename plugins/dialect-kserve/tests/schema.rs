//! Every manifest is accepted whole by the definitions that this plugin brings, and every child is accepted whole by
//! those of the generic kinds.

mod world;

use dialect_kserve::KServe as Subject;
use purlin_sdk::Object as _;
use purlin_sdk::serde_json::json;
use world::schema::{definitions, faults_of, schema};
use world::{World, documents, manifests};

#[test]
fn manifests_children_and_statuses_fit_their_definitions() {
    let definitions = definitions();
    for file in manifests() {
        let mut world = World::willing();
        for object in documents(&file) {
            let known = schema(&definitions, &object).is_some();
            assert!(
                known || object["apiVersion"] == "v1",
                "{}: {} is unknown",
                file.display(),
                object["kind"]
            );
            assert_eq!(faults_of(&definitions, &object), [""; 0], "{}", file.display());
            world.apply(object);
        }
        world.settle();
        for object in world.objects() {
            // The world's own reports are not complete conditions.
            let mut object = object.clone();
            if object["apiVersion"] == "purlin.dev/v1alpha1" {
                object["status"] = json!({});
            }
            assert_eq!(faults_of(&definitions, &object), [""; 0], "{}", file.display());
        }
    }
}

#[test]
fn columns_and_names_are_those_of_kserve() {
    let definitions = definitions();
    let of_kind = |kind: &str| {
        definitions
            .iter()
            .find(|crd| crd.text(&["spec", "names", "kind"]) == kind)
            .unwrap_or_else(|| panic!("{kind}"))
    };
    let columns = |kind: &str| {
        let columns = of_kind(kind)["spec"]["versions"][0].items(&["additionalPrinterColumns"]).iter();
        columns.map(|column| column.text(&["name"]).to_owned()).collect::<Vec<_>>().join(" ")
    };
    let short = |kind: &str| of_kind(kind)["spec"]["names"]["shortNames"].clone();
    assert_eq!(short("InferenceService"), json!(["isvc"]));
    assert_eq!(short("TrainedModel"), json!(["tm"]));
    assert_eq!(short("InferenceGraph"), json!(["ig"]));
    assert_eq!(short("LLMInferenceService"), json!(["llmisvc"]));
    assert_eq!(of_kind("ClusterServingRuntime")["spec"]["scope"], "Cluster");
    assert_eq!(
        columns("InferenceService"),
        "URL Ready Prev Latest PrevRolledoutRevision LatestReadyRevision Age"
    );
    assert_eq!(columns("ServingRuntime"), "Disabled ModelType Containers Age");
    assert_eq!(columns("LLMInferenceService"), "URL Ready Reason Age URLs");
}
