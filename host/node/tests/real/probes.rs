//! Probes, hooks and restarts.

use k8s_openapi::api::core::v1::Pod;
use serde_json::json;

use crate::harness::{Host, eventually};

fn container(pod: &Pod) -> Option<k8s_openapi::api::core::v1::ContainerStatus> {
    pod.status.as_ref()?.container_statuses.as_ref()?.first().cloned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_is_ready_when_its_probe_in_it_says_so() {
    let Some(host) = Host::start().await else { return };
    host.shell(
        "probed",
        "sleep 600",
        json!({
            "container.readinessProbe": {"exec": {"command": ["test", "-e", "/shared/ready"]}, "periodSeconds": 1},
            "container.volumeMounts": [{"name": "shared", "mountPath": "/shared"}],
            "volumes": [{"name": "shared", "hostPath": {"path": host.dir.path()}}],
            "terminationGracePeriodSeconds": 1,
        }),
    )
    .await;
    let pod = host.until("probed", |pod| container(pod).is_some_and(|one| one.started == Some(true))).await;
    assert!(!container(&pod).unwrap().ready);
    std::fs::write(host.dir.path().join("ready"), "").unwrap();
    host.until("probed", |pod| container(pod).is_some_and(|one| one.ready)).await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_container_that_fails_its_liveness_probe_is_restarted() {
    let Some(host) = Host::start().await else { return };
    host.shell(
        "sick",
        "sleep 600",
        json!({
            "restartPolicy": "Always",
            "container.livenessProbe": {"tcpSocket": {"port": 1}, "periodSeconds": 1, "failureThreshold": 1},
            "terminationGracePeriodSeconds": 1,
        }),
    )
    .await;
    let pod = host.until("sick", |pod| container(pod).is_some_and(|one| one.restart_count == 1)).await;
    let last = container(&pod).unwrap().last_state.unwrap().terminated.unwrap();
    assert_eq!((last.exit_code, last.signal), (143, Some(15)));
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_keeps_failing_is_in_backoff_and_remembers_its_last_end() {
    let Some(mut host) = Host::start().await else { return };
    host.shell("looping", "exit 7", json!({"restartPolicy": "OnFailure"})).await;
    let in_backoff = |pod: &Pod| {
        container(pod).and_then(|one| one.state?.waiting?.reason).as_deref() == Some("CrashLoopBackOff")
    };
    let pod = host.until("looping", in_backoff).await;
    let before = container(&pod).unwrap();
    assert_eq!(before.last_state.unwrap().terminated.unwrap().exit_code, 7);
    let restarts = before.restart_count;
    host.kill();
    host.resume();
    let more = |pod: &Pod| container(pod).is_some_and(|one| one.restart_count > restarts);
    let pod = host.until("looping", more).await;
    assert_eq!(container(&pod).unwrap().last_state.unwrap().terminated.unwrap().exit_code, 7);
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hooks_run_after_the_start_and_before_the_stop() {
    let Some(host) = Host::start().await else { return };
    let file = host.dir.path().join("hooks");
    let append =
        |word: &str| json!({"exec": {"command": ["sh", "-c", format!("echo {word} >> {}", file.display())]}});
    host.shell(
        "hooked",
        "exec sleep 600",
        json!({"container.lifecycle": {"postStart": append("started"), "preStop": append("stopping")}}),
    )
    .await;
    let text = || std::fs::read_to_string(&file).unwrap_or_default();
    eventually("postStart", || text() == "started\n").await;
    host.api::<Pod>().delete("hooked", &Default::default()).await.unwrap();
    eventually("preStop", || text() == "started\nstopping\n").await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_is_too_big_is_said_to_be() {
    let Some(host) = Host::start().await else { return };
    host.shell("huge", "true", json!({"container.resources": {"requests": {"cpu": "4000"}}})).await;
    let refused = |pod: &Pod| {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        conditions.into_iter().any(|one| {
            one.reason.as_deref() == Some("Unschedulable")
                && one.message.as_deref() == Some("0/1 nodes are available: 1 Insufficient cpu.")
        })
    };
    host.until("huge", refused).await;
    host.said("FailedScheduling").await;
    host.finish().await;
}
