//! Why a backend did not do what it was asked for.

use crate::backend::{Device, Encoding};

/// Why a graph could not be loaded or computed. The text is shown to a person.
#[derive(Clone, Debug, thiserror::Error)]
pub enum NnError {
    /// No backend of this build or machine reads the encoding on that device.
    #[error("no backend for {encoding} on {device} here: {reason}")]
    NoBackend {
        /// What was to be read.
        encoding: Encoding,
        /// Where it was to run.
        device: Device,
        /// What is missing, and what to install.
        reason: String,
    },
    /// The files are not a graph that this backend understands.
    #[error("the model cannot be loaded: {0}")]
    Unreadable(String),
    /// An input has the wrong name, datatype or shape.
    #[error("{0}")]
    Input(String),
    /// The model needs more memory than there is or than it may have.
    #[error("the model needs {needed} bytes, {available} are available")]
    TooLarge {
        /// In bytes.
        needed: u64,
        /// In bytes.
        available: u64,
    },
    /// Too many computations wait already; it may be tried again.
    #[error("{waiting} computations wait already; try again later")]
    Overloaded {
        /// How many wait.
        waiting: usize,
    },
    /// The computation failed.
    #[error("the computation failed: {0}")]
    Failed(String),
}
