//! What to do for a Job, as a pure function of the Job and its Pods: the status to write first, then the finalizers to
//! remove, Pods to delete and Pods to create. The order makes every step safe to lose: a terminated Pod is named in
//! `uncountedTerminatedPods` before its finalizer goes, and counted after.

use std::collections::BTreeSet;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::{Job, JobCondition, JobStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::indexes;
use crate::backoff;

pub(super) const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub(super) const INDEX: &str = "batch.kubernetes.io/job-completion-index";
const RECREATE_MAX: std::time::Duration = std::time::Duration::from_secs(360);

/// What to do for a Job, in this order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// The status to write, when it differs.
    pub(super) status: Option<JobStatus>,
    /// Names of Pods to take the tracking finalizer from.
    pub(super) release: Vec<String>,
    /// Names of Pods to release and delete.
    pub(super) delete: Vec<String>,
    /// Pods to create: the completion index of each, where the Job has indexes.
    pub(super) create: Vec<Option<i32>>,
    /// Delete the Job itself: its time to live is over.
    pub(super) expire: bool,
    /// When to look again although nothing happened.
    pub(super) again: Option<SignedDuration>,
    /// Events to write: reason, message, whether it is a warning.
    pub(super) events: Vec<(&'static str, String, bool)>,
}

/// Whether a Job is over.
pub(super) fn finished(job: &Job) -> Option<&JobCondition> {
    condition(job.status.as_ref()?, "Complete").or_else(|| condition(job.status.as_ref()?, "Failed"))
}

fn condition<'a>(status: &'a JobStatus, kind: &str) -> Option<&'a JobCondition> {
    status.conditions.iter().flatten().find(|condition| condition.type_ == kind && condition.status == "True")
}

/// Decides for `job` with `pods`, all Pods that it controls.
pub(super) fn decide(job: &Job, pods: &[Pod], now: Timestamp) -> Plan {
    let mut plan = Plan::default();
    let Some(spec) = &job.spec else { return plan };
    let mut status = job.status.clone().unwrap_or_default();
    if job.metadata.deletion_timestamp.is_some() || finished(job).is_some() {
        // Nothing is counted any more; Pods must not be held by the finalizer.
        plan.release = pods.iter().filter(|pod| tracked(pod)).map(ResourceExt::name_any).collect();
        if let (Some(done), Some(ttl)) = (finished(job), spec.ttl_seconds_after_finished)
            && job.metadata.deletion_timestamp.is_none()
        {
            let at = done.last_transition_time.as_ref().map_or(now, |time| time.0);
            let left = at + SignedDuration::from_secs(i64::from(ttl)) - now;
            let left = SignedDuration::try_from(left).unwrap_or_default();
            if left.is_positive() {
                plan.again = Some(left);
            } else {
                plan.expire = true;
            }
        }
        return plan;
    }
    let suspended = spec.suspend == Some(true);
    let indexed = spec.completion_mode.as_deref() == Some("Indexed");
    let count = Counted::take(job, &mut status, pods, indexed);
    plan.release = count.release.clone();
    if !suspended && status.start_time.is_none() {
        status.start_time = Some(Time(now));
    }
    let active: Vec<&Pod> = pods.iter().filter(|pod| is_active(pod)).collect();
    let terminating =
        pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_some() && !is_terminal(pod)).count();

    let mut verdict = verdict(&status);
    if verdict.is_none() {
        verdict = judge(job, &status, &active, &count, now);
        if let Some(verdict) = &verdict {
            let kind = if verdict.success { "SuccessCriteriaMet" } else { "FailureTarget" };
            push(&mut status, kind, &verdict.reason, &verdict.message, now);
        }
    }
    let mut left = active.len();
    if verdict.is_some() || suspended {
        plan.delete = active.iter().map(|pod| pod.name_any()).collect();
        left = 0;
    }
    let mut ready = active.iter().filter(|pod| is_ready(pod)).count();
    if let Some(verdict) = verdict {
        ready = 0;
        let uncounted = status.uncounted_terminated_pods.as_ref().is_some_and(|uncounted| {
            uncounted.succeeded.iter().chain(&uncounted.failed).flatten().next().is_some()
        });
        // Its end is told only when none of its Pods runs and each is counted.
        if active.is_empty() && terminating == 0 && !uncounted && plan.release.is_empty() {
            let kind = if verdict.success { "Complete" } else { "Failed" };
            push(&mut status, kind, &verdict.reason, &verdict.message, now);
            if verdict.success {
                status.completion_time = Some(Time(now));
                plan.events.push(("Completed", "Job completed".to_owned(), false));
            } else {
                plan.events.push((event_reason(&verdict.reason), verdict.message, true));
            }
            status.uncounted_terminated_pods = None;
            plan.again = spec.ttl_seconds_after_finished.map(|ttl| SignedDuration::from_secs(i64::from(ttl)));
        }
    } else if suspended {
        ready = 0;
        suspend(&mut status, true, now, &mut plan);
    } else {
        suspend(&mut status, false, now, &mut plan);
        left = scale(job, &active, terminating, &count, pods, now, &mut plan);
        ready = ready.min(left);
        let deadline =
            spec.active_deadline_seconds.zip(status.start_time.as_ref()).map(|(seconds, start)| {
                let left = start.0 + SignedDuration::from_secs(seconds) - now;
                SignedDuration::try_from(left).unwrap_or_default()
            });
        plan.again = plan.again.into_iter().chain(deadline).min();
    }
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    // Those created or deleted below are counted when they are seen; the status tells what is observed.
    status.active = Some(number(left.min(active.len()))).filter(|active| *active > 0);
    status.ready = Some(number(ready));
    status.terminating = Some(number(if status_is_finished(&status) { 0 } else { terminating }));
    if job.status.as_ref() != Some(&status) {
        plan.status = Some(status);
    }
    plan
}

