//! A Pod's status from its containers' records, as a kubelet would write it. Pure.

use k8s_openapi::api::core::v1::{
    ContainerState, ContainerStateRunning, ContainerStateTerminated, ContainerStateWaiting, ContainerStatus,
    HostIP, Pod, PodCondition, PodIP, PodStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::Timestamp;

use super::record::{Ended, Record, Role, State};
use crate::image_map::normalize;

/// What the worker knows besides the records.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overall {
    /// The Pod's end, once decided.
    pub(crate) finished: Option<bool>,
    /// Reason and message of the Pod itself, such as DeadlineExceeded.
    pub(crate) reason: Option<(&'static str, String)>,
    pub(crate) start_time: Option<Timestamp>,
}

/// Builds the status. `pod` gives the status before, whose unknown conditions and transition times are kept.
pub(crate) fn build(
    pod: &Pod,
    uid: &str,
    records: &[Record],
    overall: &Overall,
    now: Timestamp,
) -> PodStatus {
    let before = pod.status.as_ref();
    let statuses = |main: bool| -> Option<Vec<ContainerStatus>> {
        let list: Vec<_> = records
            .iter()
            .filter(|record| (record.role == Role::Main) == main)
            .map(|record| container(record, uid))
            .collect();
        (!list.is_empty()).then_some(list)
    };
    let phase = phase(records, overall.finished);
    PodStatus {
        phase: Some(phase.to_owned()),
        conditions: Some(conditions(pod, records, phase, now)),
        reason: overall.reason.as_ref().map(|(reason, _)| (*reason).to_owned()),
        message: overall.reason.as_ref().map(|(_, message)| message.clone()),
        host_ip: Some(crate::ADDRESS.to_owned()),
        host_ips: Some(vec![HostIP { ip: crate::ADDRESS.to_owned() }]),
        pod_ip: Some(crate::ADDRESS.to_owned()),
        pod_ips: Some(vec![PodIP { ip: crate::ADDRESS.to_owned() }]),
        qos_class: before.and_then(|status| status.qos_class.clone()),
        start_time: overall.start_time.map(Time),
        observed_generation: pod.metadata.generation,
        init_container_statuses: statuses(false),
        container_statuses: statuses(true),
        ..PodStatus::default()
    }
}

fn phase(records: &[Record], finished: Option<bool>) -> &'static str {
    match finished {
        Some(true) => "Succeeded",
        Some(false) => "Failed",
        None if records.iter().any(|record| record.role == Role::Main && record.attempts > 0) => "Running",
        None => "Pending",
    }
}

fn container(record: &Record, uid: &str) -> ContainerStatus {
    let image = record.spec.image.as_deref().unwrap_or_default();
    let running = matches!(record.state, State::Running(_));
    let state = match &record.state {
        State::Waiting { reason, message, .. } => waiting(reason, message.clone()),
        State::Starting => waiting("ContainerCreating", None),
        State::Running(started) => ContainerState {
            running: Some(ContainerStateRunning { started_at: Some(Time(started.at)) }),
            ..ContainerState::default()
        },
        State::Ended(ended) => terminated(ended),
    };
    ContainerStatus {
        name: record.spec.name.clone(),
        image: if record.image_id.is_empty() { image.to_owned() } else { normalize(image) },
        image_id: record.image_id.clone(),
        container_id: (record.attempts > 0).then(|| record.container_id(uid)),
        restart_count: i32::try_from(record.attempts.saturating_sub(1)).unwrap_or(i32::MAX),
        ready: match record.role {
            Role::Init => record.ended().is_some_and(|end| end.exit.code == 0),
            Role::Sidecar | Role::Main => running && record.ready,
        },
        started: Some(running && record.started),
        state: Some(state),
        last_state: Some(record.last.as_ref().map_or_else(ContainerState::default, terminated)),
        ..ContainerStatus::default()
    }
}

fn waiting(reason: &str, message: Option<String>) -> ContainerState {
    ContainerState {
        waiting: Some(ContainerStateWaiting { reason: Some(reason.to_owned()), message }),
        ..ContainerState::default()
    }
}

fn terminated(ended: &Ended) -> ContainerState {
    ContainerState {
        terminated: Some(ContainerStateTerminated {
            container_id: Some(ended.container_id.clone()),
            exit_code: ended.exit.code,
            signal: ended.exit.signal,
            reason: Some(ended.reason.to_owned()),
            message: ended.message.clone(),
            started_at: Some(Time(ended.exit.started_at)),
            finished_at: Some(Time(ended.exit.finished_at)),
        }),
        ..ContainerState::default()
    }
}

