//! Why a model's file cannot be served.

use purlin_sdk::{Fault, fault};

/// Why a model's file cannot be served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelError {
    /// The content is not what the format says.
    Malformed {
        /// The part of the model.
        place: String,
        /// What is there and what would be right.
        reason: String,
    },
    /// The content is right, and nothing here computes it.
    Unsupported {
        /// What is not computed.
        what: String,
        /// What is, or what to do.
        remedy: String,
    },
}

impl ModelError {
    /// The content at a place is wrong.
    pub fn malformed(place: impl Into<String>, reason: impl Into<String>) -> Self {
        ModelError::Malformed { place: place.into(), reason: reason.into() }
    }

    /// Something is not computed here.
    pub fn unsupported(what: impl Into<String>, remedy: impl Into<String>) -> Self {
        ModelError::Unsupported { what: what.into(), remedy: remedy.into() }
    }

    /// As the fault of a Model whose source has this file.
    pub fn into_fault(self, file: &str) -> Fault {
        fault::invalid("spec.source.uri", file, self.to_string())
    }
}

impl std::fmt::Display for ModelError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ModelError::Malformed { place, reason } => write!(formatter, "{place}: {reason}"),
            ModelError::Unsupported { what, remedy } => write!(formatter, "{what} is not served; {remedy}"),
        }
    }
}

impl std::error::Error for ModelError {}
