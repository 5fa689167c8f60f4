//! Workers: they take keys from a queue, call a reconciler, and give the key back with a verdict.
//!
//! Every loop of the kernel is a [`Reconciler`] and a queue. The number of workers bounds what a loop does at once.
//! A reconcile that panics costs that one attempt. A key that belongs to another replica is put away; when its part of
//! the work comes to this one, all its keys are queued anew.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::key::ObjectKey;
use crate::observe::KernelMetrics;
use crate::queue::{Lease, Verdict, WorkQueue};
use crate::shard::{Domain, Holdings, Permit, Shards};

/// How a reconcile ended well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Until the next change.
    Settled,
    /// Look again after this long at the latest.
    After(Duration),
    /// Something outside is not ready: look again after the key's own backoff. Not an error.
    Backoff,
}

/// Brings one object of one kind to where it should be.
#[async_trait]
pub(crate) trait Reconciler: Send + Sync + 'static {
    /// What is queued.
    type Key: Clone + Eq + Hash + Display + Send + Sync + 'static;
    /// Why an attempt failed; it is made again after the key's backoff.
    type Error: std::error::Error + Send + Sync + 'static;

    /// The loop's name in logs and metrics.
    fn name(&self) -> &str;

    /// One attempt. `attempt` counts the failures in a row before it. It ends where it is when this replica loses the
    /// key's part of the work.
    async fn reconcile(&self, key: &Self::Key, attempt: u32) -> Result<Outcome, Self::Error>;

    /// Which part of the work a key belongs to; none where every replica does it for itself.
    fn domain(&self, key: &Self::Key, shards: Shards) -> Option<Domain>;

    /// The keys that there are now, for when a part of the work comes to this replica.
    fn keys(&self) -> Vec<Self::Key>;
}

/// The part of the work to which an object belongs.
pub(crate) fn domain_of(key: &ObjectKey, shards: Shards) -> Domain {
    shards.domain(key.namespace())
}

/// Starts the workers of a loop. They end when the queue shuts down; an attempt in progress is finished first.
pub(crate) fn spawn<R: Reconciler>(
    tasks: &mut JoinSet<()>,
    workers: usize,
    queue: &Arc<WorkQueue<R::Key>>,
    reconciler: &Arc<R>,
    holdings: &Holdings,
    metrics: &KernelMetrics,
) {
    for _ in 0..workers.max(1) {
        let (queue, reconciler, metrics) = (queue.clone(), reconciler.clone(), metrics.clone());
        let holdings = holdings.clone();
        tasks.spawn(async move {
            while let Some(lease) = queue.pop().await {
                let permit = match reconciler.domain(lease.key(), holdings.shards()) {
                    Some(domain) => holdings.permit(domain).map(Some),
                    None => Some(None),
                };
                match permit {
                    Some(permit) => work(lease, permit, reconciler.as_ref(), &metrics).await,
                    // Another replica's.
                    None => lease.finish(Verdict::Done),
                }
            }
        });
    }
    if holdings.is_shared() {
        tasks.spawn(queue_what_comes(queue.clone(), reconciler.clone(), holdings.clone()));
    }
}

/// Queues the keys of each part of the work that comes to this replica.
async fn queue_what_comes<R: Reconciler>(
    queue: Arc<WorkQueue<R::Key>>,
    reconciler: Arc<R>,
    holdings: Holdings,
) {
    let Some(mut terms) = holdings.terms() else { return };
    let mut known = BTreeMap::new();
    loop {
        let now = terms.borrow_and_update().clone();
        let new: Vec<_> = now.iter().filter(|(part, term)| known.get(*part) != Some(*term)).collect();
        if !new.is_empty() {
            for key in reconciler.keys() {
                let leads = || new.iter().any(|(part, _)| **part == Domain::Leader);
                let concerned = match reconciler.domain(&key, holdings.shards()) {
                    Some(domain) => new.iter().any(|(part, _)| **part == domain),
                    // Each replica does it, and the leader does more.
                    None => leads(),
                };
                if concerned {
                    queue.add(key).await;
                }
            }
        }
        known = now;
        tokio::select! {
            changed = terms.changed() => if changed.is_err() { return },
            () = queue.closed() => return,
        }
    }
}

async fn work<R: Reconciler>(
    lease: Lease<R::Key>,
    permit: Option<Permit>,
    reconciler: &R,
    metrics: &KernelMetrics,
) {
    let span = tracing::info_span!("reconcile", controller = reconciler.name(), object = %lease.key());
    let started = Instant::now();
    let attempt = lease.attempt();
    let attempted = AssertUnwindSafe(reconciler.reconcile(lease.key(), attempt).instrument(span.clone()));
    let lost = async {
        match &permit {
            Some(permit) => permit.lost().await,
            None => std::future::pending().await,
        }
    };
    let attempted = tokio::select! {
        biased;
        () = lost => {
            let _in = span.enter();
            tracing::info!("abandoned: another replica has this now");
            metrics.reconciled(reconciler.name(), "abandoned", started.elapsed().as_secs_f64());
            return lease.finish(Verdict::Done);
        }
        attempted = attempted.catch_unwind() => attempted,
    };
    let (outcome, verdict) = match attempted {
        Ok(Ok(Outcome::Settled)) => ("settled", Verdict::Done),
        Ok(Ok(Outcome::After(delay))) => ("requeued", Verdict::After(delay)),
        Ok(Ok(Outcome::Backoff)) => ("waiting", Verdict::Retry),
        Ok(Err(error)) => {
            let _in = span.enter();
            tracing::warn!(error = %crate::report(&error), attempt, "reconcile failed; it will be tried again");
            ("error", Verdict::Retry)
        }
        Err(_) => {
            let _in = span.enter();
            tracing::error!(attempt, "reconcile panicked; it will be tried again");
            ("panic", Verdict::Retry)
        }
    };
    metrics.reconciled(reconciler.name(), outcome, started.elapsed().as_secs_f64());
    lease.finish(verdict);
    // Not before the key is given back: whoever gets this part next may be this replica.
    drop(permit);
}
