//! Workers: they take keys from a queue, call a reconciler, and give the key back with a verdict.
//!
//! Every loop of the kernel is a [`Reconciler`] and a queue. The number of workers bounds what a loop does at once.
//! A reconcile that panics costs that one attempt.

use std::fmt::Display;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures::FutureExt;
use tokio::task::JoinSet;
use tracing::Instrument;

use crate::observe::KernelMetrics;
use crate::queue::{Lease, Verdict, WorkQueue};

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

    /// One attempt. `attempt` counts the failures in a row before it.
    async fn reconcile(&self, key: &Self::Key, attempt: u32) -> Result<Outcome, Self::Error>;
}

/// Starts the workers of a loop. They end when the queue shuts down; an attempt in progress is finished first.
pub(crate) fn spawn<R: Reconciler>(
    tasks: &mut JoinSet<()>,
    workers: usize,
    queue: &Arc<WorkQueue<R::Key>>,
    reconciler: &Arc<R>,
    metrics: &KernelMetrics,
) {
    for _ in 0..workers.max(1) {
        let (queue, reconciler, metrics) = (queue.clone(), reconciler.clone(), metrics.clone());
        tasks.spawn(async move {
            while let Some(lease) = queue.pop().await {
                work(lease, reconciler.as_ref(), &metrics).await;
            }
        });
    }
}

async fn work<R: Reconciler>(lease: Lease<R::Key>, reconciler: &R, metrics: &KernelMetrics) {
    let span = tracing::info_span!("reconcile", controller = reconciler.name(), object = %lease.key());
    let started = Instant::now();
    let attempt = lease.attempt();
    let attempted = AssertUnwindSafe(reconciler.reconcile(lease.key(), attempt).instrument(span.clone()));
    let (outcome, verdict) = match attempted.catch_unwind().await {
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
}
