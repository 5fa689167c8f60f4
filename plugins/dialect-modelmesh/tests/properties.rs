//! Whatever a Predictor looks like, the answer is an answer, the same each time, and carried out it is the end of it.

use dialect_modelmesh::ModelMesh;
use proptest::prelude::*;
use purlin_sdk::serde_json::{Map, Value, json};
use purlin_sdk::{Context, Dialect as _, SyncRequest};

fn any_json() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("s3".to_owned()),
        Just("True".to_owned()),
        Just("{{.Name".to_owned()),
        Just(String::new()),
        ".{0,12}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text.prop_map(Value::from)
    ];
    let name = prop::sample::select(vec![
        "modelType",
        "name",
        "version",
        "path",
        "storage",
        "s3",
        "secretKey",
        "bucket",
        "key",
        "parameters",
        "type",
        "runtime",
        "persistentVolumeClaim",
        "claimName",
        "containers",
        "spec",
        "status",
        "metadata",
        "backends",
        "model",
        "conditions",
    ]);
    leaf.prop_recursive(4, 32, 4, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::vec((name.clone(), inner), 0..6).prop_map(|fields| {
                Value::Object(
                    fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect::<Map<_, _>>(),
                )
            }),
        ]
    })
}

/// A spec that comes through, and what may be in place of a part of it.
fn any_spec() -> impl Strategy<Value = Value> {
    let whole = json!({"modelType": {"name": "onnx"}, "path": "a", "storage": {"s3": {"secretKey": "k", "bucket": "b"}}});
    let part = prop::sample::select(vec![
        "/modelType",
        "/modelType/name",
        "/path",
        "/storage",
        "/storage/s3",
        "/storage/s3/bucket",
    ]);
    prop_oneof![
        any_json(),
        (part, any_json()).prop_map(move |(path, value)| {
            let mut spec = whole.clone();
            if let Some(place) = spec.pointer_mut(path) {
                *place = value;
            }
            spec
        }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn any_predictor_is_answered(
        spec in any_spec(), status in any_json(), child in any_json(), runtime in any_json(), config in ".{0,20}",
    ) {
        let with = |kind: &str, spec: &Value| {
            let version = if kind == "ServingRuntime" { "serving.kserve.io/v1alpha1" } else { "purlin.dev/v1alpha1" };
            json!({"apiVersion": version, "kind": kind, "metadata": {"name": "some"}, "spec": spec, "status": spec})
        };
        let request = SyncRequest {
            context: Context { now_ms: 0, seed: 0, config },
            parent: json!({
                "apiVersion": "serving.kserve.io/v1alpha1", "kind": "Predictor",
                "metadata": {"name": "some", "namespace": "default"}, "spec": spec, "status": status,
            }),
            children: vec![with("Model", &child), with("Route", &child)],
            related: vec![with("ServingRuntime", &runtime)],
        };
        let answer = ModelMesh::sync(&request);
        prop_assert_eq!(&answer, &ModelMesh::sync(&request));
        let answer = answer.expect("an answer");
        let mut later = request.clone();
        later.parent["status"] = answer.status.clone().expect("a status");
        later.context.now_ms += 3_600_000;
        let again = ModelMesh::sync(&later).expect("an answer");
        prop_assert_eq!(&answer.status, &again.status);
        prop_assert_eq!(&answer.children, &again.children);
    }
}
