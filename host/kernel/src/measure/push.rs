//! Receives metrics that a trial's program sends: the HTTP side of `metricsCollector.source: push`.
//!
//! `POST /v1alpha1/namespaces/{ns}/trials/{name}/metrics` with `Authorization: Bearer $PURLIN_METRICS_TOKEN` and lines
//! in the trial's format. The answer is 200 only once the readings are in the Trial's status, so a program that got it
//! may end. The token is an HMAC of the Trial's UID: it is good for that trial alone, and the kernel stores none.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::post;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, ResourceExt};
use serde_json::json;

use super::parser::LineParser;
use super::series::Series;
use crate::api::{MetricSource, Trial};
use crate::digest::{push_token, same_secret};

/// The largest body that is taken.
const LARGEST_BODY: usize = 1 << 20;
/// Writers of one Trial's status that may come between before a request is turned away.
const ATTEMPTS: usize = 16;

/// The key that tokens are made with.
#[derive(Clone)]
pub struct PushKey(Arc<[u8]>);

impl PushKey {
    /// A key of any length; 32 random bytes are good.
    pub fn new(key: impl Into<Arc<[u8]>>) -> Self {
        PushKey(key.into())
    }

    /// The token of a trial.
    pub fn token(&self, trial_uid: &str) -> String {
        push_token(&self.0, trial_uid)
    }
}

impl std::fmt::Debug for PushKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PushKey(..)")
    }
}

/// Where a trial's program sends its metrics.
pub fn push_path(namespace: &str, trial: &str) -> String {
    format!("/v1alpha1/namespaces/{namespace}/trials/{trial}/metrics")
}

/// The routes, to be merged into the binary's server.
pub fn push_router(client: Client, key: PushKey) -> Router {
    Router::new()
        .route("/v1alpha1/namespaces/{namespace}/trials/{name}/metrics", post(receive))
        .layer(DefaultBodyLimit::max(LARGEST_BODY))
        .with_state(Receiver { client, key })
}

#[derive(Clone)]
struct Receiver {
    client: Client,
    key: PushKey,
}

async fn receive(
    State(receiver): State<Receiver>,
    Path((namespace, name)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> (StatusCode, String) {
    match receiver.store(&namespace, &name, &headers, &body).await {
        Ok(()) => (StatusCode::OK, String::new()),
        Err(refusal) => refusal,
    }
}

impl Receiver {
    async fn store(
        &self,
        namespace: &str,
        name: &str,
        headers: &HeaderMap,
        body: &[u8],
    ) -> Result<(), (StatusCode, String)> {
        // Whoever has no valid token learns nothing, not even whether the trial exists.
        let unauthorized =
            || (StatusCode::UNAUTHORIZED, "send $PURLIN_METRICS_TOKEN as a bearer token\n".to_owned());
        let token = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok())
            .and_then(|value| value.strip_prefix("Bearer "))
            .ok_or_else(unauthorized)?;
        let text = String::from_utf8_lossy(body);
        let trials: Api<Trial> = Api::namespaced(self.client.clone(), namespace);
        for _ in 0..ATTEMPTS {
            let trial = trials.get_opt(name).await.map_err(unavailable)?.ok_or_else(unauthorized)?;
            let expected = self.key.token(&trial.uid().unwrap_or_default());
            if !same_secret(token.as_bytes(), expected.as_bytes()) {
                return Err(unauthorized());
            }
            if trial.spec.metrics_collector.source != MetricSource::Push {
                return Err((StatusCode::CONFLICT, "this trial's metrics are not pushed\n".to_owned()));
            }
            let status = trial.status.clone().unwrap_or_default();
            if status.completion_time.is_some() {
                return Err((StatusCode::CONFLICT, "this trial has ended\n".to_owned()));
            }
            let parser = LineParser::new(&trial.spec.objective, &trial.spec.metrics_collector)
                .map_err(|error| (StatusCode::CONFLICT, format!("{error}\n")))?;
            let mut series = Series::resume(&status.metrics, &status.measurements);
            parser.text(&text, &mut series);
            let patch = json!({
                "metadata": {"resourceVersion": trial.resource_version()},
                "status": {"metrics": series.metrics(), "measurements": series.measurements()},
            });
            match trials.patch_status(name, &PatchParams::default(), &Patch::Merge(&patch)).await {
                Ok(_) => return Ok(()),
                // Somebody else wrote the status: add to what they wrote.
                Err(kube::Error::Api(status)) if status.code == 409 => {}
                Err(error) => return Err(unavailable(error)),
            }
        }
        Err((
            StatusCode::SERVICE_UNAVAILABLE,
            "the trial is written to by too many at once; send again\n".to_owned(),
        ))
    }
}

fn unavailable(error: kube::Error) -> (StatusCode, String) {
    tracing::warn!(error = %crate::report(&error), "pushed metrics could not be stored");
    (StatusCode::SERVICE_UNAVAILABLE, "the metrics could not be stored; send them again\n".to_owned())
}
