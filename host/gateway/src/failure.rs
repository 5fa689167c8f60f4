//! Why a request is not answered, as HTTP has it. Each protocol puts it into its own form.

use std::time::Duration;

use http::StatusCode;
use purlin_nn::InferError;

use crate::json::SyntaxError;

/// Clients that were sent away come back after so long, where nobody knows better.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct Failure {
    /// The status of the answer.
    pub(crate) status: StatusCode,
    /// Shown to the client.
    pub(crate) message: String,
    /// When to try again.
    pub(crate) retry_after: Option<Duration>,
    /// Methods that the path has, where the request's is none of them.
    pub(crate) allow: Option<&'static str>,
}

impl Failure {
    /// A failure with a status of its own.
    pub(crate) fn new(status: StatusCode, message: impl Into<String>) -> Failure {
        Failure { status, message: message.into(), retry_after: None, allow: None }
    }

    /// The request is wrong.
    pub(crate) fn invalid(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::BAD_REQUEST, message)
    }

    /// There is no such thing.
    pub(crate) fn not_found(message: impl Into<String>) -> Failure {
        Failure::new(StatusCode::NOT_FOUND, message)
    }

    /// It may be tried again.
    pub(crate) fn unavailable(message: impl Into<String>) -> Failure {
        Failure { retry_after: Some(RETRY_AFTER), ..Failure::new(StatusCode::SERVICE_UNAVAILABLE, message) }
    }

    /// No answer in time.
    pub(crate) fn deadline(limit: Duration) -> Failure {
        InferError::Deadline(limit).into()
    }

    /// The path has other methods.
    pub(crate) fn method(allow: &'static str) -> Failure {
        Failure {
            allow: Some(allow),
            ..Failure::new(StatusCode::METHOD_NOT_ALLOWED, format!("this path answers {allow} only"))
        }
    }
}

impl From<InferError> for Failure {
    fn from(error: InferError) -> Failure {
        let message = error.to_string();
        match error {
            InferError::Invalid(_) | InferError::Unsupported(_) => Failure::invalid(message),
            InferError::TooLarge(_) => Failure::new(StatusCode::PAYLOAD_TOO_LARGE, message),
            InferError::Overloaded { retry_after, .. } => {
                Failure { retry_after: Some(retry_after), ..Failure::unavailable(message) }
            }
            InferError::Unavailable(_) => Failure::unavailable(message),
            InferError::Deadline(_) => Failure::new(StatusCode::GATEWAY_TIMEOUT, message),
            InferError::Failed(_) => Failure::new(StatusCode::INTERNAL_SERVER_ERROR, message),
        }
    }
}

impl From<SyntaxError> for Failure {
    fn from(error: SyntaxError) -> Failure {
        Failure::invalid(format!("the body cannot be read: {error}"))
    }
}
