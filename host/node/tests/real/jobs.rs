//! The Job controller, with the real API server judging each status that it writes.

use std::time::Instant;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use serde_json::{Value, json};

use crate::harness::Host;

fn job(name: &str, script: &str, spec: Value) -> Value {
    let mut job = json!({"metadata": {"name": name}, "spec": spec});
    job["spec"]["template"] = json!({"spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "host/shell", "command": ["sh", "-c", script]}],
    }});
    job
}

fn has(job: &Job, kind: &str) -> bool {
    let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status == "True")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_completes_quickly() {
    let Some(host) = Host::start().await else { return };
    let _: Job = host.create(job("warm", "true", json!({}))).await;
    host.until("warm", |job: &Job| has(job, "Complete")).await;
    let start = Instant::now();
    let _: Job = host.create(job("quick", "echo done", json!({}))).await;
    let done = host.until("quick", |job: &Job| has(job, "Complete")).await;
    eprintln!("created to Complete: {:?}", start.elapsed());
    let status = done.status.unwrap();
    assert_eq!((status.succeeded, status.active, status.failed), (Some(1), None, None));
    assert!(status.completion_time.is_some());
    let pods = host.api::<Pod>().list(&ListParams::default().labels("job-name=quick")).await.unwrap().items;
    assert_eq!(pods.len(), 1);
    assert_eq!(host.log(&pods[0], false).await, "done\n");
    assert!(pods[0].metadata.finalizers.is_none());
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_indexed_job_runs_each_index_once() {
    let Some(host) = Host::start().await else { return };
    let spec = json!({"completionMode": "Indexed", "completions": 4, "parallelism": 2});
    let file = host.dir.path().join("indexes");
    let script = format!("echo $JOB_COMPLETION_INDEX >> {}", file.display());
    let _: Job = host.create(job("indexed", &script, spec)).await;
    let done = host.until("indexed", |job: &Job| has(job, "Complete")).await;
    assert_eq!(done.status.unwrap().completed_indexes.as_deref(), Some("0-3"));
    let text = std::fs::read_to_string(file).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0", "1", "2", "3"]);
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_past_its_backoff_limit_fails() {
    let Some(host) = Host::start().await else { return };
    let _: Job = host.create(job("fails", "exit 1", json!({"backoffLimit": 0}))).await;
    let done = host.until("fails", |job: &Job| has(job, "Failed")).await;
    let status = done.status.unwrap();
    assert_eq!((status.failed, status.succeeded), (Some(1), None));
    let failed =
        status.conditions.unwrap().into_iter().find(|condition| condition.type_ == "Failed").unwrap();
    assert_eq!(failed.reason.as_deref(), Some("BackoffLimitExceeded"));
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_stops_what_runs() {
    let Some(host) = Host::start().await else { return };
    let _: Job = host.create(job("late", "sleep 600", json!({"activeDeadlineSeconds": 1}))).await;
    let done = host.until("late", |job: &Job| has(job, "Failed")).await;
    let failed =
        done.status.unwrap().conditions.unwrap().into_iter().find(|one| one.type_ == "Failed").unwrap();
    assert_eq!(failed.reason.as_deref(), Some("DeadlineExceeded"));
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_suspended_job_has_no_pods_until_it_is_resumed() {
    let Some(host) = Host::start().await else { return };
    let _: Job = host.create(job("waits", "true", json!({"suspend": true}))).await;
    host.until("waits", |job: &Job| has(job, "Suspended")).await;
    assert!(host.api::<Pod>().list(&ListParams::default()).await.unwrap().items.is_empty());
    let patch = kube::api::Patch::Merge(json!({"spec": {"suspend": false}}));
    host.api::<Job>().patch("waits", &Default::default(), &patch).await.unwrap();
    host.until("waits", |job: &Job| has(job, "Complete")).await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finished_job_goes_after_its_time_to_live() {
    let Some(host) = Host::start().await else { return };
    let _: Job = host.create(job("brief", "true", json!({"ttlSecondsAfterFinished": 0}))).await;
    let deadline = Instant::now() + std::time::Duration::from_secs(20);
    while host.api::<Job>().get_opt("brief").await.unwrap().is_some() {
        assert!(Instant::now() < deadline, "the Job is still there");
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    host.finish().await;
}
