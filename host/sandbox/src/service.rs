//! What the host does for plugins beyond their calls: requests, secrets, storage, events. Each is a trait that whoever
//! builds the sandbox implements or leaves out; a plugin that asks for one that is not there is told so.
//!
//! Rights are checked before a service is asked, by the contract's modules; an implementation need not know of them. Only
//! [`Egress`] is given them, because redirects and addresses turn up while it works.

mod egress;
mod folder;
mod sink;

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;

pub use egress::{Egress, EgressError};
pub use folder::BlobFolder;
pub use sink::{HttpSink, SinkError};

use purlin_nn::{Decoding, Encoding, LanguageModel, LoadOptions, LoadedGraph, ModelFile, NnError, Token};

use crate::call::CallState;
use crate::contract::{BlobInfo, CloudEvent, HostError, KvItem};

/// The longest key of a store, in bytes.
const MAX_KEY: usize = 253;

/// What there is for plugins. The default is nothing.
#[derive(Clone, Default)]
pub struct Services {
    /// Sends requests.
    pub http: Option<Arc<Egress>>,
    /// Reads Secrets.
    pub secrets: Option<Arc<dyn Secrets>>,
    /// Keeps small values.
    pub kv: Option<Arc<dyn KeyValue>>,
    /// Keeps content.
    pub blobs: Option<Arc<dyn Blobs>>,
    /// Takes events.
    pub events: Option<Arc<dyn EventSink>>,
    /// Computes graphs and language models.
    pub inference: Option<Arc<dyn Inference>>,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services")
            .field("http", &self.http.is_some())
            .field("secrets", &self.secrets.is_some())
            .field("kv", &self.kv.is_some())
            .field("blobs", &self.blobs.is_some())
            .field("events", &self.events.is_some())
            .field("inference", &self.inference.is_some())
            .finish()
    }
}

/// Whose call it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginId {
    /// The name under which it is installed.
    pub name: String,
    /// The UID of the Plugin resource: another plugin that is installed under the same name later is another one.
    pub uid: String,
}

/// Reads Secrets of the cluster.
#[async_trait]
pub trait Secrets: Send + Sync + 'static {
    /// The entries of a Secret; `None` where there is none.
    async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<BTreeMap<String, Vec<u8>>>, HostError>;
}

/// A store of small values, one for each plugin. Keys were checked.
#[async_trait]
pub trait KeyValue: Send + Sync + 'static {
    /// The value of a key.
    async fn get(&self, plugin: &PluginId, key: &str) -> Result<Option<KvItem>, HostError>;
    /// Writes a value, where `expected` (0 for none) is its present version if it is given; answers with the new version.
    async fn set(
        &self,
        plugin: &PluginId,
        key: &str,
        value: Vec<u8>,
        expected: Option<u64>,
    ) -> Result<u64, HostError>;
    /// Deletes a key, whether it is there or not.
    async fn delete(&self, plugin: &PluginId, key: &str) -> Result<(), HostError>;
    /// Keys with a prefix, in order.
    async fn keys(&self, plugin: &PluginId, prefix: &str) -> Result<Vec<String>, HostError>;
}

/// A store of larger content, one for each plugin. Names were checked.
#[async_trait]
pub trait Blobs: Send + Sync + 'static {
    /// At most `length` bytes from `offset`.
    async fn read(
        &self,
        plugin: &PluginId,
        name: &str,
        offset: u64,
        length: u32,
    ) -> Result<Option<Vec<u8>>, HostError>;
    /// Replaces a blob as a whole.
    async fn write(&self, plugin: &PluginId, name: &str, content: Vec<u8>) -> Result<(), HostError>;
    /// Deletes a blob, whether it is there or not.
    async fn delete(&self, plugin: &PluginId, name: &str) -> Result<(), HostError>;
    /// Blobs with a prefix, in order.
    async fn list(&self, plugin: &PluginId, prefix: &str) -> Result<Vec<BlobInfo>, HostError>;
}

/// Takes events from plugins.
#[async_trait]
pub trait EventSink: Send + Sync + 'static {
    /// Answers once the receiver has accepted the event.
    async fn publish(&self, plugin: &PluginId, event: CloudEvent) -> Result<(), HostError>;
}

/// Computes on the host. Rights were checked.
#[async_trait]
pub trait Inference: Send + Sync + 'static {
    /// Reads a graph. The same content is read once, whoever asks.
    async fn load_graph(
        &self,
        encoding: Encoding,
        file: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<LoadedGraph>, NnError>;
    /// Reads a language model.
    async fn load_language_model(
        &self,
        file: ModelFile,
        options: LoadOptions,
    ) -> Result<Arc<dyn LanguageModel>, NnError>;
    /// The next token; the generation comes back with it, unless it was lost.
    async fn decode(
        &self,
        decoding: Box<dyn Decoding>,
    ) -> (Option<Box<dyn Decoding>>, Result<Option<Token>, NnError>);
}

/// A service, for metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Service {
    Http,
    Secrets,
    Kv,
    Blobs,
    Events,
}

impl Service {
    fn as_str(self) -> &'static str {
        match self {
            Service::Http => "http",
            Service::Secrets => "secrets",
            Service::Kv => "kv",
            Service::Blobs => "blobs",
            Service::Events => "events",
        }
    }
}

