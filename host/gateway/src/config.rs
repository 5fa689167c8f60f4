//! The gateway's own limits.

use std::time::Duration;

/// The gateway's own limits. Routes and models have theirs in the routing table.
#[derive(Clone, Debug)]
pub struct GatewayConfig {
    /// The name in server metadata.
    pub name: String,
    /// The version in server metadata.
    pub version: String,
    /// A request's body is at most so large, in bytes.
    pub max_body: usize,
    /// All bodies that are being read, beyond small ones, are together at most so large, in bytes.
    pub max_buffered: usize,
    /// Connections at once; further ones wait in the kernel's backlog.
    pub max_connections: usize,
    /// A request's head must be complete so long after its first byte.
    pub header_timeout: Duration,
    /// A request's body must be complete so long after its head, and a client must take something of its answer within
    /// this time.
    pub body_timeout: Duration,
    /// A connection without a request is closed after so long.
    pub idle_timeout: Duration,
    /// A request takes at most so long, where neither its route nor its model says otherwise.
    pub request_timeout: Duration,
    /// After it was told to stop, the gateway says that it is not ready for so long before it takes no connections.
    pub drain_delay: Duration,
    /// Then requests in flight may take so long.
    pub drain_timeout: Duration,
    /// Requests that a model has at once, where it does not say.
    pub concurrency: usize,
    /// Requests that wait for a model, where it does not say.
    pub queue: usize,
    /// A request is sent again at most so often where who had it was gone before answering.
    pub retries: u32,
    /// Payloads that wait to be logged; more are dropped and counted.
    pub payload_queue: usize,
    /// Routes and nodes within each other in a graph.
    pub graph_depth: usize,
}

impl Default for GatewayConfig {
    fn default() -> GatewayConfig {
        GatewayConfig {
            name: "purlin".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            max_body: 64 << 20,
            max_buffered: 1 << 30,
            max_connections: 20_000,
            header_timeout: Duration::from_secs(10),
            body_timeout: Duration::from_secs(60),
            idle_timeout: Duration::from_secs(300),
            request_timeout: Duration::from_secs(300),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            concurrency: 1000,
            queue: 1000,
            retries: 2,
            payload_queue: 1000,
            graph_depth: 16,
        }
    }
}
