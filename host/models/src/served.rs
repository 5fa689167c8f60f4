//! All models, whoever serves them: what the gateway asks for leases.

use std::sync::Arc;

use async_trait::async_trait;
use prometheus_client::registry::Registry;
use purlin_gateway::{Lease, ModelKey, ModelState, Models};
use purlin_kernel::shard::Holdings;
use purlin_nn::{InferError, ModelMetadata};

use crate::access::ApiAccess;
use crate::companion::Companions;
use crate::containers::{ContainerConfig, Containers};
use crate::observe::ModelMetrics;
use crate::placement::{Peers, Placement};
use crate::recommend::Samples;
use crate::source::Sources;
use crate::store::ModelStore;

/// Models in memory and models in containers.
pub struct Served {
    pub(crate) store: Arc<ModelStore>,
    pub(crate) containers: Containers,
    pub(crate) companions: Companions,
    pub(crate) placement: Placement,
    pub(crate) samples: Samples,
}

impl Served {
    /// No models yet. Those in memory take at most `budget` bytes together, as far as that can be told; Pods of the others
    /// are made in the namespaces that this process holds. With `peers` only the models that belong here stay in memory.
    pub fn new(
        sources: Sources,
        budget: u64,
        access: ApiAccess,
        containers: ContainerConfig,
        holdings: Holdings,
        peers: Option<Peers>,
        registry: &mut Registry,
    ) -> Arc<Served> {
        let store = Arc::new(ModelStore::new(sources, budget, ModelMetrics::register(registry)));
        let containers = Containers::new(access, containers, holdings);
        Arc::new(Served {
            store,
            containers,
            companions: Companions::default(),
            placement: Placement::new(peers),
            samples: Samples::new(),
        })
    }

    /// Brings the gauges up to date: before metrics are read.
    pub fn refresh_metrics(&self) {
        self.store.measure();
    }

    /// All that are registered.
    pub(crate) fn keys(&self) -> Vec<ModelKey> {
        let mut keys = self.store.keys();
        keys.extend(self.containers.keys());
        keys.extend(self.companions.keys());
        keys
    }

    /// A lease on a model that stands beside no other.
    pub(crate) async fn lease_model(&self, key: &ModelKey, prompt: &[u64]) -> Result<Lease, InferError> {
        match self.containers.lease(key, prompt).await {
            Some(lease) => lease,
            None => self.store.lease(key).await,
        }
    }

    /// Forgets a model.
    pub(crate) fn remove(&self, key: &ModelKey) {
        self.store.remove(key);
        self.containers.remove(key);
        self.companions.remove(key);
        self.samples.remove(key);
    }
}

#[async_trait]
impl Models for Served {
    fn try_lease(&self, key: &ModelKey, prompt: &[u64]) -> Option<Lease> {
        let lease = self.store.try_lease(key).or_else(|| self.containers.try_lease(key, prompt));
        lease.or_else(|| self.companions.lease(key))
    }

    async fn lease(&self, key: &ModelKey, prompt: &[u64]) -> Result<Lease, InferError> {
        match self.companions.lease(key) {
            Some(lease) => Ok(lease),
            None => self.lease_model(key, prompt).await,
        }
    }

    fn missed(&self, key: &ModelKey) {
        self.containers.miss(key);
    }

    fn state(&self, key: &ModelKey) -> ModelState {
        if self.companions.lease(key).is_some() {
            return ModelState::Ready;
        }
        self.containers.state(key).unwrap_or_else(|| self.store.state(key))
    }

    fn elsewhere(&self, group: &str, models: &[ModelKey]) -> Option<String> {
        let gateway = self.placement.elsewhere(group)?;
        (!models.iter().any(|key| self.store.is_loaded(key))).then_some(gateway)
    }

    fn unreachable(&self, gateway: &str) {
        self.placement.unreachable(gateway);
    }

    fn metadata(&self, key: &ModelKey) -> Option<Arc<ModelMetadata>> {
        self.store.metadata(key)
    }
}
