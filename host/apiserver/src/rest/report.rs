//! A request as the audit log has it: who made it, as whom, for what, what allowed it, and how it ended.

use std::collections::BTreeMap;

use super::gate::Admitted;
use crate::audit::{AuditObject, AuditRecord, AuditStatus, AuditUser};
use crate::auth::Identity;

/// What of a request is no part of what it is for.
pub(super) struct Seen<'a> {
    pub(super) uri: &'a str,
    pub(super) agent: &'a str,
    /// `fieldManager`, where it was given.
    pub(super) manager: Option<&'a str>,
    pub(super) began: jiff::Timestamp,
    /// Whether it was let through.
    pub(super) allowed: bool,
}

/// The kernel writes for a plugin under a field manager that begins so.
const PLUGIN_MANAGER: &str = "purlin-";

/// The record of a request that was answered with `code`.
pub(super) fn record(admitted: &Admitted, seen: &Seen<'_>, code: u16) -> AuditRecord {
    let stamp = |at: jiff::Timestamp| at.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string();
    let Admitted { identity, acting, asked, .. } = admitted;
    AuditRecord {
        kind: "Event",
        api_version: "audit.k8s.io/v1",
        level: "Metadata",
        audit_id: uuid::Uuid::new_v4().to_string(),
        stage: "ResponseComplete",
        request_uri: seen.uri.to_owned(),
        verb: asked.verb.clone(),
        user: user(acting.as_ref().unwrap_or(identity)),
        impersonated_user: acting.as_ref().map(|_| user(identity)),
        source_ips: Vec::new(),
        user_agent: seen.agent.to_owned(),
        object_ref: AuditObject {
            resource: asked.resource.clone(),
            namespace: asked.namespace.clone(),
            name: asked.name.clone(),
            api_group: asked.group.clone(),
            api_version: asked.version.clone(),
            subresource: asked.subresource.clone(),
        },
        response_status: AuditStatus { code },
        request_received_timestamp: stamp(seen.began),
        stage_timestamp: stamp(jiff::Timestamp::now()),
        annotations: annotations(admitted, seen),
    }
}

fn annotations(admitted: &Admitted, seen: &Seen<'_>) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let decision = if seen.allowed { "allow" } else { "forbid" };
    found.insert("authorization.k8s.io/decision".to_owned(), decision.to_owned());
    found.insert("authorization.k8s.io/reason".to_owned(), admitted.reason.clone());
    if let Some(manager) = seen.manager {
        found.insert("purlin.dev/field-manager".to_owned(), manager.to_owned());
        // Anybody may call a field manager what they like; only the kernel's word says which plugin acted.
        if admitted.identity.is_component()
            && let Some(plugin) = manager.strip_prefix(PLUGIN_MANAGER)
        {
            found.insert("purlin.dev/plugin".to_owned(), plugin.to_owned());
        }
    }
    found
}

fn user(identity: &Identity) -> AuditUser {
    AuditUser {
        username: identity.user.clone(),
        uid: identity.uid.clone(),
        groups: identity.groups.clone(),
        extra: identity.extra.clone(),
    }
}
