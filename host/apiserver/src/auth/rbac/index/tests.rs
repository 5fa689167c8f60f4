use serde_json::json;

use super::*;

fn name(text: &str) -> Arc<str> {
    text.into()
}

fn role(resource: &str) -> Value {
    json!({"rules": [{"verbs": ["get"], "apiGroups": [""], "resources": [resource]}]})
}

fn binding(kind: &str, role: &str, subjects: Value) -> Value {
    json!({"roleRef": {"kind": kind, "name": role}, "subjects": subjects})
}

/// The resources that somebody may get, and what could not be found.
fn seen(index: &Index, identity: &Identity, namespace: &str) -> (Vec<String>, Vec<String>) {
    let (mut resources, mut errors) = (Vec::new(), Vec::new());
    index.visit(identity, namespace, |found| {
        match found {
            Ok((rule, source)) => resources.push(format!("{} by {source}", rule.resources[0])),
            Err(error) => errors.push(error.to_string()),
        }
        ControlFlow::<()>::Continue(())
    });
    (resources, errors)
}

#[test]
fn subjects_are_users_groups_and_accounts() {
    let mut index = Index::default();
    index.role(&name("ns"), &name("pods"), Some(&role("pods")));
    index.role(&name(""), &name("nodes"), Some(&role("nodes")));
    let subjects = json!([{"kind": "User", "name": "alice"}, {"kind": "ServiceAccount", "name": "robot"}]);
    index.binding(&name("ns"), &name("b"), Some(&binding("Role", "pods", subjects)));
    let subjects = json!([{"kind": "Group", "name": "ops"}]);
    index.binding(&name(""), &name("c"), Some(&binding("ClusterRole", "nodes", subjects)));

    let alice = Identity { user: "alice".into(), groups: vec!["ops".into()], ..Identity::default() };
    let nodes = "nodes by ClusterRoleBinding \"c\" of ClusterRole \"nodes\" to Group \"ops\"";
    let pods = "pods by RoleBinding \"b/ns\" of Role \"pods\" to User \"alice\"";
    assert_eq!(seen(&index, &alice, "ns").0, [nodes, pods]);
    assert_eq!(seen(&index, &alice, "other").0, [nodes]);
    assert_eq!(seen(&index, &alice, "").0, [nodes]);
    let robot = Identity::service_account("ns", "robot", "");
    let pods = "pods by RoleBinding \"b/ns\" of Role \"pods\" to ServiceAccount \"robot/ns\"";
    assert_eq!(seen(&index, &robot, "ns").0, [pods]);
    assert!(seen(&index, &Identity::service_account("other", "robot", ""), "ns").0.is_empty());
}

#[test]
fn a_binding_follows_its_role_and_its_own_changes() {
    let mut index = Index::default();
    let to = |user: &str| binding("Role", "r", json!([{"kind": "User", "name": user}]));
    let user = |user: &str| Identity { user: user.into(), ..Identity::default() };
    index.binding(&name("ns"), &name("b"), Some(&to("alice")));
    let unknown = ["role.rbac.authorization.k8s.io \"r\" not found"];
    assert_eq!(seen(&index, &user("alice"), "ns").1, unknown);
    index.role(&name("ns"), &name("r"), Some(&role("pods")));
    assert_eq!(seen(&index, &user("alice"), "ns").0.len(), 1);
    index.binding(&name("ns"), &name("b"), Some(&to("bob")));
    assert!(seen(&index, &user("alice"), "ns").0.is_empty());
    assert_eq!(seen(&index, &user("bob"), "ns").0.len(), 1);
    index.role(&name("ns"), &name("r"), None);
    assert_eq!(seen(&index, &user("bob"), "ns").1, unknown);
    index.binding(&name("ns"), &name("b"), None);
    assert_eq!(seen(&index, &user("bob"), "ns"), (Vec::new(), Vec::new()));
    assert!(index.scopes.is_empty(), "nothing is kept of what went");
}
