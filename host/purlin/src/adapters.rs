//! What joins crates that do not know each other: the API's Pod logs come from the node, its audit records go to the
//! audit log, and the node's Wasm images come from OCI registries.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;
use purlin_apiserver::{AuditRecord, AuditSink, LogError, LogRequest, PodBackend};
use purlin_node::{ImageError, ImageSource, LogsError, Node, WasmImage};
use purlin_registry::auth::Keychain;
use purlin_registry::{Access, Client, ClientConfig, ClientError, Reference};
use purlin_telemetry::AuditLog;

/// Keeps the API's audit records in a file.
#[derive(Debug)]
pub(crate) struct AuditFile(AuditLog);

impl AuditFile {
    pub(crate) fn new(log: AuditLog) -> Self {
        Self(log)
    }
}

impl AuditSink for AuditFile {
    fn record(&self, record: AuditRecord) {
        if let Err(error) = self.0.append(&record) {
            tracing::error!(%error, audit_id = record.audit_id, "an audit record is lost");
        }
    }
}

/// Reads Pod logs from the node.
pub(crate) struct NodeLogs(Arc<Node>);

impl NodeLogs {
    pub(crate) fn new(node: Arc<Node>) -> Self {
        Self(node)
    }
}

impl std::fmt::Debug for NodeLogs {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("NodeLogs")
    }
}

#[async_trait]
impl PodBackend for NodeLogs {
    async fn logs(
        &self,
        request: LogRequest,
    ) -> Result<BoxStream<'static, std::io::Result<Bytes>>, LogError> {
        let LogRequest {
            namespace,
            pod,
            uid,
            container,
            follow,
            previous,
            timestamps,
            tail_lines,
            since,
            limit_bytes,
        } = request;
        let request = purlin_node::LogRequest {
            namespace,
            pod,
            uid,
            container,
            follow,
            tail_lines,
            since,
            timestamps,
            limit_bytes,
            previous,
        };
        self.0.logs(request).await.map_err(|error| match error {
            LogsError::NoAttempt { .. } => LogError::NotAvailable(error.to_string()),
            LogsError::Read { .. } => LogError::Failed(error.to_string()),
        })
    }
}

/// Pulls Wasm images from OCI registries.
pub(crate) struct RegistryImages(Client);

impl RegistryImages {
    pub(crate) fn new() -> Self {
        // Most images that are not mapped are in registries that hold no Wasm; a Pod should soon say so.
        let access = Access { keychain: Keychain::from_environment(), ..Access::default() };
        Self(Client::new(ClientConfig {
            timeout: Duration::from_secs(20),
            access,
            ..ClientConfig::default()
        }))
    }
}

#[async_trait]
impl ImageSource for RegistryImages {
    fn may_hold(&self, reference: &str) -> bool {
        // Without a registry's name it would be one of a registry that holds no Wasm.
        reference.parse::<Reference>().is_ok()
    }

    async fn pull(&self, reference: &str) -> Result<WasmImage, ImageError> {
        let parsed: Reference = reference
            .parse()
            .map_err(|error| ImageError::Pull(format!("{reference} is no image reference: {error}")))?;
        let failed = |error: ClientError| match error {
            ClientError::Artifact { .. } => ImageError::NotWasm(reference.to_owned()),
            error => ImageError::Pull(error.to_string()),
        };
        let resolved = self.0.resolve(&parsed).await.map_err(failed)?;
        let component = self.0.pull_component(&resolved).await.map_err(failed)?;
        Ok(WasmImage { digest: resolved.digest().to_string(), wasm: component.to_vec() })
    }
}
