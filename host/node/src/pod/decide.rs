//! What to do next for a Pod, as a pure function of its containers' records: which container may start, whether to
//! stop the rest, and whether the Pod is finished. The worker asks after every change.

use std::time::Instant;

use super::record::{Record, Role, State};

/// The next step for a Pod.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Next {
    /// Index of a container to start now.
    pub(crate) start: Option<usize>,
    /// When to ask again although nothing happened.
    pub(crate) wake: Option<Instant>,
    /// All that had to run has ended and sidecars are to be stopped.
    pub(crate) stop_sidecars: bool,
    /// The Pod's end: whether it succeeded. Holds only once nothing is running.
    pub(crate) finished: Option<bool>,
}

/// A Pod's `restartPolicy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RestartPolicy {
    Always,
    OnFailure,
    Never,
}

impl RestartPolicy {
    pub(crate) fn parse(text: Option<&str>) -> Self {
        match text {
            Some("Never") => RestartPolicy::Never,
            Some("OnFailure") => RestartPolicy::OnFailure,
            _ => RestartPolicy::Always,
        }
    }

    /// Whether a container that ended so is started again.
    pub(crate) fn restarts(self, role: Role, code: i32) -> bool {
        match (role, self) {
            (Role::Sidecar, _) => true,
            (Role::Init, RestartPolicy::Never) => false,
            (Role::Init, RestartPolicy::Always | RestartPolicy::OnFailure) => code != 0,
            (Role::Main, RestartPolicy::Always) => true,
            (Role::Main, RestartPolicy::OnFailure) => code != 0,
            (Role::Main, RestartPolicy::Never) => false,
        }
    }
}

/// Decides the next step.
pub(crate) fn next(records: &[Record], policy: RestartPolicy, now: Instant) -> Next {
    let mut next = Next::default();
    let mains = || records.iter().filter(|record| record.role == Role::Main);
    let over =
        |record: &Record| record.ended().is_some_and(|end| !policy.restarts(record.role, end.exit.code));
    let init_failed = records.iter().any(|record| {
        record.role == Role::Init && over(record) && record.ended().is_some_and(|end| end.exit.code != 0)
    });
    if init_failed || mains().all(over) {
        next.stop_sidecars = true;
        if !records.iter().any(Record::is_live) {
            next.finished = Some(
                !init_failed && mains().all(|record| record.ended().is_some_and(|end| end.exit.code == 0)),
            );
        }
        return next;
    }
    // A main container that ever ran means that initialisation is done, whatever became of the init containers.
    let initialized = mains().any(|record| record.attempts > 0);
    for (index, record) in records.iter().enumerate() {
        match record.role {
            Role::Init if initialized => {}
            Role::Init => match record.ended() {
                Some(end) if end.exit.code == 0 => {}
                _ => {
                    consider(record, index, now, &mut next);
                    return next;
                }
            },
            Role::Sidecar => {
                consider(record, index, now, &mut next);
                if next.start.is_some() || (!initialized && !record.started) {
                    return next;
                }
            }
            Role::Main => {
                if !over(record) {
                    consider(record, index, now, &mut next);
                }
                if next.start.is_some() {
                    return next;
                }
            }
        }
    }
    next
}

fn consider(record: &Record, index: usize, now: Instant, next: &mut Next) {
    match &record.state {
        State::Waiting { until: Some(until), .. } if *until > now => {
            next.wake = Some(next.wake.map_or(*until, |wake| wake.min(*until)));
        }
        State::Waiting { .. } => next.start = next.start.or(Some(index)),
        State::Starting | State::Running(_) | State::Ended(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pod::record::fresh;
    use crate::shim::files::{Exit, Started};
    use jiff::Timestamp;
    use std::time::Duration;

    fn records(sidecar: bool) -> Vec<Record> {
        let mut init = vec![serde_json::json!({"name": "first", "image": "x"})];
        if sidecar {
            init.push(serde_json::json!({"name": "side", "image": "x", "restartPolicy": "Always"}));
        }
        fresh(
            &serde_json::from_value(serde_json::json!({
                "metadata": {"name": "p"},
                "spec": {"initContainers": init, "containers": [{"name": "main", "image": "x"}]},
            }))
            .unwrap(),
        )
    }

    fn end(record: &mut Record, code: i32) {
        record.attempts += 1;
        let at = Timestamp::UNIX_EPOCH;
        let exit = Exit {
            code,
            signal: None,
            started_at: at,
            finished_at: at,
            out_of_memory: false,
            start_error: None,
        };
        record.end(exit, None, "uid");
    }

    fn run(record: &mut Record) {
        record.attempts += 1;
        record.started = true;
        record.state =
            State::Running(Started { shim_pid: 1, pid: None, pid_start: None, at: Timestamp::UNIX_EPOCH });
    }

    #[test]
    fn init_containers_run_in_order_then_the_rest() {
        let mut records = records(true);
        let decide = |records: &[Record]| next(records, RestartPolicy::Never, Instant::now());
        assert_eq!(decide(&records).start, Some(0));
        run(&mut records[0]);
        assert_eq!(decide(&records).start, None);
        end(&mut records[0], 0);
        assert_eq!(decide(&records).start, Some(1));
        run(&mut records[1]);
        records[1].started = false;
        assert_eq!(decide(&records).start, None, "the sidecar's startup probe is waited for");
        records[1].started = true;
        assert_eq!(decide(&records).start, Some(2));
        end(&mut records[2], 0);
        let decision = decide(&records);
        assert!(decision.stop_sidecars && decision.finished.is_none());
        end(&mut records[1], 137);
        assert_eq!(decide(&records).finished, Some(true));
    }

    #[test]
    fn a_failed_init_container_fails_a_pod_that_never_restarts() {
        let mut records = records(false);
        end(&mut records[0], 3);
        assert_eq!(next(&records, RestartPolicy::Never, Instant::now()).finished, Some(false));
        assert_eq!(next(&records, RestartPolicy::OnFailure, Instant::now()).finished, None);
    }

    #[test]
    fn a_container_in_backoff_is_started_when_its_time_comes() {
        let mut records = records(false);
        end(&mut records[0], 0);
        let until = Instant::now() + Duration::from_secs(10);
        records[1].state = State::Waiting { reason: "CrashLoopBackOff", message: None, until: Some(until) };
        let early = next(&records, RestartPolicy::Always, Instant::now());
        assert_eq!((early.start, early.wake), (None, Some(until)));
        assert_eq!(next(&records, RestartPolicy::Always, until).start, Some(1));
    }
}
