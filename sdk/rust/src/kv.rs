//! A small store of the plugin's own. Capability: `kv`, asked for in the manifest and granted by the user.

use crate::HostError;

pub use crate::bindings::base::purlin::plugin::kv::Item;

/// The value of a key and its version.
///
/// # Errors
/// The key is malformed or the store cannot be reached.
pub fn get(key: &str) -> Result<Option<Item>, HostError> {
    host::get(key)
}

/// Writes a value and gives its version. With `expected` only where that is the present version (0: none).
///
/// # Errors
/// [`HostError::Conflict`] where it is another, [`HostError::TooLarge`] where the store is full.
pub fn set(key: &str, value: &[u8], expected: Option<u64>) -> Result<u64, HostError> {
    host::set(key, value, expected)
}

/// Deletes a key, whether it is there or not.
///
/// # Errors
/// The key is malformed or the store cannot be reached.
pub fn delete(key: &str) -> Result<(), HostError> {
    host::delete(key)
}

/// Keys that begin with `prefix`, in order.
///
/// # Errors
/// The store cannot be reached.
pub fn keys(prefix: &str) -> Result<Vec<String>, HostError> {
    host::keys(prefix)
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::base::purlin::plugin::kv as host;

/// Outside a sandbox there is no host that could be asked.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    use super::Item;
    use crate::HostError;

    pub(super) fn get(_: &str) -> Result<Option<Item>, HostError> {
        Err(crate::fault::outside())
    }

    pub(super) fn set(_: &str, _: &[u8], _: Option<u64>) -> Result<u64, HostError> {
        Err(crate::fault::outside())
    }

    pub(super) fn delete(_: &str) -> Result<(), HostError> {
        Err(crate::fault::outside())
    }

    pub(super) fn keys(_: &str) -> Result<Vec<String>, HostError> {
        Err(crate::fault::outside())
    }
}
