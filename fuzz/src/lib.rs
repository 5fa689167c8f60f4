//! What the targets share: how one input becomes several values.

#![forbid(unsafe_code)]

use serde_json::Value;

/// The kinds that inputs speak of, by their first byte: group, version, kind.
pub const KINDS: &[(&str, &str, &str)] = &[
    ("", "v1", "Pod"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Secret"),
    ("", "v1", "Service"),
    ("", "v1", "Node"),
    ("", "v1", "Event"),
    ("apps", "v1", "Deployment"),
    ("apps", "v1", "StatefulSet"),
    ("autoscaling", "v2", "HorizontalPodAutoscaler"),
    ("batch", "v1", "Job"),
    ("batch", "v1", "CronJob"),
    ("coordination.k8s.io", "v1", "Lease"),
    ("networking.k8s.io", "v1", "Ingress"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("rbac.authorization.k8s.io", "v1", "ClusterRole"),
];

/// Takes the kind off an input: a letter from `A`, so that seeds can be read.
pub fn kind(data: &[u8]) -> Option<((&'static str, &'static str, &'static str), &[u8])> {
    let (first, rest) = data.split_first()?;
    KINDS.get(usize::from(first.wrapping_sub(b'A')) % KINDS.len()).map(|kind| (*kind, rest))
}

/// `apiVersion` of a group and a version.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// Reads `N` JSON values, one a line.
pub fn values<const N: usize>(data: &[u8]) -> Option<[Value; N]> {
    let mut lines = data.split(|byte| *byte == b'\n');
    let mut values = [const { Value::Null }; N];
    for value in &mut values {
        *value = serde_json::from_slice(lines.next()?).ok()?;
    }
    Some(values)
}
