//! Quotas of namespaces on what plugins use for them: ResourceQuotas with the resources that the sandbox counts.
//!
//! A ResourceQuota is what a platform engineer limits a namespace with, and tenants may not write it: so these two are
//! entries of `spec.hard` beside `pods` and `requests.cpu`. Where a namespace has several, the strictest holds. Each
//! replica limits the calls that it makes; a namespace is one replica's, so that is all of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use k8s_openapi::api::core::v1::ResourceQuota;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, Error as KubeError};
use purlin_sandbox::quota::{CPU, MEMORY, Quota, Usage};
use serde_json::json;

use crate::cache::{Kind, ParseError, Selection};
use crate::event::EventRecorder;
use crate::key::ObjectKey;
use crate::reconcile::{Outcome, Reconciler, domain_of};
use crate::shard::{Domain, Holdings, Shards};
use crate::stage::PluginSource;

/// How often `status.used` is brought up to date.
const MEASURE: Duration = Duration::from_secs(15);

/// Why a pass over a quota failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum QuotaError {
    /// The object is not a ResourceQuota.
    #[error(transparent)]
    Read(#[from] ParseError),
    /// The status could not be written.
    #[error("could not write the status of ResourceQuota {quota}")]
    Status {
        /// Namespace and name.
        quota: ObjectKey,
        /// What went wrong.
        #[source]
        source: KubeError,
    },
}

/// By quota: when its use was last written, and what it was.
type Measured = BTreeMap<ObjectKey, (Instant, Duration)>;

/// Reconciles ResourceQuotas as far as they speak of plugins.
pub(crate) struct QuotaLoop {
    client: Client,
    kind: Arc<Kind>,
    plugins: Arc<dyn PluginSource>,
    events: EventRecorder,
    holdings: Holdings,
    measured: Mutex<Measured>,
}

impl QuotaLoop {
    pub(crate) fn new(
        client: Client,
        kind: Arc<Kind>,
        plugins: Arc<dyn PluginSource>,
        events: EventRecorder,
        holdings: Holdings,
    ) -> Self {
        QuotaLoop { client, kind, plugins, events, holdings, measured: Mutex::default() }
    }

    /// What holds in a namespace: the strictest of all its quotas.
    fn of(&self, namespace: &str) -> Result<Option<Quota>, ParseError> {
        let here = Selection { namespace: Some(namespace.to_owned()), ..Selection::default() };
        let objects = self.kind.read(|store| store.select(&here));
        let mut strictest = None;
        for cached in &objects {
            let hard = hard(cached.typed::<ResourceQuota>()?.as_ref());
            if let Some(quota) = quota(&hard).0 {
                strictest = Some(stricter(strictest.unwrap_or_default(), quota));
            }
        }
        Ok(strictest)
    }

    fn measured(&self) -> MutexGuard<'_, Measured> {
        self.measured.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The cores that were used on average since the last time, where there was one.
    fn cores(&self, key: &ObjectKey, usage: Usage, now: Instant) -> f64 {
        match self.measured().insert(key.clone(), (now, usage.time)) {
            Some((at, before)) if now > at => {
                usage.time.saturating_sub(before).as_secs_f64() / (now - at).as_secs_f64()
            }
            _ => 0.0,
        }
    }

    async fn write(
        &self,
        key: &ObjectKey,
        hard: &BTreeMap<&'static str, Quantity>,
    ) -> Result<(), QuotaError> {
        let usage = self.plugins.usage(&key.namespace).unwrap_or_default();
        let used: BTreeMap<_, _> = hard
            .keys()
            .map(|name| {
                let used = match *name {
                    CPU => format!("{}m", (self.cores(key, usage, Instant::now()) * 1000.0).round()),
                    _ => usage.memory.to_string(),
                };
                (*name, Quantity(used))
            })
            .collect();
        let status = json!({
            "apiVersion": "v1", "kind": "ResourceQuota",
            "metadata": {"name": key.name, "namespace": key.namespace},
            "status": {"hard": hard, "used": used},
        });
        let quotas: Api<ResourceQuota> = Api::namespaced(self.client.clone(), &key.namespace);
        // Entries of other resources in the same status are other controllers'.
        let params = PatchParams::apply("purlin-kernel").force();
        match quotas.patch_status(&key.name, &params, &Patch::Apply(&status)).await {
            Ok(_) => Ok(()),
            Err(KubeError::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(QuotaError::Status { quota: key.clone(), source }),
        }
    }
}

#[async_trait]
impl Reconciler for QuotaLoop {
    type Key = ObjectKey;
    type Error = QuotaError;

    fn name(&self) -> &str {
        "resourcequota"
    }

    fn domain(&self, _: &ObjectKey, _: Shards) -> Option<Domain> {
        // A replica that gets a namespace must know its quota before it works there.
        None
    }

