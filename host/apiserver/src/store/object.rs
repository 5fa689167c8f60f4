//! One stored object: its serialized body and the few facts that are looked up without parsing it.
//!
//! The engine makes a [`Draft`]; the writer, which alone knows the revision, turns it into a [`Stored`] by writing the
//! revision into the one place that the draft left open. Nothing is serialized a second time.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::Value;

/// Where an object lives: `resource` is `<group>/<plural>` with an empty group for the core one.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    /// `<group>/<plural>`.
    pub(crate) resource: Arc<str>,
    /// Empty for a cluster-scoped object.
    pub(crate) namespace: Arc<str>,
    /// The object's name.
    pub(crate) name: Arc<str>,
}

impl Key {
    /// A key from its parts.
    pub(crate) fn new(resource: impl Into<Arc<str>>, namespace: &str, name: &str) -> Self {
        Self { resource: resource.into(), namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.resource, self.namespace, self.name)
    }
}

/// Facts about an object that are needed without parsing its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) uid: Arc<str>,
    pub(crate) labels: Box<[(Box<str>, Box<str>)]>,
    pub(crate) owners: Box<[Arc<str>]>,
    /// It is being deleted.
    pub(crate) terminating: bool,
}

/// Why a value cannot be stored.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EncodeError {
    /// Not a JSON object, or without an object in `metadata`.
    #[error("an object must have metadata")]
    NoMetadata,
    /// The body does not carry its revision where the log says.
    #[error("the object does not carry its revision")]
    Misplaced,
    /// Serialization failed.
    #[error("serializing the object failed: {0}")]
    Json(#[from] serde_json::Error),
}

/// An object ready to be stored, but for its revision.
#[derive(Debug)]
pub(crate) struct Draft {
    body: Vec<u8>,
    at: usize,
    facts: Facts,
}

impl Draft {
    /// Serializes `object`; a `metadata.resourceVersion` in it is ignored.
    pub(crate) fn new(object: &Value) -> Result<Self, EncodeError> {
        let map = object.as_object().ok_or(EncodeError::NoMetadata)?;
        let metadata = map.get("metadata").and_then(Value::as_object).ok_or(EncodeError::NoMetadata)?;
        let mut body = Vec::with_capacity(1024);
        let mut at = 0;
        body.push(b'{');
        for (index, (name, value)) in map.iter().enumerate() {
            if index > 0 {
                body.push(b',');
            }
            serde_json::to_writer(&mut body, name)?;
            body.push(b':');
            if name != "metadata" {
                serde_json::to_writer(&mut body, value)?;
                continue;
            }
            body.extend_from_slice(b"{\"resourceVersion\":\"");
            at = body.len();
            body.push(b'"');
            for (name, value) in metadata.iter().filter(|(name, _)| *name != "resourceVersion") {
                body.push(b',');
                serde_json::to_writer(&mut body, name)?;
                body.push(b':');
                serde_json::to_writer(&mut body, value)?;
            }
            body.push(b'}');
        }
        body.push(b'}');
        Ok(Self { body, at, facts: facts_of(metadata) })
    }

    /// The object at `revision`.
    pub(crate) fn at_revision(self, key: Key, revision: u64) -> Stored {
        let digits = revision.to_string();
        let mut body = Vec::with_capacity(self.body.len() + digits.len());
        body.extend_from_slice(&self.body[..self.at]);
        body.extend_from_slice(digits.as_bytes());
        body.extend_from_slice(&self.body[self.at..]);
        Stored { key, revision, at: self.at..self.at + digits.len(), body: body.into(), facts: self.facts }
    }
}

/// An object at a revision. Immutable, shared by the state, the history and everyone who reads it.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) key: Key,
    pub(crate) revision: u64,
    at: Range<usize>,
    pub(crate) body: Bytes,
    pub(crate) facts: Facts,
}

impl Stored {
    /// An object read back from the log; `at` is where its revision is written.
    pub(crate) fn from_log(key: Key, revision: u64, at: usize, body: Vec<u8>) -> Result<Self, EncodeError> {
        let envelope: Envelope = serde_json::from_slice(&body)?;
        let at = at..at + revision.to_string().len();
        if body.get(at.clone()) != Some(revision.to_string().as_bytes()) {
            return Err(EncodeError::Misplaced);
        }
        Ok(Self { key, revision, at, body: body.into(), facts: envelope.metadata.facts() })
    }

    /// Where in the body the revision begins.
    pub(crate) fn offset(&self) -> usize {
        self.at.start
    }

    /// The same object carrying another revision, as a removal reports it.
    pub(crate) fn moved_to(&self, revision: u64) -> Self {
        let digits = revision.to_string();
        let mut body = Vec::with_capacity(self.body.len() + 2);
        body.extend_from_slice(&self.body[..self.at.start]);
        body.extend_from_slice(digits.as_bytes());
        body.extend_from_slice(&self.body[self.at.end..]);
        Self {
            key: self.key.clone(),
            revision,
            at: self.at.start..self.at.start + digits.len(),
            body: body.into(),
            facts: self.facts.clone(),
        }
    }

    /// The object, parsed.
    pub(crate) fn value(&self) -> Result<Value, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }

    /// Its labels in the form that selectors take.
    pub(crate) fn label(&self, name: &str) -> Option<&str> {
        self.facts.labels.iter().find(|(key, _)| &**key == name).map(|(_, value)| &**value)
    }
}

fn facts_of(metadata: &serde_json::Map<String, Value>) -> Facts {
    let text = |value: &Value| value.as_str().map(Box::<str>::from);
    let labels = metadata
        .get("labels")
        .and_then(Value::as_object)
        .map(|labels| labels.iter().filter_map(|(k, v)| Some((k.as_str().into(), text(v)?))).collect())
        .unwrap_or_default();
    let owners = metadata
        .get("ownerReferences")
        .and_then(Value::as_array)
        .map(|owners| owners.iter().filter_map(|o| Some(o.get("uid")?.as_str()?.into())).collect())
        .unwrap_or_default();
    Facts {
        uid: metadata.get("uid").and_then(Value::as_str).unwrap_or_default().into(),
        labels,
        owners,
        terminating: metadata.contains_key("deletionTimestamp"),
    }
}

/// What is read of an object at start; the rest is skipped without allocation.
#[derive(Deserialize)]
struct Envelope {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    #[serde(default)]
    uid: Box<str>,
    #[serde(default)]
    labels: std::collections::BTreeMap<Box<str>, Box<str>>,
    #[serde(default)]
    owner_references: Vec<Owner>,
    #[serde(default)]
    deletion_timestamp: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Owner {
    #[serde(default)]
    uid: Box<str>,
}

impl Metadata {
    fn facts(self) -> Facts {
        Facts {
            uid: self.uid.into(),
            labels: self.labels.into_iter().collect(),
            owners: self.owner_references.into_iter().map(|owner| owner.uid.into()).collect(),
            terminating: self.deletion_timestamp.is_some(),
        }
    }
}
