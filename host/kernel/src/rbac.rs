//! What the kernel has to be allowed in a cluster: what it needs for itself, and for each plugin what that plugin asks
//! for and was granted, no more. Pure; the objects are the ones that a person applies.
//!
//! Reading follows from watching: the kernel keeps every kind that it deals with in one cache, so it lists and watches
//! those in all namespaces. Writing is as narrow as the grant.

use std::collections::{BTreeMap, BTreeSet};

use kube::core::{ApiResource, GroupVersionKind};
use purlin_registry::capability::Access;
use purlin_registry::{Capability, Manifest};
use serde_json::{Value, json};

use crate::api::{GROUP, crds};

/// Who is to be allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The kernel's namespace.
    pub namespace: String,
    /// The ServiceAccount that the kernel runs as.
    pub service_account: String,
    /// Namespaces in which it may read Secrets: the credentials of models' sources, and the tokens of routes.
    pub secrets_in: Vec<String>,
}

/// A plugin, and what it was granted.
#[derive(Clone, Debug)]
pub struct Needs {
    /// What it says about itself.
    pub manifest: Manifest,
    /// What it was granted. What it did not ask for does not count.
    pub granted: Vec<Capability>,
}

/// What may be done with a kind.
type Verbs = BTreeSet<&'static str>;

/// Rules in the making: by namespace (empty for all), group and resource.
#[derive(Default)]
struct Rules(BTreeMap<String, BTreeMap<(String, String), Verbs>>);

impl Rules {
    fn allow(&mut self, namespace: &str, group: &str, resource: &str, verbs: &[&'static str]) {
        let rules = self.0.entry(namespace.to_owned()).or_default();
        rules.entry((group.to_owned(), resource.to_owned())).or_default().extend(verbs);
    }
}

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "get", "patch"];

/// ServiceAccount, roles and bindings for the kernel with these plugins. `install_definitions` says that the kernel
/// installs its own CustomResourceDefinitions.
pub fn manifests(subject: &Subject, install_definitions: bool, plugins: &[Needs]) -> Vec<Value> {
    let mut rules = Rules::default();
    let mut named = Vec::new();
    own(&mut rules, subject, install_definitions, &mut named);
    // In an order that does not change with a plugin's content, so that what is applied differs where rights do.
    let mut plugins: Vec<&Needs> = plugins.iter().collect();
    plugins.sort_by_key(|plugin| &plugin.manifest.name);
    for plugin in plugins {
        of_plugin(&mut rules, plugin, &mut named);
    }
    let name = &subject.service_account;
    let subjects = json!([{"kind": "ServiceAccount", "name": name, "namespace": subject.namespace}]);
    let account = json!({
        "apiVersion": "v1", "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": subject.namespace},
    });
    let mut objects = vec![account];
    for (namespace, allowed) in rules.0 {
        let mut list: Vec<_> = allowed
            .iter()
            .map(|((group, resource), verbs)| {
                json!({"apiGroups": [group], "resources": [resource], "verbs": verbs})
            })
            .collect();
        let (kind, metadata) = if namespace.is_empty() {
            list.append(&mut named);
            ("ClusterRole", json!({"name": name}))
        } else {
            ("Role", json!({"name": name, "namespace": namespace}))
        };
        let api = "rbac.authorization.k8s.io/v1";
        objects.push(json!({"apiVersion": api, "kind": kind, "metadata": metadata, "rules": list}));
        objects.push(json!({
            "apiVersion": api, "kind": format!("{kind}Binding"), "metadata": metadata, "subjects": subjects,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        }));
    }
    objects
}

