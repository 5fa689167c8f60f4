//! What the audit log is told about each write: who did what to which object, when, and how it ended.
//!
//! The REST layer reports; whoever opens the server gives the sink that keeps the records (the binary gives a file
//! writer from `purlin-telemetry`). A sink must not block: it is called on the request's own task.

use serde::Serialize;

/// Receives a record for every request that could change something, after it was answered.
pub trait AuditSink: Send + Sync + std::fmt::Debug {
    /// Keeps one record.
    fn record(&self, record: AuditRecord);
}

/// One request, in the shape of an `audit.k8s.io/v1` `Event` at level `Metadata`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditRecord {
    /// `Event`.
    pub kind: &'static str,
    /// `audit.k8s.io/v1`.
    pub api_version: &'static str,
    /// `Metadata`.
    pub level: &'static str,
    /// Unique for the request.
    #[serde(rename = "auditID")]
    pub audit_id: String,
    /// `ResponseComplete`.
    pub stage: &'static str,
    /// Path and query.
    #[serde(rename = "requestURI")]
    pub request_uri: String,
    /// Kubernetes verb: create, update, patch, delete, deletecollection.
    pub verb: String,
    /// Who asked.
    pub user: AuditUser,
    /// As whom, where that is somebody else.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub impersonated_user: Option<AuditUser>,
    /// Where from; empty in process.
    #[serde(rename = "sourceIPs", skip_serializing_if = "Vec::is_empty")]
    pub source_ips: Vec<String>,
    /// The client's name for itself.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub user_agent: String,
    /// What it was done to.
    pub object_ref: AuditObject,
    /// How it ended.
    pub response_status: AuditStatus,
    /// When the request came, RFC 3339 with microseconds.
    pub request_received_timestamp: String,
    /// When it was answered.
    pub stage_timestamp: String,
    /// What allowed or refused it (`authorization.k8s.io/decision` and `/reason`), `purlin.dev/field-manager` where the
    /// request named one, and `purlin.dev/plugin` where the kernel wrote what a plugin decided.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub annotations: std::collections::BTreeMap<String, String>,
}

/// Who made a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AuditUser {
    /// User name.
    pub username: String,
    /// UID, where there is one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// Groups.
    pub groups: Vec<String>,
    /// What else is known of them, such as the Pod that their token was made for.
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    pub extra: std::collections::BTreeMap<String, Vec<String>>,
}

/// The object of a request.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AuditObject {
    /// Plural.
    pub resource: String,
    /// Namespace, empty for cluster scope.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Name, empty for collections and generated names.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Group, empty for the core one.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// Version.
    pub api_version: String,
    /// Subresource, if any.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subresource: String,
}

/// The answer's code.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct AuditStatus {
    /// HTTP status code.
    pub code: u16,
}
