//! Lists: which objects, at which revision, in pages that belong to one snapshot.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Engine;
use crate::catalogue::Resource;
use crate::model;
use crate::model::selector::{Fields, Labels};
use crate::rest::query::{Query, VersionMatch};
use crate::status::ApiError;
use crate::store::Stored;

/// Which objects a list or watch is about.
#[derive(Clone, Debug, Default)]
pub(crate) struct Selection {
    labels: Labels,
    fields: Fields,
}

impl Selection {
    /// Parses both selectors and refuses fields that the resource cannot be selected by.
    pub(crate) fn new(resource: &Resource, query: &Query) -> Result<Self, ApiError> {
        let labels = Labels::parse(query.label_selector.as_deref().unwrap_or_default())?;
        let fields = Fields::parse(query.field_selector.as_deref().unwrap_or_default())?;
        for (path, ..) in &fields.0 {
            model::check_field(resource, path)?;
        }
        Ok(Self { labels, fields })
    }

    /// Whether the object is among those.
    pub(crate) fn matches(&self, object: &Stored) -> bool {
        if !self.labels.matches(|name| object.label(name)) {
            return false;
        }
        if self.fields.is_empty() {
            return true;
        }
        let parsed = std::cell::OnceCell::new();
        self.fields.matches(|path| match path {
            "metadata.name" => object.key.name.to_string(),
            "metadata.namespace" => object.key.namespace.to_string(),
            other => model::field(parsed.get_or_init(|| object.value().unwrap_or(Value::Null)), other),
        })
    }
}

/// One page of a list.
#[derive(Debug)]
pub(crate) struct Listed {
    pub(crate) revision: u64,
    pub(crate) items: Vec<Arc<Stored>>,
    pub(crate) continue_token: Option<String>,
    pub(crate) remaining: Option<usize>,
}

/// Where the next page begins.
#[derive(Debug, Serialize, Deserialize)]
struct Continue {
    v: String,
    rv: u64,
    start: (String, String),
}

impl Engine {
    /// Lists a resource in one namespace or (`None`) everywhere.
    pub(crate) fn list(
        &self,
        resource: &Resource,
        namespace: Option<&str>,
        selection: &Selection,
        query: &Query,
    ) -> Result<Listed, ApiError> {
        let token = query.continue_token.as_deref().map(decode).transpose()?;
        let exact = match (&token, query.version_match, query.resource_version) {
            (Some(_), _, Some(version)) if version != 0 => {
                return Err(ApiError::bad_request(
                    "specifying resource version is not allowed when using continue",
                ));
            }
            (Some(token), ..) => Some(token.rv),
            (None, Some(VersionMatch::Exact), Some(version)) => Some(version),
            (None, None, Some(version)) if version > 0 && query.limit > 0 => Some(version),
            _ => None,
        };
        let asked = exact.or(query.resource_version).unwrap_or(0);
        let current = self.store.revision();
        if asked > current {
            return Err(ApiError::too_large_revision(asked, current));
        }
        let page = match exact {
            Some(revision) => self
                .store
                .list_at(&resource.table, namespace, revision)
                .map_err(|_| expired(token.is_some()))?,
            None => self.store.list(&resource.table, namespace),
        };
        let after = |object: &Stored| {
            token.as_ref().is_none_or(|token| {
                (&*object.key.namespace, &*object.key.name) > (token.start.0.as_str(), token.start.1.as_str())
            })
        };
        let mut items: Vec<_> =
            page.items.into_iter().filter(|object| after(object) && selection.matches(object)).collect();
        let mut listed =
            Listed { revision: page.revision, items: Vec::new(), continue_token: None, remaining: None };
        if query.limit > 0 && items.len() > query.limit {
            let plain = query.label_selector.is_none() && query.field_selector.is_none();
            listed.remaining = plain.then_some(items.len() - query.limit);
            items.truncate(query.limit);
            if let Some(last) = items.last() {
                let start = (last.key.namespace.to_string(), last.key.name.to_string());
                listed.continue_token =
                    Some(encode(&Continue { v: "meta.k8s.io/v1".into(), rv: page.revision, start })?);
            }
        }
        listed.items = items;
        Ok(listed)
    }
}

fn expired(continuing: bool) -> ApiError {
    if continuing {
        return ApiError::expired(
            "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was returned and now may show up in the list.",
        );
    }
    ApiError::expired("The resourceVersion for the provided list is too old.")
}

fn encode(token: &Continue) -> Result<String, ApiError> {
    serde_json::to_vec(token).map(|json| URL_SAFE_NO_PAD.encode(json)).map_err(ApiError::internal)
}

fn decode(text: &str) -> Result<Continue, ApiError> {
    let broken = |why: String| {
        ApiError::bad_request(format!("invalid continue token: continue key is not valid: {why}"))
    };
    let json = URL_SAFE_NO_PAD.decode(text).map_err(|error| broken(error.to_string()))?;
    serde_json::from_slice(&json).map_err(|error| broken(error.to_string()))
}
