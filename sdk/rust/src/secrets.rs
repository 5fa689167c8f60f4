//! Secrets of the cluster. Capability: `secret(NAME)` or `secret(NAMESPACE/NAME)`, asked for in the manifest and granted by
//! the user.

use crate::HostError;

pub use crate::bindings::base::purlin::plugin::secrets::Entry;

/// All entries of a Secret, by the name in the grant; `None` where it does not exist.
///
/// # Errors
/// [`HostError::Denied`] where no grant covers it.
pub fn get(name: &str) -> Result<Option<Vec<Entry>>, HostError> {
    host::get(name)
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::base::purlin::plugin::secrets as host;

/// Outside a sandbox there is no host that could be asked.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    use super::Entry;
    use crate::HostError;

    pub(super) fn get(_: &str) -> Result<Option<Vec<Entry>>, HostError> {
        Err(crate::fault::outside())
    }
}