fn conditions(pod: &Pod, records: &[Record], phase: &str, now: Timestamp) -> Vec<PodCondition> {
    let done = phase == "Succeeded" || phase == "Failed";
    let inits = || records.iter().filter(|record| record.role == Role::Init);
    let mains = || records.iter().filter(|record| record.role == Role::Main);
    let uninitialized: Vec<_> = inits()
        .filter(|record| record.ended().is_none_or(|end| end.exit.code != 0))
        .map(|record| record.spec.name.as_str())
        .collect();
    let initialized = uninitialized.is_empty() || mains().any(|record| record.attempts > 0);
    let unready: Vec<_> = mains()
        .filter(|record| !(matches!(record.state, State::Running(_)) && record.ready))
        .map(|record| record.spec.name.as_str())
        .collect();
    let not_ready = match phase {
        "Succeeded" => Some(("PodCompleted", None)),
        "Failed" => Some(("PodFailed", None)),
        _ if !unready.is_empty() => Some((
            "ContainersNotReady",
            Some(format!("containers with unready status: [{}]", unready.join(" "))),
        )),
        _ => None,
    };
    let started = records.iter().any(|record| record.attempts > 0);
    let init_reason = if phase == "Succeeded" {
        Some(("PodCompleted", None))
    } else if initialized {
        None
    } else {
        Some((
            "ContainersNotInitialized",
            Some(format!("containers with incomplete status: [{}]", uninitialized.join(" "))),
        ))
    };
    let mut out: Vec<PodCondition> = Vec::new();
    let mut put = |type_: &str, status: bool, reason: Option<(&str, Option<String>)>| {
        out.push(PodCondition {
            type_: type_.to_owned(),
            status: if status { "True" } else { "False" }.to_owned(),
            reason: reason.as_ref().map(|(reason, _)| (*reason).to_owned()),
            message: reason.and_then(|(_, message)| message),
            observed_generation: pod.metadata.generation,
            ..PodCondition::default()
        });
    };
    put("PodReadyToStartContainers", started && !done, None);
    put("Initialized", initialized, init_reason);
    put("Ready", not_ready.is_none(), not_ready.clone());
    put("ContainersReady", not_ready.is_none(), not_ready);
    put("PodScheduled", true, None);
    let before = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    for condition in &mut out {
        let same = before.clone().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        condition.last_transition_time =
            same.and_then(|old| old.last_transition_time.clone()).or(Some(Time(now)));
    }
    let kept: Vec<_> =
        before.filter(|old| out.iter().all(|condition| condition.type_ != old.type_)).cloned().collect();
    out.extend(kept);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::record::fresh;
    use crate::shim::files::Exit;

    fn pod() -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p"},
            "spec": {"containers": [{"name": "main", "image": "x"}]},
            "status": {"conditions": [
                {"type": "DisruptionTarget", "status": "True"},
                {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2020-01-01T00:00:00Z"},
            ]},
        }))
        .unwrap()
    }

    #[test]
    fn a_failed_container_is_told_as_a_kubelet_tells_it() {
        let pod = pod();
        let mut records = fresh(&pod);
        records[0].attempts = 1;
        let at = Timestamp::UNIX_EPOCH;
        let exit = Exit {
            code: 3,
            signal: None,
            started_at: at,
            finished_at: at,
            out_of_memory: false,
            start_error: None,
        };
        records[0].end(exit, Some("why".to_owned()), "uid");
        let overall = Overall { finished: Some(false), ..Overall::default() };
        let status = build(&pod, "uid", &records, &overall, Timestamp::now());
        assert_eq!(status.phase.as_deref(), Some("Failed"));
        let container = &status.container_statuses.unwrap()[0];
        let end = container.state.as_ref().unwrap().terminated.as_ref().unwrap();
        assert_eq!(
            (end.exit_code, end.reason.as_deref(), end.message.as_deref()),
            (3, Some("Error"), Some("why"))
        );
        let conditions = status.conditions.unwrap();
        let find = |type_: &str| conditions.iter().find(|condition| condition.type_ == type_).unwrap();
        assert_eq!(find("Ready").reason.as_deref(), Some("PodFailed"));
        assert_eq!(find("DisruptionTarget").status, "True");
        assert!(find("PodScheduled").last_transition_time.as_ref().unwrap().0 < Timestamp::now());
    }
}
