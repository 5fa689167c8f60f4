//! What the loops reach the API server with.

use kube::Client;
use purlin_kernel::EventRecorder;

/// Ways to the API server.
#[derive(Clone)]
pub struct ApiAccess {
    /// Reads anywhere, and says on a Model that it has requests here.
    pub client: Client,
    /// Writes in the namespaces that this process holds, and nowhere else.
    pub writer: Client,
    /// Says what became of Models.
    pub events: EventRecorder,
}
