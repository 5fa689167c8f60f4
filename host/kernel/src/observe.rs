//! The kernel's Prometheus metrics.
//!
//! One struct a concern, each a set of handles that are cheap to clone; [`KernelMetrics::register`] is the one place
//! where they get their names.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

/// Which loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Controller {
    controller: String,
}

/// Which loop, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Attempt {
    controller: String,
    outcome: &'static str,
}

/// Which plugin, which call, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PluginCall {
    plugin: String,
    call: &'static str,
    outcome: &'static str,
}

/// Which kind is watched.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WatchedKind {
    kind: String,
}

fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.0001, 4.0, 10))
}

/// What one queue counts.
#[derive(Clone, Debug)]
pub struct QueueMetrics {
    /// Keys that are ready.
    pub depth: Gauge,
    /// Keys added.
    pub adds: Counter,
    /// Failures that put a key back.
    pub retries: Counter,
    /// Seconds that a ready key waited for a worker.
    pub latency: Histogram,
    /// Seconds that a worker had a key.
    pub work: Histogram,
}

impl Default for QueueMetrics {
    fn default() -> Self {
        QueueMetrics {
            depth: Gauge::default(),
            adds: Counter::default(),
            retries: Counter::default(),
            latency: durations(),
            work: durations(),
        }
    }
}

/// Everything that the kernel counts.
#[derive(Clone, Debug)]
pub struct KernelMetrics {
    reconciles: Family<Attempt, Counter>,
    reconcile_seconds: Family<Controller, Histogram>,
    depth: Family<Controller, Gauge>,
    adds: Family<Controller, Counter>,
    retries: Family<Controller, Counter>,
    latency: Family<Controller, Histogram>,
    work: Family<Controller, Histogram>,
    calls: Family<PluginCall, Counter>,
    call_seconds: Family<Controller, Histogram>,
    objects: Family<WatchedKind, Gauge>,
    watch_errors: Family<WatchedKind, Counter>,
    events_dropped: Counter,
    shards: ShardMetrics,
    writes_fenced: Counter,
}

/// What the election counts.
#[derive(Clone, Debug, Default)]
pub struct ShardMetrics {
    held: Gauge,
    leads: Gauge,
    failures: Counter,
}

impl ShardMetrics {
    pub(crate) fn holds(&self, shards: usize, leads: bool) {
        self.held.set(shards as i64);
        self.leads.set(i64::from(leads));
    }

    pub(crate) fn failed(&self) {
        self.failures.inc();
    }
}

impl Default for KernelMetrics {
    fn default() -> Self {
        KernelMetrics {
            reconciles: Family::default(),
            reconcile_seconds: Family::new_with_constructor(durations),
            depth: Family::default(),
            adds: Family::default(),
            retries: Family::default(),
            latency: Family::new_with_constructor(durations),
            work: Family::new_with_constructor(durations),
            calls: Family::default(),
            call_seconds: Family::new_with_constructor(durations),
            objects: Family::default(),
            watch_errors: Family::default(),
            events_dropped: Counter::default(),
            shards: ShardMetrics::default(),
            writes_fenced: Counter::default(),
        }
    }
}

impl KernelMetrics {
    /// Makes the metrics and gives them their names in a registry.
    pub fn register(registry: &mut Registry) -> Self {
        let metrics = KernelMetrics::default();
        let registry = registry.sub_registry_with_prefix("purlin_kernel");
        registry.register("reconcile", "Reconciles, by how they ended", metrics.reconciles.clone());
        registry.register("reconcile_seconds", "Time of a reconcile", metrics.reconcile_seconds.clone());
        registry.register("queue_depth", "Keys that wait for a worker", metrics.depth.clone());
        registry.register("queue_adds", "Keys added to a queue", metrics.adds.clone());
        registry.register("queue_retries", "Keys put back after a failure", metrics.retries.clone());
        registry.register(
            "queue_latency_seconds",
            "Time that a key waited for a worker",
            metrics.latency.clone(),
        );
        registry.register("queue_work_seconds", "Time that a worker had a key", metrics.work.clone());
        registry.register("plugin_calls", "Calls to plugins, by how they ended", metrics.calls.clone());
        registry.register("plugin_call_seconds", "Time of a call to a plugin", metrics.call_seconds.clone());
        registry.register("cached_objects", "Objects in the shared cache", metrics.objects.clone());
        registry.register(
            "watch_errors",
            "Watches that failed and were begun again",
            metrics.watch_errors.clone(),
        );
        registry.register(
            "events_dropped",
            "Events not recorded, for want of room",
            metrics.events_dropped.clone(),
        );
        registry.register("shards_held", "Shards that this replica has", metrics.shards.held.clone());
        registry.register("leader", "Whether this replica leads: 1 or 0", metrics.shards.leads.clone());
        registry.register(
            "lease_failures",
            "Requests about Leases that failed, conflicts not counted",
            metrics.shards.failures.clone(),
        );
        registry.register(
            "writes_fenced",
            "Writes that were kept back, for want of the right to make them",
            metrics.writes_fenced.clone(),
        );
        metrics
    }

    /// The metrics of the election.
    pub fn shards(&self) -> ShardMetrics {
        self.shards.clone()
    }

    pub(crate) fn writes_fenced(&self) -> &Counter {
        &self.writes_fenced
    }

    /// The metrics of one loop's queue.
    pub fn queue(&self, controller: &str) -> QueueMetrics {
        let label = Controller { controller: controller.to_owned() };
        QueueMetrics {
            depth: self.depth.get_or_create_owned(&label),
            adds: self.adds.get_or_create_owned(&label),
            retries: self.retries.get_or_create_owned(&label),
            latency: self.latency.get_or_create_owned(&label),
            work: self.work.get_or_create_owned(&label),
        }
    }

    pub(crate) fn reconciled(&self, controller: &str, outcome: &'static str, seconds: f64) {
        let controller = controller.to_owned();
        self.reconcile_seconds.get_or_create(&Controller { controller: controller.clone() }).observe(seconds);
        self.reconciles.get_or_create(&Attempt { controller, outcome }).inc();
    }

    pub(crate) fn called(&self, plugin: &str, call: &'static str, outcome: &'static str, seconds: f64) {
        let plugin = plugin.to_owned();
        self.call_seconds.get_or_create(&Controller { controller: plugin.clone() }).observe(seconds);
        self.calls.get_or_create(&PluginCall { plugin, call, outcome }).inc();
    }

    pub(crate) fn cached(&self, kind: &str, objects: usize) {
        self.objects.get_or_create(&WatchedKind { kind: kind.to_owned() }).set(objects as i64);
    }

    pub(crate) fn watch_failed(&self, kind: &str) {
        self.watch_errors.get_or_create(&WatchedKind { kind: kind.to_owned() }).inc();
    }

    pub(crate) fn event_dropped(&self) {
        self.events_dropped.inc();
    }
}
