//! The routes below `/console/api/`: what the page asks for, as JSON.

use std::sync::Arc;

use axum::extract::rejection::JsonRejection;
use axum::extract::{DefaultBodyLimit, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use http::StatusCode;
use purlin_registry::catalogue::Found;
use purlin_registry::index::{Index, Listing};
use purlin_registry::{Capability, Reference};
use semver::Version;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::catalogue::{self, Catalogue};
use crate::page::hardened;
use crate::release::{ReleaseError, Releases, Signature};

/// The longest request.
const MAX_REQUEST: usize = 64 << 10;

#[derive(Clone)]
struct Parts {
    catalogue: Arc<Catalogue>,
    releases: Arc<Releases>,
}

pub(crate) fn router(catalogue: Arc<Catalogue>, releases: Arc<Releases>) -> Router {
    Router::new()
        .route("/console/api/catalogue", get(list))
        .route("/console/api/release", post(inspect))
        .route("/console/api/signature", post(signature))
        .layer(DefaultBodyLimit::max(MAX_REQUEST))
        .layer(axum::middleware::map_response(|response| hardened(response, "no-store")))
        .with_state(Parts { catalogue, releases })
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("{0}")]
    Request(#[from] JsonRejection),
    #[error("{0:?} is none of the indexes that this console was started with")]
    UnknownIndex(String),
    #[error("{0}")]
    NoIndex(String),
    #[error("{name} {version} is not in the index {index}; load the page again")]
    NotListed { name: String, version: Version, index: String },
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let (code, reason) = match &self {
            Failure::Request(rejection) => (rejection.status(), "BadRequest"),
            Failure::UnknownIndex(_) | Failure::NotListed { .. } => (StatusCode::NOT_FOUND, "NotFound"),
            Failure::Release(ReleaseError::Starting) => {
                (StatusCode::SERVICE_UNAVAILABLE, "ServiceUnavailable")
            }
            Failure::NoIndex(_) | Failure::Release(_) => (StatusCode::BAD_GATEWAY, "RegistryFailed"),
        };
        // In the form of the Kubernetes API, so that the page reads all failures alike.
        let status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": self.to_string(), "reason": reason, "code": code.as_u16(),
        });
        (code, Json(status)).into_response()
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Listed<'a> {
    #[serde(flatten)]
    listing: &'a Listing,
    newest: Option<Version>,
}

async fn list(State(parts): State<Parts>) -> Response {
    let read = parts.catalogue.current().await;
    let indexes: Vec<_> = read
        .iter()
        .map(|read| {
            let name = read.place.to_string();
            match &read.outcome {
                Ok(index) => json!({"index": name, "plugins": listings(index)}),
                Err(error) => json!({"index": name, "plugins": [], "error": error}),
            }
        })
        .collect();
    Json(json!({"indexes": indexes})).into_response()
}

fn listings(index: &Index) -> Vec<Listed<'_>> {
    let listed = |listing| Listed { listing, newest: catalogue::newest(index, &listing.name) };
    index.plugins.iter().map(listed).collect()
}

/// A version in an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Wanted {
    index: String,
    name: String,
    version: Version,
    /// What is granted already. A text that is no capability grants nothing.
    #[serde(default)]
    grants: Vec<String>,
}

impl Wanted {
    async fn find(&self, parts: &Parts) -> Result<(Reference, Found), Failure> {
        let read = parts.catalogue.current().await;
        let place = read.iter().find(|read| read.place.to_string() == self.index);
        let read = place.ok_or_else(|| Failure::UnknownIndex(self.index.chars().take(256).collect()))?;
        let index = read.outcome.as_ref().map_err(|error| Failure::NoIndex(error.clone()))?;
        let found =
            catalogue::listed(index, &self.name, &self.version).ok_or_else(|| Failure::NotListed {
                name: self.name.chars().take(64).collect(),
                version: self.version.clone(),
                index: self.index.clone(),
            })?;
        Ok((read.place.clone(), found))
    }
}

/// A capability that a version asks for.
#[derive(Serialize)]
struct Request {
    name: String,
    reason: String,
    optional: bool,
    granted: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Release {
    name: String,
    version: Version,
    description: String,
    reference: String,
    digest: String,
    size: usize,
    wit: Version,
    stages: Vec<String>,
    algorithms: Vec<String>,
    owns: Vec<String>,
    emits: Vec<String>,
    reads: Vec<String>,
    namespaces: Vec<String>,
    capabilities: Vec<Request>,
    signature: Signature,
}

async fn inspect(
    State(parts): State<Parts>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<Release>, Failure> {
    let Json(wanted) = wanted?;
    let (index, found) = wanted.find(&parts).await?;
    // A plugin is judged before anything of it is pulled.
    let signature = parts.releases.signature(&index, &found).await?;
    let known = parts.releases.known(&index, &found).await?;
    let granted: Vec<Capability> = wanted.grants.iter().filter_map(|grant| grant.parse().ok()).collect();
    let missing = known.manifest.refused(&granted);
    let capabilities = known.manifest.requests().into_iter().map(|request| Request {
        granted: !missing.iter().any(|missing| missing.name == request.name),
        name: request.name.to_string(),
        reason: request.reason,
        optional: request.optional,
    });
    let capabilities = capabilities.collect();
    let [owns, emits, reads] = known.kinds();
    let manifest = &known.manifest;
    Ok(Json(Release {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        description: manifest.description.clone(),
        reference: found.release.reference,
        digest: found.release.digest.to_string(),
        size: known.size,
        wit: manifest.wit.clone(),
        stages: manifest.stages.iter().map(ToString::to_string).collect(),
        algorithms: manifest.algorithms.clone(),
        owns,
        emits,
        reads,
        namespaces: manifest.namespaces.clone(),
        capabilities,
        signature,
    }))
}

async fn signature(
    State(parts): State<Parts>,
    wanted: Result<Json<Wanted>, JsonRejection>,
) -> Result<Json<Signature>, Failure> {
    let Json(wanted) = wanted?;
    let (index, found) = wanted.find(&parts).await?;
    Ok(Json(parts.releases.signature(&index, &found).await?))
}
