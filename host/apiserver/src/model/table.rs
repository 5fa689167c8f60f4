//! Rows and columns of the `Table` form that kubectl prints.

use purlin_schema::table::Columns;
use serde_json::Value;

use crate::catalogue::Resource;

/// How the objects of a resource are shown.
pub(crate) fn columns(resource: &Resource) -> Columns {
    match &resource.custom {
        Some(custom) => Columns::custom(&custom.columns),
        None => Columns::builtin(&resource.group, &resource.kind),
    }
}

/// The cells of one object.
pub(crate) fn cells(columns: &Columns, object: &Value) -> Value {
    Value::Array(columns.cells(object, jiff::Timestamp::now()))
}
