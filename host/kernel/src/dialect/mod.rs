//! The dialect loop: keeps what a dialect plugin wants true of the objects that it owns.
//!
//! `related` knows whom a change concerns, `plan` what an answer means, `condition` how a fault is shown; `sync` makes
//! one pass over one parent. This module starts and stops a dialect: its watches, its queue and its workers.

mod condition;
mod permit;
mod plan;
mod pod_security;
mod related;
mod sync;

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};

use async_trait::async_trait;
use purlin_registry::KindRef;
use tokio::task::JoinSet;

use crate::cache::{Cache, CacheError, ChangeEvent, Subscriber, Subscription};
use crate::event::EventRecorder;
use crate::key::{Gvk, ObjectKey};
use crate::observe::KernelMetrics;
use crate::plugin::{Installed, InstalledPlugins};
use crate::queue::{Backoff, WorkQueue};
use crate::reconcile;
use crate::shard::Holdings;
use crate::shard::fence::Writers;

use permit::Permit;
use plan::Emittable;
use related::ParentKey;
use sync::{DialectLoop, Watched};

/// Keys that a dialect's queue holds.
const QUEUE: usize = 100_000;

/// Starts dialects.
#[derive(Clone)]
pub(crate) struct DialectEngine {
    /// To write with.
    pub writers: Writers,
    /// What this replica has.
    pub holdings: Holdings,
    /// To read from.
    pub cache: Cache,
    /// To tell the user with.
    pub events: EventRecorder,
    /// To count with.
    pub metrics: KernelMetrics,
    /// Who owns which kind.
    pub installed: Arc<InstalledPlugins>,
    /// Parents that a dialect is asked about at the same time.
    pub workers: usize,
}

/// A dialect that runs. It has to be stopped before its plugin is replaced.
pub(crate) struct RunningDialect {
    queue: Arc<WorkQueue<ParentKey>>,
    workers: JoinSet<()>,
    _subscriptions: Vec<Subscription>,
}

impl RunningDialect {
    /// Ends the watches and waits for the passes in progress.
    pub(crate) async fn stop(mut self) {
        self.queue.shut_down();
        while self.workers.join_next().await.is_some() {}
    }
}

impl DialectEngine {
    /// Watches a dialect's kinds, and begins to ask it once all of them are known.
    ///
    /// # Errors
    /// One of the kinds is not served.
    pub(crate) async fn start(
        &self,
        name: &str,
        installed: &Installed,
    ) -> Result<RunningDialect, CacheError> {
        let manifest = &installed.manifest;
        let controller = format!("dialect/{name}");
        let queue = WorkQueue::new(QUEUE, Backoff::default(), self.metrics.queue(&controller));
        let scopes: Vec<_> =
            manifest.owns.iter().map(|kind| (gvk(&kind.kind_ref()), kind.is_namespaced())).collect();
        let owned: Vec<_> = scopes.iter().map(|(gvk, _)| gvk.clone()).collect();
        let children: Vec<_> = manifest.children.iter().map(gvk).collect();
        let related: Vec<_> = manifest.related.iter().map(gvk).collect();
        let mut every: Vec<_> = owned.iter().chain(&children).chain(&related).cloned().collect();
        every.sort_unstable();
        every.dedup();
        let index = Arc::new(std::sync::RwLock::default());
        let mut subscriptions = Vec::new();
        let mut kinds = HashMap::new();
        let mut emittable = HashMap::new();
        for gvk in every {
            let subscriber = Arc::new(Concerned {
                gvk: gvk.clone(),
                owned: scopes.clone(),
                children: owned.contains(&gvk) || children.contains(&gvk),
                index: Arc::clone(&index),
                queue: queue.clone(),
            });
            let subscription = self.cache.subscribe(&gvk, subscriber).await?;
            let kind = subscription.kind().clone();
            subscriptions.push(subscription);
            let is_owned = owned.contains(&gvk);
            if is_owned || children.contains(&gvk) {
                let namespaced = kind.namespaced();
                emittable.insert(gvk.clone(), Emittable { namespaced, owned: is_owned });
            }
            kinds.insert(gvk, kind);
        }
        let watched = Watched { kinds, emittable };
        let reconciler = Arc::new(DialectLoop::new(
            name,
            self.writers.clone(),
            installed.plugin.clone(),
            watched,
            Permit::new(name, installed.rights.clone(), self.installed.clone()),
            index,
            self.events.clone(),
        ));
        let mut workers = JoinSet::new();
        reconcile::spawn(&mut workers, self.workers, &queue, &reconciler, &self.holdings, &self.metrics);
        Ok(RunningDialect { queue, workers, _subscriptions: subscriptions })
    }
}

fn gvk(kind: &KindRef) -> Gvk {
    Gvk::new(&kind.api_version, &kind.kind)
}

/// Queues the parents that a change concerns.
struct Concerned {
    gvk: Gvk,
    /// The dialect's own kinds, and whether their objects have a namespace.
    owned: Vec<(Gvk, bool)>,
    /// Whether objects of this kind may be somebody's children.
    children: bool,
    index: Arc<std::sync::RwLock<related::RelatedIndex>>,
    queue: Arc<WorkQueue<ParentKey>>,
}

#[async_trait]
impl Subscriber for Concerned {
    async fn changed(&self, change: &ChangeEvent) {
        if self.owned.iter().any(|(owned, _)| *owned == self.gvk) {
            self.queue.add(ParentKey { gvk: self.gvk.clone(), object: change.object.key().clone() }).await;
        }
        if self.children {
            let objects = change.previous.iter().chain([&change.object]);
            for parent in objects.filter_map(|object| self.controller(object)) {
                self.queue.add(parent).await;
            }
        }
        // An object that no longer matches concerns those whom it matched before.
        let parents: std::collections::BTreeSet<_> = {
            let index = self.index.read().unwrap_or_else(PoisonError::into_inner);
            let objects = change.previous.iter().chain([&change.object]);
            objects.flat_map(|object| index.parents(&self.gvk, object)).collect()
        };
        for parent in parents {
            self.queue.add(parent).await;
        }
    }
}

impl Concerned {
    /// The owned parent that controls an object.
    fn controller(&self, object: &crate::cache::CachedObject) -> Option<ParentKey> {
        let owners = object.object().metadata.owner_references.as_ref()?;
        let owner = owners.iter().find(|owner| owner.controller == Some(true))?;
        let wanted = Gvk::new(&owner.api_version, &owner.kind);
        let ours = |owned: &&(Gvk, bool)| owned.0.group == wanted.group && owned.0.kind == wanted.kind;
        let (gvk, namespaced) = self.owned.iter().find(ours)?;
        let namespace = if *namespaced { object.key().namespace.clone() } else { String::new() };
        let object = ObjectKey::new(namespace, owner.name.clone());
        Some(ParentKey { gvk: gvk.clone(), object })
    }
}
