//! Tables: the columns and cells that the server gives `kubectl get`.
//!
//! Called by the API server when a client accepts `as=Table`. A column never fails: a cell that cannot be computed is
//! null, which clients show as `<none>`.

mod age;
mod builtin;
mod jsonpath;
mod network;
mod pod;
mod rows;
mod workload;

use jiff::Timestamp;
use serde_json::{Value, json};

pub use age::{human_duration, since};
pub use jsonpath::{JsonPath, JsonPathError};

/// One column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its title.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// Such as `name`, which clients use to find the object's name.
    pub format: String,
    /// What it shows.
    pub description: String,
    /// Zero for columns that are always shown.
    pub priority: i64,
}

impl Column {
    fn new(name: &str, kind: &str, format: &str, priority: i64) -> Self {
        Self {
            name: name.to_owned(),
            kind: kind.to_owned(),
            format: format.to_owned(),
            description: format!("{name} of the object."),
            priority,
        }
    }
}

type Cells = fn(&Value, Timestamp) -> Vec<Value>;

#[derive(Clone, Debug)]
enum Source {
    Builtin(Cells),
    Custom(Vec<Option<JsonPath>>),
}

/// The columns of a kind.
#[derive(Clone, Debug)]
pub struct Columns {
    columns: Vec<Column>,
    source: Source,
}

impl Columns {
    /// The columns of a built-in kind; name and age for a kind that has none of its own.
    pub fn builtin(group: &str, kind: &str) -> Self {
        let (columns, cells) = builtin::columns(group, kind);
        Self { columns, source: Source::Builtin(cells) }
    }

    /// The columns of a custom resource, from a version's `additionalPrinterColumns`. A path that cannot be read gives
    /// empty cells: definitions with such paths are refused before.
    pub fn custom(declared: &[Value]) -> Self {
        let age = [json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"})];
        let declared = if declared.is_empty() { &age } else { declared };
        let mut columns = vec![Column::new("Name", "string", "name", 0)];
        let mut paths = Vec::with_capacity(declared.len());
        for column in declared {
            let text = |key: &str| column.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
            let described = text("description");
            columns.push(Column {
                name: text("name"),
                kind: text("type"),
                format: text("format"),
                description: if described.is_empty() {
                    "A column of the custom resource.".to_owned()
                } else {
                    described
                },
                priority: column.get("priority").and_then(Value::as_i64).unwrap_or(0),
            });
            paths.push(JsonPath::parse(&text("jsonPath")).ok());
        }
        Self { columns, source: Source::Custom(paths) }
    }

    /// The columns, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The `columnDefinitions` of a `Table`.
    pub fn definitions(&self) -> Value {
        let definition = |column: &Column| {
            json!({"name": column.name, "type": column.kind, "format": column.format,
                   "description": column.description, "priority": column.priority})
        };
        self.columns.iter().map(definition).collect()
    }

    /// The cells of one object, one a column. `now` is what ages are counted to.
    pub fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match &self.source {
            Source::Builtin(cells) => cells(object, now),
            Source::Custom(paths) => {
                let mut cells = vec![object["metadata"]["name"].clone()];
                for (column, path) in self.columns.iter().skip(1).zip(paths) {
                    let found = path.as_ref().and_then(|path| path.first(object));
                    cells.push(found.map_or(Value::Null, |value| cell(&column.kind, value, now)));
                }
                cells
            }
        }
    }
}

fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match kind {
        "integer" => match value {
            Value::Number(number) if number.is_f64() => json!(number.as_f64().unwrap_or_default() as i64),
            Value::Number(_) => value.clone(),
            _ => Value::Null,
        },
        "number" if value.is_number() => value.clone(),
        "boolean" if value.is_boolean() => value.clone(),
        "string" => match value {
            Value::String(_) => value.clone(),
            other => other.to_string().into(),
        },
        "date" => match value.as_str() {
            Some(text) => match text.parse() {
                Ok(at) => human_duration(now.duration_since(at).as_secs()).into(),
                Err(_) => "<invalid>".into(),
            },
            None => Value::Null,
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn custom_columns_show_values_by_type() {
        let columns = Columns::custom(&[
            json!({"name": "Ready", "type": "string", "jsonPath": r#".status.conditions[?(@.type=="Ready")].status"#}),
            json!({"name": "Count", "type": "integer", "jsonPath": ".spec.count"}),
            json!({"name": "Map", "type": "string", "jsonPath": ".spec"}),
            json!({"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}),
            json!({"name": "Gone", "type": "string", "jsonPath": ".nothing"}),
        ]);
        let object = json!({
            "metadata": {"name": "x", "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {"count": 3},
            "status": {"conditions": [{"type": "A", "status": "no"}, {"type": "Ready", "status": "True"}]},
        });
        let now = "2026-01-01T00:05:30Z".parse().unwrap();
        let cells = columns.cells(&object, now);
        assert_eq!(
            cells,
            [json!("x"), json!("True"), json!(3), json!(r#"{"count":3}"#), json!("5m30s"), Value::Null]
        );
        assert_eq!(columns.definitions()[1]["name"], "Ready");
        assert_eq!(Columns::custom(&[]).columns().len(), 2);
    }

    #[test]
    fn every_builtin_row_has_one_cell_a_column() {
        let kinds = "Pod Service ConfigMap Secret ServiceAccount Namespace Node Event PersistentVolumeClaim \
            PersistentVolume ReplicationController Endpoints LimitRange ResourceQuota Deployment ReplicaSet StatefulSet \
            DaemonSet ControllerRevision Job CronJob Lease Role RoleBinding ClusterRole ClusterRoleBinding \
            CustomResourceDefinition EndpointSlice PodDisruptionBudget Ingress NetworkPolicy PriorityClass \
            StorageClass HorizontalPodAutoscaler Unknown";
        for kind in kinds.split_whitespace() {
            let columns = Columns::builtin("", kind);
            for object in [
                json!({"metadata": {"name": "x"}}),
                json!({"metadata": {"name": "x"}, "spec": {}, "status": {}}),
            ] {
                assert_eq!(
                    columns.cells(&object, Timestamp::UNIX_EPOCH).len(),
                    columns.columns().len(),
                    "{kind}"
                );
            }
        }
    }
}