fn status_is_finished(status: &JobStatus) -> bool {
    condition(status, "Complete").or_else(|| condition(status, "Failed")).is_some()
}

fn event_reason(reason: &str) -> &'static str {
    match reason {
        "DeadlineExceeded" => "DeadlineExceeded",
        _ => "BackoffLimitExceeded",
    }
}

/// The counters after this look at the Pods.
struct Counted {
    succeeded: usize,
    failed: usize,
    done_indexes: BTreeSet<i32>,
    release: Vec<String>,
}

impl Counted {
    fn take(job: &Job, status: &mut JobStatus, pods: &[Pod], indexed: bool) -> Self {
        let mut uncounted = status.uncounted_terminated_pods.clone().unwrap_or_default();
        let held =
            |uid: &String| pods.iter().any(|pod| pod.metadata.uid.as_ref() == Some(uid) && tracked(pod));
        // Those whose finalizer is gone are counted for good.
        let settle = |list: &mut Option<Vec<String>>, total: &mut Option<i32>| {
            let (keep, settled): (Vec<_>, Vec<_>) =
                list.take().unwrap_or_default().into_iter().partition(held);
            let settled = i32::try_from(settled.len()).unwrap_or(i32::MAX);
            if settled > 0 {
                *total = Some(total.unwrap_or(0).saturating_add(settled));
            }
            *list = Some(keep).filter(|keep| !keep.is_empty());
        };
        settle(&mut uncounted.succeeded, &mut status.succeeded);
        settle(&mut uncounted.failed, &mut status.failed);
        let mut done_indexes = indexes::parse(status.completed_indexes.as_deref().unwrap_or(""));
        let completions = job.spec.as_ref().and_then(|spec| spec.completions).unwrap_or(0);
        let mut release = Vec::new();
        for pod in pods.iter().filter(|pod| tracked(pod)) {
            let uid = pod.uid().unwrap_or_default();
            let known = |list: &Option<Vec<String>>| list.iter().flatten().any(|one| *one == uid);
            let succeeded = phase(pod) == "Succeeded";
            // A Pod that is being deleted may never reach a phase of its own.
            let failed = phase(pod) == "Failed" || (pod.metadata.deletion_timestamp.is_some() && !succeeded);
            if succeeded && indexed {
                let index = index_of(pod).filter(|index| *index < completions);
                done_indexes.extend(index);
            } else if succeeded && !known(&uncounted.succeeded) && !known(&uncounted.failed) {
                uncounted.succeeded.get_or_insert_default().push(uid);
            } else if failed && !known(&uncounted.failed) && !known(&uncounted.succeeded) {
                uncounted.failed.get_or_insert_default().push(uid);
            }
            if succeeded || failed {
                release.push(pod.name_any());
            }
        }
        if indexed {
            status.succeeded =
                Some(i32::try_from(done_indexes.len()).unwrap_or(i32::MAX)).filter(|count| *count > 0);
            status.completed_indexes = Some(indexes::format(&done_indexes)).filter(|text| !text.is_empty());
        }
        let length = |list: &Option<Vec<String>>| list.as_ref().map_or(0, Vec::len);
        let total = |total: Option<i32>| usize::try_from(total.unwrap_or(0)).unwrap_or(0);
        let counted = Counted {
            succeeded: total(status.succeeded) + length(&uncounted.succeeded),
            failed: total(status.failed) + length(&uncounted.failed),
            done_indexes,
            release,
        };
        status.uncounted_terminated_pods = Some(uncounted);
        counted
    }
}

