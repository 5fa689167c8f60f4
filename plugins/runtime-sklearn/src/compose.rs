//! Steps for parts of the columns, whose results stand side by side.

use purlin_pickle::{Kind, Ref, Value};
use purlin_tabular::{ModelError, Table, Values};

use crate::attributes::Estimator;
use crate::model::{InputError, Transform, check};
use crate::registry::{Step, transformer};
use crate::select::Kept;

/// A part of the columns and what is done to it; nothing, where they are only passed on.
struct Part {
    columns: Kept,
    step: Option<Box<dyn Transform>>,
}

struct Parts {
    parts: Vec<Part>,
    after: usize,
}

/// `ColumnTransformer`
pub(crate) fn columns(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let (mut parts, mut after) = (Vec::new(), 0);
    if estimator.find("transformer_weights").is_some() {
        return Err(estimator.unsupported("transformer_weights"));
    }
    for item in estimator.items("transformers_")? {
        let Some([_, step, part]) = item.items().and_then(|item| <[Ref<'_>; 3]>::try_from(item).ok()) else {
            return Err(estimator
                .wrong("transformers_", "there is something other than a name, a transformer and columns"));
        };
        let dropped = step.text() == Some("drop");
        let empty = part.items().is_some_and(|items| items.is_empty()) && part.array().is_none();
        if dropped || (empty && part.class().is_none()) {
            continue;
        }
        let part = Kept(chosen(estimator, part, columns)?);
        let step = match step.text() {
            Some("passthrough") => None,
            _ => Some(transformer(&estimator.child_of(step, "transformers_")?, part.0.len())?),
        };
        after += step.as_ref().map_or(part.0.len(), |(_, after)| *after);
        parts.push(Part { columns: part, step: step.map(|(step, _)| step) });
    }
    whole(estimator, parts, after)
}

/// `FeatureUnion`
pub(crate) fn union(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let (mut parts, mut after) = (Vec::new(), 0);
    if estimator.find("transformer_weights").is_some() {
        return Err(estimator.unsupported("transformer_weights"));
    }
    for item in estimator.items("transformer_list")? {
        let Some([_, step]) = item.items().and_then(|item| <[Ref<'_>; 2]>::try_from(item).ok()) else {
            return Err(
                estimator.wrong("transformer_list", "there is something other than a name and a transformer")
            );
        };
        if step.text() == Some("drop") {
            continue;
        }
        let step = match step.value() {
            Value::Text(_) => None,
            _ => Some(transformer(&estimator.child_of(step, "transformer_list")?, columns)?),
        };
        after += step.as_ref().map_or(columns, |(_, after)| *after);
        parts.push(Part { columns: Kept((0..columns).collect()), step: step.map(|(step, _)| step) });
    }
    whole(estimator, parts, after)
}

fn whole(estimator: &Estimator<'_>, parts: Vec<Part>, after: usize) -> Result<Step, ModelError> {
    if after == 0 {
        return Err(estimator.wrong("transformers_", "no columns are left"));
    }
    Ok((Box::new(Parts { parts, after }), after))
}

/// The columns that a step of a part of them is for: numbers, a slice, a mask or names.
fn chosen(estimator: &Estimator<'_>, value: Ref<'_>, columns: usize) -> Result<Vec<usize>, ModelError> {
    let wrong = |reason: String| estimator.wrong("transformers_", reason);
    let place = |index: i64| {
        let place = if index < 0 { index + columns as i64 } else { index };
        usize::try_from(place)
            .ok()
            .filter(|place| *place < columns)
            .ok_or_else(|| wrong(format!("there is no column {index} of {columns}")))
    };
    let named = |name: &str| {
        let names = estimator.labels("feature_names_in_").ok();
        let Some(Values::Texts(names)) = names else {
            return Err(wrong(format!("a column is chosen by the name {name:?}, and the columns have none")));
        };
        let found = names.iter().position(|other| other == name).filter(|found| *found < columns);
        found.ok_or_else(|| wrong(format!("there is no column {name:?}")))
    };
    if let Some(("builtins" | "__builtin__", "slice")) = value.class() {
        let bound =
            |index: usize| value.argument(index).filter(|bound| !bound.is_none()).and_then(Ref::integer);
        if bound(2).is_some_and(|step| step != 1) {
            return Err(estimator.unsupported("a slice with a step"));
        }
        let edge = |bound: i64| {
            let bound = if bound < 0 { bound + columns as i64 } else { bound };
            usize::try_from(bound).unwrap_or(0).min(columns)
        };
        return Ok((bound(0).map_or(0, edge)..bound(1).map_or(columns, edge)).collect());
    }
    if let Some(name) = value.text() {
        return named(name).map(|place| vec![place]);
    }
    if let Value::Integer(index) = value.value() {
        return place(*index).map(|place| vec![place]);
    }
    let mask = match value.value() {
        Value::Array(array) => array.datatype.kind == Kind::Bool,
        _ => value.items().is_some_and(|items| {
            !items.is_empty() && items.iter().all(|item| matches!(item.value(), Value::Bool(_)))
        }),
    };
    if let Ok(indices) = value.integers() {
        if mask {
            if indices.len() != columns {
                return Err(wrong(format!("a mask has {} places for {columns} columns", indices.len())));
            }
            return Ok((0..columns).filter(|column| indices[*column] != 0).collect());
        }
        return indices.into_iter().map(place).collect();
    }
    match value.texts() {
        Ok(names) => names.iter().map(|name| named(name)).collect(),
        Err(error) => Err(wrong(error.to_string())),
    }
}

impl Transform for Parts {
    fn takes_missing(&self) -> bool {
        true
    }

    fn transform(&self, table: Table) -> Result<Table, InputError> {
        let rows = table.len();
        let mut single = table.single;
        let mut done = Vec::with_capacity(self.parts.len());
        for part in &self.parts {
            let mut columns = part.columns.transform(table.clone())?;
            if let Some(step) = &part.step {
                check(&columns, step.takes_missing())?;
                columns = step.transform(columns)?;
            }
            single &= columns.single;
            done.push(columns);
        }
        let mut values = Vec::with_capacity(rows * self.after);
        for row in 0..rows {
            for part in &done {
                values.extend_from_slice(&part.values[row * part.columns..(row + 1) * part.columns]);
            }
        }
        Ok(Table { columns: self.after, values, single })
    }
}
