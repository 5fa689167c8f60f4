//! What is counted about models that plugins serve.

use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// How a load went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Load {
    outcome: &'static str,
}

/// Why a model left memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Unload {
    cause: &'static str,
}

/// The metrics of one process. Cheap to clone; every clone counts into the same.
#[derive(Clone, Debug)]
pub(crate) struct ModelMetrics {
    loads: Family<Load, Counter>,
    unloads: Family<Unload, Counter>,
    load_seconds: Histogram,
    loaded: Gauge,
    memory: Gauge,
}

impl ModelMetrics {
    /// Adds them to a registry.
    pub(crate) fn register(registry: &mut Registry) -> ModelMetrics {
        let metrics = ModelMetrics {
            loads: Family::default(),
            unloads: Family::default(),
            // From a millisecond to a minute.
            load_seconds: Histogram::new(exponential_buckets(0.001, 3.0, 11)),
            loaded: Gauge::default(),
            memory: Gauge::default(),
        };
        let ModelMetrics { loads, unloads, load_seconds, loaded, memory } = &metrics;
        let registry = registry.sub_registry_with_prefix("purlin_models");
        registry.register("loads", "Models loaded into memory, by outcome", loads.clone());
        registry.register("unloads", "Models that left memory, by cause", unloads.clone());
        let help = "How long loading took, fetching included";
        registry.register_with_unit("load", help, Unit::Seconds, load_seconds.clone());
        registry.register("loaded", "Models in memory", loaded.clone());
        let help = "Memory of the models that are loaded, as far as that can be told";
        registry.register_with_unit("memory", help, Unit::Bytes, memory.clone());
        metrics
    }

    pub(crate) fn loaded(&self, good: bool, took: Duration) {
        self.loads.get_or_create(&Load { outcome: if good { "success" } else { "error" } }).inc();
        self.load_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn unloaded(&self, cause: &'static str) {
        self.unloads.get_or_create(&Unload { cause }).inc();
    }

    /// How many models are in memory, and how much they take.
    pub(crate) fn usage(&self, models: usize, bytes: u64) {
        self.loaded.set(i64::try_from(models).unwrap_or(i64::MAX));
        self.memory.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }
}
