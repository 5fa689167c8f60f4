//! The host killed with SIGKILL at bad moments: nothing runs twice, nothing is leaked, nothing is lost.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::DeleteParams;
use serde_json::json;

use crate::harness::{Host, eventually, phase};
use crate::pods::processes;

#[tokio::test(flavor = "multi_thread")]
async fn a_running_container_is_found_again_and_not_run_twice() {
    let Some(mut host) = Host::start().await else { return };
    let file = host.dir.path().join("ran");
    let go = host.dir.path().join("go");
    let script = format!(
        "echo ran >> {}; while ! [ -e {} ]; do sleep 0.05; done; echo end",
        file.display(),
        go.display()
    );
    host.shell("survivor", &script, json!({})).await;
    eventually("the start", || file.exists()).await;
    host.kill();
    host.resume();
    tokio::time::sleep(Duration::from_millis(500)).await;
    std::fs::write(&go, "").unwrap();
    let pod = host.ended("survivor").await;
    assert_eq!(phase(&pod), "Succeeded");
    assert_eq!(pod.status.clone().unwrap().container_statuses.unwrap()[0].restart_count, 0);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "ran\n");
    assert_eq!(host.log(&pod, false).await, "end\n");
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_ended_meanwhile_keeps_its_end() {
    let Some(mut host) = Host::start().await else { return };
    let file = host.dir.path().join("ran");
    host.shell("meanwhile", &format!("echo ran >> {}; sleep 1; exit 4", file.display()), json!({})).await;
    eventually("the start", || file.exists()).await;
    host.kill();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    host.resume();
    let pod = host.ended("meanwhile").await;
    let status = pod.status.unwrap().container_statuses.unwrap()[0].clone();
    assert_eq!(status.state.unwrap().terminated.unwrap().exit_code, 4);
    assert_eq!(std::fs::read_to_string(file).unwrap(), "ran\n");
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_for_a_pod_that_is_gone_is_ended_at_the_restart() {
    let Some(mut host) = Host::start().await else { return };
    let marker = format!("{}", 2_000_000 + std::process::id());
    host.shell("orphan", &format!("exec sleep {marker}"), json!({})).await;
    eventually("the start", || processes(&marker) > 0).await;
    host.kill();
    let immediately = DeleteParams { grace_period_seconds: Some(0), ..DeleteParams::default() };
    host.api::<Pod>().delete("orphan", &immediately).await.unwrap();
    assert!(processes(&marker) > 0);
    host.resume();
    eventually("the end", || processes(&marker) == 0).await;
    eventually("the folder's end", || {
        std::fs::read_dir(host.dir.path().join("data/pods")).unwrap().next().is_none()
    })
    .await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_survives_kills_at_random_moments() {
    let Some(mut host) = Host::start().await else { return };
    let file = host.dir.path().join("ran");
    let script = format!("echo $HOSTNAME >> {}", file.display());
    let template = json!({"spec": {
        "restartPolicy": "Never",
        "containers": [{"name": "main", "image": "host/shell", "command": ["sh", "-c", script]}],
    }});
    let spec = json!({"completions": 12, "parallelism": 3, "backoffLimit": 0, "template": template});
    let _: Job = host.create(json!({"metadata": {"name": "many"}, "spec": spec})).await;
    for round in 0..10_u64 {
        tokio::time::sleep(Duration::from_millis(60 + round * 37 % 200)).await;
        host.kill();
        host.resume();
    }
    let complete = |job: &Job| {
        let conditions = job.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|condition| condition.type_ == "Complete")
    };
    let done = host.until("many", complete).await;
    assert_eq!(done.status.unwrap().succeeded, Some(12));
    let text = std::fs::read_to_string(file).unwrap();
    let mut ran: Vec<_> = text.lines().collect();
    assert_eq!(ran.len(), 12, "{text}");
    ran.sort_unstable();
    ran.dedup();
    assert_eq!(ran.len(), 12, "a Pod ran twice: {text}");
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_shim_takes_its_container_with_it_and_the_pod_says_so() {
    let Some(host) = Host::start().await else { return };
    let marker = format!("{}", 3_000_000 + std::process::id());
    let pod = host.shell("shimless", &format!("sleep {marker} & sleep {marker}; exit 0"), json!({})).await;
    eventually("the start", || processes(&marker) == 2).await;
    let dir = host.dir.path().join("data/pods").join(pod.metadata.uid.unwrap()).join("containers/main/0");
    let started: serde_json::Value =
        serde_json::from_slice(&std::fs::read(dir.join("started.json")).unwrap()).unwrap();
    let shim = i32::try_from(started["shim_pid"].as_i64().unwrap()).unwrap();
    nix::sys::signal::kill(nix::unistd::Pid::from_raw(shim), nix::sys::signal::Signal::SIGKILL).unwrap();
    let pod = host.ended("shimless").await;
    let end = pod.status.unwrap().container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (137, Some("ContainerStatusUnknown")));
    eventually("the end of what it started", || processes(&marker) == 0).await;
    host.finish().await;
}