/// What the kernel needs for itself.
fn own(rules: &mut Rules, subject: &Subject, install_definitions: bool, named: &mut Vec<Value>) {
    let definitions = crds();
    for resource in definitions.iter().map(|crd| &crd.spec.names.plural) {
        rules.allow("", GROUP, resource, READ);
        rules.allow("", GROUP, &format!("{resource}/status"), &["get", "patch", "update"]);
    }
    rules.allow("", GROUP, "trials", &["create", "patch"]);
    rules.allow("", "", "events", &["create", "patch"]);
    // What trials run: a Job, unless a plugin is granted more.
    rules.allow("", "batch", "jobs", &["create", "delete", "get", "list", "watch"]);
    // How metrics are read, and what models run in that containers serve.
    rules.allow("", "", "pods", &["create", "delete", "get", "list", "watch"]);
    // What Pods of models use, by which resources are recommended for them.
    rules.allow("", "metrics.k8s.io", "pods", &["get", "list"]);
    // One replica tells another of requests by an annotation.
    rules.allow("", GROUP, "models", &["patch"]);
    rules.allow("", "", "pods/log", &["get"]);
    // Which quotas namespaces have on plugins, and what of these is used.
    rules.allow("", "", "resourcequotas", READ);
    rules.allow("", "", "resourcequotas/status", &["patch"]);
    if install_definitions {
        let names: Vec<_> = definitions.into_iter().filter_map(|crd| crd.metadata.name).collect();
        define(rules, &names, named);
    }
    let own = subject.namespace.as_str();
    rules.allow(
        own,
        "coordination.k8s.io",
        "leases",
        &["create", "delete", "get", "list", "update", "watch"],
    );
    // The key of push tokens, and what plugins with the capability `kv` store.
    rules.allow(own, "", "secrets", &["create", "get", "update"]);
    for namespace in &subject.secrets_in {
        rules.allow(namespace, "", "secrets", &["get"]);
    }
}

fn define(rules: &mut Rules, names: &[String], named: &mut Vec<Value>) {
    let (group, resource) = ("apiextensions.k8s.io", "customresourcedefinitions");
    // A rule with names never allows to create.
    rules.allow("", group, resource, &["create"]);
    named.push(
        json!({"apiGroups": [group], "resources": [resource], "resourceNames": names, "verbs": ["get", "patch"]}),
    );
}

fn of_plugin(rules: &mut Rules, plugin: &Needs, named: &mut Vec<Value>) {
    let Needs { manifest, granted } = plugin;
    for kind in &manifest.owns {
        rules.allow("", kind.group(), kind.plural(), READ);
        rules.allow("", kind.group(), kind.plural(), &["create", "delete", "patch"]);
        rules.allow("", kind.group(), &format!("{}/status", kind.plural()), &["get", "patch"]);
        // So that a child may keep its parent from going first.
        rules.allow("", kind.group(), &format!("{}/finalizers", kind.plural()), &["update"]);
    }
    let names: Vec<_> =
        manifest.owns.iter().map(|kind| format!("{}.{}", kind.plural(), kind.group())).collect();
    if !names.is_empty() {
        define(rules, &names, named);
    }
    if !manifest.namespaces.is_empty() {
        rules.allow("", "", "namespaces", &["create"]);
    }
    for request in manifest.requests() {
        for capability in granted.iter().filter_map(|granted| request.name.intersect(granted)) {
            of_capability(rules, manifest, &capability, named);
        }
    }
}

fn of_capability(rules: &mut Rules, manifest: &Manifest, capability: &Capability, named: &mut Vec<Value>) {
    match capability {
        Capability::Kube(grant) => {
            let listed = manifest.children.iter().chain(&manifest.related);
            for kind in listed {
                let (group, version) = kind.group_version();
                // Which foreign kinds a pattern covers is the kernel's to check at each write.
                if !grant.covers_kind(grant.access, group, &kind.kind, false) {
                    continue;
                }
                let plural = plural(manifest, group, version, &kind.kind);
                rules.allow("", group, &plural, READ);
                if grant.access == Access::Write {
                    let everywhere = BTreeSet::from([String::new()]);
                    let places = if grant.namespaces.is_empty() { &everywhere } else { &grant.namespaces };
                    for namespace in places {
                        rules.allow(namespace, group, &plural, WRITE);
                    }
                }
            }
        }
        Capability::Secret(secret) => match &secret.namespace {
            // A Role cannot name one Secret and leave the others to another rule of the same map.
            Some(_) | None => named.push(json!({
                "apiGroups": [""], "resources": ["secrets"], "resourceNames": [secret.name], "verbs": ["get"],
            })),
        },
        Capability::CallTuner
        | Capability::Http(_)
        | Capability::PodSecurity(_)
        | Capability::Kv
        | Capability::Blob
        | Capability::Events(_)
        | Capability::Nn(_) => {}
    }
}

