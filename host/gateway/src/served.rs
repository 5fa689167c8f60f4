//! A model as requests meet it: its name, its limits, its places, its figures. It outlives changes of the routing table as
//! long as its own configuration stays.

use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;

use crate::admission::Admission;
use crate::batch::Batcher;
use crate::metrics::{Metrics, ModelLabels, ModelMetrics};
use crate::models::ModelKey;
use crate::table::ModelConfig;

/// A model as requests meet it.
#[derive(Debug)]
pub(crate) struct Served {
    /// Whom leases are asked for.
    pub(crate) key: ModelKey,
    /// The name in requests.
    pub(crate) name: String,
    /// How it is asked.
    pub(crate) config: ModelConfig,
    /// Its places.
    pub(crate) admission: Admission,
    /// Puts its requests together, where that is wanted.
    pub(crate) batcher: Option<Batcher>,
    /// Its figures.
    pub(crate) metrics: ModelMetrics,
    /// Who reads prompts for it.
    pub(crate) prefill: Option<Prefill>,
}

/// Replicas that read prompts for those of another model.
#[derive(Debug)]
pub(crate) struct Prefill {
    /// Whom leases are asked for.
    pub(crate) key: ModelKey,
    /// Tells which replica.
    pub(crate) header: HeaderName,
}

/// The limits of models that have none of their own.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DefaultLimits {
    /// Requests at once.
    pub(crate) concurrency: usize,
    /// Requests that wait.
    pub(crate) queue: usize,
}

impl Served {
    /// From its configuration.
    pub(crate) fn new(config: ModelConfig, limits: DefaultLimits, metrics: &Metrics) -> Arc<Served> {
        let or = |own: u32, default: usize| if own == 0 { default } else { own as usize };
        let key = ModelKey::new(config.namespace.clone(), config.name.clone());
        let name = config.served_name.clone().unwrap_or_else(|| config.name.clone());
        let labels = ModelLabels { namespace: key.namespace.clone(), model_name: key.name.clone() };
        let metrics = metrics.of_model(labels);
        Arc::new(Served {
            batcher: config.batching.map(|batching| Batcher::new(batching, metrics.batch_size.clone())),
            admission: Admission::new(
                or(config.concurrency, limits.concurrency),
                or(config.queue, limits.queue),
            ),
            metrics,
            prefill: config.prefill.as_ref().and_then(|prefill| {
                Some(Prefill {
                    key: ModelKey::new(key.namespace.clone(), prefill.model.clone()),
                    header: prefill.header.parse().ok()?,
                })
            }),
            key,
            name,
            config,
        })
    }

    /// The shorter of the route's, the model's and the gateway's limits.
    pub(crate) fn limit(&self, route: Option<Duration>, gateway: Duration) -> Duration {
        match (route, self.config.timeout) {
            (None, None) => gateway,
            (Some(one), None) | (None, Some(one)) => one,
            (Some(route), Some(own)) => route.min(own),
        }
    }
}
