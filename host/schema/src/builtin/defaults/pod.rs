//! Defaults of pods and of the templates that pods are made from.

use serde_json::{Value, json};

use super::{below, each, inside, is_unset, set, set_all, text};

const CONTAINERS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

/// Defaults of a pod itself: those of its template, and what only a pod gets.
pub(super) fn fill(pod: &mut Value) {
    let Some(spec) = inside(pod, "spec") else { return };
    fill_spec(spec);
    set(spec, "enableServiceLinks", true);
    for list in ["initContainers", "containers"] {
        for container in each(spec, list) {
            request_limits(container);
        }
    }
}

/// Defaults of a pod template.
pub(super) fn fill_template(template: &mut Value) {
    if let Some(spec) = inside(template, "spec") {
        fill_spec(spec);
    }
}

/// What a new pod gets from the server and its admission plugins.
pub(super) fn prepare(pod: &mut Value) {
    let class = quality_of_service(&pod["spec"]);
    let status = json!({"phase": "Pending", "qosClass": class});
    if let Some(pod) = pod.as_object_mut() {
        pod.insert("status".to_owned(), status);
    }
    let Some(spec) = inside(pod, "spec") else { return };
    set_all(spec, [("priority", json!(0)), ("preemptionPolicy", json!("PreemptLowerPriority"))]);
    for key in ["node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"] {
        tolerate(spec, key);
    }
}

/// What admission once added to a pod stays when an update leaves it out.
pub(super) fn carry(pod: &mut Value, old: &Value) {
    let Some(spec) = inside(pod, "spec") else { return };
    for field in ["priority", "preemptionPolicy", "tolerations"] {
        if let Some(kept) = old["spec"].get(field) {
            set(spec, field, kept.clone());
        }
    }
}

fn tolerate(spec: &mut Value, key: &str) {
    set(spec, "tolerations", json!([]));
    let Some(tolerations) = spec["tolerations"].as_array_mut() else { return };
    let covers = |toleration: &Value| {
        let effect = text(toleration, "effect");
        (effect.is_empty() || effect == "NoExecute")
            && (text(toleration, "key") == key || text(toleration, "key").is_empty())
    };
    if !tolerations.iter().any(covers) {
        tolerations
            .push(json!({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300}));
    }
}

/// `Guaranteed` where each container limits processor and memory to what it requests, `BestEffort` where none asks for
/// either, else `Burstable`.
pub(super) fn quality_of_service(spec: &Value) -> &'static str {
    let (mut any, mut all) = (false, true);
    for list in ["initContainers", "containers"] {
        for container in spec.get(list).and_then(Value::as_array).into_iter().flatten() {
            for resource in ["cpu", "memory"] {
                let amount =
                    |of: &str| container["resources"][of].get(resource).filter(|amount| !is_zero(amount));
                let (request, limit) = (amount("requests"), amount("limits"));
                any |= request.is_some() || limit.is_some();
                all &= limit.is_some() && request.is_none_or(|request| Some(request) == limit);
            }
        }
    }
    match (any, all) {
        (false, _) => "BestEffort",
        (true, true) => "Guaranteed",
        (true, false) => "Burstable",
    }
}

fn is_zero(amount: &Value) -> bool {
    amount.as_f64() == Some(0.0) || amount.as_str() == Some("0")
}

fn fill_spec(spec: &mut Value) {
    set_all(
        spec,
        [
            ("restartPolicy", json!("Always")),
            ("dnsPolicy", json!("ClusterFirst")),
            ("terminationGracePeriodSeconds", json!(30)),
            ("securityContext", json!({})),
            ("schedulerName", json!("default-scheduler")),
        ],
    );
    // The older name of the field is kept equal to the newer one.
    let account = [text(spec, "serviceAccountName"), text(spec, "serviceAccount")]
        .into_iter()
        .find(|name| !name.is_empty())
        .map(str::to_owned);
    if let Some(account) = account {
        spec["serviceAccountName"] = account.as_str().into();
        spec["serviceAccount"] = account.into();
    }
    let host_network = spec.get("hostNetwork") == Some(&Value::Bool(true));
    for list in CONTAINERS {
        for container in each(spec, list) {
            fill_container(container, host_network);
        }
    }
    for volume in each(spec, "volumes") {
        fill_volume(volume);
    }
    for constraint in each(spec, "topologySpreadConstraints") {
        set_all(constraint, [("whenUnsatisfiable", json!("DoNotSchedule"))]);
    }
}

