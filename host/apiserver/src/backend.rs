//! Where Pod logs come from: whoever runs the containers implements [`PodBackend`].

use std::fmt::Debug;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// Which part of a container's log is wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogRequest {
    /// The Pod's namespace.
    pub namespace: String,
    /// The Pod's name.
    pub pod: String,
    /// The Pod's UID.
    pub uid: String,
    /// The container; always one of the Pod's.
    pub container: String,
    /// Go on with new lines until the container ends.
    pub follow: bool,
    /// The container's run before the present one.
    pub previous: bool,
    /// Put the time before each line.
    pub timestamps: bool,
    /// Only the last lines.
    pub tail_lines: Option<u64>,
    /// Only lines since then.
    pub since: Option<jiff::Timestamp>,
    /// At most so many bytes.
    pub limit_bytes: Option<u64>,
}

/// Why there is no log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// The container has not run yet (or has no previous run). The text says which, as the kubelet says it.
    #[error("{0}")]
    NotAvailable(String),
    /// Reading failed.
    #[error("{0}")]
    Failed(String),
}

/// Runs Pods and keeps their logs.
#[async_trait]
pub trait PodBackend: Send + Sync + Debug {
    /// The log, in pieces as they come.
    async fn logs(&self, request: LogRequest)
    -> Result<BoxStream<'static, std::io::Result<Bytes>>, LogError>;
}
