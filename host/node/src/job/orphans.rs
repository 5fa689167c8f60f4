//! Pods that outlive their Job: nobody counts them any more, so the tracking finalizer is taken from them, without which
//! they could not be deleted.
//!
//! Called by [`super::run`] beside the loop over Jobs, which does not see a Pod whose Job is gone. Never touches a Pod whose
//! Job is there: how such a Pod ended may not have been counted yet.

use std::sync::Arc;

use futures::StreamExt as _;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Client, Resource as _, ResourceExt as _};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{SyncError, decide, failed, release, retry_after};

/// Looks at the Pods of Jobs until `stop` is cancelled.
pub(super) async fn run(client: Client, stop: CancellationToken) {
    let pods: Api<Pod> = Api::all(client.clone());
    let of_jobs = watcher::Config::default().labels("batch.kubernetes.io/controller-uid");
    Controller::new(pods, of_jobs)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(sync, |_, error, _| retry_after(error), Arc::new(client))
        .for_each(|outcome| async {
            if let Err(error) = outcome {
                debug!(%error, "a look at a Pod of a Job failed");
            }
        })
        .await;
}

async fn sync(pod: Arc<Pod>, client: Arc<Client>) -> Result<Action, SyncError> {
    if !decide::tracked(&pod) {
        return Ok(Action::await_change());
    }
    let namespace = pod.namespace().unwrap_or_default();
    if let Some(owner) = pod.controller_owner_ref(&()) {
        // The garbage collector deletes the Pods of a Job that is gone: until then there is nothing to do.
        if pod.metadata.deletion_timestamp.is_none() {
            return Ok(Action::await_change());
        }
        let jobs: Api<Job> = Api::namespaced(client.as_ref().clone(), &namespace);
        let job = jobs.get_opt(&owner.name).await.map_err(failed("reading the Job of a Pod"))?;
        if job.is_some_and(|job| job.uid().as_ref() == Some(&owner.uid)) {
            return Ok(Action::await_change());
        }
    }
    release(&Api::namespaced(client.as_ref().clone(), &namespace), &pod).await?;
    Ok(Action::await_change())
}
