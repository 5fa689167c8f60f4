//! The built-in kinds: their schemas, what the server fills in and what it refuses beyond types.
//!
//! Called by the API server for each write of a built-in kind. Nothing is read before it is asked for: a definition is
//! found in the embedded table when an object first needs it, and then kept for the life of the process.

pub mod defaults;
pub mod validation;

use std::collections::HashMap;
use std::fmt;
use std::sync::{PoisonError, RwLock};

use serde::de::{Deserializer as _, IgnoredAny, MapAccess, Visitor};
use serde_json::{Value, json};

use crate::schema::{Node, Schema};

/// What `scripts/builtin-facts.py` wrote.
const FACTS: &str = include_str!("builtin/facts.json");

static DEFINITIONS: RwLock<Option<HashMap<Box<str>, &'static Node>>> = RwLock::new(None);
static NOTHING: std::sync::LazyLock<Node> = std::sync::LazyLock::new(Node::default);

/// The name of a kind's definition, such as `io.k8s.api.core.v1.Pod`; `None` for a kind that is not built in.
pub fn definition_name(group: &str, version: &str, kind: &str) -> Option<String> {
    entry("kinds", &format!("{group}/{version}/{kind}"))?.as_str().map(str::to_owned)
}

/// The schema of a built-in kind. Cheap after the first use of a kind, but for the look-up of its name: keep it.
pub fn schema(group: &str, version: &str, kind: &str) -> Option<Schema> {
    let name = definition_name(group, version, kind)?;
    Schema::parse(&json!({ "$ref": name })).ok()
}

/// A definition by name. An unknown name gives a definition that says nothing.
pub fn definition(name: &str) -> &'static Node {
    let known = DEFINITIONS.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(node) = known.as_ref().and_then(|known| known.get(name)) {
        return node;
    }
    drop(known);
    let Some(Schema::Inline(node)) = definition_json(name).and_then(|value| Schema::parse(&value).ok())
    else {
        return &NOTHING;
    };
    let Some(node) = std::sync::Arc::into_inner(node) else { return &NOTHING };
    let mut known = DEFINITIONS.write().unwrap_or_else(PoisonError::into_inner);
    // Kept for ever on purpose: there are a few hundred definitions, and a reference needs no counting.
    known.get_or_insert_default().entry(name.into()).or_insert_with(|| Box::leak(Box::new(node)))
}

/// A definition in its JSON form: types without descriptions, references by bare name.
pub fn definition_json(name: &str) -> Option<Value> {
    entry("definitions", name)
}

fn entry(section: &str, name: &str) -> Option<Value> {
    let mut reader = serde_json::Deserializer::from_str(FACTS);
    reader.deserialize_map(Section { section, name }).ok()?
}

/// Finds one entry of one section and passes over the rest without building it.
struct Section<'a> {
    section: &'a str,
    name: &'a str,
}

impl<'de> Visitor<'de> for Section<'_> {
    type Value = Option<Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table of sections")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<&str>()? {
            if key == self.section {
                found = map.next_value_seed(Entry(self.name))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

struct Entry<'a>(&'a str);

impl<'de> serde::de::DeserializeSeed<'de> for Entry<'_> {
    type Value = Option<Value>;

    fn deserialize<D: serde::Deserializer<'de>>(self, reader: D) -> Result<Self::Value, D::Error> {
        reader.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Entry<'_> {
    type Value = Option<Value>;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a table of entries")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some(key) = map.next_key::<&str>()? {
            if key == self.0 {
                found = Some(map.next_value()?);
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ListType;

    #[test]
    fn a_kind_is_found_with_its_list_types() {
        let pod = schema("", "v1", "Pod").unwrap();
        let containers = pod.field("spec").unwrap().field("containers").unwrap().node();
        assert_eq!(containers.list, ListType::Map(vec!["name".into()]));
        assert_eq!(containers.merge_key.as_deref(), Some("name"));
        assert!(schema("", "v1", "Nothing").is_none());
    }

    #[test]
    fn every_definition_parses_and_refers_to_known_ones() {
        let facts: Value = serde_json::from_str(FACTS).unwrap();
        let definitions = facts["definitions"].as_object().unwrap();
        for (name, value) in definitions {
            Schema::parse(value).unwrap_or_else(|error| panic!("{name}: {error}"));
            let text = value.to_string();
            for part in text.split("\"$ref\":\"").skip(1) {
                let referred = part.split('"').next().unwrap();
                assert!(definitions.contains_key(referred), "{name} refers to {referred}");
            }
        }
        for name in facts["kinds"].as_object().unwrap().values() {
            assert!(definitions.contains_key(name.as_str().unwrap()));
        }
    }
}
