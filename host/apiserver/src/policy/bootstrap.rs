//! The default roles and bindings, as a real server has them (`scripts/policy-facts.py` wrote `defaults.json`).
//!
//! At every start what is missing is made again, and rules and subjects that were taken out of what is there are put
//! back, unless its annotation `rbac.authorization.kubernetes.io/autoupdate` is `false`. What was added stays. Those of
//! a cluster's own components, which do not run here, are left out.

use futures::future::try_join_all;
use serde_json::{Value, json};

use crate::auth::rbac::{GROUP, Rule, missing};
use crate::catalogue::Resource;
use crate::engine::delete::DeleteOptions;
use crate::engine::{Engine, Intent};
use crate::status::ApiError;

const DEFAULTS: &str = include_str!("defaults.json");
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Makes what is missing.
///
/// # Errors
/// When the store refuses a write.
pub(crate) async fn ensure(engine: &Engine) -> Result<(), ApiError> {
    let defaults: Vec<Value> = serde_json::from_str(DEFAULTS).map_err(ApiError::internal)?;
    // Written together, they are committed together.
    try_join_all(defaults.into_iter().map(|wanted| one(engine, wanted))).await.map(drop)
}

async fn one(engine: &Engine, mut wanted: Value) -> Result<(), ApiError> {
    let kind = wanted["kind"].as_str().unwrap_or_default();
    let Some(resource) = engine.catalogue.by_kind(GROUP, "v1", kind) else { return Ok(()) };
    let name = wanted["metadata"]["name"].as_str().unwrap_or_default().to_owned();
    wanted["metadata"]["labels"]["kubernetes.io/bootstrapping"] = "rbac-defaults".into();
    wanted["metadata"]["annotations"] = json!({AUTOUPDATE: "true"});
    let Some(stored) = engine.store.get(&resource.table, "", &name) else {
        return create(engine, &resource, wanted).await;
    };
    let found = engine.value_as(&resource, &stored)?;
    if found["metadata"]["annotations"][AUTOUPDATE] == "false" || stored.facts.terminating {
        return Ok(());
    }
    if found["roleRef"] != wanted["roleRef"] {
        // What a binding gives cannot be changed.
        engine.delete(&resource, "", &name, &DeleteOptions::default()).await?;
        return create(engine, &resource, wanted).await;
    }
    let mended = mended(&found, &wanted);
    if mended == found {
        return Ok(());
    }
    engine.replace(&resource, &stored, mended, &intent()).await.map(drop)
}

async fn create(engine: &Engine, resource: &Resource, wanted: Value) -> Result<(), ApiError> {
    engine.create(resource, "", wanted, &intent()).await.map(drop)
}

fn intent() -> Intent {
    Intent::internal("purlin")
}

/// `found` with what of `wanted` it lacks.
fn mended(found: &Value, wanted: &Value) -> Value {
    let mut mended = found.clone();
    for part in ["labels", "annotations"] {
        for (key, value) in wanted["metadata"][part].as_object().into_iter().flatten() {
            mended["metadata"][part][key] = value.clone();
        }
    }
    add(&mut mended["subjects"], &wanted["subjects"]);
    add(
        &mut mended["aggregationRule"]["clusterRoleSelectors"],
        &wanted["aggregationRule"]["clusterRoleSelectors"],
    );
    if wanted["aggregationRule"].is_null() {
        let lacking = missing(&Rule::of(found), &Rule::of(wanted));
        add(&mut mended["rules"], &lacking.iter().map(Rule::value).collect());
    }
    if let Some(fields) = mended.as_object_mut() {
        fields.retain(|field, value| found.get(field).is_some() || !is_empty(value));
    }
    mended
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.values().all(is_empty),
        other => other.is_null(),
    }
}

fn add(list: &mut Value, wanted: &Value) {
    let lacking: Vec<Value> = wanted
        .as_array()
        .into_iter()
        .flatten()
        .filter(|one| !list.as_array().is_some_and(|list| list.contains(one)))
        .cloned()
        .collect();
    if lacking.is_empty() {
        return;
    }
    match list.as_array_mut() {
        Some(list) => list.extend(lacking),
        None => *list = lacking.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_and_what_is_missing_comes_back() {
        let role = |verbs: &[&str]| {
            json!({
                "kind": "ClusterRole", "metadata": {"name": "r", "labels": {"own": "x"}},
                "rules": [{"verbs": verbs, "apiGroups": [""], "resources": ["pods"]}],
            })
        };
        let mended = mended(&role(&["delete"]), &role(&["get", "list"]));
        assert_eq!(
            mended["rules"],
            json!([
                {"verbs": ["delete"], "apiGroups": [""], "resources": ["pods"]},
                {"verbs": ["get", "list"], "apiGroups": [""], "resources": ["pods"]},
            ])
        );
        let whole = role(&["*"]);
        assert_eq!(super::mended(&whole, &role(&["get"])), whole);
    }

    #[test]
    fn the_defaults_can_be_read() {
        let defaults: Vec<Value> = serde_json::from_str(DEFAULTS).expect("JSON");
        for name in ["cluster-admin", "admin", "edit", "view", "system:discovery", "system:basic-user"] {
            let is_it =
                |object: &&Value| object["metadata"]["name"] == name && object["kind"] == "ClusterRole";
            assert!(defaults.iter().any(|object| is_it(&object)), "{name}");
        }
    }
}
