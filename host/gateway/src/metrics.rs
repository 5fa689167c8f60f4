//! What Prometheus sees: the names that KServe, Knative and vLLM gave such figures, where they gave one, and
//! `purlin_gateway_*` for the rest. Handles are made when the routing table is, so that a request only counts.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::StatusCode;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// A model, as labels.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(crate) struct ModelLabels {
    pub(crate) namespace: String,
    pub(crate) model_name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CountLabels {
    namespace: String,
    model_name: String,
    response_code_class: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabels {
    outcome: &'static str,
}

type Histograms = Family<ModelLabels, Histogram, fn() -> Histogram>;

/// Durations of a request.
fn durations() -> Histogram {
    let bounds =
        [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];
    Histogram::new(bounds)
}

/// Durations of a token.
fn token_durations() -> Histogram {
    Histogram::new([
        0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
    ])
}

fn sizes() -> Histogram {
    Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0])
}

/// All figures.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    predict: Histograms,
    explain: Histograms,
    count: Family<CountLabels, Counter>,
    latency: Histograms,
    e2e: Histograms,
    first_token: Histograms,
    per_token: Histograms,
    prompt_tokens: Family<ModelLabels, Counter>,
    generated_tokens: Family<ModelLabels, Counter>,
    batch_size: Histograms,
    in_flight: Family<ModelLabels, Gauge>,
    waiting: Family<ModelLabels, Gauge>,
    /// Connections that are open.
    pub(crate) connections: Gauge,
    /// Requests that reached no model, by status class.
    pub(crate) refused: Counter,
    /// Requests that were sent again, because the backend was gone.
    pub(crate) retries: Counter,
    /// Payloads for the log.
    payloads: Family<OutcomeLabels, Counter>,
}

impl Default for Metrics {
    fn default() -> Metrics {
        Metrics {
            predict: Histograms::new_with_constructor(durations),
            explain: Histograms::new_with_constructor(durations),
            count: Family::default(),
            latency: Histograms::new_with_constructor(durations),
            e2e: Histograms::new_with_constructor(durations),
            first_token: Histograms::new_with_constructor(token_durations),
            per_token: Histograms::new_with_constructor(token_durations),
            prompt_tokens: Family::default(),
            generated_tokens: Family::default(),
            batch_size: Histograms::new_with_constructor(sizes),
            in_flight: Family::default(),
            waiting: Family::default(),
            connections: Gauge::default(),
            refused: Counter::default(),
            retries: Counter::default(),
            payloads: Family::default(),
        }
    }
}