    fn keys(&self) -> Vec<ObjectKey> {
        self.kind.read(|store| store.keys().into_iter().collect())
    }

    async fn reconcile(&self, key: &ObjectKey, _: u32) -> Result<Outcome, QuotaError> {
        self.kind.synced().await;
        self.plugins.use_quota(&key.namespace, self.of(&key.namespace)?);
        let found = self.kind.read(|store| store.get(key)).filter(|cached| !cached.is_deleting());
        let own = match &found {
            Some(cached) => hard(cached.typed::<ResourceQuota>()?.as_ref()),
            None => BTreeMap::new(),
        };
        let Some(cached) = found.filter(|_| !own.is_empty()) else {
            self.measured().remove(key);
            return Ok(Outcome::Settled);
        };
        if !self.holdings.holds(domain_of(key, self.holdings.shards())) {
            return Ok(Outcome::After(MEASURE));
        }
        let wrong = quota(&own).1;
        if !wrong.is_empty() {
            let object = cached.typed::<ResourceQuota>()?;
            self.events.tell(object.as_ref(), true, "InvalidQuota", &wrong.join("; "));
        }
        // The write comes back as a change: without this it would go round and round.
        let measured = self.measured().get(key).copied();
        let shown = &cached.object().data["status"]["hard"];
        let is_shown = own.iter().all(|(name, hard)| shown[*name].as_str() == Some(hard.0.as_str()));
        if let Some(rest) = measured.and_then(|(at, _)| MEASURE.checked_sub(at.elapsed()))
            && is_shown
        {
            return Ok(Outcome::After(rest));
        }
        self.write(key, &own).await?;
        Ok(Outcome::After(MEASURE))
    }
}

/// The entries of `spec.hard` that are about plugins.
fn hard(quota: &ResourceQuota) -> BTreeMap<&'static str, Quantity> {
    let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
    [CPU, MEMORY].into_iter().filter_map(|name| Some((name, hard?.get(name)?.clone()))).collect()
}

/// What the entries mean, and what is wrong with them. What cannot be read limits to nothing rather than not at all.
fn quota(hard: &BTreeMap<&'static str, Quantity>) -> (Option<Quota>, Vec<String>) {
    let mut wrong = Vec::new();
    let mut read = |name: &str| {
        let text = &hard.get(name)?.0;
        let number = purlin_schema::quantity::number(text).filter(|number| *number >= 0.0);
        if number.is_none() {
            wrong
                .push(format!("spec.hard[{name}]: {text:?} is no quantity of zero or more, and counts as 0"));
        }
        Some(number.unwrap_or(0.0))
    };
    let (cpu, memory) = (read(CPU), read(MEMORY));
    // A float too large for an integer becomes the largest.
    let quota = (!hard.is_empty()).then_some(Quota { cpu, memory: memory.map(|bytes| bytes as usize) });
    (quota, wrong)
}

fn stricter(one: Quota, other: Quota) -> Quota {
    fn least<T: PartialOrd>(one: Option<T>, other: Option<T>) -> Option<T> {
        match (one, other) {
            (Some(one), Some(other)) => Some(if other < one { other } else { one }),
            (one, other) => one.or(other),
        }
    }
    Quota { cpu: least(one.cpu, other.cpu), memory: least(one.memory, other.memory) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(cpu: Option<&str>, memory: Option<&str>) -> BTreeMap<&'static str, Quantity> {
        let entry = |name, text: Option<&str>| text.map(|text| (name, Quantity(text.to_owned())));
        [entry(CPU, cpu), entry(MEMORY, memory)].into_iter().flatten().collect()
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let (read, wrong) = quota(&entries(Some("250m"), Some("64Mi")));
        assert_eq!(read, Some(Quota { cpu: Some(0.25), memory: Some(64 << 20) }));
        assert!(wrong.is_empty());
        assert_eq!(quota(&entries(None, None)).0, None);
        assert_eq!(quota(&entries(Some("2"), None)).0, Some(Quota { cpu: Some(2.0), memory: None }));
    }

    #[test]
    fn what_cannot_be_read_limits_to_nothing_and_is_told() {
        let (read, wrong) = quota(&entries(Some("much"), None));
        assert_eq!(read, Some(Quota { cpu: Some(0.0), memory: None }));
        assert!(wrong[0].contains("purlin.dev/plugin-cpu") && wrong[0].contains("\"much\""), "{wrong:?}");
    }

    #[test]
    fn the_strictest_holds() {
        let one = Quota { cpu: Some(1.0), memory: None };
        let other = Quota { cpu: Some(0.5), memory: Some(7) };
        assert_eq!(stricter(one, other), Quota { cpu: Some(0.5), memory: Some(7) });
        assert_eq!(stricter(Quota::default(), one), one);
    }
}
