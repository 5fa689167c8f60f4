use serde_json::json;

use super::*;
use crate::auth::Wanted;
use crate::store::{Change, Draft, Key};

const ROLES: &str = "rbac.authorization.k8s.io/roles";
const BINDINGS: &str = "rbac.authorization.k8s.io/rolebindings";

async fn put(store: &Store, table: &str, name: &str, mut object: serde_json::Value) {
    object["metadata"] = json!({"name": name, "namespace": "ns"});
    let draft = Draft::new(&object).expect("an object");
    store.write(Key::new(table, "ns", name), Change::Create(draft)).await.expect("written");
}

fn asked(resource: &str) -> Attributes<'_> {
    Attributes {
        verb: "get",
        wanted: Wanted::Resource { group: "", resource, subresource: "", namespace: "ns", name: "x" },
    }
}

#[tokio::test]
async fn what_is_written_holds_at_once_and_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.db");
    let alice = Identity { user: "alice".into(), ..Identity::default() };
    let store = Store::open(&path).expect("opened");
    let rbac = Rbac::new(store.clone());
    assert!(!rbac.allows(&alice, &asked("pods")));
    let rules = json!([{"verbs": ["get"], "apiGroups": [""], "resources": ["pods"]}]);
    put(&store, ROLES, "r", json!({"rules": rules})).await;
    let subjects = json!([{"kind": "User", "name": "alice"}]);
    put(&store, BINDINGS, "b", json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": subjects})).await;
    assert!(rbac.allows(&alice, &asked("pods")) && !rbac.allows(&alice, &asked("secrets")));
    // More changes than the history keeps: the table is read anew.
    let names: Vec<String> = (0..PAGE * 10).map(|number| format!("other-{number}")).collect();
    futures::future::join_all(names.iter().map(|name| put(&store, ROLES, name, json!({"rules": []})))).await;
    assert!(rbac.allows(&alice, &asked("pods")));
    let revision = store.get(BINDINGS, "ns", "b").expect("the binding").revision;
    let gone = Change::Remove { expected: revision };
    store.write(Key::new(BINDINGS, "ns", "b"), gone).await.expect("removed");
    assert!(!rbac.allows(&alice, &asked("pods")));
    let again = Rbac::new(store);
    assert!(!again.allows(&alice, &asked("pods")));
}

#[tokio::test]
async fn two_groups_need_no_rule() {
    let folder = tempfile::tempdir().expect("a folder");
    let rbac = Rbac::new(Store::open(&folder.path().join("store.db")).expect("opened"));
    assert!(rbac.allows(&Identity::admin(), &asked("secrets")));
    assert!(rbac.allows(&Identity::component("kernel"), &asked("secrets")));
    assert!(!rbac.allows(&Identity::service_account("ns", "default", ""), &asked("secrets")));
    assert!(!rbac.allows(&Identity::anonymous(), &asked("secrets")));
}
