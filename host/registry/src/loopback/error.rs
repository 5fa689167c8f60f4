//! What the registry answers when it cannot do what was asked: the distribution specification's codes.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use serde_json::json;

/// A refusal.
#[derive(Debug)]
pub(super) enum Refusal {
    BlobUnknown,
    UploadUnknown,
    UploadInvalid(String),
    /// A piece of an upload that does not follow the one before; the session has so many bytes.
    OutOfOrder {
        have: u64,
        location: String,
    },
    DigestInvalid(String),
    ManifestUnknown,
    ManifestInvalid(String),
    ManifestBlobUnknown(String),
    NameInvalid(String),
    NameUnknown,
    TooLarge(u64),
    RangeNotSatisfiable(u64),
    Unsupported(&'static str),
    Io(std::io::Error),
}

impl From<std::io::Error> for Refusal {
    fn from(error: std::io::Error) -> Self {
        Refusal::Io(error)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code, message) = match &self {
            Refusal::BlobUnknown => {
                (StatusCode::NOT_FOUND, "BLOB_UNKNOWN", "there is no such blob".to_owned())
            }
            Refusal::UploadUnknown => {
                (StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", "there is no such upload".to_owned())
            }
            Refusal::UploadInvalid(why) => (StatusCode::BAD_REQUEST, "BLOB_UPLOAD_INVALID", why.clone()),
            Refusal::OutOfOrder { have, .. } => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "BLOB_UPLOAD_INVALID",
                format!("the upload has {have} bytes; go on there"),
            ),
            Refusal::DigestInvalid(why) => (StatusCode::BAD_REQUEST, "DIGEST_INVALID", why.clone()),
            Refusal::ManifestUnknown => {
                (StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", "there is no such manifest".to_owned())
            }
            Refusal::ManifestInvalid(why) => (StatusCode::BAD_REQUEST, "MANIFEST_INVALID", why.clone()),
            Refusal::ManifestBlobUnknown(digest) => (
                StatusCode::NOT_FOUND,
                "MANIFEST_BLOB_UNKNOWN",
                format!("the manifest names {digest}, which was not pushed"),
            ),
            Refusal::NameInvalid(name) => {
                (StatusCode::BAD_REQUEST, "NAME_INVALID", format!("{name:?} cannot be a name"))
            }
            Refusal::NameUnknown => {
                (StatusCode::NOT_FOUND, "NAME_UNKNOWN", "there is no such repository".to_owned())
            }
            Refusal::TooLarge(limit) => {
                (StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", format!("at most {limit} bytes are taken"))
            }
            Refusal::RangeNotSatisfiable(size) => (
                StatusCode::RANGE_NOT_SATISFIABLE,
                "SIZE_INVALID",
                format!("the range is outside of the {size} bytes"),
            ),
            Refusal::Unsupported(why) => (StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", (*why).to_owned()),
            Refusal::Io(error) => {
                tracing::error!(error = %error, "the registry's folder cannot be used");
                (StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", format!("the registry's folder: {error}"))
            }
        };
        let body = Json(json!({"errors": [{"code": code, "message": message, "detail": null}]}));
        match self {
            Refusal::OutOfOrder { have, location } => {
                let headers = [("location", location), ("range", format!("0-{}", have.saturating_sub(1)))];
                (status, headers, body).into_response()
            }
            Refusal::RangeNotSatisfiable(size) => {
                (status, [("content-range", format!("bytes */{size}"))], body).into_response()
            }
            _ => (status, body).into_response(),
        }
    }
}
