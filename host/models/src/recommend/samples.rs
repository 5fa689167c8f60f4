//! Where samples come from. Models that plugins serve are measured by their calls and their memory; those that containers serve,
//! by what the cluster's metrics server says of their Pods, where there is one. Nothing is kept over a restart.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client, Error as KubeError, ResourceExt as _};
use purlin_gateway::ModelKey;
use purlin_kernel::api::Recommendation;
use purlin_kernel::shard::Holdings;
use purlin_schema::quantity;
use serde_json::Value;

use super::{Sample, Usage};
use crate::containers::MODEL;
use crate::served::Served;

/// How often samples are taken: metrics servers have new ones as often.
const EVERY: Duration = Duration::from_secs(15);

/// A Pod's metrics are over as much time where they do not say over how much.
const WINDOW: Duration = Duration::from_secs(15);

/// What models used so far.
pub(crate) struct Samples {
    started: Instant,
    models: Mutex<HashMap<ModelKey, Sampled>>,
}

struct Sampled {
    usage: Usage,
    /// What its calls had taken, and when.
    spent: Option<(Duration, Instant)>,
    /// When the newest metrics of each of its Pods were taken. Names are by number, and come again.
    pods: HashMap<String, Timestamp>,
}

impl Samples {
    /// None yet.
    pub(crate) fn new() -> Samples {
        Samples { started: Instant::now(), models: Mutex::default() }
    }

    /// Takes samples until dropped.
    pub(crate) async fn take(&self, served: &Served, client: &Client, holdings: &Holdings) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            for (key, loaded) in served.store.loaded() {
                self.add_calls(&key, loaded.model.spent(), loaded.model.memory(), Instant::now());
            }
            let contained = served.containers.keys();
            if contained.iter().any(|key| holdings.holds_namespace(&key.namespace))
                && let Err(error) = self.take_pods(client, &contained).await
            {
                tracing::debug!(%error, "what Pods of models use could not be read");
            }
        }
    }

    /// What is recommended for a model.
    pub(crate) fn recommendation(&self, key: &ModelKey) -> Option<Recommendation> {
        self.models().get(key)?.usage.recommendation(self.started.elapsed())
    }

    /// Forgets a model.
    pub(crate) fn remove(&self, key: &ModelKey) {
        self.models().remove(key);
    }

    fn models(&self) -> MutexGuard<'_, HashMap<ModelKey, Sampled>> {
        self.models.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A model in memory whose calls have taken so long in all.
    fn add_calls(&self, key: &ModelKey, spent: Duration, memory: u64, now: Instant) {
        let mut models = self.models();
        let sampled = models.entry(key.clone()).or_insert_with(Sampled::new);
        let before = sampled.spent.replace((spent, now));
        let Some((before, since)) = before else { return };
        let took = now.saturating_duration_since(since);
        // Where it was loaded again, it began anew.
        let spent = spent.checked_sub(before).unwrap_or(spent);
        if !took.is_zero() {
            let cores = spent.as_secs_f64() / took.as_secs_f64();
            let sample = Sample { cores, bytes: memory as f64, requested: 0.0 };
            sampled.usage.add(sample, took, now.saturating_duration_since(self.started));
        }
    }

    /// Samples of all Pods of models that the metrics server knows.
    async fn take_pods(&self, client: &Client, contained: &[ModelKey]) -> Result<(), KubeError> {
        let kind = GroupVersionKind::gvk("metrics.k8s.io", "v1beta1", "PodMetrics");
        let metrics: Api<DynamicObject> =
            Api::all_with(client.clone(), &ApiResource::from_gvk_with_plural(&kind, "pods"));
        let ours = ListParams::default().labels(MODEL);
        let metrics = match metrics.list(&ours).await {
            Ok(metrics) => metrics,
            // There is no metrics server.
            Err(KubeError::Api(status)) if matches!(status.code, 403 | 404 | 503) => return Ok(()),
            Err(error) => return Err(error),
        };
        if metrics.items.is_empty() {
            return Ok(());
        }
        // The metrics have the Pods' names; which Model a Pod is of, and what it asked for, the Pod says.
        let pods: HashMap<(String, String), Pod> = (Api::<Pod>::all(client.clone()).list(&ours).await?.items)
            .into_iter()
            .map(|pod| ((pod.namespace().unwrap_or_default(), pod.name_any()), pod))
            .collect();
        for item in metrics.items {
            let (namespace, name) = (item.namespace().unwrap_or_default(), item.name_any());
            let Some(pod) = pods.get(&(namespace.clone(), name.clone())) else { continue };
            let owner = pod.owner_references().iter().find(|owner| owner.kind == "Model");
            let Some(key) = owner.map(|owner| ModelKey::new(namespace, owner.name.clone())) else { continue };
            if contained.contains(&key)
                && let Some(measured) = Measured::read(&item.data)
            {
                self.add_pod(&key, name, &measured, requested(pod));
            }
        }
        Ok(())
    }

    fn add_pod(&self, key: &ModelKey, pod: String, measured: &Measured, requested: f64) {
        let mut models = self.models();
        let sampled = models.entry(key.clone()).or_insert_with(Sampled::new);
        if sampled.pods.insert(pod, measured.at).is_some_and(|before| before >= measured.at) {
            return;
        }
        let sample = Sample { cores: measured.cores, bytes: measured.bytes, requested };
        sampled.usage.add(sample, measured.window, self.started.elapsed());
    }
}

