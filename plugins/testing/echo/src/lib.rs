//! A dialect that does the least that a real one does: it parses its object, and answers with one child and a status of
//! about the same size. The call benchmark times it (2 KiB in, 2 KiB out), and tests use it as the well-behaved
//! neighbour of a hostile plugin.
//!
//! It answers with a ConfigMap of the object's name whose data is the object's spec, value by value as text, and a status
//! with the spec's size. `spec.related` (a list of ConfigMap names) is what it asks to see; how many were seen is in the
//! status too.

use purlin_sdk::serde_json::{Value, json};
use purlin_sdk::{Context, Dialect, Fault, Object as _, Selector, SyncRequest, SyncResponse};

/// The plugin.
pub struct Echo;

impl Dialect for Echo {
    fn related(_context: &Context, parent: &Value) -> Result<Vec<Selector>, Fault> {
        let names: Vec<String> =
            parent.items(&["spec", "related"]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
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

    fn sync(request: &SyncRequest) -> Result<SyncResponse, Fault> {
        let parent = &request.parent;
        let spec = parent.at(&["spec"]).and_then(Value::as_object);
        let data: Value = spec
            .into_iter()
            .flatten()
            .map(|(key, value)| {
                (key.clone(), Value::String(value.as_str().map_or_else(|| value.to_string(), str::to_owned)))
            })
            .collect::<purlin_sdk::serde_json::Map<_, _>>()
            .into();
        let child = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": parent.name(), "labels": {"testing.purlin.dev/echo": parent.name()}},
            "data": data,
        });
        let status = json!({
            "observedGeneration": parent.int(&["metadata", "generation"]).unwrap_or_default(),
            "fields": spec.map_or(0, |spec| spec.len()),
            "children": request.children.len(),
            "related": request.related.len(),
        });
        Ok(SyncResponse { children: vec![child], status: Some(status), ..SyncResponse::default() })
    }
}

purlin_sdk::export_dialect!(Echo);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spec_comes_back_as_data() {
        let request = SyncRequest {
            context: Context { now_ms: 0, seed: 0, config: "{}".to_owned() },
            parent: json!({"metadata": {"name": "a", "generation": 2}, "spec": {"text": "x", "number": 1, "related": ["b"]}}),
            children: Vec::new(),
            related: Vec::new(),
        };
        let answer = Echo::sync(&request).expect("echo never faults");
        assert_eq!(answer.children[0]["data"], json!({"text": "x", "number": "1", "related": "[\"b\"]"}));
        assert_eq!(answer.status.map(|status| status["observedGeneration"].clone()), Some(json!(2)));
        assert_eq!(Echo::related(&request.context, &request.parent).map(|selectors| selectors.len()), Ok(1));
    }
}