struct Verdict {
    success: bool,
    reason: String,
    message: String,
}

/// The verdict that the status already holds.
fn verdict(status: &JobStatus) -> Option<Verdict> {
    let (success, condition) = condition(status, "SuccessCriteriaMet")
        .map(|condition| (true, condition))
        .or_else(|| condition(status, "FailureTarget").map(|condition| (false, condition)))?;
    Some(Verdict {
        success,
        reason: condition.reason.clone().unwrap_or_default(),
        message: condition.message.clone().unwrap_or_default(),
    })
}

fn judge(job: &Job, status: &JobStatus, active: &[&Pod], count: &Counted, now: Timestamp) -> Option<Verdict> {
    let spec = job.spec.as_ref()?;
    let fail = |reason: &str, message: &str| {
        Some(Verdict { success: false, reason: reason.to_owned(), message: message.to_owned() })
    };
    let limit = usize::try_from(spec.backoff_limit.unwrap_or(6)).unwrap_or(0);
    let on_failure =
        spec.template.spec.as_ref().and_then(|spec| spec.restart_policy.as_deref()) == Some("OnFailure");
    let restarts: i32 = active.iter().flat_map(|pod| pod.status.iter()).map(restarts).sum();
    let restarts = usize::try_from(restarts).unwrap_or(0);
    let too_many_restarts = on_failure && restarts > 0 && restarts >= limit;
    if count.failed > limit || too_many_restarts {
        return fail("BackoffLimitExceeded", "Job has reached the specified backoff limit");
    }
    let suspended = spec.suspend == Some(true);
    if let (Some(seconds), Some(start), false) = (spec.active_deadline_seconds, &status.start_time, suspended)
        && now >= start.0 + SignedDuration::from_secs(seconds)
    {
        return fail("DeadlineExceeded", "Job was active longer than specified deadline");
    }
    let reached = match spec.completions {
        Some(completions) => count.succeeded >= usize::try_from(completions).unwrap_or(0),
        None => count.succeeded > 0 && active.is_empty(),
    };
    reached.then(|| Verdict {
        success: true,
        reason: "CompletionsReached".to_owned(),
        message: "Reached expected number of succeeded pods".to_owned(),
    })
}

fn restarts(status: &k8s_openapi::api::core::v1::PodStatus) -> i32 {
    let all = status.init_container_statuses.iter().chain(&status.container_statuses).flatten();
    all.map(|container| container.restart_count).sum()
}

