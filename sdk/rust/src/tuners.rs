//! Calls to the tuner stage of whichever installed plugin serves an algorithm. Capability: `call(tuner)`, asked for in
//! the manifest and granted by the user.

use crate::{Fault, FieldError, Search, Suggestion};

/// What [`Tuner::validate`](crate::Tuner::validate) of the plugin that serves `search.algorithm` says.
///
/// # Errors
/// The other plugin's fault, or [`Fault::Failed`] where no plugin serves the algorithm.
pub fn validate(search: &Search) -> Result<Vec<FieldError>, Fault> {
    host::validate(search)
}

/// What [`Tuner::suggest`](crate::Tuner::suggest) of the plugin that serves `search.algorithm` says.
///
/// # Errors
/// The other plugin's fault, or [`Fault::Failed`] where no plugin serves the algorithm.
pub fn suggest(search: &Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
    host::suggest(search, count)
}

#[cfg(target_arch = "wasm32")]
use crate::bindings::base::purlin::plugin::tuners as host;

/// Outside a sandbox no other plugin can be reached.
#[cfg(not(target_arch = "wasm32"))]
mod host {
    use crate::{Fault, FieldError, Search, Suggestion};

    pub(super) fn validate(search: &Search) -> Result<Vec<FieldError>, Fault> {
        Err(unreachable(search))
    }

    pub(super) fn suggest(search: &Search, _count: u32) -> Result<Vec<Suggestion>, Fault> {
        Err(unreachable(search))
    }

    fn unreachable(search: &Search) -> Fault {
        Fault::Failed(format!(
            "no plugin serves the algorithm {}: this code runs outside a sandbox",
            search.algorithm
        ))
    }
}