fn fill_container(container: &mut Value, host_network: bool) {
    let policy = if pulls_always(text(container, "image")) { "Always" } else { "IfNotPresent" };
    set_all(
        container,
        [
            ("imagePullPolicy", json!(policy)),
            ("resources", json!({})),
            ("terminationMessagePath", json!("/dev/termination-log")),
            ("terminationMessagePolicy", json!("File")),
        ],
    );
    for port in each(container, "ports") {
        set(port, "protocol", "TCP");
        if host_network && let Some(number) = port.get("containerPort").cloned() {
            set(port, "hostPort", number);
        }
    }
    for variable in each(container, "env") {
        let Some(source) = inside(variable, "valueFrom") else { continue };
        fill_field_source(source);
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = inside(container, probe) {
            fill_probe(probe);
        }
    }
    if let Some(lifecycle) = inside(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = inside(lifecycle, hook) {
                fill_http(hook);
            }
        }
    }
}

fn fill_field_source(source: &mut Value) {
    if let Some(field) = inside(source, "fieldRef") {
        set(field, "apiVersion", "v1");
    }
    if let Some(resource) = inside(source, "resourceFieldRef") {
        set(resource, "divisor", "0");
    }
}

fn fill_probe(probe: &mut Value) {
    set_zero(
        probe,
        [("timeoutSeconds", 1), ("periodSeconds", 10), ("successThreshold", 1), ("failureThreshold", 3)],
    );
    fill_http(probe);
    if let Some(call) = inside(probe, "grpc") {
        call.as_object_mut().map(|call| call.entry("service").or_insert_with(|| "".into()));
    }
}

/// Numbers for which zero means that they are not set.
fn set_zero<const N: usize>(object: &mut Value, fields: [(&str, i64); N]) {
    for (key, number) in fields {
        if is_unset(object.get(key)) || object[key] == 0 {
            object[key] = number.into();
        }
    }
}

fn fill_http(handler: &mut Value) {
    if let Some(http) = inside(handler, "httpGet") {
        set_all(http, [("path", json!("/")), ("scheme", json!("HTTP"))]);
    }
}

const SOURCES_BESIDE_NAME: usize = 1;

fn fill_volume(volume: &mut Value) {
    if volume.as_object().is_some_and(|volume| volume.len() <= SOURCES_BESIDE_NAME) {
        volume["emptyDir"] = json!({});
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = inside(volume, source) {
            set(source, "defaultMode", 420);
        }
    }
    if let Some(path) = inside(volume, "hostPath") {
        path.as_object_mut().map(|path| path.entry("type").or_insert_with(|| "".into()));
    }
    if let Some(fields) = inside(volume, "downwardAPI") {
        each(fields, "items").for_each(fill_field_source);
    }
    if let Some(projected) = inside(volume, "projected") {
        for source in each(projected, "sources") {
            if let Some(token) = inside(source, "serviceAccountToken") {
                set(token, "expirationSeconds", 3600);
            }
            if let Some(fields) = inside(source, "downwardAPI") {
                each(fields, "items").for_each(fill_field_source);
            }
        }
    }
    if let Some(template) =
        inside(volume, "ephemeral").and_then(|source| inside(source, "volumeClaimTemplate"))
    {
        below(template, "metadata");
        set(below(template, "spec"), "volumeMode", "Filesystem");
    }
}

/// A container that limits a resource without requesting it requests the limit.
fn request_limits(container: &mut Value) {
    let Some(resources) = inside(container, "resources") else { return };
    let Some(limits) = resources.get("limits").and_then(Value::as_object).cloned() else { return };
    let requests = below(resources, "requests");
    for (name, amount) in limits {
        set(requests, &name, amount);
    }
}

/// An image without a fixed version is pulled each time: one with the tag `latest`, or with neither tag nor digest.
fn pulls_always(image: &str) -> bool {
    if image.contains('@') {
        return false;
    }
    let last = image.rsplit('/').next().unwrap_or(image);
    last.split_once(':').is_none_or(|(_, tag)| tag == "latest")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_decides_the_pull_policy() {
        for image in ["busybox", "busybox:latest", "registry:5000/busybox"] {
            assert!(pulls_always(image), "{image}");
        }
        for image in ["busybox:1.36", "registry:5000/a/b:v1", "a@sha256:00"] {
            assert!(!pulls_always(image), "{image}");
        }
    }

    #[test]
    fn quality_follows_requests_and_limits() {
        let spec = |resources: Value| json!({"containers": [{"resources": resources}]});
        let full = json!({"cpu": "1", "memory": "1Gi"});
        assert_eq!(quality_of_service(&spec(json!({}))), "BestEffort");
        assert_eq!(quality_of_service(&spec(json!({"limits": full, "requests": full}))), "Guaranteed");
        assert_eq!(quality_of_service(&spec(json!({"requests": full}))), "Burstable");
    }
}
