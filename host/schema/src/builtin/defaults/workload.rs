//! Defaults of the kinds that make pods: jobs, deployments and their like.

use serde_json::{Value, json};

use super::{below, each, inside, is_unset, pod, set, set_all, text};

/// Fills in what an object leaves to the server.
pub(super) fn fill(kind: &str, object: &mut Value) {
    let Some(spec) = inside(object, "spec") else { return };
    match kind {
        "Job" => fill_job(spec),
        "CronJob" => fill_cron_job(spec),
        "Deployment" => {
            pod::fill_template(&mut spec["template"]);
            set_all(
                spec,
                [
                    ("replicas", json!(1)),
                    ("revisionHistoryLimit", json!(10)),
                    ("progressDeadlineSeconds", json!(600)),
                ],
            );
            let strategy = below(spec, "strategy");
            rolling(strategy, [("maxUnavailable", json!("25%")), ("maxSurge", json!("25%"))]);
        }
        "ReplicaSet" => {
            pod::fill_template(&mut spec["template"]);
            set(spec, "replicas", 1);
        }
        "ReplicationController" => {
            pod::fill_template(&mut spec["template"]);
            set(spec, "replicas", 1);
            let labels = spec["template"]["metadata"]["labels"].clone();
            if labels.is_object() {
                set(spec, "selector", labels.clone());
                set(below(object, "metadata"), "labels", labels);
            }
        }
        "DaemonSet" => {
            pod::fill_template(&mut spec["template"]);
            set(spec, "revisionHistoryLimit", 10);
            rolling(below(spec, "updateStrategy"), [("maxUnavailable", json!(1)), ("maxSurge", json!(0))]);
        }
        "StatefulSet" => fill_stateful_set(spec),
        _ => {}
    }
}

/// Sets what a new object gets from the server.
pub(super) fn prepare(kind: &str, object: &mut Value) {
    let status = match kind {
        "ReplicaSet" | "ReplicationController" => json!({"replicas": 0}),
        "StatefulSet" => json!({"replicas": 0, "availableReplicas": 0}),
        "DaemonSet" => json!({
            "currentNumberScheduled": 0, "desiredNumberScheduled": 0, "numberMisscheduled": 0, "numberReady": 0,
        }),
        "Job" | "CronJob" | "Deployment" => json!({}),
        _ => return,
    };
    object["status"] = status;
    if kind == "Job" {
        label_job(object);
    }
    if kind == "DaemonSet" {
        let annotations = below(below(object, "metadata"), "annotations");
        annotations["deprecated.daemonset.template.generation"] = "1".into();
    }
}

fn rolling<const N: usize>(strategy: &mut Value, fields: [(&str, Value); N]) {
    set(strategy, "type", "RollingUpdate");
    if text(strategy, "type") == "RollingUpdate" {
        set_all(below(strategy, "rollingUpdate"), fields);
    }
}

fn fill_job(spec: &mut Value) {
    pod::fill_template(&mut spec["template"]);
    // A job with neither number runs one pod once; one with only a parallelism is a work queue without completions.
    if is_unset(spec.get("completions")) && is_unset(spec.get("parallelism")) {
        spec["completions"] = json!(1);
    }
    let replacement = if spec.get("podFailurePolicy").is_some_and(Value::is_object) {
        "Failed"
    } else {
        "TerminatingOrFailed"
    };
    let retries = if is_unset(spec.get("backoffLimitPerIndex")) { 6 } else { i64::from(i32::MAX) };
    set_all(
        spec,
        [
            ("parallelism", json!(1)),
            ("backoffLimit", json!(retries)),
            ("completionMode", json!("NonIndexed")),
            ("suspend", json!(false)),
            ("podReplacementPolicy", json!(replacement)),
            ("manualSelector", json!(false)),
        ],
    );
    if let Some(policy) = inside(spec, "podFailurePolicy") {
        for rule in each(policy, "rules") {
            for condition in each(rule, "onPodConditions") {
                set(condition, "status", "True");
            }
        }
    }
}

/// A job selects its pods by its uid, unless it was told to use the selector that it came with.
fn label_job(job: &mut Value) {
    let (uid, name) = (job["metadata"]["uid"].clone(), job["metadata"]["name"].clone());
    let by_hand = job["spec"]["manualSelector"] == true;
    if let Some(template) = inside(job, "spec").and_then(|spec| inside(spec, "template"))
        && !by_hand
    {
        let labels = below(below(template, "metadata"), "labels");
        for key in ["batch.kubernetes.io/job-name", "job-name"] {
            labels[key] = name.clone();
        }
        for key in ["batch.kubernetes.io/controller-uid", "controller-uid"] {
            labels[key] = uid.clone();
        }
        job["spec"]["selector"] = json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
    }
    // A job without labels of its own carries those of its template.
    let labels = job["spec"]["template"]["metadata"]["labels"].clone();
    if labels.is_object() {
        set(below(job, "metadata"), "labels", labels);
    }
}

fn fill_cron_job(spec: &mut Value) {
    set_all(
        spec,
        [
            ("concurrencyPolicy", json!("Allow")),
            ("suspend", json!(false)),
            ("successfulJobsHistoryLimit", json!(3)),
            ("failedJobsHistoryLimit", json!(1)),
        ],
    );
    let Some(template) = inside(spec, "jobTemplate") else { return };
    below(template, "metadata");
    if let Some(pod) = inside(template, "spec").and_then(|spec| inside(spec, "template")) {
        below(pod, "metadata");
        pod::fill_template(pod);
    }
}

fn fill_stateful_set(spec: &mut Value) {
    pod::fill_template(&mut spec["template"]);
    set_all(
        spec,
        [
            ("replicas", json!(1)),
            ("revisionHistoryLimit", json!(10)),
            ("podManagementPolicy", json!("OrderedReady")),
        ],
    );
    rolling(below(spec, "updateStrategy"), [("partition", json!(0)), ("maxUnavailable", json!(1))]);
    let retention = below(spec, "persistentVolumeClaimRetentionPolicy");
    set_all(retention, [("whenDeleted", json!("Retain")), ("whenScaled", json!("Retain"))]);
    for claim in each(spec, "volumeClaimTemplates") {
        set_all(claim, [("apiVersion", json!("v1")), ("kind", json!("PersistentVolumeClaim"))]);
        set(below(claim, "spec"), "volumeMode", "Filesystem");
        set(below(claim, "status"), "phase", "Pending");
    }
}
