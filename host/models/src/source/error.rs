//! Why a source could not be read, in the words of a Model's condition.

/// Why a source could not be read. The text is for the Model's condition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SourceError {
    /// One word for the condition.
    pub reason: &'static str,
    /// What is wrong and what to do.
    pub message: String,
    /// Whether it may be there later.
    pub passing: bool,
}

impl SourceError {
    /// What stays wrong until somebody changes the Model.
    pub(crate) fn lasting(reason: &'static str, message: impl Into<String>) -> SourceError {
        SourceError { reason, message: message.into(), passing: false }
    }

    /// What may be right at the next attempt.
    pub(crate) fn passing(message: impl Into<String>) -> SourceError {
        SourceError { reason: "SourceUnavailable", message: message.into(), passing: true }
    }

    /// What the credentials do not open. They may be changed any time, without the Model being changed.
    pub(crate) fn refused(message: impl Into<String>) -> SourceError {
        SourceError { reason: "SourceUnauthorized", message: message.into(), passing: true }
    }

    /// A source that says what makes no sense.
    pub(crate) fn invalid(message: impl Into<String>) -> SourceError {
        SourceError::lasting("SourceInvalid", message)
    }
}
