//! What plugins can ask of the host.

use std::sync::Arc;

use crate::plugin::Plugin;

/// Finds the plugin that serves a stage. Implemented by whoever knows the installed plugins.
pub trait StageResolver: Send + Sync + 'static {
    /// The plugin that answers to `algorithm`.
    fn tuner(&self, algorithm: &str) -> Option<Arc<Plugin>>;
}
