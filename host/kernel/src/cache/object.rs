//! An object in the cache: its JSON, and its typed form once somebody asked for it.
//!
//! A loop that reads a hundred trials each time one of them changes must not parse a hundred trials each time, so the
//! parsed form is kept beside the object for as long as that version is the newest.

use std::any::Any;
use std::sync::{Arc, OnceLock};

use kube::ResourceExt;
use kube::core::DynamicObject;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::key::ObjectKey;

/// Why an object is not what its kind says.
#[derive(Clone, Debug, thiserror::Error)]
#[error("could not read {key} as a {kind}: {why}")]
pub struct ParseError {
    key: ObjectKey,
    kind: &'static str,
    why: String,
}

/// One version of an object.
#[derive(Debug)]
pub struct CachedObject {
    key: ObjectKey,
    object: DynamicObject,
    typed: OnceLock<Result<Arc<dyn Any + Send + Sync>, ParseError>>,
}

impl CachedObject {
    /// Keeps an object, without the parts that no loop reads.
    pub fn new(mut object: DynamicObject) -> Self {
        trim(&mut object);
        CachedObject { key: ObjectKey::of(&object), object, typed: OnceLock::new() }
    }

    /// Namespace and name.
    pub fn key(&self) -> &ObjectKey {
        &self.key
    }

    /// The object.
    pub fn object(&self) -> &DynamicObject {
        &self.object
    }

    /// The object's UID; empty where the server gave none.
    pub fn uid(&self) -> &str {
        self.object.metadata.uid.as_deref().unwrap_or_default()
    }

    /// The object's resourceVersion; empty where the server gave none.
    pub fn version(&self) -> &str {
        self.object.metadata.resource_version.as_deref().unwrap_or_default()
    }

    /// Whether the object is on its way out.
    pub fn is_deleting(&self) -> bool {
        self.object.metadata.deletion_timestamp.is_some()
    }

    /// The object as JSON.
    pub fn json(&self) -> Value {
        // A DynamicObject is a JSON value and metadata of strings: it always has a JSON form.
        serde_json::to_value(&self.object).unwrap_or(Value::Null)
    }

    /// The object as its type. Parsed at most once a version; a kind has one type for all who ask.
    ///
    /// # Errors
    /// The object has not the form of its kind.
    pub fn typed<T: DeserializeOwned + Send + Sync + 'static>(&self) -> Result<Arc<T>, ParseError> {
        let parse = || {
            serde_json::from_value::<T>(self.json()).map(Arc::new).map_err(|error| self.misread::<T>(&error))
        };
        let kept =
            self.typed.get_or_init(|| parse().map(|typed| typed as Arc<dyn Any + Send + Sync>)).clone()?;
        kept.downcast::<T>().or_else(|_| parse())
    }

    fn misread<T>(&self, error: &serde_json::Error) -> ParseError {
        ParseError { key: self.key.clone(), kind: std::any::type_name::<T>(), why: error.to_string() }
    }
}

/// Drops what no loop reads and what makes up much of an object.
pub fn trim(object: &mut DynamicObject) {
    object.managed_fields_mut().clear();
    object.metadata.managed_fields = None;
    if let Some(annotations) = &mut object.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
}
