//! What the sandbox measures. Made once by the binary, which owns the registry; every plugin's calls report here.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// The sandbox's metrics. Clones share their values.
#[derive(Clone)]
pub struct Metrics {
    calls: Family<CallLabels, Histogram, Buckets>,
    traps: Family<TrapLabels, Counter>,
    in_flight: Family<PluginLabels, Gauge>,
    memory: Family<PluginLabels, Gauge<u64, AtomicU64>>,
    log_dropped: Family<PluginLabels, Counter>,
    compile: Histogram,
    cache: Family<CacheLabels, Counter>,
    served: Family<ServedLabels, Histogram, Buckets>,
}

/// Names are shared, because labels are built for each call.
pub(crate) type Name = Arc<String>;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallLabels {
    plugin: Name,
    stage: &'static str,
    function: &'static str,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TrapLabels {
    plugin: Name,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginLabels {
    plugin: Name,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CacheLabels {
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServedLabels {
    plugin: Name,
    capability: &'static str,
    outcome: &'static str,
}

/// From 10 µs, a trivial call, to 20 s, more than any deadline in use.
#[derive(Clone)]
struct Buckets;

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new([
            0.000_01, 0.000_02, 0.000_05, 0.000_1, 0.000_2, 0.000_5, 0.001, 0.002, 0.005, 0.01, 0.05, 0.1,
            0.5, 1.0, 5.0, 20.0,
        ])
    }
}

impl Metrics {
    /// Makes the metrics and registers them, each named `purlin_sandbox_...`.
    pub fn new(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            calls: Family::new_with_constructor(Buckets),
            traps: Family::default(),
            in_flight: Family::default(),
            memory: Family::default(),
            log_dropped: Family::default(),
            compile: Histogram::new([0.01, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0]),
            cache: Family::default(),
            served: Family::new_with_constructor(Buckets),
        };
        registry.register(
            "purlin_sandbox_call_duration_seconds",
            "Time of a plugin call, instantiation and the checks of its answer included",
            metrics.calls.clone(),
        );
        registry.register(
            "purlin_sandbox_traps",
            "Calls that were ended by force, by reason",
            metrics.traps.clone(),
        );
        registry.register("purlin_sandbox_calls_in_flight", "Calls that run", metrics.in_flight.clone());
        registry.register(
            "purlin_sandbox_memory_high_water_bytes",
            "The most linear memory that one call of a plugin has used",
            metrics.memory.clone(),
        );
        registry.register(
            "purlin_sandbox_log_lines_dropped",
            "Log lines of plugins that were over the limit of rate",
            metrics.log_dropped.clone(),
        );
        registry.register(
            "purlin_sandbox_compile_duration_seconds",
            "Time to compile a component",
            metrics.compile.clone(),
        );
        registry.register(
            "purlin_sandbox_code_cache_lookups",
            "Look-ups of compiled code, by result (hit, miss, corrupt)",
            metrics.cache.clone(),
        );
        registry.register(
            "purlin_sandbox_capability_duration_seconds",
            "Time of what the host did for a plugin, by capability and outcome",
            metrics.served.clone(),
        );
        metrics
    }

    pub(crate) fn call(
        &self,
        plugin: &Name,
        stage: &'static str,
        function: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        let labels = CallLabels { plugin: Arc::clone(plugin), stage, function, outcome };
        self.calls.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn trap(&self, plugin: &Name, reason: &'static str) {
        self.traps.get_or_create(&TrapLabels { plugin: Arc::clone(plugin), reason }).inc();
    }

    /// The gauge of one plugin's running calls, to keep.
    pub(crate) fn in_flight(&self, plugin: &Name) -> Gauge {
        self.in_flight.get_or_create_owned(&PluginLabels { plugin: Arc::clone(plugin) })
    }

    /// The gauge of one plugin's memory, to keep.
    pub(crate) fn memory(&self, plugin: &Name) -> Gauge<u64, AtomicU64> {
        self.memory.get_or_create_owned(&PluginLabels { plugin: Arc::clone(plugin) })
    }

    /// The counter of one plugin's dropped lines, to keep.
    pub(crate) fn log_dropped(&self, plugin: &Name) -> Counter {
        self.log_dropped.get_or_create_owned(&PluginLabels { plugin: Arc::clone(plugin) })
    }

    pub(crate) fn compiled(&self, took: Duration) {
        self.compile.observe(took.as_secs_f64());
    }

    pub(crate) fn served(
        &self,
        plugin: &Name,
        capability: &'static str,
        outcome: &'static str,
        took: Duration,
    ) {
        let labels = ServedLabels { plugin: Arc::clone(plugin), capability, outcome };
        self.served.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn cache(&self, result: &'static str) {
        self.cache.get_or_create(&CacheLabels { result }).inc();
    }
}
