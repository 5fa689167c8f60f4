//! Kubernetes Events from this crate. Best effort: an Event that cannot be written is logged and forgotten, never a
//! reason to fail what it tells about.

use k8s_openapi::api::core::v1::{Event, EventSource, ObjectReference};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::Timestamp;
use kube::api::PostParams;
use kube::{Api, Client};

/// Writes Events as one component.
#[derive(Clone)]
pub(crate) struct Recorder {
    client: Client,
    component: &'static str,
    host: Option<String>,
}

/// How an Event reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Severity {
    Normal,
    Warning,
}

impl Recorder {
    pub(crate) fn new(client: Client, component: &'static str, host: Option<String>) -> Self {
        Recorder { client, component, host }
    }

    /// Writes one Event about `about`.
    pub(crate) async fn record(
        &self,
        about: ObjectReference,
        severity: Severity,
        reason: &str,
        message: &str,
    ) {
        let namespace = about.namespace.clone().unwrap_or_else(|| "default".to_owned());
        let now = Time(Timestamp::now());
        let name = about.name.clone().unwrap_or_default();
        let event = Event {
            metadata: ObjectMeta {
                name: Some(format!("{name}.{}", &uuid::Uuid::new_v4().simple().to_string()[..16])),
                namespace: Some(namespace.clone()),
                ..ObjectMeta::default()
            },
            involved_object: about,
            reason: Some(reason.to_owned()),
            // The API refuses longer ones.
            message: Some(message.chars().take(1000).collect()),
            type_: Some(match severity {
                Severity::Normal => "Normal".to_owned(),
                Severity::Warning => "Warning".to_owned(),
            }),
            count: Some(1),
            first_timestamp: Some(now.clone()),
            last_timestamp: Some(now),
            reporting_component: Some(self.component.to_owned()),
            reporting_instance: self.host.clone(),
            source: Some(EventSource { component: Some(self.component.to_owned()), host: self.host.clone() }),
            ..Event::default()
        };
        let api: Api<Event> = Api::namespaced(self.client.clone(), &namespace);
        if let Err(error) = api.create(&PostParams::default(), &event).await {
            tracing::debug!(%namespace, %name, reason, %error, "an event could not be written");
        }
    }
}
