//! Whatever an object looks like, the answer is an answer or a fault, the same each time.

mod world;

use dialect_kserve::KServe as Subject;
use proptest::prelude::*;
use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Context, Dialect as _, SyncRequest};
use world::{World, documents, manifests};

/// Every parent of the manifests, as the kernel would send it once all is settled.
fn requests() -> Vec<SyncRequest> {
    let mut requests = Vec::new();
    for file in manifests() {
        let mut world = World::willing();
        let objects = documents(&file);
        objects.iter().cloned().for_each(|object| world.apply(object));
        world.settle();
        for object in &objects {
            let key = (
                object["kind"].as_str().unwrap_or_default().to_owned(),
                purlin_sdk::Object::name(object).to_owned(),
            );
            requests.push(world.request(&key));
        }
    }
    requests
}

/// Paths of everything in a document.
fn pointers(value: &Value, path: &str, found: &mut Vec<String>) {
    found.push(path.to_owned());
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, field)| {
            pointers(field, &format!("{path}/{}", name.replace('~', "~0").replace('/', "~1")), found);
        }),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, item)| pointers(item, &format!("{path}/{index}"), found));
        }
        _ => {}
    }
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        (-5_i64..200).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        prop_oneof![
            Just("{{.Name}}"),
            Just("{{"),
            Just("hf://"),
            Just("--"),
            Just("é-predictor-00001"),
            Just("")
        ]
        .prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
    ];
    let name = prop_oneof![
        Just("name"),
        Just("model"),
        Just("sklearn"),
        Just("containers"),
        Just("args"),
        Just("env"),
        Just("storage"),
        Just("spec"),
        Just("minReplicas"),
        Just("metadata"),
        Just("conditions"),
    ];
    leaf.prop_recursive(3, 24, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..4).prop_map(|fields| {
                Value::Object(
                    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

/// Replaces one place of an object; what makes it the kind that it is stays.
fn damage(object: &mut Value, place: prop::sample::Index, with: Value) {
    let mut found = Vec::new();
    pointers(object, "", &mut found);
    found.retain(|path| !path.is_empty() && path != "/kind" && path != "/apiVersion");
    if found.is_empty() {
        return;
    }
    let path = place.get(&found).clone();
    if let Some(value) = object.pointer_mut(&path) {
        *value = with;
    }
}

fn asks(request: &SyncRequest) {
    let first = Subject::sync(request);
    assert_eq!(first, Subject::sync(request), "the same request gave another answer");
    let _ = Subject::related(&request.context, &request.parent);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_damaged_object_is_answered(
        damages in prop::collection::vec((0..3_usize, any::<prop::sample::Index>(), any::<prop::sample::Index>(), any_json()), 1..4),
    ) {
        thread_local!(static REQUESTS: Vec<SyncRequest> = requests());
        REQUESTS.with(|requests| {
            for request in requests {
                let mut request = request.clone();
                for (which, item, place, with) in &damages {
                    let objects = match which {
                        0 => std::slice::from_mut(&mut request.parent),
                        1 => request.children.as_mut_slice(),
                        _ => request.related.as_mut_slice(),
                    };
                    if !objects.is_empty() {
                        damage(&mut objects[item.index(objects.len())], *place, with.clone());
                    }
                }
                asks(&request);
            }
        });
    }

    #[test]
    fn any_spec_is_answered(spec in any_json(), status in any_json(), kind in 0..7_usize) {
        let (version, kind) = [
            ("v1beta1", "InferenceService"), ("v1alpha1", "TrainedModel"), ("v1alpha1", "InferenceGraph"),
            ("v1alpha1", "LLMInferenceService"), ("v1alpha2", "LLMInferenceService"), ("v1alpha1", "ServingRuntime"),
            ("v1alpha2", "LLMInferenceServiceConfig"),
        ][kind];
        let parent = json!({
            "apiVersion": format!("serving.kserve.io/{version}"), "kind": kind,
            "metadata": {"name": "some", "namespace": "default", "generation": 1}, "spec": spec, "status": status,
        });
        let context = Context { now_ms: 0, seed: 0, config: "{}".to_owned() };
        asks(&SyncRequest { context, parent, children: Vec::new(), related: Vec::new() });
    }
}
