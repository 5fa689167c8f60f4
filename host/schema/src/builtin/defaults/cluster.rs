//! Defaults of everything that is no pod and makes none: services, storage, configuration, policy, definitions.

use base64::Engine as _;
use serde_json::{Value, json};

use super::{add_text, below, each, inside, is_unset, merge_string_data, set, set_all, text};

/// Fills in what an object leaves to the server.
pub(super) fn fill(group: &str, kind: &str, object: &mut Value) {
    match (group, kind) {
        ("", "Service") => fill_service(object),
        ("", "Secret") => {
            merge_string_data(object, |plain| base64::engine::general_purpose::STANDARD.encode(plain));
            set(object, "type", "Opaque");
        }
        ("", "Namespace") => {
            let name = object["metadata"]["name"].clone();
            if name.is_string() {
                below(below(object, "metadata"), "labels")["kubernetes.io/metadata.name"] = name;
            }
        }
        ("", "PersistentVolumeClaim") => set(below(object, "spec"), "volumeMode", "Filesystem"),
        ("", "PersistentVolume") => {
            let spec = below(object, "spec");
            set_all(
                spec,
                [("persistentVolumeReclaimPolicy", json!("Retain")), ("volumeMode", json!("Filesystem"))],
            );
            if let Some(path) = inside(spec, "hostPath") {
                path.as_object_mut().map(|path| path.entry("type").or_insert_with(|| "".into()));
            }
        }
        ("", "LimitRange") => {
            if let Some(spec) = inside(object, "spec") {
                each(spec, "limits").filter(|limit| limit["type"] == "Container").for_each(fill_limit);
            }
        }
        ("", "Endpoints") => {
            for subset in each(object, "subsets") {
                each(subset, "ports").for_each(|port| set(port, "protocol", "TCP"));
            }
        }
        ("discovery.k8s.io", "EndpointSlice") => {
            each(object, "endpoints").for_each(|endpoint| set(endpoint, "conditions", json!({})));
            for port in each(object, "ports") {
                set_all(port, [("name", json!("")), ("protocol", json!("TCP"))]);
            }
        }
        ("rbac.authorization.k8s.io", "RoleBinding" | "ClusterRoleBinding") => {
            set(below(object, "roleRef"), "apiGroup", "rbac.authorization.k8s.io");
            for subject in each(object, "subjects").filter(|subject| subject["kind"] != "ServiceAccount") {
                set(subject, "apiGroup", "rbac.authorization.k8s.io");
            }
        }
        ("networking.k8s.io", "NetworkPolicy") => fill_network_policy(object),
        ("scheduling.k8s.io", "PriorityClass") => set(object, "preemptionPolicy", "PreemptLowerPriority"),
        ("storage.k8s.io", "StorageClass") => {
            set_all(object, [("reclaimPolicy", json!("Delete")), ("volumeBindingMode", json!("Immediate"))]);
        }
        ("autoscaling", "HorizontalPodAutoscaler") => {
            let utilisation = json!([{"type": "Resource", "resource": {
                "name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80},
            }}]);
            set_all(below(object, "spec"), [("minReplicas", json!(1)), ("metrics", utilisation)]);
        }
        ("admissionregistration.k8s.io", _) => {
            each(object, "webhooks").for_each(|hook| fill_webhook(kind, hook))
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => fill_definition(object),
        _ => {}
    }
}

/// A role whose list of rules is empty has none.
pub(super) fn settle_rules(role: &mut Value) {
    if let Some(rules) = role.get_mut("rules").filter(|rules| **rules == json!([])) {
        *rules = Value::Null;
    }
}

/// Sets what a new object gets from the server.
pub(super) fn prepare(group: &str, kind: &str, object: &mut Value) {
    let status = match (group, kind) {
        ("", "Service") | ("networking.k8s.io", "Ingress") => json!({"loadBalancer": {}}),
        ("", "Namespace") => {
            add_text(below(object, "spec"), "finalizers", "kubernetes");
            json!({"phase": "Active"})
        }
        ("", "PersistentVolumeClaim") => {
            add_text(below(object, "metadata"), "finalizers", "kubernetes.io/pvc-protection");
            json!({"phase": "Pending"})
        }
        ("", "PersistentVolume") => {
            add_text(below(object, "metadata"), "finalizers", "kubernetes.io/pv-protection");
            json!({"phase": "Pending"})
        }
        ("", "ResourceQuota") => json!({}),
        ("policy", "PodDisruptionBudget") => {
            json!({"currentHealthy": 0, "desiredHealthy": 0, "disruptionsAllowed": 0, "expectedPods": 0})
        }
        ("autoscaling", "HorizontalPodAutoscaler") => json!({"currentMetrics": null, "desiredReplicas": 0}),
        _ => return,
    };
    object["status"] = status;
}

fn fill_service(service: &mut Value) {
    let Some(spec) = inside(service, "spec") else { return };
    set_all(spec, [("sessionAffinity", json!("None")), ("type", json!("ClusterIP"))]);
    let kind = text(spec, "type").to_owned();
    if kind != "ExternalName" {
        set(spec, "internalTrafficPolicy", "Cluster");
        set_all(spec, [("ipFamilyPolicy", json!("SingleStack")), ("ipFamilies", json!(["IPv4"]))]);
        let address = spec.get("clusterIP").cloned();
        if !is_unset(address.as_ref()) {
            set(spec, "clusterIPs", json!([address]));
        }
    }
    if matches!(kind.as_str(), "NodePort" | "LoadBalancer") {
        set(spec, "externalTrafficPolicy", "Cluster");
    }
    if kind == "LoadBalancer" {
        set(spec, "allocateLoadBalancerNodePorts", true);
    }
    if spec["sessionAffinity"] == "ClientIP" {
        set(below(below(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds", 10800);
    }
    for port in each(spec, "ports") {
        set(port, "protocol", "TCP");
        if let Some(number) = port.get("port").cloned() {
            set(port, "targetPort", number);
        }
    }
}

/// A container's default limit is its greatest one, and its default request its default limit or else the least one.
fn fill_limit(limit: &mut Value) {
    let amounts =
        |limit: &Value, key: &str| limit.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    for (from, to) in [("max", "default"), ("default", "defaultRequest"), ("min", "defaultRequest")] {
        let known = amounts(limit, from);
        if !known.is_empty() {
            let target = below(limit, to);
            known.into_iter().for_each(|(name, amount)| set(target, &name, amount));
        }
    }
}

fn fill_network_policy(policy: &mut Value) {
    let Some(spec) = inside(policy, "spec") else { return };
    for direction in ["ingress", "egress"] {
        for rule in each(spec, direction) {
            each(rule, "ports").for_each(|port| set(port, "protocol", "TCP"));
        }
    }
    let types = if spec.get("egress").and_then(Value::as_array).is_some_and(|rules| !rules.is_empty()) {
        json!(["Ingress", "Egress"])
    } else {
        json!(["Ingress"])
    };
    set(spec, "policyTypes", types);
}

fn fill_webhook(kind: &str, hook: &mut Value) {
    set_all(
        hook,
        [
            ("failurePolicy", json!("Fail")),
            ("matchPolicy", json!("Equivalent")),
            ("namespaceSelector", json!({})),
            ("objectSelector", json!({})),
            ("timeoutSeconds", json!(10)),
        ],
    );
    if kind == "MutatingWebhookConfiguration" {
        set(hook, "reinvocationPolicy", "Never");
    }
    if let Some(service) = inside(hook, "clientConfig").and_then(|client| inside(client, "service")) {
        set(service, "port", 443);
    }
    each(hook, "rules").for_each(|rule| set(rule, "scope", "*"));
}

fn fill_definition(definition: &mut Value) {
    let Some(spec) = inside(definition, "spec") else { return };
    set(below(spec, "conversion"), "strategy", "None");
    let names = below(spec, "names");
    let kind = text(names, "kind").to_owned();
    if !kind.is_empty() {
        set_all(
            names,
            [("singular", json!(kind.to_lowercase())), ("listKind", json!(format!("{kind}List")))],
        );
    }
}
