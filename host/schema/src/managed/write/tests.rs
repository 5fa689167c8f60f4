use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::builtin;

fn blank() -> &'static Value {
    static BLANK: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!({}));
    &BLANK
}

fn writer(manager: &str) -> Writer<'_> {
    Writer {
        manager,
        api_version: "v1",
        subresource: "",
        reset: &[],
        blank: blank(),
        now: "2026-01-01T00:00:00Z".parse().unwrap(),
    }
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "b"}, "data": data})
}

fn managers(object: &Value) -> Vec<(String, String, Value)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    object["metadata"]["managedFields"]
        .as_array()
        .map(|entries| {
            entries
                .iter()
                .map(|e| (text(&e["manager"]), text(&e["operation"]), e["fieldsV1"].clone()))
                .collect()
        })
        .unwrap_or_default()
}

fn schema() -> Option<Schema> {
    builtin::schema("", "v1", "ConfigMap")
}

#[test]
fn a_creation_owns_what_it_sets() {
    let made = update(None, config_map(json!({"k": "v"})), &writer("kubectl"), schema().as_ref());
    let fields = json!({"f:data": {".": {}, "f:k": {}}});
    assert_eq!(managers(&made), [("kubectl".to_owned(), "Update".to_owned(), fields)]);
}

#[test]
fn an_apply_owns_what_it_names_without_what_holds_it() {
    let made = apply(None, &config_map(json!({"k": "v"})), false, &writer("me"), schema().as_ref()).unwrap();
    assert_eq!(managers(&made), [("me".to_owned(), "Apply".to_owned(), json!({"f:data": {"f:k": {}}}))]);
}

#[test]
fn what_is_no_longer_applied_goes() {
    let schema = schema();
    let one =
        apply(None, &config_map(json!({"a": "1", "b": "2"})), false, &writer("me"), schema.as_ref()).unwrap();
    let two =
        apply(Some(&one), &config_map(json!({"a": "1"})), false, &writer("me"), schema.as_ref()).unwrap();
    assert_eq!(two["data"], json!({"a": "1"}));
}

#[test]
fn what_another_owns_too_stays() {
    let schema = schema();
    let one =
        apply(None, &config_map(json!({"a": "1", "b": "2"})), false, &writer("me"), schema.as_ref()).unwrap();
    let two =
        apply(Some(&one), &config_map(json!({"b": "2"})), false, &writer("you"), schema.as_ref()).unwrap();
    let three =
        apply(Some(&two), &config_map(json!({"a": "1"})), false, &writer("me"), schema.as_ref()).unwrap();
    assert_eq!(three["data"], json!({"a": "1", "b": "2"}));
}

#[test]
fn a_change_to_anothers_field_is_a_conflict_until_forced() {
    let schema = schema();
    let one = apply(None, &config_map(json!({"a": "1"})), false, &writer("me"), schema.as_ref()).unwrap();
    let error = apply(Some(&one), &config_map(json!({"a": "2"})), false, &writer("you"), schema.as_ref())
        .unwrap_err();
    assert_eq!(error.to_string(), r#"Apply failed with 1 conflict: conflict with "me": .data.a"#);
    let forced =
        apply(Some(&one), &config_map(json!({"a": "2"})), true, &writer("you"), schema.as_ref()).unwrap();
    assert_eq!(managers(&forced).len(), 1);
    assert_eq!(forced["data"]["a"], "2");
}

#[test]
fn items_of_a_map_list_go_whole() {
    let schema = builtin::schema("", "v1", "Pod");
    let pod = |names: &[&str]| {
        let containers: Vec<Value> = names.iter().map(|name| json!({"name": name, "image": "i"})).collect();
        json!({"metadata": {"name": "p"}, "spec": {"containers": containers}})
    };
    let one = apply(None, &pod(&["a", "b"]), false, &writer("me"), schema.as_ref()).unwrap();
    let mut defaulted = one.clone();
    defaulted["spec"]["containers"][1]["imagePullPolicy"] = json!("Always");
    let two = apply(Some(&defaulted), &pod(&["a"]), false, &writer("me"), schema.as_ref()).unwrap();
    assert_eq!(two["spec"]["containers"], json!([{"name": "a", "image": "i"}]));
}

#[test]
fn a_write_that_changes_nothing_keeps_the_times() {
    let schema = schema();
    let one = update(None, config_map(json!({"k": "v"})), &writer("kubectl"), schema.as_ref());
    let later = Writer { now: "2026-02-01T00:00:00Z".parse().unwrap(), ..writer("kubectl") };
    assert_eq!(update(Some(&one), one.clone(), &later, schema.as_ref()), one);
}

proptest! {
    #[test]
    fn applying_again_changes_nothing(data in prop::collection::btree_map("[a-d]", "[x-z]{0,2}", 0..4),
                                      before in prop::collection::btree_map("[a-d]", "[x-z]{0,2}", 0..4)) {
        let schema = schema();
        let live = update(None, config_map(json!(before)), &writer("other"), schema.as_ref());
        let once = apply(Some(&live), &config_map(json!(data)), true, &writer("me"), schema.as_ref()).unwrap();
        let later = Writer { now: "2026-02-01T00:00:00Z".parse().unwrap(), ..writer("me") };
        let twice = apply(Some(&once), &config_map(json!(data)), true, &later, schema.as_ref()).unwrap();
        prop_assert_eq!(once, twice);
    }

    #[test]
    fn applying_and_giving_up_gives_back(data in prop::collection::btree_map("[e-h]", "[x-z]{0,2}", 0..4),
                                         before in prop::collection::btree_map("[a-d]", "[x-z]{0,2}", 1..4)) {
        let schema = schema();
        let live = update(None, config_map(json!(before)), &writer("other"), schema.as_ref());
        let applied = apply(Some(&live), &config_map(json!(data)), false, &writer("me"), schema.as_ref()).unwrap();
        let nothing = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
        let back = apply(Some(&applied), &nothing, false, &writer("me"), schema.as_ref()).unwrap();
        prop_assert_eq!(back, live);
    }
}
