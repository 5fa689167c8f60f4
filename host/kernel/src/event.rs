//! Kubernetes Events about objects, counted instead of repeated.
//!
//! Loops hand in what they want said with [`EventRecorder::record`], which never waits and never fails; one task
//! writes. The same event about the same object is one Event whose count grows, written at most every
//! [`REPEAT_INTERVAL`]. Events are for people: losing one is harmless, and a full queue drops them.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use kube::api::{Api, Patch, PatchParams, PostParams};
use kube::{Client, Resource};
use tokio::sync::mpsc;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::observe::KernelMetrics;

/// A repeated event is written at most this often.
pub(crate) const REPEAT_INTERVAL: Duration = Duration::from_secs(30);
const WAITING: usize = 4096;
const REMEMBERED: usize = 8192;
/// What the API takes in a message.
const LONGEST_MESSAGE: usize = 1024;

/// Something to say about an object.
#[derive(Clone, Debug)]
struct Said {
    about: ObjectReference,
    warning: bool,
    reason: String,
    message: String,
    by: String,
}

/// Takes Events in, for whoever writes them: see [`crate::Kernel::events`].
#[derive(Clone)]
pub struct EventRecorder {
    queue: mpsc::Sender<Said>,
    metrics: KernelMetrics,
}

/// Writes what a recorder took in.
pub(crate) struct EventWriter {
    queue: mpsc::Receiver<Said>,
    client: Client,
    written: HashMap<u64, Written>,
}

struct Written {
    name: String,
    count: i32,
    at: Instant,
}

/// A recorder, and the writer that has to be run for it.
pub(crate) fn recorder(client: Client, metrics: KernelMetrics) -> (EventRecorder, EventWriter) {
    let (sender, queue) = mpsc::channel(WAITING);
    (EventRecorder { queue: sender, metrics }, EventWriter { queue, client, written: HashMap::new() })
}

impl EventRecorder {
    /// Says something about an object. `by` is the component that says it.
    pub(crate) fn record(
        &self,
        about: ObjectReference,
        warning: bool,
        reason: &str,
        message: &str,
        by: &str,
    ) {
        let said = Said {
            about,
            warning,
            reason: reason.to_owned(),
            message: shorten(message, LONGEST_MESSAGE).to_owned(),
            by: by.to_owned(),
        };
        if self.queue.try_send(said).is_err() {
            self.metrics.event_dropped();
        }
    }

    /// Says something about an object: its `reason` in CamelCase, its message in a sentence. Never waits; where too much waits
    /// to be written already, it is dropped and counted.
    pub fn tell<K: Resource<DynamicType = ()>>(&self, about: &K, warning: bool, reason: &str, message: &str) {
        self.record(about.object_ref(&()), warning, reason, message, "purlin");
    }
}

impl EventWriter {
    /// Writes until `stop`, then what is still queued.
    pub(crate) async fn run(mut self, stop: CancellationToken) {
        loop {
            let said = tokio::select! {
                said = self.queue.recv() => said,
                () = stop.cancelled() => self.queue.try_recv().ok(),
            };
            let Some(said) = said else { return };
            if let Err(error) = self.write(&said).await {
                tracing::debug!(error = %crate::report(&error), reason = said.reason, "event not recorded");
            }
        }
    }

    async fn write(&mut self, said: &Said) -> Result<(), kube::Error> {
        let identity = identity(said);
        let namespace = said.about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        let now = Time(Timestamp::now());
        if let Some(known) = self.written.get_mut(&identity) {
            known.count = known.count.saturating_add(1);
            if known.at.elapsed() < REPEAT_INTERVAL {
                return Ok(());
            }
            known.at = Instant::now();
            let patch = serde_json::json!({"count": known.count, "lastTimestamp": now});
            match api.patch(&known.name, &PatchParams::default(), &Patch::Merge(patch)).await {
                Ok(_) => return Ok(()),
                // It expired: say it anew.
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error),
            }
        }
        if self.written.len() >= REMEMBERED {
            self.written.retain(|_, written| written.at.elapsed() < REPEAT_INTERVAL);
            if self.written.len() >= REMEMBERED {
                self.written.clear();
            }
        }
        let object = shorten(said.about.name.as_deref().unwrap_or("object"), 200);
        let name = format!("{object}.{:016x}", identity ^ (now.0.as_millisecond() as u64).rotate_left(20));
        let event = Event {
            metadata: ObjectMeta {
                name: Some(name.clone()),
                namespace: Some(namespace),
                ..ObjectMeta::default()
            },
            involved_object: said.about.clone(),
            type_: Some(if said.warning { "Warning" } else { "Normal" }.to_owned()),
            reason: Some(said.reason.clone()),
            message: Some(said.message.clone()),
            source: Some(EventSource { component: Some(said.by.clone()), host: None }),
            reporting_component: Some(said.by.clone()),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            ..Event::default()
        };
        match api.create(&PostParams::default(), &event).await {
            Ok(_) => {}
            // The object's namespace is going, or gone: nobody is left to read it.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404 | 409) => {}
            Err(error) => return Err(error),
        }
        self.written.insert(identity, Written { name, count: 1, at: Instant::now() });
        Ok(())
    }
}

fn identity(said: &Said) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&said.about.uid, &said.about.kind, &said.about.namespace, &said.about.name).hash(&mut hasher);
    (said.warning, &said.reason, &said.message, &said.by).hash(&mut hasher);
    hasher.finish()
}

/// The longest beginning of a text that has at most `bytes` bytes and ends between characters.
pub(crate) fn shorten(text: &str, bytes: usize) -> &str {
    if text.len() <= bytes {
        return text;
    }
    let end = (0..=bytes).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    &text[..end]
}