impl CallState {
    /// Has a service do something, no longer than the call may take. It runs on the host's own threads: a call may move
    /// to threads that do no I/O. A call that is dropped takes its request with it.
    pub(crate) async fn serve<T: Send + 'static>(
        &mut self,
        service: Service,
        work: impl Future<Output = Result<T, HostError>> + Send + 'static,
    ) -> Result<T, HostError> {
        let Some(runtime) = &self.plugin.host.runtime else {
            return Err(HostError::Unavailable("this host does no I/O".to_owned()));
        };
        let started = Instant::now();
        let deadline = self.deadline;
        let task = runtime.spawn(async move { tokio::time::timeout_at(deadline.into(), work).await });
        let mut task = tokio_util::task::AbortOnDropHandle::new(task);
        let done = match (&mut task).await {
            Ok(Ok(done)) => done,
            Ok(Err(_)) => Err(HostError::Unavailable("no answer within the call's deadline".to_owned())),
            Err(_) => Err(HostError::Unavailable("the host is stopping".to_owned())),
        };
        let outcome = done.as_ref().map_or_else(outcome, |_| "ok");
        self.plugin.host.metrics.served(&self.plugin.name, service.as_str(), outcome, started.elapsed());
        done
    }
}

fn outcome(error: &HostError) -> &'static str {
    match error {
        HostError::Denied(_) => "denied",
        HostError::Invalid(_) => "invalid",
        HostError::Conflict(_) => "conflict",
        HostError::TooLarge(_) => "too_large",
        HostError::Unavailable(_) => "unavailable",
    }
}

/// A plugin's text, fit to be part of a message.
pub(crate) fn quoted(text: &str) -> String {
    text.chars().take(128).flat_map(char::escape_default).collect()
}

/// Whether a text may be a key. Neither `.` nor `..` may be a part of it, so that a key can be the name of a file.
pub(crate) fn check_key(key: &str) -> Result<(), HostError> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./".contains(&byte);
    let parts = |key: &str| key.split('/').all(|part| !matches!(part, "" | "." | ".."));
    if !key.is_empty() && key.len() <= MAX_KEY && key.bytes().all(allowed) && parts(key) {
        return Ok(());
    }
    Err(HostError::Invalid(format!(
        "key {:?}: it must be 1 to {MAX_KEY} of A-Z a-z 0-9 - _ . / without empty, `.` or `..` parts",
        quoted(key)
    )))
}

/// Whether an event is one of CloudEvents 1.0, as far as the plugin fills it in.
pub(crate) fn check_event(event: &CloudEvent) -> Result<(), HostError> {
    let invalid = |what: &str| Err(HostError::Invalid(format!("the event's {what}")));
    let text = |text: &str| !text.is_empty() && text.len() <= 1024 && !text.chars().any(char::is_control);
    if !text(&event.id) {
        return invalid("id must have 1 to 1024 bytes without control characters");
    }
    if event.subject.as_deref().is_some_and(|subject| !text(subject)) {
        return invalid("subject must have 1 to 1024 bytes without control characters");
    }
    if event.datacontenttype.as_deref().is_some_and(|kind| !text(kind) || !kind.is_ascii()) {
        return invalid("datacontenttype must be a media type");
    }
    const OWN: &[&str] =
        &["id", "source", "specversion", "type", "subject", "time", "datacontenttype", "dataschema", "data"];
    let mut seen = std::collections::HashSet::new();
    for extension in &event.extensions {
        let name = extension.name.as_str();
        let named = (1..=20).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if !named || OWN.contains(&name) || !seen.insert(name) {
            return invalid(&format!(
                "extension {:?} must have a name of 1 to 20 a-z and 0-9, once, that is no attribute of CloudEvents",
                quoted(name)
            ));
        }
        if !text(&extension.value) {
            return invalid(&format!(
                "extension {name} must have 1 to 1024 bytes without control characters"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Setting;

    #[test]
    fn keys_are_names_and_nothing_else() {
        for key in ["a", "a/b.c", "A-1_2", &"a".repeat(253)] {
            assert!(check_key(key).is_ok(), "{key}");
        }
        for key in ["", ".", "..", "/a", "a/", "a//b", "a/../b", "a/./b", "ä", "a b", "a\0", &"a".repeat(254)]
        {
            assert!(check_key(key).is_err(), "{key}");
        }
    }

    #[test]
    fn an_event_cannot_pretend_to_be_from_elsewhere() {
        let event = |extensions: &[(&str, &str)]| CloudEvent {
            id: "1".to_owned(),
            type_: "a.b".to_owned(),
            subject: None,
            datacontenttype: None,
            data: Vec::new(),
            extensions: extensions
                .iter()
                .map(|(name, value)| Setting { name: (*name).to_owned(), value: (*value).to_owned() })
                .collect(),
        };
        assert!(check_event(&event(&[("traceid", "x")])).is_ok());
        for extension in [
            ("source", "/somebody"),
            ("Source", "/somebody"),
            ("a-b", "x"),
            ("", "x"),
            ("a", ""),
            ("a", "x\r\nce-source: y"),
        ] {
            assert!(check_event(&event(&[extension])).is_err(), "{extension:?}");
        }
        assert!(check_event(&event(&[("a", "x"), ("a", "y")])).is_err());
        assert!(check_event(&CloudEvent { id: String::new(), ..event(&[]) }).is_err());
        assert!(check_event(&CloudEvent { id: "a\nb".to_owned(), ..event(&[]) }).is_err());
    }
}
