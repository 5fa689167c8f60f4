//! The rows of kinds that make pods.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::{human_duration, since};
use super::builtin::{age, items, labels, name, number, or_none, selector, text};

fn joined(template: &Value, key: &str) -> Value {
    let containers = items(&template["spec"]["containers"]);
    containers.iter().map(|container| text(&container[key])).collect::<Vec<_>>().join(",").into()
}

fn containers_and_images(template: &Value) -> [Value; 2] {
    [joined(template, "name"), joined(template, "image")]
}

/// The cells of a deployment.
pub(super) fn deployment(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images] = containers_and_images(&spec["template"]);
    vec![
        name(object),
        json!(format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]))),
        json!(number(&status["updatedReplicas"])),
        json!(number(&status["availableReplicas"])),
        age(object, now),
        containers,
        images,
        selector(&spec["selector"]),
    ]
}

/// The cells of a replica set or a replication controller.
pub(super) fn replicas(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images] = containers_and_images(&spec["template"]);
    let selected = if object["kind"] == "ReplicationController" {
        labels(&spec["selector"])
    } else {
        selector(&spec["selector"])
    };
    vec![
        name(object),
        json!(number(&spec["replicas"])),
        json!(number(&status["replicas"])),
        json!(number(&status["readyReplicas"])),
        age(object, now),
        containers,
        images,
        selected,
    ]
}

/// The cells of a stateful set.
pub(super) fn stateful_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let [containers, images] = containers_and_images(&spec["template"]);
    let ready = format!("{}/{}", number(&status["readyReplicas"]), number(&spec["replicas"]));
    vec![name(object), json!(ready), age(object, now), containers, images]
}

/// The cells of a daemon set.
pub(super) fn daemon_set(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let mut cells = vec![name(object)];
    let counts = [
        "desiredNumberScheduled",
        "currentNumberScheduled",
        "numberReady",
        "updatedNumberScheduled",
        "numberAvailable",
    ];
    cells.extend(counts.map(|key| json!(number(&status[key]))));
    cells.extend([labels(&spec["template"]["spec"]["nodeSelector"]), age(object, now)]);
    cells.extend(containers_and_images(&spec["template"]));
    cells.push(selector(&spec["selector"]));
    cells
}

/// The cells of a job.
pub(super) fn job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let has =
        |kind: &str| items(&status["conditions"]).iter().any(|c| c["type"] == kind && c["status"] == "True");
    let state = if has("Complete") {
        "Complete"
    } else if has("Failed") {
        "Failed"
    } else if object["metadata"]["deletionTimestamp"].is_string() {
        "Terminating"
    } else if has("Suspended") {
        "Suspended"
    } else if has("FailureTarget") {
        "FailureTarget"
    } else if has("SuccessCriteriaMet") {
        "SuccessCriteriaMet"
    } else {
        "Running"
    };
    let succeeded = number(&status["succeeded"]);
    let parallelism = number(&spec["parallelism"]);
    let completions = match spec["completions"].as_i64() {
        Some(wanted) => format!("{succeeded}/{wanted}"),
        None if parallelism > 1 => format!("{succeeded}/1 of {parallelism}"),
        None => format!("{succeeded}/1"),
    };
    let at = |key: &str| status[key].as_str().and_then(|text| text.parse::<Timestamp>().ok());
    let duration = at("startTime").map_or(String::new(), |start| {
        human_duration(at("completionTime").unwrap_or(now).duration_since(start).as_secs())
    });
    let [containers, images] = containers_and_images(&spec["template"]);
    vec![
        name(object),
        json!(state),
        json!(completions),
        json!(duration),
        age(object, now),
        containers,
        images,
        selector(&spec["selector"]),
    ]
}

/// The cells of a cron job.
pub(super) fn cron_job(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let last = &status["lastScheduleTime"];
    let [containers, images] = containers_and_images(&spec["jobTemplate"]["spec"]["template"]);
    vec![
        name(object),
        spec["schedule"].clone(),
        or_none(text(&spec["timeZone"])),
        json!(if spec["suspend"] == true { "True" } else { "False" }),
        json!(items(&status["active"]).len()),
        if last.is_string() { since(last, now).into() } else { "<none>".into() },
        age(object, now),
        containers,
        images,
        selector(&spec["jobTemplate"]["spec"]["selector"]),
    ]
}

/// The cells of an autoscaler.
pub(super) fn autoscaler(object: &Value, now: Timestamp) -> Vec<Value> {
    let (spec, status) = (&object["spec"], &object["status"]);
    let reference =
        format!("{}/{}", text(&spec["scaleTargetRef"]["kind"]), text(&spec["scaleTargetRef"]["name"]));
    let current = items(&status["currentMetrics"]);
    let targets =
        items(&spec["metrics"]).iter().enumerate().map(|(at, metric)| target(metric, current.get(at)));
    vec![
        name(object),
        reference.into(),
        or_none(&targets.collect::<Vec<_>>().join(", ")),
        spec["minReplicas"].as_i64().map_or_else(|| "<unset>".to_owned(), |least| least.to_string()).into(),
        json!(number(&spec["maxReplicas"])),
        json!(number(&status["currentReplicas"])),
        age(object, now),
    ]
}

/// A metric as `name: current/wanted`; only resource metrics have names of their own.
fn target(metric: &Value, current: Option<&Value>) -> String {
    let field = match text(&metric["type"]) {
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        "Pods" => "pods",
        "Object" => "object",
        _ => "external",
    };
    let (wanted, seen) = (&metric[field]["target"], current.map(|current| &current[field]["current"]));
    let amount = |of: &Value| match of["averageUtilization"].as_i64() {
        Some(percent) => Some(format!("{percent}%")),
        None => of["averageValue"].as_str().or(of["value"].as_str()).map(str::to_owned),
    };
    let seen = seen.and_then(amount).unwrap_or_else(|| "<unknown>".to_owned());
    let pair = format!("{seen}/{}", amount(wanted).unwrap_or_else(|| "<auto>".to_owned()));
    if field == "resource" { format!("{}: {pair}", text(&metric[field]["name"])) } else { pair }
}
