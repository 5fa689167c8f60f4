//! What a Model came to: its status, and the Event that says so. Pure but for the Event, which is handed in.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use purlin_kernel::EventRecorder;
use purlin_kernel::api::{Change, Model, ModelStatus, set_condition};
use purlin_sandbox::CallError;
use purlin_sandbox::contract::Fault;

use crate::load::{Facts, LoadFailure};

/// The name of who serves a model, or the reason and message of nobody doing so.
type Resolved = Result<String, (&'static str, String)>;

/// What a Model came to.
pub(crate) struct Verdict {
    pub(crate) resolved: Resolved,
    pub(crate) loaded: Result<(), (&'static str, String)>,
    pub(crate) facts: Option<Facts>,
    /// Copies or Pods that answer.
    pub(crate) replicas: u32,
    pub(crate) again: Option<Duration>,
}

impl Verdict {
    pub(crate) fn failed(
        resolved: Resolved,
        reason: &'static str,
        message: String,
        again: Option<Duration>,
    ) -> Verdict {
        Verdict { resolved, loaded: Err((reason, message)), facts: None, replicas: 0, again }
    }

    /// Of a model that nobody serves.
    pub(crate) fn unresolved(reason: &'static str, message: String, again: Option<Duration>) -> Verdict {
        Verdict::failed(Err((reason, message.clone())), reason, message, again)
    }

    /// Of a model whose runtime is known; tried again after a pause where the failure may pass.
    pub(crate) fn not_loaded(resolved: Resolved, failure: &LoadFailure, pause: Duration) -> Verdict {
        let (reason, message, passing) = describe(failure);
        // A moment later, so that the pause is over.
        let again = passing.then_some(pause + Duration::from_millis(50));
        Verdict::failed(resolved, reason, message, again)
    }

    /// Of a model that is on its way since a while. It is looked at again after a part of that: what takes long may be seen later.
    pub(crate) fn loading(resolved: Resolved, since: Duration, progress: Option<String>) -> Verdict {
        let again = Some((since / 4).clamp(Duration::from_millis(100), Duration::from_secs(2)));
        let (reason, message) = match progress {
            Some(progress) => ("Downloading", progress),
            None => ("Progressing", "the model is being loaded".to_owned()),
        };
        Verdict::failed(resolved, reason, message, again)
    }
}

/// Whether this generation of a model could answer at some time.
pub(crate) fn was_ready(model: &Model) -> bool {
    model.status.as_ref().is_some_and(|status| {
        status.observed_generation == model.metadata.generation && status.ready_time.is_some()
    })
}

/// The reason of a Pod's trouble as a reason of a condition.
pub(crate) fn known(reason: &str) -> &'static str {
    match reason {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" => "ImagePullFailed",
        "CrashLoopBackOff" | "Error" => "ContainerFailed",
        "CreateContainerConfigError" | "CreateContainerError" => "ContainerConfigInvalid",
        "Unschedulable" => "Unschedulable",
        _ => "ContainerWaiting",
    }
}

/// Says in an Event what a Model has come to, where that is news. That an idle model leaves memory and comes back is none.
pub(crate) fn tell(events: &EventRecorder, model: &Model, fresh: &ModelStatus) {
    let ready =
        |conditions: &[Condition]| conditions.iter().find(|condition| condition.type_ == "Ready").cloned();
    let before = model.status.as_ref().and_then(|status| ready(&status.conditions));
    let Some(now) = ready(&fresh.conditions) else { return };
    let good = now.status == "True";
    let same = before.as_ref().is_some_and(|before| {
        before.status == now.status
            && (before.reason == now.reason || good)
            && before.observed_generation == now.observed_generation
    });
    if !same {
        // Of the reasons for which a model isn't ready, these pass by themselves.
        let warning = !good
            && !["Progressing", "Downloading", "ContainerWaiting", "Pending"].contains(&now.reason.as_str());
        events.tell(model, warning, &now.reason, &now.message);
    }
}

/// The status of a Model by what came of it.
pub(crate) fn status(model: &Model, verdict: &Verdict, now: Timestamp) -> ModelStatus {
    let contained = model.spec.container.is_some();
    let mut status = model.status.clone().unwrap_or_default();
    let generation = model.metadata.generation;
    let mut say = |kind, good: bool, reason: &str, message: String| {
        let change = Change { kind, status: Some(good), reason, message, generation };
        set_condition(&mut status.conditions, change, now);
    };
    match &verdict.resolved {
        Ok(_) if contained => say("Resolved", true, "Found", "served by containers".to_owned()),
        Ok(plugin) => say("Resolved", true, "Found", format!("served by the Plugin {plugin}")),
        Err((reason, message)) => say("Resolved", false, reason, message.clone()),
    }
    match &verdict.loaded {
        Ok(()) => {
            let (reason, message) = match (verdict.replicas, contained) {
                (0, _) => (
                    "Idle",
                    "the model could answer before, and is brought back by the next request".to_owned(),
                ),
                (_, false) => match verdict.facts.as_ref().and_then(|facts| facts.instead.as_ref()) {
                    Some(reason) => {
                        ("LoadedOnProcessor", format!("the model is computed on the processor: {reason}"))
                    }
                    None => ("Loaded", "the model is in memory".to_owned()),
                },
                // How many there are is in `replicas`; here it would make a new condition of each change.
                (_, true) => ("Running", "replicas can answer".to_owned()),
            };
            say("Loaded", true, reason, message.clone());
            say("Ready", true, reason, message);
        }
        Err((reason, message)) => {
            say("Loaded", false, reason, message.clone());
            say("Ready", false, reason, message.clone());
        }
    }
    status.runtime = verdict.resolved.as_ref().ok().cloned();
    status.replicas = verdict.replicas;
    if let Some(facts) = &verdict.facts {
        status.digest.clone_from(&facts.digest);
        status.memory_bytes = i64::try_from(facts.memory).ok();
    }
    if verdict.loaded.is_ok() && (status.ready_time.is_none() || status.observed_generation != generation) {
        let second = Timestamp::from_second(now.as_second()).unwrap_or(now);
        status.ready_time = Some(Time(second));
    }
    status.observed_generation = generation;
    status
}

fn describe(failure: &LoadFailure) -> (&'static str, String, bool) {
    match failure {
        LoadFailure::Source(error) => (error.reason, error.message.clone(), error.passing),
        LoadFailure::Plugin(error @ CallError::Fault(Fault::Invalid(_))) => {
            ("InvalidModel", error.to_string(), false)
        }
        LoadFailure::Abandoned => ("Progressing", failure.to_string(), true),
        LoadFailure::Plugin(error) => ("LoadFailed", error.to_string(), true),
    }
}
