//! Paths that are no resources: version, health, the list of paths, and everything that is not served.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::{StatusCode, Uri, header};
use serde_json::{Value, json};

use super::respond;
use crate::auth::token::ISSUER;
use crate::catalogue::api_version;
use crate::server::Core;
use crate::status::ApiError;

/// The Kubernetes version whose behaviour is served.
pub(super) fn version_info() -> Value {
    json!({
        "major": "1", "minor": "37", "gitVersion": "v1.37.2+purlin", "gitCommit": "", "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z", "goVersion": "", "compiler": "rustc",
        "platform": concat!("linux/", "amd64"), "emulationMajor": "1", "emulationMinor": "37",
        "minCompatibilityMajor": "1", "minCompatibilityMinor": "36",
    })
}

pub(super) async fn version() -> Response {
    respond::plain(200, &version_info())
}

pub(super) async fn healthy() -> Response {
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], "ok").into_response()
}

pub(super) async fn root(State(core): State<Arc<Core>>) -> Response {
    let mut paths: Vec<String> = ["/.well-known/openid-configuration", "/api", "/api/v1", "/apis", "/apis/"]
        .into_iter()
        .chain(["/healthz", "/livez", "/openapi/v2", "/openapi/v3", "/openapi/v3/", "/readyz", "/version"])
        .map(str::to_owned)
        .collect();
    for (group, version) in core.engine.catalogue.served().keys().filter(|(group, _)| !group.is_empty()) {
        paths.push(format!("/apis/{group}"));
        paths.push(format!("/apis/{}", api_version(group, version)));
    }
    paths.sort();
    paths.dedup();
    respond::plain(200, &json!({"paths": paths}))
}

pub(super) async fn openid() -> Response {
    respond::plain(
        200,
        &json!({
            "issuer": ISSUER, "jwks_uri": format!("{ISSUER}/openid/v1/jwks"), "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["HS256"],
        }),
    )
}

/// Unknown groups get a plain text answer from the real server, unknown resources a `Status`.
pub(super) async fn nothing(uri: Uri) -> Response {
    if uri.path().starts_with("/api/") {
        return respond::failure(&ApiError::no_such_resource());
    }
    not_a_page()
}

pub(super) fn not_a_page() -> Response {
    let text = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
    (StatusCode::NOT_FOUND, text, "404 page not found\n").into_response()
}
