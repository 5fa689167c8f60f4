//! The two ways to write an object: by applying a configuration, and in any other way.

use jiff::Timestamp;
use serde_json::Value;

use super::entry::{self, Entry};
use super::fields::PathElement;
use super::merge::{merge, take_out};
use super::set::{FieldSet, compare};
use crate::schema::Schema;

/// Fields that nobody owns: the API server writes them.
const UNOWNED: [&[&str]; 10] = [
    &["apiVersion"],
    &["kind"],
    &["metadata", "name"],
    &["metadata", "namespace"],
    &["metadata", "creationTimestamp"],
    &["metadata", "selfLink"],
    &["metadata", "uid"],
    &["metadata", "generation"],
    &["metadata", "managedFields"],
    &["metadata", "resourceVersion"],
];

/// Who writes, and through what.
#[derive(Clone, Copy, Debug)]
pub struct Writer<'a> {
    /// `fieldManager`.
    pub manager: &'a str,
    /// The version of the object as written.
    pub api_version: &'a str,
    /// The subresource that is written through; empty for the object itself.
    pub subresource: &'a str,
    /// Paths that a write through this endpoint does not change, such as `["status"]`.
    pub reset: &'a [&'a [&'a str]],
    /// What an object of the kind has before anybody wrote to it (`typed::blank`): whoever creates an object does not
    /// own what its type always has.
    pub blank: &'a Value,
    /// The time of the write.
    pub now: Timestamp,
}

/// Fields that another manager owns and that the applied configuration would change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

/// One field of another manager.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Such as `"kubectl" using apps/v1`.
    pub owner: String,
    /// The message of the cause.
    pub message: String,
    /// Such as `.spec.replicas`.
    pub field: String,
}

/// Why a configuration cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// Other managers own what it would change.
    #[error("{0}")]
    Conflicts(Conflicts),
    /// `metadata.managedFields` must not be in an applied configuration.
    #[error("metadata.managedFields must be nil")]
    ManagedFields,
}

impl std::fmt::Display for Conflicts {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let count = self.0.len();
        write!(out, "Apply failed with {count} conflict{}: ", if count == 1 { "" } else { "s" })?;
        let mut owners: Vec<&str> = self.0.iter().map(|conflict| conflict.owner.as_str()).collect();
        owners.dedup();
        if let ([owner], 1) = (owners.as_slice(), count) {
            return write!(out, "conflict with {owner}: {}", self.0[0].field);
        }
        let mut first = true;
        for owner in owners {
            if !first {
                out.write_str("\n")?;
            }
            first = false;
            write!(out, "conflicts with {owner}:")?;
            for conflict in self.0.iter().filter(|conflict| conflict.owner == owner) {
                write!(out, "\n- {}", conflict.field)?;
            }
        }
        Ok(())
    }
}

/// The object after a write that is no apply, with `metadata.managedFields` brought up to date. `live` is `None` for a
/// creation. A client that sent `managedFields: []` or `[{}]` has them cleared.
pub fn update(live: Option<&Value>, mut new: Value, writer: &Writer<'_>, schema: Option<&Schema>) -> Value {
    let old = live.unwrap_or(writer.blank);
    let sent = new.pointer("/metadata/managedFields").and_then(Value::as_array);
    let cleared = live.is_some()
        && sent.is_some_and(|sent| {
            sent.is_empty() || sent.as_slice() == [Value::Object(serde_json::Map::new())]
        });
    if cleared {
        entry::write(&mut new, Vec::new());
        return new;
    }
    let mut entries = if live.is_some() { entry::read(old) } else { Vec::new() };
    let mut comparison = compare(old, &new, schema);
    for set in [&mut comparison.added, &mut comparison.modified, &mut comparison.removed] {
        strip(set, writer);
    }
    let changed = comparison.added.union(&comparison.modified);
    for other in &mut entries {
        let mine = other.is_of(writer.manager, false, writer.api_version, writer.subresource);
        if !mine {
            other.fields = other.fields.difference(&changed);
        }
        other.fields = other.fields.difference(&comparison.removed);
    }
    if !changed.is_empty() {
        let at = entries
            .iter()
            .position(|entry| entry.is_of(writer.manager, false, writer.api_version, writer.subresource));
        let mine = match at {
            Some(at) => &mut entries[at],
            None => {
                entries.push(new_entry(writer, false));
                let last = entries.len() - 1;
                &mut entries[last]
            }
        };
        let fields = mine.fields.union(&changed);
        if fields != mine.fields || !comparison.is_same() {
            mine.time = Some(entry::stamp(writer.now));
        }
        mine.fields = fields;
    }
    entry::write(&mut new, entries);
    new
}

