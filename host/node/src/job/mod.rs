//! The Job controller of batch/v1: the decision is in `decide`, pure; this module reads a Job with its Pods and carries
//! the decision out, status first. Each look reads the API itself rather than a cache, so that what was written by the
//! look before, or by a controller that was killed, is always seen and nothing is made twice.

mod decide;
mod indexes;
#[cfg(test)]
mod model;
mod orphans;

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{EnvVar, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::controller::{Action, Controller};
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use rand::RngExt;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::events::{Recorder, Severity};
use decide::{FINALIZER, INDEX, Plan};

/// Pods created in one look at most.
const BURST: usize = 500;

/// Why a look at a Job failed; it is repeated.
#[derive(Debug, thiserror::Error)]
enum SyncError {
    #[error("{doing}: {source}")]
    Api { doing: &'static str, source: kube::Error },
}

fn failed(doing: &'static str) -> impl FnOnce(kube::Error) -> SyncError {
    move |source| SyncError::Api { doing, source }
}

struct Context {
    client: Client,
    recorder: Recorder,
}

/// Runs Jobs until `stop` is cancelled.
pub async fn run(client: Client, stop: CancellationToken) {
    let jobs: Api<Job> = Api::all(client.clone());
    let pods: Api<Pod> = Api::all(client.clone());
    let recorder = Recorder::new(client.clone(), "job-controller", None);
    let owned = watcher::Config::default().labels("batch.kubernetes.io/controller-uid");
    let beside = orphans::run(client.clone(), stop.clone());
    let jobs = Controller::new(jobs, watcher::Config::default())
        .owns(pods, owned)
        .graceful_shutdown_on(stop.cancelled_owned())
        .run(sync, retry, Arc::new(Context { client, recorder }))
        .for_each(|outcome| async {
            if let Err(error) = outcome {
                debug!(%error, "a look at a Job failed");
            }
        });
    futures::join!(jobs, beside);
}

fn retry(_job: Arc<Job>, error: &SyncError, _context: Arc<Context>) -> Action {
    retry_after(error)
}

fn retry_after(error: &SyncError) -> Action {
    let SyncError::Api { source, .. } = error;
    let conflict = matches!(source, kube::Error::Api(status) if status.code == 409);
    Action::requeue(if conflict { Duration::from_millis(20) } else { Duration::from_secs(1) })
}

async fn sync(job: Arc<Job>, context: Arc<Context>) -> Result<Action, SyncError> {
    let namespace = job.namespace().unwrap_or_default();
    let jobs: Api<Job> = Api::namespaced(context.client.clone(), &namespace);
    let pods: Api<Pod> = Api::namespaced(context.client.clone(), &namespace);
    let Some(job) = jobs.get_opt(&job.name_any()).await.map_err(failed("reading the Job"))? else {
        return Ok(Action::await_change());
    };
    if job
        .spec
        .as_ref()
        .and_then(|spec| spec.managed_by.as_deref())
        .is_some_and(|by| by != "kubernetes.io/job-controller")
    {
        return Ok(Action::await_change());
    }
    let uid = job.uid().unwrap_or_default();
    let selector = ListParams::default().labels(&format!("batch.kubernetes.io/controller-uid={uid}"));
    let mut owned = pods.list(&selector).await.map_err(failed("listing the Job's Pods"))?.items;
    owned.retain(|pod| {
        pod.owner_references().iter().any(|owner| owner.uid == uid && owner.controller == Some(true))
    });
    let plan = decide::decide(&job, &owned, Timestamp::now());
    let again = plan.again;
    carry_out(&job, &owned, plan, &jobs, &pods, &context).await?;
    Ok(again.map_or_else(Action::await_change, |after| {
        Action::requeue(Duration::try_from(after).unwrap_or_default().max(Duration::from_millis(10)))
    }))
}

async fn carry_out(
    job: &Job,
    owned: &[Pod],
    plan: Plan,
    jobs: &Api<Job>,
    pods: &Api<Pod>,
    context: &Context,
) -> Result<(), SyncError> {
    let name = job.name_any();
    if plan.expire {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: job.uid(), resource_version: None }),
            ..DeleteParams::background()
        };
        return match jobs.delete(&name, &params).await {
            Ok(_) => Ok(()),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(source) => Err(SyncError::Api { doing: "deleting a Job whose time to live is over", source }),
        };
    }
    if let Some(status) = plan.status {
        let mut changed = job.clone();
        changed.status = Some(status);
        // With the resource version that was read: a look at something older changes nothing.
        jobs.replace_status(&name, &PostParams::default(), &changed)
            .await
            .map_err(failed("writing the Job's status"))?;
    }
    let about = job.object_ref(&());
    for (reason, message, warning) in &plan.events {
        let severity = if *warning { Severity::Warning } else { Severity::Normal };
        context.recorder.record(about.clone(), severity, reason, message).await;
    }
    let find = |name: &String| owned.iter().find(|pod| pod.metadata.name.as_ref() == Some(name));
    for pod in plan.release.iter().chain(&plan.delete).filter_map(find) {
        release(pods, pod).await?;
    }
    for pod in plan.delete.iter().filter_map(find) {
        let params = DeleteParams {
            preconditions: Some(Preconditions { uid: pod.uid(), resource_version: None }),
            ..DeleteParams::default()
        };
        match pods.delete(&pod.name_any(), &params).await {
            Ok(_) => {
                let message = format!("Deleted pod: {}", pod.name_any());
                context.recorder.record(about.clone(), Severity::Normal, "SuccessfulDelete", &message).await;
            }
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Err(source) => return Err(SyncError::Api { doing: "deleting a Pod of the Job", source }),
        }
    }
    for index in plan.create.into_iter().take(BURST) {
        let pod = new_pod(job, index);
        match pods.create(&PostParams::default(), &pod).await {
            Ok(pod) => {
                let message = format!("Created pod: {}", pod.name_any());
                let (recorder, about) = (context.recorder.clone(), about.clone());
                tokio::spawn(async move {
                    recorder.record(about, Severity::Normal, "SuccessfulCreate", &message).await;
                });
            }
            Err(source) => {
                let message = format!("Error creating: {source}");
                context.recorder.record(about, Severity::Warning, "FailedCreate", &message).await;
                warn!(job = %name, error = %source, "a Pod of a Job could not be created");
                return Err(SyncError::Api { doing: "creating a Pod of the Job", source });
            }
        }
    }
    Ok(())
}

