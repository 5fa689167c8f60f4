//! What the server counts: requests by verb, resource and code, their latency, and the store's work.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric as _};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::store::Store;

/// Upper bounds of the latency histogram, in seconds.
const BUCKETS: [f64; 10] = [0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.1, 0.5, 2.5, 10.0];

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Request {
    verb: &'static str,
    resource: String,
    code: u32,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Latency {
    verb: &'static str,
}

/// Counts requests.
#[derive(Clone, Debug)]
pub(crate) struct Metrics {
    requests: Family<Request, Counter>,
    seconds: Family<Latency, Histogram, fn() -> Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
        }
    }

    /// Makes everything visible in `registry`.
    pub(crate) fn register(&self, registry: &mut Registry, store: Store) {
        registry.register("purlin_apiserver_requests", "Requests answered", self.requests.clone());
        registry.register(
            "purlin_apiserver_request_seconds",
            "Time from a request to the head of its answer",
            self.seconds.clone(),
        );
        registry.register_collector(Box::new(StoreCollector(Arc::new(store))));
    }

    pub(crate) fn request(&self, verb: &'static str, resource: &str, code: u16, took: Duration) {
        let labels = Request { verb, resource: resource.to_owned(), code: u32::from(code) };
        self.requests.get_or_create(&labels).inc();
        self.seconds.get_or_create(&Latency { verb }).observe(took.as_secs_f64());
    }
}

/// Reads the store's own counters when the metrics are asked for.
#[derive(Debug)]
struct StoreCollector(Arc<Store>);

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let counters = self.0.counters();
        let totals = [
            ("purlin_apiserver_store_commits", "Transactions committed", &counters.commits),
            ("purlin_apiserver_store_writes", "Writes committed", &counters.writes),
        ];
        for (name, help, value) in totals {
            let counter = ConstCounter::new(value.load(Ordering::Relaxed));
            counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)?;
        }
        let gauges = [
            ("purlin_apiserver_watchers", "Watches open", counters.watchers.load(Ordering::Relaxed)),
            ("purlin_apiserver_store_revision", "Newest revision", self.0.revision()),
        ];
        for (name, help, value) in gauges {
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}