/// The object after a configuration was applied by server-side apply.
///
/// # Errors
/// [`ApplyError::Conflicts`] when it changes fields of other managers and `force` is not set.
pub fn apply(
    live: Option<&Value>,
    applied: &Value,
    force: bool,
    writer: &Writer<'_>,
    schema: Option<&Schema>,
) -> Result<Value, ApplyError> {
    let sent = applied.pointer("/metadata/managedFields").and_then(Value::as_array);
    if sent.is_some_and(|sent| !sent.is_empty()) {
        return Err(ApplyError::ManagedFields);
    }
    let mut config = without_nulls(applied);
    for path in writer.reset {
        remove_path(&mut config, path);
    }
    let old = live.unwrap_or(writer.blank);
    let mut entries = if live.is_some() { entry::read(old) } else { Vec::new() };
    if live.is_some() && entries.is_empty() {
        adopt(&mut entries, old, writer, schema);
    }
    let at = entries
        .iter()
        .position(|entry| entry.is_of(writer.manager, true, writer.api_version, writer.subresource));
    let previous = at.map(|at| entries.remove(at));
    let mut fields = FieldSet::of(&config, schema);
    strip(&mut fields, writer);

    let mut merged = merge(old, &config, schema);
    if let Some(previous) = &previous {
        let owned = entries.iter().fold(fields.clone(), |all, entry| all.union(&entry.fields));
        take_out(&mut merged, &previous.fields, &owned, schema);
    }
    let mut comparison = compare(old, &merged, schema);
    for set in [&mut comparison.added, &mut comparison.modified, &mut comparison.removed] {
        strip(set, writer);
    }
    let changed = comparison.added.union(&comparison.modified);
    let mut conflicts = Vec::new();
    for other in &mut entries {
        let contested = other.fields.intersection(&changed);
        if !contested.is_empty() {
            if !force {
                conflicts.extend(conflicts_with(other, &contested));
            }
            other.fields = other.fields.difference(&contested);
        }
        other.fields = other.fields.difference(&comparison.removed);
    }
    if !conflicts.is_empty() {
        conflicts.sort_by(|a: &Conflict, b| a.owner.cmp(&b.owner));
        return Err(ApplyError::Conflicts(Conflicts(conflicts)));
    }
    // An apply that leaves the object as it was moves no time, not even where it is this manager's first.
    let time = if comparison.is_same() {
        previous.and_then(|previous| previous.time)
    } else {
        Some(entry::stamp(writer.now))
    };
    entries.push(Entry { fields, time, ..new_entry(writer, true) });
    entry::write(&mut merged, entries);
    Ok(merged)
}

fn new_entry(writer: &Writer<'_>, applies: bool) -> Entry {
    Entry {
        manager: writer.manager.to_owned(),
        applies,
        api_version: writer.api_version.to_owned(),
        subresource: writer.subresource.to_owned(),
        time: None,
        fields: FieldSet::default(),
    }
}

/// An object that nobody manages yet is taken to belong to whoever wrote it before the first apply.
fn adopt(entries: &mut Vec<Entry>, live: &Value, writer: &Writer<'_>, schema: Option<&Schema>) {
    let mut fields = FieldSet::of(live, schema);
    strip(&mut fields, writer);
    let before = Writer { manager: "before-first-apply", subresource: "", ..*writer };
    entries.push(Entry { fields, time: Some(entry::stamp(writer.now)), ..new_entry(&before, false) });
}

fn conflicts_with(other: &Entry, contested: &FieldSet) -> Vec<Conflict> {
    let mut owner = format!("\"{}\"", other.manager);
    if !other.subresource.is_empty() {
        owner.push_str(&format!(" with subresource \"{}\"", other.subresource));
    }
    if !other.applies {
        owner.push_str(&format!(" using {}", other.api_version));
    }
    let describe = |path: Vec<PathElement>| -> Conflict {
        let field: String = path.iter().map(PathElement::describe).collect();
        Conflict { message: format!("conflict with {owner}"), owner: owner.clone(), field }
    };
    contested.paths().into_iter().map(describe).collect()
}

fn strip(set: &mut FieldSet, writer: &Writer<'_>) {
    let elements = |path: &[&str]| -> Vec<PathElement> {
        path.iter().map(|name| PathElement::Field((*name).into())).collect()
    };
    for path in UNOWNED {
        set.remove_tree(&elements(path));
    }
    set.remove_member(&PathElement::Field("metadata".into()));
    for path in writer.reset {
        set.remove_tree(&elements(path));
    }
}

fn remove_path(value: &mut Value, path: &[&str]) {
    let Some((last, parents)) = path.split_last() else { return };
    let parent = parents.iter().try_fold(value, |value, name| value.get_mut(*name));
    if let Some(object) = parent.and_then(Value::as_object_mut) {
        object.remove(*last);
    }
}

fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => Value::Object(
            object.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests;
