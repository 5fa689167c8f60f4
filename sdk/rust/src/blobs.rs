//! Larger content of the plugin's own. Capability: `blob`, asked for in the manifest and granted by the user.

use crate::HostError;

pub use crate::bindings::base::purlin::plugin::blobs::Info;

/// At most `length` bytes from `offset`; `None` where there is no such blob.
///
/// # Errors
/// The name is malformed, `length` is above `Plugin.spec.limits.output`, or the store cannot be reached.
pub fn read(name: &str, offset: u64, length: u32) -> Result<Option<Vec<u8>>, HostError> {
    host::read(name, offset, length)
}

/// Replaces a blob as a whole.
///
/// # Errors
/// The name is malformed, the store is full or cannot be reached.
pub fn write(name: &str, content: &[u8]) -> Result<(), HostError> {
    host::write(name, content)
}

/// Deletes a blob, whether it is there or not.
///
/// # Errors
/// The name is malformed or the store cannot be reached.
pub fn delete(name: &str) -> Result<(), HostError> {
    host::delete(name)
}

/// Blobs whose names begin with `prefix`, in order.
///
/// # Errors
/// The store cannot be reached.
pub fn list(prefix: &str) -> Result<Vec<Info>, HostError> {
    host::list(prefix)
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::base::purlin::plugin::blobs as host;

/// Outside a sandbox there is no host that could be asked.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    use super::Info;
    use crate::HostError;

    pub(super) fn read(_: &str, _: u64, _: u32) -> Result<Option<Vec<u8>>, HostError> {
        Err(crate::fault::outside())
    }

    pub(super) fn write(_: &str, _: &[u8]) -> Result<(), HostError> {
        Err(crate::fault::outside())
    }

    pub(super) fn delete(_: &str) -> Result<(), HostError> {
        Err(crate::fault::outside())
    }

    pub(super) fn list(_: &str) -> Result<Vec<Info>, HostError> {
        Err(crate::fault::outside())
    }
}
