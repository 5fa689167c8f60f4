//! Every manifest is accepted whole by the definition that this plugin brings, and every child is accepted whole by those of
//! the generic kinds.

#[path = "../../dialect-kserve/tests/world/mod.rs"]
mod world;

use dialect_modelmesh::ModelMesh as Subject;
use purlin_sdk::Object as _;
use purlin_sdk::serde_json::json;
use world::schema::{definitions, faults_of, schema};
use world::{World, documents, folder};

#[test]
fn manifests_children_and_statuses_fit_their_definitions() {
    let definitions = definitions();
    for file in folder("modelmesh") {
        let mut world = World::willing();
        for object in documents(&file) {
            assert_eq!(faults_of(&definitions, &object), [""; 0], "{}", file.display());
            world.apply(object);
        }
        world.settle();
        // A spec that cannot be served, for the status of that.
        for name in world.of_kind("Predictor").into_iter().map(str::to_owned).collect::<Vec<_>>() {
            world
                .edit("Predictor", &name, |predictor| predictor["spec"]["runtime"] = json!({"name": "gone"}));
        }
        world.settle();
        for object in world.objects() {
            let mut object = object.clone();
            // The world's own reports are not complete conditions.
            if object["kind"] != "Predictor" {
                object["status"] = json!({});
            }
            assert_eq!(faults_of(&definitions, &object), [""; 0], "{}", file.display());
        }
    }
}

#[test]
fn columns_and_defaults_are_those_of_modelmesh() {
    let definitions = definitions();
    let crd = definitions
        .iter()
        .find(|crd| crd.text(&["spec", "names", "kind"]) == "Predictor")
        .expect("Predictor");
    let columns = crd["spec"]["versions"][0].items(&["additionalPrinterColumns"]).iter();
    let columns: Vec<_> = columns.map(|column| column.text(&["name"])).collect();
    assert_eq!(columns, ["Type", "Available", "ActiveModel", "TargetModel", "Transition", "Age"]);
    let object = json!({"apiVersion": "serving.kserve.io/v1alpha1", "kind": "Predictor"});
    let status = &schema(&definitions, &object).expect("its schema")["properties"]["status"];
    assert_eq!(
        status["default"],
        json!({
            "transitionStatus": "UpToDate", "activeModelState": "Pending", "targetModelState": "", "available": false,
            "failedCopies": 0, "totalCopies": 0,
        })
    );
}
