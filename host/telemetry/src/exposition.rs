//! Health and metrics over plain HTTP: `/healthz`, `/livez`, `/readyz` and Prometheus' `/metrics` in OpenMetrics text.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus_client::registry::Registry;

use crate::process::ProcessCollector;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Which parts are not ready yet. Cheap to clone; every clone sees the same.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<Vec<String>>>);

impl Readiness {
    /// Marks a part as not ready until [`Readiness::done`] is called with the same name.
    pub fn wait_for(&self, part: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(part.to_owned());
    }

    /// Marks a part as ready.
    pub fn done(&self, part: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|waiting| waiting != part);
    }

    /// The parts that are not ready, in the order in which they were named.
    pub fn waiting(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The metrics of all crates, and the parts whose readiness `/readyz` reports.
#[derive(Debug, Clone)]
pub struct Exposition {
    registry: Arc<Registry>,
    readiness: Readiness,
    refresh: Refresh,
}

/// What brings gauges up to date.
#[derive(Clone)]
struct Refresh(Arc<dyn Fn() + Send + Sync>);

impl fmt::Debug for Refresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Refresh")
    }
}

impl Exposition {
    /// Takes the registry once every crate has registered with it, and adds the process' own facts.
    pub fn new(mut registry: Registry, readiness: Readiness) -> Self {
        registry.register_collector(Box::new(ProcessCollector));
        Self { registry: Arc::new(registry), readiness, refresh: Refresh(Arc::new(|| {})) }
    }

    /// Calls `refresh` each time before metrics are read: for gauges that nobody keeps up to date meanwhile. It must be quick.
    #[must_use]
    pub fn refreshed_by(self, refresh: impl Fn() + Send + Sync + 'static) -> Self {
        Self { refresh: Refresh(Arc::new(refresh)), ..self }
    }

    /// The routes.
    pub fn router(&self) -> Router {
        Router::new()
            .route("/healthz", get(|| async { "ok" }))
            .route("/livez", get(|| async { "ok" }))
            .route("/readyz", get(readyz))
            .route("/metrics", get(metrics))
            .with_state(self.clone())
    }
}

async fn readyz(State(exposition): State<Exposition>) -> Response {
    let waiting = exposition.readiness.waiting();
    if waiting.is_empty() {
        return "ok".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for: {}\n", waiting.join(", "))).into_response()
}

async fn metrics(State(exposition): State<Exposition>) -> Response {
    (exposition.refresh.0)();
    let mut text = String::new();
    match prometheus_client::encoding::text::encode(&mut text, &exposition.registry) {
        Ok(()) => ([(header::CONTENT_TYPE, OPEN_METRICS)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("cannot encode the metrics: {error}\n"))
            .into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn get_text(router: Router, path: &str) -> (StatusCode, String) {
        let response = router.oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let status = response.status();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn readiness_names_what_is_missing() {
        let readiness = Readiness::default();
        readiness.wait_for("plugins");
        let router = Exposition::new(Registry::default(), readiness.clone()).router();
        let (status, text) = get_text(router.clone(), "/readyz").await;
        assert_eq!((status, text.as_str()), (StatusCode::SERVICE_UNAVAILABLE, "waiting for: plugins\n"));
        readiness.done("plugins");
        assert_eq!(get_text(router, "/readyz").await, (StatusCode::OK, "ok".to_owned()));
    }

    #[tokio::test]
    async fn gauges_are_brought_up_to_date() {
        let gauge = prometheus_client::metrics::gauge::Gauge::<i64>::default();
        let mut registry = Registry::default();
        registry.register("waiting", "How many wait", gauge.clone());
        let refreshed = Exposition::new(registry, Readiness::default()).refreshed_by(move || {
            gauge.set(3);
        });
        let (_, text) = get_text(refreshed.router(), "/metrics").await;
        assert!(text.contains("waiting 3\n"), "{text}");
    }

    #[tokio::test]
    async fn metrics_tell_of_the_process() {
        let router = Exposition::new(Registry::default(), Readiness::default()).router();
        let (status, text) = get_text(router, "/metrics").await;
        assert_eq!(status, StatusCode::OK);
        assert!(text.contains("process_resident_memory_bytes "), "{text}");
        assert!(text.contains("process_cpu_seconds_total "), "{text}");
        assert!(text.ends_with("# EOF\n"), "{text}");
    }
}
