//! The node's Prometheus metrics.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Counters and gauges of one node; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Metrics {
    pub(crate) pods: Gauge,
    pub(crate) started: Counter,
    pub(crate) restarted: Counter,
    pub(crate) reattached: Counter,
}

impl Metrics {
    /// Registers the node's metrics.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = Metrics::default();
        registry.register("purlin_node_pods", "Pods that the node has a worker for", metrics.pods.clone());
        registry.register("purlin_node_container_starts", "Containers started", metrics.started.clone());
        registry.register(
            "purlin_node_container_restarts",
            "Containers restarted",
            metrics.restarted.clone(),
        );
        registry.register(
            "purlin_node_shim_reattachments",
            "Running containers found again after a restart",
            metrics.reattached.clone(),
        );
        metrics
    }
}
