//! CloudEvents to whoever listens. Capability: `events(TYPE)`, asked for in the manifest and granted by the user.

use crate::HostError;

pub use crate::bindings::base::purlin::plugin::events::Event as CloudEvent;

/// Gives an event to the host, which adds `source` and `time`. Once this is `Ok` the receiver has accepted it.
///
/// # Errors
/// [`HostError::Denied`] where no grant covers its type, [`HostError::Unavailable`] where nobody takes it now.
pub fn publish(event: &CloudEvent) -> Result<(), HostError> {
    host::publish(event)
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::base::purlin::plugin::events as host;

/// Outside a sandbox there is no host that could be asked.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    use super::CloudEvent;
    use crate::HostError;

    pub(super) fn publish(_: &CloudEvent) -> Result<(), HostError> {
        Err(crate::fault::outside())
    }
}
