//! What a Pod's containers get and what its status says.

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Secret};
use serde_json::json;

use crate::harness::{Host, eventually};

fn state(pod: &Pod) -> k8s_openapi::api::core::v1::ContainerState {
    pod.status.clone().unwrap().container_statuses.unwrap()[0].state.clone().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failing_program_has_its_code_message_and_log() {
    let Some(host) = Host::start().await else { return };
    let script = "echo out; echo err >&2; echo why > /dev/termination-log; exit 3";
    host.shell("fails", script, json!({})).await;
    let pod = host.ended("fails").await;
    let status = pod.status.clone().unwrap();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    let end = state(&pod).terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (3, Some("Error")));
    assert_eq!(end.message.as_deref().map(str::trim), Some("why"));
    assert!(status.container_statuses.unwrap()[0].image_id.starts_with("purlin-process://"));
    let log = host.log(&pod, true).await;
    assert!(log.contains("out\n") && log.contains("err\n"), "{log}");
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn environment_and_volumes_reach_the_program() {
    let Some(host) = Host::start().await else { return };
    let _: ConfigMap =
        host.create(json!({"metadata": {"name": "settings"}, "data": {"color": "blue"}})).await;
    let _: Secret =
        host.create(json!({"metadata": {"name": "keys"}, "stringData": {"token": "s3cret"}})).await;
    let script = "echo $COLOR $TOKEN $NAME $EXPANDED; cat /etc/settings-of-test/color; cat /nested/deep/one; \
                  echo kept > /scratch/file && cat /scratch/file; touch /etc/settings-of-test/x 2>&1 || echo read-only";
    host.shell(
        "inputs",
        script,
        json!({
            "container.env": [
                {"name": "COLOR", "valueFrom": {"configMapKeyRef": {"name": "settings", "key": "color"}}},
                {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
                {"name": "NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
                {"name": "ABSENT", "valueFrom": {"secretKeyRef": {"name": "none", "key": "x", "optional": true}}},
                {"name": "EXPANDED", "value": "<$(COLOR)>"},
            ],
            "container.volumeMounts": [
                {"name": "settings", "mountPath": "/etc/settings-of-test", "readOnly": true},
                {"name": "settings", "mountPath": "/nested/deep/one", "subPath": "color"},
                {"name": "scratch", "mountPath": "/scratch"},
            ],
            "volumes": [{"name": "settings", "configMap": {"name": "settings"}}, {"name": "scratch", "emptyDir": {}}],
        }),
    )
    .await;
    let pod = host.ended("inputs").await;
    let log = host.log(&pod, false).await;
    assert!(log.starts_with("blue s3cret inputs <blue>\nblue"), "{log}");
    assert!(log.contains("kept\n") && log.ends_with("read-only\n"), "{log}");
    assert!(!std::path::Path::new("/scratch").exists(), "nothing is made on the host itself");
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_path_is_what_the_map_says() {
    let Some(host) = Host::start().await else { return };
    let container =
        json!({"name": "main", "image": "host/mapped:v1", "command": ["sh", "/opt/app/hello.sh"]});
    let _: Pod = host
        .create(json!({"metadata": {"name": "mapped"}, "spec": {"restartPolicy": "Never", "containers": [container]}}))
        .await;
    let pod = host.ended("mapped").await;
    let log = host.log(&pod, false).await;
    assert!(log.starts_with("hello from ") && log.ends_with("mapped\n"), "{log}");
    host.said("ImageMapped").await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_image_says_what_to_add_where() {
    let Some(host) = Host::start().await else { return };
    let container = json!({"name": "main", "image": "nobody/has:this"});
    let _: Pod =
        host.create(json!({"metadata": {"name": "unknown"}, "spec": {"containers": [container]}})).await;
    let waits = |pod: &Pod| {
        pod.status.as_ref().and_then(|status| status.container_statuses.as_ref()).is_some_and(|all| {
            all[0].state.as_ref().and_then(|state| state.waiting.as_ref()).is_some_and(|waiting| {
                let message = waiting.message.as_deref().unwrap_or("");
                waiting.reason.as_deref() == Some("ErrImagePull")
                    && message.contains("docker.io/nobody/has:this")
                    && message.contains("map.yaml")
            })
        })
    };
    host.until("unknown", waits).await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_program_is_a_start_error() {
    let Some(host) = Host::start().await else { return };
    host.shell("missing", "", json!({"container.command": ["no-such-program"]})).await;
    let pod = host.ended("missing").await;
    let end = state(&pod).terminated.unwrap();
    assert_eq!((end.exit_code, end.reason.as_deref()), (128, Some("StartError")));
    assert!(end.message.unwrap().contains("no-such-program"));
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleting_a_pod_ends_its_program_and_what_that_started() {
    let Some(host) = Host::start().await else { return };
    let marker = format!("{}", 1_000_000 + std::process::id());
    host.shell(
        "long",
        &format!("setsid sleep {marker} & trap 'exit 0' TERM; sleep {marker} & wait"),
        json!({}),
    )
    .await;
    host.until("long", |pod: &Pod| state_is_running(pod)).await;
    let running = || processes(&marker) > 0;
    eventually("the start", running).await;
    host.api::<Pod>().delete("long", &Default::default()).await.unwrap();
    eventually("the end", || !running()).await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn init_containers_run_before_and_a_failed_one_is_told() {
    let Some(host) = Host::start().await else { return };
    let init = |code: u8| json!([{"name": "first", "image": "host/shell", "command": ["sh", "-c", format!("exit {code}")]}]);
    host.shell("inits", "exit 0", json!({"initContainers": init(0)})).await;
    host.shell("broken", "exit 0", json!({"initContainers": init(5)})).await;
    let pod = host.ended("inits").await;
    assert_eq!(pod.status.unwrap().phase.as_deref(), Some("Succeeded"));
    let pod = host.ended("broken").await;
    let status = pod.status.unwrap();
    assert_eq!(status.phase.as_deref(), Some("Failed"));
    assert!(status.container_statuses.unwrap()[0].state.as_ref().unwrap().waiting.is_some());
    host.finish().await;
}

fn state_is_running(pod: &Pod) -> bool {
    crate::harness::phase(pod) == "Running" && state(pod).running.is_some()
}

/// How many processes have `marker` as an argument.
pub(crate) fn processes(marker: &str) -> usize {
    std::fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| std::fs::read(entry.ok()?.path().join("cmdline")).ok())
        .filter(|line| line.split(|byte| *byte == 0).any(|argument| argument == marker.as_bytes()))
        .count()
}
