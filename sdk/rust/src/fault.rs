//! Faults, short to write. The kernel decides what follows from the variant; the text reaches the user.

use crate::{Fault, FieldError, HostError, Retry};

/// One field that the user must correct: its path as `kubectl explain` takes it, the value as written (empty where it is
/// missing), and what is wrong and would be right.
pub fn field(path: impl Into<String>, value: impl Into<String>, reason: impl Into<String>) -> FieldError {
    FieldError { field: path.into(), value: value.into(), reason: reason.into() }
}

/// `Ok` when there is nothing to correct, else the fault that lists it all.
///
/// # Errors
/// [`Fault::Invalid`] with `errors`, when there are any.
pub fn check(errors: Vec<FieldError>) -> Result<(), Fault> {
    if errors.is_empty() { Ok(()) } else { Err(Fault::Invalid(errors)) }
}

/// A fault about one field that the user, or the client, must correct.
pub fn invalid(path: impl Into<String>, value: impl Into<String>, reason: impl Into<String>) -> Fault {
    Fault::Invalid(vec![field(path, value, reason)])
}

/// Something is not ready yet: call again after the delay.
pub fn retry(after_ms: u64, reason: impl Into<String>) -> Fault {
    Fault::Retry(Retry { after_ms, reason: reason.into() })
}

/// What the host says to a plugin, as the plugin's own fault: what may pass is asked for again.
impl From<HostError> for Fault {
    fn from(error: HostError) -> Self {
        match error {
            HostError::Unavailable(reason) => Fault::Retry(Retry { after_ms: 5_000, reason }),
            HostError::Denied(grant) => Fault::Failed(format!("not granted: {grant}")),
            HostError::Invalid(reason) | HostError::Conflict(reason) => Fault::Failed(reason),
            HostError::TooLarge(limit) => Fault::Failed(format!("larger than {limit} bytes")),
        }
    }
}

/// What every capability answers with outside a sandbox.
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn outside() -> HostError {
    HostError::Unavailable("this code runs outside a sandbox".to_owned())
}
