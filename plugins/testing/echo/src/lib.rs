//! A dialect that does the least that a real one does: it parses its object, and answers with one child and a status of
//! about the same size. The call benchmark times it (2 KiB in, 2 KiB out), and tests use it as the well-behaved
//! neighbour of a hostile plugin.
//!
//! It answers with a ConfigMap of the object's name whose data is the object's spec, value by value as text, and a status
//! with the spec's size. `spec.related` (a list of ConfigMap names) is what it asks to see; how many were seen is in the
//! status too.

use std::borrow::Cow;

use purlin_sdk::serde_json::value::RawValue;
use purlin_sdk::text::{self, Fields, Text};
use purlin_sdk::{Context, Fault, Selector, TextDialect};
use serde::ser::SerializeMap as _;
use serde::{Deserialize, Serialize, Serializer};

/// The plugin.
pub struct Echo;

/// What it reads of its object to translate it.
#[derive(Deserialize)]
struct Parent<'a> {
    #[serde(borrow, default)]
    metadata: Metadata<'a>,
    #[serde(borrow, default)]
    spec: Fields<'a>,
}

#[derive(Default, Deserialize)]
struct Metadata<'a> {
    #[serde(borrow, default)]
    name: Cow<'a, str>,
    #[serde(default)]
    generation: i64,
}

/// What it reads of its object to say what it must see.
#[derive(Deserialize)]
struct Asking<'a> {
    #[serde(borrow, default)]
    spec: Related<'a>,
}

#[derive(Default, Deserialize)]
struct Related<'a> {
    #[serde(borrow, default)]
    related: Vec<Text<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ConfigMap<'a> {
    api_version: &'a str,
    kind: &'a str,
    metadata: Named<'a>,
    data: Texts<'a>,
}

#[derive(Serialize)]
struct Named<'a> {
    name: &'a str,
    labels: Labels<'a>,
}

#[derive(Serialize)]
struct Labels<'a> {
    #[serde(rename = "testing.purlin.dev/echo")]
    echo: &'a str,
}

/// Fields whose values are written as text: text as it is, anything else as the JSON that it was.
struct Texts<'a>(Fields<'a>);

impl Serialize for Texts<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Fields(fields) = &self.0;
        let mut map = serializer.serialize_map(Some(fields.len()))?;
        for (name, value) in fields {
            if is_text(value) {
                map.serialize_entry(&*name.0, value)?;
            } else {
                map.serialize_entry(&*name.0, value.get())?;
            }
        }
        map.end()
    }
}

fn is_text(value: &RawValue) -> bool {
    value.get().starts_with('"')
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    observed_generation: i64,
    fields: usize,
    children: usize,
    related: usize,
}

impl TextDialect for Echo {
    fn related(_context: &Context, parent: &str) -> Result<Vec<Selector>, Fault> {
        let asking: Asking<'_> = text::parse(parent)?;
        let names: Vec<String> =
            asking.spec.related.into_iter().map(|Text(name)| name.into_owned()).collect();
        if names.is_empty() {
            return Ok(Vec::new());
        }
        let kind = "ConfigMap".to_owned();
        Ok(vec![Selector {
            api_version: "v1".to_owned(),
            kind,
            namespace: None,
            names,
            labels: String::new(),
        }])
    }

    fn sync(request: &text::Request) -> Result<text::Response, Fault> {
        let Parent { metadata, spec } = text::parse(&request.parent)?;
        let status = Status {
            observed_generation: metadata.generation,
            fields: spec.0.len(),
            children: request.children.len(),
            related: request.related.len(),
        };
        let child = ConfigMap {
            api_version: "v1",
            kind: "ConfigMap",
            metadata: Named { name: &metadata.name, labels: Labels { echo: &metadata.name } },
            data: Texts(spec),
        };
        let (child, status) = (text::write(&child)?, text::write(&status)?);
        Ok(text::Response { children: vec![child], status: Some(status), ..text::response() })
    }
}

purlin_sdk::export_dialect!(Echo);

#[cfg(test)]
mod tests {
    use purlin_sdk::serde_json::{Value, from_str, json};

    use super::*;

    #[test]
    fn the_spec_comes_back_as_data() {
        let parent = json!({"metadata": {"name": "a", "generation": 2}, "spec": {"text": "x\"", "number": 1, "related": ["b"]}});
        let request = text::Request {
            context: Context { now_ms: 0, seed: 0, config: "{}".to_owned() },
            parent: parent.to_string(),
            children: Vec::new(),
            related: Vec::new(),
        };
        let answer = Echo::sync(&request).expect("echo never faults");
        let child: Value = from_str(&answer.children[0]).expect("JSON");
        assert_eq!(child["data"], json!({"text": "x\"", "number": "1", "related": "[\"b\"]"}));
        let status: Value = from_str(&answer.status.expect("a status")).expect("JSON");
        assert_eq!(status, json!({"observedGeneration": 2, "fields": 3, "children": 0, "related": 0}));
        let selectors = Echo::related(&request.context, &request.parent);
        assert_eq!(selectors.map(|selectors| selectors.len()), Ok(1));
    }
}
