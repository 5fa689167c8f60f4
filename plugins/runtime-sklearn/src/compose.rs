//! Steps for parts of the columns, whose results stand side by side.

use purlin_pickle::{Ref, Value};
use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::encode::chosen;
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
    let weights = estimator.find("transformer_weights").is_some();
    if weights {
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
