//! The one unsafe call of this crate: native code that an earlier run compiled is mapped and trusted. Called by the
//! code cache alone, after it has checked the bytes; it must never be given bytes from anywhere else.

use wasmtime::Engine;
use wasmtime::component::Component;

/// Takes back what [`Component::serialize`] gave.
#[allow(unsafe_code, reason = "wasmtime has no safe way to load compiled code")]
pub(crate) fn revive(engine: &Engine, code: &[u8]) -> wasmtime::Result<Component> {
    // SAFETY: `code` must be what `Component::serialize` of a compatible engine returned, unaltered. The cache reads it
    // from a directory that only this user can write (mode 0700, checked), under a name that holds the engine's
    // compatibility hash, and compares a SHA-256 of the content; wasmtime checks version and settings once more.
    unsafe { Component::deserialize(engine, code) }
}