/// A kind's name in URLs: the plugin's own definition says it; for others it follows from the kind.
fn plural(manifest: &Manifest, group: &str, version: &str, kind: &str) -> String {
    let own = manifest.owns.iter().find(|owned| owned.group() == group && owned.kind() == kind);
    match own {
        Some(owned) => owned.plural().to_owned(),
        None => ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)).plural,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subject() -> Subject {
        Subject {
            namespace: "purlin-system".to_owned(),
            service_account: "purlin-kernel".to_owned(),
            secrets_in: vec!["team-b".to_owned()],
        }
    }

    fn needs(capability: &str) -> Needs {
        let manifest = Manifest::from_json(
            br#"{"name": "d", "version": "0.1.0", "wit": "0.1.0", "stages": ["dialect"],
                 "owns": [{"crd": {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
                    "metadata": {"name": "things.example.com"}, "spec": {"group": "example.com", "scope": "Namespaced",
                    "names": {"plural": "things", "singular": "thing", "kind": "Thing"},
                    "versions": [{"name": "v1", "served": true, "storage": true,
                        "schema": {"openAPIV3Schema": {"type": "object"}}}]}}}],
                 "children": [{"apiVersion": "batch/v1", "kind": "CronJob"}]}"#,
        )
        .unwrap();
        Needs { manifest, granted: vec![capability.parse().unwrap()] }
    }

    fn verbs(objects: &[Value], kind: &str, namespace: Option<&str>, resource: &str) -> Vec<String> {
        let wanted =
            |object: &&Value| object["kind"] == kind && object["metadata"]["namespace"].as_str() == namespace;
        let rules = objects.iter().find(wanted).map(|role| role["rules"].as_array().unwrap().clone());
        let of = |rule: &&Value| rule["resources"][0] == resource && rule["resourceNames"].is_null();
        let rules = rules.unwrap_or_default();
        let verbs = rules.iter().filter(of).flat_map(|rule| rule["verbs"].as_array().unwrap().clone());
        verbs.map(|verb| verb.as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn a_grant_in_one_namespace_allows_writes_there_alone() {
        let objects = manifests(&subject(), true, &[needs("kube(write batch/CronJob in team-a)")]);
        assert_eq!(verbs(&objects, "ClusterRole", None, "cronjobs"), ["get", "list", "watch"]);
        assert_eq!(verbs(&objects, "Role", Some("team-a"), "cronjobs"), ["create", "delete", "get", "patch"]);
    }

    #[test]
    fn secrets_are_read_in_the_namespaces_that_a_person_named() {
        let objects = manifests(&subject(), true, &[]);
        assert_eq!(verbs(&objects, "Role", Some("team-b"), "secrets"), ["get"]);
        assert!(verbs(&objects, "ClusterRole", None, "secrets").is_empty());
    }

    #[test]
    fn what_was_not_granted_is_not_allowed() {
        let objects = manifests(&subject(), true, &[needs("kube(write batch/Job)")]);
        assert!(verbs(&objects, "ClusterRole", None, "cronjobs").is_empty());
        assert!(objects.iter().all(|object| !object.to_string().contains('*')), "no rule is for everything");
    }

    #[test]
    fn definitions_can_be_left_to_a_person() {
        let all = |install| serde_json::to_string(&manifests(&subject(), install, &[])).unwrap();
        assert!(all(true).contains("customresourcedefinitions"));
        assert!(!all(false).contains("customresourcedefinitions"));
    }
}
