//! Whether what a dialect emits stays within the `baseline` level of the Kubernetes Pod Security Standards: no way from a
//! Pod to its node. Pods hide in many kinds (a Job's template, a trial's, a custom resource's), so an object is searched
//! for whatever has the form of a Pod's spec. What has a wrong type is refused as if it were set.
//!
//! Source of the controls: the Pod Security Standards, as of Kubernetes 1.37.
//!
//! Pure. The objects were made by outside code.

use serde_json::Value;

/// Capabilities of Linux that a container may add.
const ADDED_CAPABILITIES: &[&str] = &[
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// Kernel parameters that belong to the Pod alone.
const SYSCTLS: &[&str] = &[
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
];

const SELINUX_TYPES: &[&str] =
    &["", "container_engine_t", "container_init_t", "container_kvm_t", "container_t"];

const CONTAINERS: &[&str] = &["containers", "initContainers", "ephemeralContainers"];

/// The older way to choose a profile of AppArmor.
const APPARMOR_ANNOTATION: &str = "container.apparmor.security.beta.kubernetes.io/";

/// The first thing in an object that is beyond `baseline`: the path of a field and why it is.
pub(super) fn beyond_baseline(object: &Value) -> Option<String> {
    if object["kind"] == "PersistentVolume" {
        for source in ["hostPath", "local"] {
            if set(&object["spec"][source]) {
                return Some(format!("spec.{source} is a path of the node"));
            }
        }
    }
    search(object)
}

// The path is put together on the way back: nearly always there is nothing to say.
fn search(value: &Value) -> Option<String> {
    match value {
        Value::Object(fields) => {
            if CONTAINERS.iter().any(|list| fields.contains_key(*list))
                && let Some(found) = pod(value)
            {
                return Some(found);
            }
            if let Some(found) = annotations(&value["annotations"]) {
                return Some(found);
            }
            fields.iter().find_map(|(name, inner)| search(inner).map(|found| within(name, &found)))
        }
        Value::Array(items) => {
            let mut items = items.iter().enumerate();
            items.find_map(|(index, inner)| search(inner).map(|found| within(&format!("[{index}]"), &found)))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => None,
    }
}

fn within(outer: &str, found: &str) -> String {
    let dot = if found.starts_with('[') { "" } else { "." };
    format!("{outer}{dot}{found}")
}

fn annotations(annotations: &Value) -> Option<String> {
    annotations.as_object()?.iter().find_map(|(name, value)| {
        let profile = value.as_str().unwrap_or("?");
        let allowed = matches!(profile, "runtime/default") || profile.starts_with("localhost/");
        (name.starts_with(APPARMOR_ANNOTATION) && !allowed)
            .then(|| format!("annotations[{name}] takes a container's confinement away"))
    })
}

/// Whether a field is anything but left out, false or empty.
fn set(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::Bool(true) | Value::Array(_) | Value::Object(_) => true,
    }
}

fn pod(spec: &Value) -> Option<String> {
    for field in ["hostNetwork", "hostPID", "hostIPC"] {
        if set(&spec[field]) {
            return Some(format!("{field} shares the node's own"));
        }
    }
    if let Some(found) = security_context(&spec["securityContext"]) {
        return Some(format!("securityContext.{found}"));
    }
    for (index, sysctl) in items(&spec["securityContext"]["sysctls"]).enumerate() {
        if !sysctl["name"].as_str().is_some_and(|name| SYSCTLS.contains(&name)) {
            return Some(format!("securityContext.sysctls[{index}] sets a parameter of the node"));
        }
    }
    for (index, volume) in items(&spec["volumes"]).enumerate() {
        if !matches!(volume["hostPath"], Value::Null) {
            return Some(format!("volumes[{index}].hostPath is a path of the node"));
        }
    }
    CONTAINERS.iter().find_map(|list| {
        let found = |(index, item)| container(item).map(|found| format!("{list}[{index}].{found}"));
        items(&spec[*list]).enumerate().find_map(found)
    })
}

/// The items of a list; of anything else, itself: a wrong type is not a way round.
fn items(value: &Value) -> impl Iterator<Item = &Value> {
    let list = match value {
        Value::Array(items) => items.as_slice(),
        Value::Null => &[],
        other => std::slice::from_ref(other),
    };
    list.iter()
}

fn container(container: &Value) -> Option<String> {
    let context = &container["securityContext"];
    if set(&context["privileged"]) {
        return Some("securityContext.privileged gives it the whole node".to_owned());
    }
    for capability in items(&context["capabilities"]["add"]) {
        if !capability.as_str().is_some_and(|name| ADDED_CAPABILITIES.contains(&name)) {
            return Some(format!("securityContext.capabilities.add has {capability}"));
        }
    }
    if set(&context["procMount"]) && context["procMount"] != "Default" {
        return Some("securityContext.procMount shows more of /proc".to_owned());
    }
    if let Some(found) = security_context(context) {
        return Some(format!("securityContext.{found}"));
    }
    for (index, port) in items(&container["ports"]).enumerate() {
        if set(&port["hostPort"]) {
            return Some(format!("ports[{index}].hostPort is a port of the node"));
        }
    }
    const PROBES: &[&str] =
        &["livenessProbe", "readinessProbe", "startupProbe", "lifecycle.postStart", "lifecycle.preStop"];
    for probe in PROBES {
        let found = probe.split('.').fold(container, |value, name| &value[name]);
        for action in ["httpGet", "tcpSocket"] {
            if set(&found[action]["host"]) {
                return Some(format!("{probe}.{action}.host has the node ask another host"));
            }
        }
    }
    None
}

/// What a Pod and a container have in common.
fn security_context(context: &Value) -> Option<String> {
    if set(&context["windowsOptions"]["hostProcess"]) {
        return Some("windowsOptions.hostProcess gives it the whole node".to_owned());
    }
    for profile in ["seccompProfile", "appArmorProfile"] {
        let kind = &context[profile]["type"];
        if set(kind) && kind != "RuntimeDefault" && kind != "Localhost" {
            return Some(format!("{profile}.type takes its confinement away"));
        }
    }
    let selinux = &context["seLinuxOptions"];
    let known = selinux["type"].as_str().is_none_or(|kind| SELINUX_TYPES.contains(&kind));
    if !known || (set(&selinux["type"]) && !selinux["type"].is_string()) {
        return Some("seLinuxOptions.type takes its confinement away".to_owned());
    }
    let chosen = ["user", "role"].into_iter().find(|field| set(&selinux[*field]));
    chosen.map(|field| format!("seLinuxOptions.{field} takes its confinement away"))
}

#[cfg(test)]
mod tests;
