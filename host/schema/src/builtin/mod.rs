//! The kinds that every Kubernetes has: their schemas, from a table that a real API server's OpenAPI documents gave
//! (`scripts/builtin-facts.py`), parsed at first use; what the server fills in and what it refuses beyond types.

pub mod defaults;
pub mod validation;

use std::collections::HashMap;
use std::sync::{LazyLock, OnceLock};

use serde_json::Value;

use crate::schema::{Node, Schema};

static FACTS: &str = include_str!("facts.json");

/// One parsed definition a name; the text of each is kept until somebody asks for it.
struct Table {
    kinds: HashMap<String, String>,
    definitions: HashMap<String, (Box<serde_json::value::RawValue>, OnceLock<Schema>)>,
}

#[derive(serde::Deserialize)]
struct Written {
    kinds: HashMap<String, String>,
    definitions: HashMap<String, Box<serde_json::value::RawValue>>,
}

static TABLE: LazyLock<Table> = LazyLock::new(|| {
    let written: Written = serde_json::from_str(FACTS).expect("the committed table is what the script wrote");
    Table {
        kinds: written.kinds,
        definitions: written
            .definitions
            .into_iter()
            .map(|(name, raw)| (name, (raw, OnceLock::new())))
            .collect(),
    }
});

static UNKNOWN: LazyLock<Node> = LazyLock::new(|| Node { preserve_unknown: true, ..Node::default() });

/// The schema of a built-in kind.
pub fn schema(group: &str, version: &str, kind: &str) -> Option<Schema> {
    let name = definition_name(group, version, kind)?;
    named(name)
}

/// The definition's name of a built-in kind, such as `io.k8s.api.core.v1.Pod`.
pub fn definition_name(group: &str, version: &str, kind: &str) -> Option<&'static str> {
    TABLE.kinds.get(&format!("{group}/{version}/{kind}")).map(String::as_str)
}

/// Group, version and kind of a definition that is a kind.
pub fn kind_of(name: &str) -> Option<(&'static str, &'static str, &'static str)> {
    let (kind, _) = TABLE.kinds.iter().find(|(_, definition)| *definition == name)?;
    let mut parts = kind.splitn(3, '/');
    Some((parts.next()?, parts.next()?, parts.next()?))
}

/// What the table says of a definition, as JSON schema whose references are bare names.
pub fn raw_definition(name: &str) -> Option<Value> {
    let (raw, _) = TABLE.definitions.get(name)?;
    serde_json::from_str(raw.get()).ok()
}

fn named(name: &str) -> Option<Schema> {
    let (raw, parsed) = TABLE.definitions.get(name)?;
    let schema = parsed.get_or_init(|| {
        let value: Value = serde_json::from_str(raw.get()).unwrap_or_default();
        Schema::parse(&value).unwrap_or_else(|_| Schema::any())
    });
    Some(schema.clone())
}

/// A definition by name. One that is not in the table says nothing.
pub(crate) fn definition(name: &str) -> &'static Node {
    let Some((_, parsed)) = TABLE.definitions.get(name) else { return &UNKNOWN };
    if parsed.get().is_none() {
        // Parsing fills the cell.
        let _ = named(name);
    }
    match parsed.get() {
        Some(Schema::Inline(node)) => node,
        Some(Schema::Reference(_)) | None => &UNKNOWN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::ListType;

    #[test]
    fn a_pods_containers_are_told_apart_by_name() {
        let pod = schema("", "v1", "Pod").unwrap();
        let containers = pod.field("spec").and_then(|spec| spec.field("containers")).unwrap();
        assert_eq!(containers.node().list, ListType::Map(vec!["name".into()]));
        assert_eq!(containers.at_field().merge_key.as_deref(), Some("name"));
    }

    #[test]
    fn every_definition_parses() {
        for name in TABLE.definitions.keys() {
            let value = raw_definition(name).unwrap();
            Schema::parse(&value).unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }
}