impl Sampled {
    fn new() -> Sampled {
        Sampled { usage: Usage::new(), spent: None, pods: HashMap::new() }
    }
}

/// What a metrics server says of a Pod.
#[derive(Debug, PartialEq)]
struct Measured {
    at: Timestamp,
    window: Duration,
    /// Of all its containers.
    cores: f64,
    bytes: f64,
}

impl Measured {
    /// From a `PodMetrics` without its metadata.
    fn read(data: &Value) -> Option<Measured> {
        let at = data["timestamp"].as_str()?.parse().ok()?;
        let window = data["window"].as_str().and_then(seconds).unwrap_or(WINDOW);
        let mut measured = Measured { at, window, cores: 0.0, bytes: 0.0 };
        for container in data["containers"].as_array()? {
            measured.cores += amount(&container["usage"]["cpu"])?;
            measured.bytes += amount(&container["usage"]["memory"])?;
        }
        Some(measured)
    }
}

fn amount(value: &Value) -> Option<f64> {
    quantity::number(value.as_str()?).filter(|number| number.is_finite() && *number >= 0.0)
}

/// A time in Go's notation, as long as it is of a day at most.
fn seconds(text: &str) -> Option<Duration> {
    let span: jiff::SignedDuration = text.parse().ok()?;
    let duration = Duration::try_from(span).ok()?;
    (!duration.is_zero() && duration <= super::DAY).then_some(duration)
}

/// Cores that a Pod's containers ask for.
fn requested(pod: &Pod) -> f64 {
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers);
    let resources =
        containers.filter_map(|container| container.resources.as_ref()?.requests.as_ref()?.get("cpu"));
    resources.filter_map(|cpu| quantity::number(&cpu.0)).sum()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use purlin_gateway::ModelKey;
    use serde_json::json;

    use super::{Measured, Samples, WINDOW};

    #[test]
    fn calls_become_cores() {
        let samples = Samples::new();
        let (key, start) = (ModelKey::new("ns", "m"), Instant::now());
        samples.add_calls(&key, Duration::from_secs(100), 1 << 30, start);
        assert_eq!(samples.recommendation(&key), None);
        for minute in 1..=10_u32 {
            let spent = Duration::from_secs(100) + Duration::from_secs(30) * minute;
            samples.add_calls(&key, spent, 1 << 30, start + Duration::from_secs(60) * minute);
        }
        let usage = samples.models().get(&key).map(|sampled| sampled.usage.clone()).unwrap();
        let cpu = usage.recommendation(Duration::from_secs(600)).unwrap().target.cpu;
        // Half a core and the margin, in a bucket that is a twentieth wide.
        assert!(
            ["575m", "604m"].contains(&cpu.as_str()) || cpu.starts_with("58") || cpu.starts_with("59"),
            "{cpu}"
        );
        samples.remove(&key);
        assert_eq!(samples.recommendation(&key), None);
    }

    #[test]
    fn a_model_that_was_loaded_again_begins_anew() {
        let samples = Samples::new();
        let (key, start) = (ModelKey::new("ns", "m"), Instant::now());
        samples.add_calls(&key, Duration::from_secs(1000), 1, start);
        samples.add_calls(&key, Duration::from_secs(6), 1, start + Duration::from_secs(60));
        let usage = samples.models().get(&key).map(|sampled| sampled.usage.clone()).unwrap();
        let cpu = usage.recommendation(Duration::from_secs(60)).unwrap().target.cpu;
        assert!(cpu.len() == 4 && cpu.starts_with('1'), "{cpu}");
    }

    #[test]
    fn metrics_of_a_pod() {
        let usage = |cpu: &str, memory: &str| json!({"name": "c", "usage": {"cpu": cpu, "memory": memory}});
        let metrics = json!({
            "timestamp": "2026-11-26T20:00:00Z",
            "window": "20.5s",
            "containers": [usage("250000000n", "1024Ki"), usage("0", "1Mi")],
        });
        let measured = Measured::read(&metrics).unwrap();
        assert!((measured.cores - 0.25).abs() < 1e-9 && (measured.bytes - 2_097_152.0).abs() < 1e-3);
        assert_eq!(measured.window, Duration::from_millis(20_500));
        for (field, value) in [
            ("timestamp", json!("yesterday")),
            ("containers", json!([usage("much", "1Mi")])),
            ("containers", json!([usage("-1", "1Mi")])),
            ("containers", json!({})),
        ] {
            let mut wrong = metrics.clone();
            wrong[field] = value;
            assert_eq!(Measured::read(&wrong), None, "{field}");
        }
        for window in ["", "-3s", "0s", "300h"] {
            let mut odd = metrics.clone();
            odd["window"] = json!(window);
            assert_eq!(Measured::read(&odd).unwrap().window, WINDOW, "{window}");
        }
    }
}
