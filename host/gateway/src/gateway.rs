//! The gateway as its owner sees it: made once, given routing tables as they change, and served on listeners.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::body::Buffers;
use crate::config::GatewayConfig;
use crate::core::Core;
use crate::listen;
use crate::metrics::{Ids, Metrics};
use crate::models::{ModelKey, Models};
use crate::payload::PayloadLog;
use crate::proxy::Clients;
use crate::served::{DefaultLimits, Served};
use crate::table::{Table, TableConfig, TableProblem};

/// The inference gateway. Clones are the same gateway.
#[derive(Clone)]
pub struct Gateway {
    core: Arc<Core>,
    served: Arc<Mutex<HashMap<ModelKey, Arc<Served>>>>,
}

/// What a model has to do at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ModelLoad {
    /// Requests that it has.
    pub in_flight: usize,
    /// Requests that wait for it.
    pub waiting: usize,
}

impl Gateway {
    /// A gateway without routes.
    ///
    /// # Assumptions
    /// The process has a default provider for TLS (`rustls::crypto::CryptoProvider::install_default`), where payloads are
    /// logged or graphs ask servers elsewhere.
    pub fn new(models: Arc<dyn Models>, config: GatewayConfig) -> Gateway {
        let metrics = Metrics::default();
        let core = Core {
            models,
            table: ArcSwap::from_pointee(Table::default()),
            clients: Clients::new(),
            steps: OnceLock::new(),
            payloads: Arc::new(PayloadLog::new(config.payload_queue, metrics.clone())),
            metrics,
            ids: Ids::default(),
            buffers: Buffers::new(config.max_buffered),
            draining: AtomicBool::new(false),
            config,
        };
        Gateway { core: Arc::new(core), served: Arc::default() }
    }

    /// Puts another routing table in place. Requests in flight go on with the one they began with. Routes that cannot be
    /// used are left out and returned.
    pub fn update(&self, config: &TableConfig) -> Vec<TableProblem> {
        let mut kept = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        let limits =
            DefaultLimits { concurrency: self.core.config.concurrency, queue: self.core.config.queue };
        let mut next: HashMap<ModelKey, Arc<Served>> = HashMap::new();
        let (table, problems) = Table::build(config, |model| {
            let key = ModelKey::new(model.namespace.clone(), model.name.clone());
            let served = next.entry(key).or_insert_with_key(|key| match kept.get(key) {
                // The same model keeps its places: those who have one still count.
                Some(same) if same.config == *model => same.clone(),
                _ => Served::new(model.clone(), limits, &self.core.metrics),
            });
            served.clone()
        });
        for (key, gone) in kept.iter() {
            if !next.contains_key(key) {
                self.core.metrics.forget(&gone.metrics.labels);
            }
        }
        *kept = next;
        tracing::debug!(routes = table.len(), problems = problems.len(), "a new routing table is in place");
        self.core.table.store(Arc::new(table));
        problems
    }

    /// Answers on a listener, HTTP/1.1 and HTTP/2 in cleartext, REST and gRPC, until `stop`; then lets requests in flight
    /// finish. May be called for several listeners.
    pub async fn serve(&self, listener: TcpListener, stop: CancellationToken) {
        listen::serve(listener, self.core.clone(), stop).await;
    }

    /// Says from now on that the gateway is not ready, so that load balancers turn away from it.
    pub fn begin_drain(&self) {
        self.core.draining.store(true, Ordering::Relaxed);
    }

    /// What a model has to do at the moment. A model that no route leads to has nothing to do.
    pub fn load(&self, model: &ModelKey) -> ModelLoad {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        served.get(model).map_or_else(ModelLoad::default, |served| ModelLoad {
            in_flight: served.admission.in_flight(),
            waiting: served.admission.waiting(),
        })
    }

    /// Puts the gateway's figures into a registry.
    pub fn register_metrics(&self, registry: &mut Registry) {
        self.core.metrics.register(registry);
    }

    /// Brings the figures up to date that are read when they are asked for. Call it before a registry is written out.
    pub fn refresh_metrics(&self) {
        let served = self.served.lock().unwrap_or_else(PoisonError::into_inner);
        for served in served.values() {
            served.metrics.in_flight.set(served.admission.in_flight() as i64);
            served.metrics.waiting.set(served.admission.waiting() as i64);
        }
    }
}