/// Plans Pods to create or delete; returns how many of the active ones stay.
fn scale(
    job: &Job,
    active: &[&Pod],
    terminating: usize,
    count: &Counted,
    pods: &[Pod],
    now: Timestamp,
    plan: &mut Plan,
) -> usize {
    let Some(spec) = &job.spec else { return active.len() };
    let parallelism = usize::try_from(spec.parallelism.unwrap_or(1)).unwrap_or(0);
    let wanted = match spec.completions {
        Some(completions) => {
            usize::try_from(completions).unwrap_or(0).saturating_sub(count.succeeded).min(parallelism)
        }
        None if count.succeeded > 0 => active.len().min(parallelism),
        None => parallelism,
    };
    if active.len() > wanted {
        // Those that got least far go first.
        let mut order: Vec<_> = active.to_vec();
        order.sort_by_key(|pod| {
            (is_ready(pod), phase(pod) == "Running", std::cmp::Reverse(pod.creation_timestamp()))
        });
        plan.delete = order.iter().take(active.len() - wanted).map(|pod| pod.name_any()).collect();
        return wanted;
    }
    let replaced_when_failed = spec.pod_replacement_policy.as_deref() == Some("Failed");
    let occupied = active.len() + if replaced_when_failed { terminating } else { 0 };
    let missing = wanted.saturating_sub(occupied);
    if missing == 0 {
        return active.len();
    }
    let wait = recreation_wait(pods, now);
    if wait.is_positive() {
        plan.again = Some(wait);
        return active.len();
    }
    if spec.completion_mode.as_deref() == Some("Indexed") {
        let taken: BTreeSet<_> = active.iter().filter_map(|pod| index_of(pod)).collect();
        let free = (0..spec.completions.unwrap_or(0))
            .filter(|index| !taken.contains(index) && !count.done_indexes.contains(index));
        plan.create = free.take(missing).map(Some).collect();
    } else {
        plan.create = vec![None; missing];
    }
    active.len()
}

/// How long to wait before Pods are made again, by the failures since the last success.
fn recreation_wait(pods: &[Pod], now: Timestamp) -> SignedDuration {
    let ends = |wanted: &'static str| pods.iter().filter(move |pod| phase(pod) == wanted).filter_map(end_of);
    let last_success = ends("Succeeded").max();
    let failures: Vec<_> =
        ends("Failed").filter(|end| last_success.is_none_or(|success| *end > success)).collect();
    let Some(last) = failures.iter().max() else { return SignedDuration::ZERO };
    let delay = backoff::delay(u32::try_from(failures.len()).unwrap_or(u32::MAX), RECREATE_MAX);
    let delay = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
    delay.saturating_sub(now.duration_since(*last))
}

fn end_of(pod: &Pod) -> Option<Timestamp> {
    let status = pod.status.as_ref()?;
    let containers = status.container_statuses.iter().flatten();
    let ends = containers.filter_map(|container| {
        container.state.as_ref()?.terminated.as_ref()?.finished_at.as_ref().map(|time| time.0)
    });
    ends.max().or_else(|| pod.creation_timestamp().map(|time| time.0))
}

fn suspend(status: &mut JobStatus, suspended: bool, now: Timestamp, plan: &mut Plan) {
    let wanted = if suspended { "True" } else { "False" };
    let (reason, message) =
        if suspended { ("JobSuspended", "Job suspended") } else { ("JobResumed", "Job resumed") };
    let conditions = status.conditions.get_or_insert_default();
    match conditions.iter_mut().find(|condition| condition.type_ == "Suspended") {
        Some(condition) if condition.status == wanted => return,
        Some(condition) => {
            condition.status = wanted.to_owned();
            condition.reason = Some(reason.to_owned());
            condition.message = Some(message.to_owned());
            condition.last_transition_time = Some(Time(now));
            condition.last_probe_time = Some(Time(now));
        }
        None if suspended => push(status, "Suspended", reason, message, now),
        None => {
            if status.conditions.as_ref().is_some_and(Vec::is_empty) {
                status.conditions = None;
            }
            return;
        }
    }
    // The deadline counts from the resumption.
    status.start_time = (!suspended).then_some(Time(now));
    plan.events.push((if suspended { "Suspended" } else { "Resumed" }, message.to_owned(), false));
}

fn push(status: &mut JobStatus, kind: &str, reason: &str, message: &str, now: Timestamp) {
    status.conditions.get_or_insert_default().push(JobCondition {
        type_: kind.to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_probe_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    });
}

pub(super) fn tracked(pod: &Pod) -> bool {
    pod.finalizers().iter().any(|finalizer| finalizer == FINALIZER)
}

fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending")
}

fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && pod.metadata.deletion_timestamp.is_none()
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

fn index_of(pod: &Pod) -> Option<i32> {
    pod.annotations().get(INDEX)?.parse().ok()
}
