//! The row of a pod: its status is told from its phase, its containers and whether it is being deleted.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::age::since;
use super::builtin::{items, name, number, or_none, text};

/// The cells of a pod.
pub(super) fn cells(pod: &Value, now: Timestamp) -> Vec<Value> {
    let (ready, total) = readiness(pod);
    let status = &pod["status"];
    let gates = items(&pod["spec"]["readinessGates"]);
    let passed = |gate: &&Value| {
        items(&status["conditions"])
            .iter()
            .any(|c| c["type"] == gate["conditionType"] && c["status"] == "True")
    };
    let gate_text = if gates.is_empty() {
        "<none>".to_owned()
    } else {
        format!("{}/{}", gates.iter().filter(passed).count(), gates.len())
    };
    vec![
        name(pod),
        json!(format!("{ready}/{total}")),
        json!(state(pod)),
        json!(restarts(pod, now)),
        json!(since(&pod["metadata"]["creationTimestamp"], now)),
        or_none(text(&status["podIP"])),
        or_none(text(&pod["spec"]["nodeName"])),
        or_none(text(&status["nominatedNodeName"])),
        json!(gate_text),
    ]
}

/// Init containers that go on running beside the main ones.
fn sidecars(pod: &Value) -> impl Iterator<Item = &Value> {
    items(&pod["spec"]["initContainers"]).iter().filter(|container| container["restartPolicy"] == "Always")
}

fn is_sidecar(pod: &Value, name: &Value) -> bool {
    sidecars(pod).any(|container| container["name"] == *name)
}

fn readiness(pod: &Value) -> (usize, usize) {
    let status = &pod["status"];
    let runs = |one: &&Value| one["ready"] == true && one["state"]["running"].is_object();
    let main = items(&status["containerStatuses"]).iter().filter(runs).count();
    let beside = items(&status["initContainerStatuses"])
        .iter()
        .filter(|one| is_sidecar(pod, &one["name"]))
        .filter(|one| one["ready"] == true);
    (main + beside.count(), items(&pod["spec"]["containers"]).len() + sidecars(pod).count())
}

fn restarts(pod: &Value, now: Timestamp) -> String {
    let status = &pod["status"];
    let statuses = items(&status["containerStatuses"]).iter();
    let all = statuses.chain(items(&status["initContainerStatuses"]).iter().filter(|one| {
        // While init containers run, theirs are the restarts that matter; afterwards only those of sidecars.
        is_sidecar(pod, &one["name"]) || initialising(pod).is_some()
    }));
    let (mut count, mut last) = (0, None);
    for one in all {
        count += number(&one["restartCount"]);
        let at = one["lastState"]["terminated"]["finishedAt"].as_str();
        if at > last {
            last = at;
        }
    }
    match last {
        Some(last) if count > 0 => format!("{count} ({} ago)", since(&last.into(), now)),
        _ => count.to_string(),
    }
}

/// What the pod's init containers are at, if they are not through.
fn initialising(pod: &Value) -> Option<String> {
    let statuses = items(&pod["status"]["initContainerStatuses"]);
    let total = items(&pod["spec"]["initContainers"]).len();
    for (at, one) in statuses.iter().enumerate() {
        let (waiting, ended) = (&one["state"]["waiting"], &one["state"]["terminated"]);
        if ended.is_object() && number(&ended["exitCode"]) == 0 {
            continue;
        }
        if is_sidecar(pod, &one["name"]) && one["started"] == true {
            continue;
        }
        if ended.is_object() {
            return Some(format!("Init:{}", ending(ended)));
        }
        let reason = text(&waiting["reason"]);
        return Some(if reason.is_empty() || reason == "PodInitializing" {
            format!("Init:{at}/{total}")
        } else {
            format!("Init:{reason}")
        });
    }
    None
}

fn ending(ended: &Value) -> String {
    match (text(&ended["reason"]), number(&ended["signal"])) {
        ("", 0) => format!("ExitCode:{}", number(&ended["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

fn state(pod: &Value) -> String {
    let status = &pod["status"];
    let conditions = items(&status["conditions"]);
    let mut state = text(&status["phase"]).to_owned();
    if !text(&status["reason"]).is_empty() {
        state = text(&status["reason"]).to_owned();
    }
    if conditions.iter().any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated") {
        state = "SchedulingGated".to_owned();
    }
    let initialised = conditions.iter().any(|c| c["type"] == "Initialized" && c["status"] == "True");
    match initialising(pod) {
        Some(at) if !initialised => state = at,
        _ => {
            let mut runs = false;
            for one in items(&status["containerStatuses"]).iter().rev() {
                let (waiting, ended) =
                    (text(&one["state"]["waiting"]["reason"]), &one["state"]["terminated"]);
                if !waiting.is_empty() {
                    state = waiting.to_owned();
                } else if ended.is_object() {
                    state = ending(ended);
                } else if one["ready"] == true && one["state"]["running"].is_object() {
                    runs = true;
                }
            }
            // A container that ended while another one runs leaves the pod running.
            if state == "Completed" && runs {
                let ready = conditions.iter().any(|c| c["type"] == "Ready" && c["status"] == "True");
                state = if ready { "Running" } else { "NotReady" }.to_owned();
            }
        }
    }
    match (pod["metadata"]["deletionTimestamp"].is_string(), text(&status["reason"])) {
        (true, "NodeLost") => "Unknown".to_owned(),
        (true, _) if !matches!(text(&status["phase"]), "Succeeded" | "Failed") => "Terminating".to_owned(),
        _ => state,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pod: Value) -> [String; 3] {
        let cells = cells(&pod, "2026-01-01T00:10:00Z".parse().unwrap());
        [1, 2, 3].map(|at| cells[at].as_str().unwrap().to_owned())
    }

    #[test]
    fn a_row_tells_the_state_of_the_containers() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        assert_eq!(shown(json!({"spec": spec, "status": {"phase": "Pending"}})), ["0/2", "Pending", "0"]);
        let waiting = json!({"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}]});
        assert_eq!(shown(json!({"spec": spec, "status": waiting}))[1], "ErrImagePull");
        let init =
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"running": {}}}]});
        assert_eq!(shown(json!({"spec": spec, "status": init}))[1], "Init:0/1");
        let ended = json!({"phase": "Failed", "containerStatuses": [
            {"name": "a", "restartCount": 2, "state": {"terminated": {"exitCode": 3}},
             "lastState": {"terminated": {"finishedAt": "2026-01-01T00:00:00Z"}}}]});
        assert_eq!(shown(json!({"spec": spec, "status": ended})), ["0/2", "ExitCode:3", "2 (10m ago)"]);
        let gone = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}, "spec": spec, "status": {"phase": "Running"}});
        assert_eq!(shown(gone)[1], "Terminating");
    }
}