/// Takes the tracking finalizer from a Pod.
async fn release(pods: &Api<Pod>, pod: &Pod) -> Result<(), SyncError> {
    if !decide::tracked(pod) {
        return Ok(());
    }
    let kept: Vec<_> = pod.finalizers().iter().filter(|finalizer| *finalizer != FINALIZER).collect();
    // The resource version keeps a finalizer that somebody added meanwhile.
    let patch = json!({"metadata": {
        "uid": pod.uid(), "resourceVersion": pod.resource_version(), "finalizers": kept,
    }});
    match pods.patch(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(source) => Err(SyncError::Api { doing: "removing the tracking finalizer", source }),
    }
}

/// A Pod from the Job's template.
fn new_pod(job: &Job, index: Option<i32>) -> Pod {
    let name = job.name_any();
    let template = job.spec.as_ref().map(|spec| spec.template.clone()).unwrap_or_default();
    let mut metadata = template.metadata.unwrap_or_default();
    let mut spec = template.spec.unwrap_or_default();
    let base = match index {
        Some(index) => format!("{name}-{index}-"),
        None => format!("{name}-"),
    };
    let suffix = suffix();
    // A name has 63 characters at most, as a host name does.
    let base: String = base.chars().take(63 - suffix.len()).collect();
    let mut labels = metadata.labels.take().unwrap_or_default();
    let mut annotations = metadata.annotations.take().unwrap_or_default();
    if let Some(index) = index {
        labels.insert(INDEX.to_owned(), index.to_string());
        annotations.insert(INDEX.to_owned(), index.to_string());
        spec.hostname.get_or_insert_with(|| format!("{name}-{index}"));
        let variable = EnvVar {
            name: "JOB_COMPLETION_INDEX".to_owned(),
            value: Some(index.to_string()),
            value_from: None,
        };
        for container in spec.containers.iter_mut().chain(spec.init_containers.iter_mut().flatten()) {
            let env = container.env.get_or_insert_default();
            if env.iter().all(|one| one.name != variable.name) {
                env.push(variable.clone());
            }
        }
    }
    let mut finalizers = metadata.finalizers.take().unwrap_or_default();
    finalizers.push(FINALIZER.to_owned());
    Pod {
        metadata: ObjectMeta {
            name: Some(format!("{base}{suffix}")),
            generate_name: Some(base),
            namespace: job.namespace(),
            labels: Some(labels),
            annotations: Some(annotations),
            finalizers: Some(finalizers),
            owner_references: Some(vec![OwnerReference {
                api_version: "batch/v1".to_owned(),
                kind: "Job".to_owned(),
                name,
                uid: job.uid().unwrap_or_default(),
                controller: Some(true),
                block_owner_deletion: Some(true),
            }]),
            ..ObjectMeta::default()
        },
        spec: Some(spec),
        status: None,
    }
}

/// Five characters that spell no word.
fn suffix() -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    let mut rng = rand::rng();
    (0..5).map(|_| char::from(ALPHABET[rng.random_range(0..ALPHABET.len())])).collect()
}
