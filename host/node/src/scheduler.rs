//! Binds Pods that name no node to the one node there is, when their requests fit; else says why not, as a
//! kube-scheduler does. It looks at requests, node selectors and scheduling gates, at nothing else.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Patch, PatchParams, PostParams};
use kube::runtime::{WatchStreamExt, watcher};
use kube::{Api, Client, Resource, ResourceExt};
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::events::{Recorder, Severity};
use crate::resources::{self, Amount};

/// Schedules Pods onto `node` until `stop` is cancelled.
pub async fn run(client: Client, node: String, stop: CancellationToken) {
    let schedule = Scheduler {
        recorder: Recorder::new(client.clone(), "default-scheduler", None),
        client,
        node,
        capacity: resources::capacity(),
        bound: HashMap::new(),
        waiting: HashMap::new(),
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = schedule.run() => {}
    }
}

struct Scheduler {
    client: Client,
    node: String,
    recorder: Recorder,
    capacity: Amount,
    /// Requests of Pods on the node, by UID.
    bound: HashMap<String, Amount>,
    /// Pods that did not fit, by UID.
    waiting: HashMap<String, Pod>,
}

impl Scheduler {
    async fn run(mut self) {
        let pods: Api<Pod> = Api::all(self.client.clone());
        let mut events = watcher(pods, watcher::Config::default()).default_backoff().boxed();
        // During a list, Pods already bound must be counted before others are placed.
        let mut listed: Option<Vec<Pod>> = None;
        loop {
            match events.try_next().await {
                Ok(Some(watcher::Event::Init)) => {
                    self.bound.clear();
                    self.waiting.clear();
                    listed = Some(Vec::new());
                }
                Ok(Some(watcher::Event::InitApply(pod))) => {
                    if is_bound(&pod) {
                        self.count(&pod);
                    } else if let Some(listed) = &mut listed {
                        listed.push(pod);
                    }
                }
                Ok(Some(watcher::Event::InitDone)) => {
                    for pod in listed.take().unwrap_or_default() {
                        self.place(pod).await;
                    }
                }
                Ok(Some(watcher::Event::Apply(pod))) => {
                    if is_bound(&pod) {
                        if self.count(&pod) {
                            self.retry().await;
                        }
                    } else {
                        self.place(pod).await;
                    }
                }
                Ok(Some(watcher::Event::Delete(pod))) => {
                    let uid = pod.uid().unwrap_or_default();
                    self.waiting.remove(&uid);
                    if self.bound.remove(&uid).is_some() {
                        self.retry().await;
                    }
                }
                Ok(None) => return,
                Err(error) => warn!(%error, "watching Pods failed; trying again"),
            }
        }
    }

    /// Counts a bound Pod; true when it freed what it had.
    fn count(&mut self, pod: &Pod) -> bool {
        let uid = pod.uid().unwrap_or_default();
        let on_this_node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_ref()) == Some(&self.node);
        let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
        if !on_this_node || matches!(phase, Some("Succeeded" | "Failed")) {
            return self.bound.remove(&uid).is_some();
        }
        self.bound.insert(uid, resources::requested(pod));
        false
    }

    async fn retry(&mut self) {
        let waiting: Vec<_> = std::mem::take(&mut self.waiting).into_values().collect();
        for pod in waiting {
            self.place(pod).await;
        }
    }

    async fn place(&mut self, pod: Pod) {
        let uid = pod.uid().unwrap_or_default();
        let Some(spec) = &pod.spec else { return };
        let gated = spec.scheduling_gates.iter().flatten().next().is_some();
        let ours = spec.scheduler_name.as_deref().is_none_or(|name| name == "default-scheduler");
        if gated || !ours || pod.metadata.deletion_timestamp.is_some() || self.bound.contains_key(&uid) {
            return;
        }
        let used = self.bound.values().fold(Amount::default(), |sum, amount| sum.plus(*amount));
        match refusal(resources::requested(&pod), used, self.bound.len(), self.capacity) {
            None => self.bind(pod, uid).await,
            Some(message) => self.refuse(pod, uid, message).await,
        }
    }

    async fn bind(&mut self, pod: Pod, uid: String) {
        let name = pod.name_any();
        let namespace = pod.namespace().unwrap_or_default();
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), &namespace);
        let binding = json!({
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"name": name, "namespace": namespace, "uid": uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": self.node},
        });
        let bound: Result<serde_json::Value, _> =
            pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
        match bound {
            Ok(_) => {
                self.bound.insert(uid, resources::requested(&pod));
                let recorder = self.recorder.clone();
                let message = format!("Successfully assigned {namespace}/{name} to {}", self.node);
                let about = pod.object_ref(&());
                tokio::spawn(
                    async move { recorder.record(about, Severity::Normal, "Scheduled", &message).await },
                );
            }
            Err(kube::Error::Api(error)) if error.code == 404 || error.code == 409 => {}
            Err(error) => {
                warn!(%namespace, pod = %name, %error, "binding failed; trying again when something changes");
                self.waiting.insert(uid, pod);
            }
        }
    }

    async fn refuse(&mut self, pod: Pod, uid: String, message: String) {
        let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
        let told = conditions.clone().any(|condition| {
            condition.type_ == "PodScheduled" && condition.message.as_ref() == Some(&message)
        });
        if !told {
            let mut all: Vec<_> =
                conditions.filter(|condition| condition.type_ != "PodScheduled").map(|c| json!(c)).collect();
            all.push(json!({"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
                "lastTransitionTime": format!("{:.0}", jiff::Timestamp::now())}));
            let pods: Api<Pod> = Api::namespaced(self.client.clone(), &pod.namespace().unwrap_or_default());
            let patch = json!({"metadata": {"uid": uid}, "status": {"conditions": all}});
            if let Err(error) =
                pods.patch_status(&pod.name_any(), &PatchParams::default(), &Patch::Merge(patch)).await
            {
                warn!(pod = %pod.name_any(), %error, "a Pod that does not fit could not be marked so");
            }
            self.recorder.record(pod.object_ref(&()), Severity::Warning, "FailedScheduling", &message).await;
        }
        self.waiting.insert(uid, pod);
    }
}

fn is_bound(pod: &Pod) -> bool {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).is_some_and(|name| !name.is_empty())
}

/// Why a Pod does not fit; `None` when it does.
fn refusal(wanted: Amount, used: Amount, pods: usize, capacity: Amount) -> Option<String> {
    let total = used.plus(wanted);
    let mut reasons = Vec::new();
    if pods >= resources::MAX_PODS as usize {
        reasons.push("1 Too many pods");
    }
    if wanted.cpu_millis > 0 && total.cpu_millis > capacity.cpu_millis {
        reasons.push("1 Insufficient cpu");
    }
    if wanted.memory_bytes > 0 && total.memory_bytes > capacity.memory_bytes {
        reasons.push("1 Insufficient memory");
    }
    (!reasons.is_empty()).then(|| format!("0/1 nodes are available: {}.", reasons.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_is_insufficient() {
        let capacity = Amount { cpu_millis: 2000, memory_bytes: 100 };
        let wanted = Amount { cpu_millis: 1500, memory_bytes: 200 };
        let used = Amount { cpu_millis: 600, memory_bytes: 0 };
        assert_eq!(
            refusal(wanted, used, 1, capacity).as_deref(),
            Some("0/1 nodes are available: 1 Insufficient cpu, 1 Insufficient memory.")
        );
        assert_eq!(refusal(Amount::default(), wanted, 1, capacity), None);
    }
}