impl Metrics {
    /// Puts all figures into a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        let mut seconds = |name: &str, help: &str, metric: &Histograms| {
            registry.register(name, help, metric.clone());
        };
        seconds("request_predict_seconds", "How long models took to predict", &self.predict);
        seconds("request_explain_seconds", "How long models took to explain", &self.explain);
        seconds("request_latencies_seconds", "How long requests took, waiting included", &self.latency);
        seconds("vllm:e2e_request_latency_seconds", "How long generations took", &self.e2e);
        seconds("vllm:time_to_first_token_seconds", "From request to first token", &self.first_token);
        seconds("vllm:time_per_output_token_seconds", "Between tokens", &self.per_token);
        seconds("purlin_gateway_batch_size", "Instances computed at once", &self.batch_size);
        registry.register("request_count", "Requests that reached a model", self.count.clone());
        registry.register("vllm:prompt_tokens", "Tokens of prompts", self.prompt_tokens.clone());
        registry.register("vllm:generation_tokens", "Tokens generated", self.generated_tokens.clone());
        registry.register(
            "purlin_gateway_requests_in_flight",
            "Requests that a model has",
            self.in_flight.clone(),
        );
        registry.register(
            "purlin_gateway_requests_waiting",
            "Requests that wait for a model",
            self.waiting.clone(),
        );
        registry.register("purlin_gateway_connections", "Open connections", self.connections.clone());
        registry.register(
            "purlin_gateway_refused",
            "Requests that were answered before a model was found for them",
            self.refused.clone(),
        );
        registry.register(
            "purlin_gateway_retries",
            "Requests sent again, because who had them was gone before answering",
            self.retries.clone(),
        );
        registry.register(
            "purlin_gateway_payload_events",
            "Payloads for the payload log, by what became of them",
            self.payloads.clone(),
        );
    }

    /// The figures of one model.
    pub(crate) fn of_model(&self, labels: ModelLabels) -> ModelMetrics {
        let count = |class| {
            self.count.get_or_create_owned(&CountLabels {
                namespace: labels.namespace.clone(),
                model_name: labels.model_name.clone(),
                response_code_class: class,
            })
        };
        ModelMetrics {
            predict: self.predict.get_or_create_owned(&labels),
            explain: self.explain.get_or_create_owned(&labels),
            latency: self.latency.get_or_create_owned(&labels),
            count: [count("2xx"), count("4xx"), count("5xx")],
            generation: Arc::new(GenerationMetrics {
                e2e: self.e2e.get_or_create_owned(&labels),
                first_token: self.first_token.get_or_create_owned(&labels),
                per_token: self.per_token.get_or_create_owned(&labels),
                prompt_tokens: self.prompt_tokens.get_or_create_owned(&labels),
                generated_tokens: self.generated_tokens.get_or_create_owned(&labels),
            }),
            batch_size: self.batch_size.get_or_create_owned(&labels),
            in_flight: self.in_flight.get_or_create_owned(&labels),
            waiting: self.waiting.get_or_create_owned(&labels),
            labels,
        }
    }

    /// Forgets a model that is gone.
    pub(crate) fn forget(&self, labels: &ModelLabels) {
        for family in [&self.predict, &self.explain, &self.latency, &self.e2e, &self.first_token] {
            family.remove(labels);
        }
        for family in [&self.per_token, &self.batch_size] {
            family.remove(labels);
        }
        for class in ["2xx", "4xx", "5xx"] {
            self.count.remove(&CountLabels {
                namespace: labels.namespace.clone(),
                model_name: labels.model_name.clone(),
                response_code_class: class,
            });
        }
        self.prompt_tokens.remove(labels);
        self.generated_tokens.remove(labels);
        self.in_flight.remove(labels);
        self.waiting.remove(labels);
    }

    /// A payload was sent, was not taken, or found no room in the queue.
    pub(crate) fn payload(&self, outcome: &'static str) {
        self.payloads.get_or_create(&OutcomeLabels { outcome }).inc();
    }
}

/// The figures of one model.
#[derive(Clone, Debug)]
pub(crate) struct ModelMetrics {
    pub(crate) labels: ModelLabels,
    pub(crate) predict: Histogram,
    pub(crate) explain: Histogram,
    pub(crate) latency: Histogram,
    count: [Counter; 3],
    pub(crate) generation: Arc<GenerationMetrics>,
    pub(crate) batch_size: Histogram,
    pub(crate) in_flight: Gauge,
    pub(crate) waiting: Gauge,
}

impl ModelMetrics {
    /// A request was answered.
    pub(crate) fn answered(&self, status: StatusCode, after: Duration) {
        let class = match status.as_u16() {
            ..400 => 0,
            400..500 => 1,
            500.. => 2,
        };
        self.count[class].inc();
        self.latency.observe(after.as_secs_f64());
    }
}

/// The figures of a model that generates text.
#[derive(Debug)]
pub(crate) struct GenerationMetrics {
    pub(crate) e2e: Histogram,
    pub(crate) first_token: Histogram,
    pub(crate) per_token: Histogram,
    pub(crate) prompt_tokens: Counter,
    pub(crate) generated_tokens: Counter,
}

/// Numbers that requests are told apart by: unlikely to meet those of another process.
#[derive(Debug)]
pub(crate) struct Ids {
    prefix: u64,
    next: AtomicU64,
}

impl Default for Ids {
    fn default() -> Ids {
        Ids { prefix: rand::random(), next: AtomicU64::new(0) }
    }
}

impl Ids {
    /// One that was not given before.
    pub(crate) fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let mut text = String::with_capacity(32);
        for half in [self.prefix, number.wrapping_mul(0x9e37_79b9_7f4a_7c15)] {
            for shift in (0..64).step_by(4).rev() {
                text.push(char::from_digit((half >> shift & 15) as u32, 16).unwrap_or('0'));
            }
        }
        text
    }
}
