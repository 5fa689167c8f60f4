//! Sets of fields, as trees: what an object has, what two objects differ in, and the operations of ownership on them.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::fields::{FieldsError, PathElement};
use crate::schema::{ListType, Node, Schema};

/// A set of fields. A field that is in the set may have fields below it that are, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Whether each field here is itself in the set, and which fields below it are.
    entries: BTreeMap<PathElement, (bool, FieldSet)>,
}

/// What two versions of an object differ in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Comparison {
    /// Fields that only the new one has.
    pub(super) added: FieldSet,
    /// Fields that both have, with other values.
    pub(super) modified: FieldSet,
    /// Fields that only the old one has.
    pub(super) removed: FieldSet,
}

impl FieldSet {
    /// Reads FieldsV1.
    ///
    /// # Errors
    /// [`FieldsError`] with the first element that is not one.
    pub fn parse(fields: &Value) -> Result<Self, FieldsError> {
        let mut set = Self::default();
        for (name, below) in fields.as_object().into_iter().flatten() {
            if name == "." {
                continue;
            }
            let element = PathElement::parse(name)?;
            let children = Self::parse(below)?;
            let member = children.is_empty() || below.get(".").is_some();
            set.entries.insert(element, (member, children));
        }
        Ok(set)
    }

    /// The FieldsV1 form.
    pub fn print(&self) -> Value {
        let mut object = Map::new();
        for (element, (member, children)) in &self.entries {
            let mut below = children.print();
            if *member
                && !children.is_empty()
                && let Some(below) = below.as_object_mut()
            {
                below.insert(".".to_owned(), Value::Object(Map::new()));
            }
            object.insert(element.print(), below);
        }
        Value::Object(object)
    }

    /// Whether no field is in the set.
    pub fn is_empty(&self) -> bool {
        self.entries.values().all(|(member, children)| !member && children.is_empty())
    }

    /// The fields that an object of this schema has.
    pub fn of(value: &Value, schema: Option<&Schema>) -> Self {
        let mut set = Self::default();
        let kind = Container::of(value, schema.map(Schema::node));
        match kind {
            Container::Leaf => {}
            Container::Object(object) => {
                for (name, value) in object {
                    let below = schema.and_then(|schema| schema.field(name));
                    let named =
                        schema.is_some_and(|schema| schema.node().properties.contains_key(name.as_str()));
                    let children = Self::of(value, below);
                    let leaf = Container::of(value, below.map(Schema::node)).is_leaf();
                    let empty = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                    if leaf || empty || !named || !children.entries.is_empty() {
                        set.entries.insert(
                            PathElement::Field(name.as_str().into()),
                            (leaf || empty || !named, children),
                        );
                    }
                }
            }
            Container::List(items) => {
                for (element, item) in items {
                    let children = Self::of(item, schema.and_then(|schema| schema.node().items.as_ref()));
                    set.entries.insert(element, (true, children));
                }
            }
        }
        set
    }

    /// Adds one field.
    pub fn insert(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else { return };
        let entry = self.entries.entry(first.clone()).or_default();
        if rest.is_empty() { entry.0 = true } else { entry.1.insert(rest) }
    }

    /// Takes out a field and all below it.
    pub fn remove_tree(&mut self, path: &[PathElement]) {
        let Some((first, rest)) = path.split_first() else { return };
        if rest.is_empty() {
            self.entries.remove(first);
        } else if let Some((member, children)) = self.entries.get_mut(first) {
            children.remove_tree(rest);
            if !*member && children.is_empty() {
                self.entries.remove(first);
            }
        }
    }

    /// Takes out a field and leaves those below it.
    pub fn remove_member(&mut self, element: &PathElement) {
        if let Some((member, children)) = self.entries.get_mut(element) {
            *member = false;
            if children.is_empty() {
                self.entries.remove(element);
            }
        }
    }

    /// The fields that are in this set or in the other.
    pub fn union(&self, other: &Self) -> Self {
        let mut all = self.clone();
        all.add(other);
        all
    }

    fn add(&mut self, other: &Self) {
        for (element, (member, children)) in &other.entries {
            let entry = self.entries.entry(element.clone()).or_default();
            entry.0 |= member;
            entry.1.add(children);
        }
    }

    /// The fields that are in both.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && theirs, false)
    }

    /// The fields that are in this set and not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, |mine, theirs| mine && !theirs, true)
    }

    fn combine(&self, other: &Self, keep: impl Fn(bool, bool) -> bool + Copy, keep_unmatched: bool) -> Self {
        let mut set = Self::default();
        for (element, (member, children)) in &self.entries {
            let entry = match other.entries.get(element) {
                Some((theirs, below)) => {
                    (keep(*member, *theirs), children.combine(below, keep, keep_unmatched))
                }
                None if keep_unmatched => (*member, children.clone()),
                None => continue,
            };
            if entry.0 || !entry.1.entries.is_empty() {
                set.entries.insert(element.clone(), entry);
            }
        }
        set
    }

    /// Every field, in order.
    pub fn paths(&self) -> Vec<Vec<PathElement>> {
        let mut paths = Vec::new();
        self.walk(&mut Vec::new(), &mut |path| paths.push(path.to_vec()));
        paths
    }

    fn walk(&self, path: &mut Vec<PathElement>, visit: &mut impl FnMut(&[PathElement])) {
        for (element, (member, children)) in &self.entries {
            path.push(element.clone());
            if *member {
                visit(path);
            }
            children.walk(path, visit);
            path.pop();
        }
    }

    /// Whether the field itself is in the set, and what is below it.
    pub(super) fn entry(&self, element: &PathElement) -> Option<(bool, &Self)> {
        self.entries.get(element).map(|(member, children)| (*member, children))
    }

    fn enter(&mut self, element: PathElement, member: bool, below: Self) {
        if member || !below.entries.is_empty() {
            self.entries.insert(element, (member, below));
        }
    }
}

/// A value as field management sees it.
pub(super) enum Container<'a> {
    /// One value, whatever is in it.
    Leaf,
    /// Fields are owned one by one.
    Object(&'a Map<String, Value>),
    /// Items are owned one by one.
    List(Vec<(PathElement, &'a Value)>),
}

impl<'a> Container<'a> {
    pub(super) fn of(value: &'a Value, node: Option<&Node>) -> Self {
        match value {
            Value::Object(object) if !node.is_some_and(|node| node.atomic_map) => Self::Object(object),
            Value::Array(items) => match node.map(|node| &node.list) {
                Some(ListType::Set) => {
                    Self::List(items.iter().map(|item| (PathElement::Value(item.clone()), item)).collect())
                }
                Some(ListType::Map(keys)) => Self::List(
                    items
                        .iter()
                        .map(|item| (item_key(item, keys, node.and_then(|node| node.items.as_ref())), item))
                        .collect(),
                ),
                Some(ListType::Atomic) | None => Self::Leaf,
            },
            _ => Self::Leaf,
        }
    }

    pub(super) fn is_leaf(&self) -> bool {
        matches!(self, Self::Leaf)
    }
}

/// What tells an item of a list apart. A key that is missing has the default of its field.
pub(super) fn item_key(item: &Value, keys: &[Box<str>], items: Option<&Schema>) -> PathElement {
    let value = |key: &str| {
        let given = item.get(key).cloned();
        given.or_else(|| items?.field(key)?.at_field().default.clone())
    };
    PathElement::Key(keys.iter().filter_map(|key| Some((key.clone(), value(key)?))).collect())
}

impl Comparison {
    /// Whether nothing differs.
    pub(super) fn is_same(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }
}

/// A field with its value in the old and in the new version, and its schema.
type Pair<'a> = (PathElement, Option<&'a Value>, Option<&'a Value>, Option<&'a Schema>);

/// Compares two versions of an object.
pub(super) fn compare(old: &Value, new: &Value, schema: Option<&Schema>) -> Comparison {
    let mut comparison = Comparison::default();
    let node = schema.map(Schema::node);
    let pairs: Vec<Pair<'_>> = match (Container::of(old, node), Container::of(new, node)) {
        (Container::Object(old), Container::Object(new)) => {
            let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
            let field = |name: &String| {
                let below = schema.and_then(|schema| schema.field(name));
                (PathElement::Field(name.as_str().into()), old.get(name), new.get(name), below)
            };
            names.into_iter().map(field).collect()
        }
        (Container::List(old), Container::List(new)) => {
            let items = node.and_then(|node| node.items.as_ref());
            let mut pairs: BTreeMap<PathElement, (Option<&Value>, Option<&Value>)> = BTreeMap::new();
            for (element, item) in old {
                pairs.entry(element).or_default().0 = Some(item);
            }
            for (element, item) in new {
                pairs.entry(element).or_default().1 = Some(item);
            }
            pairs.into_iter().map(|(element, (old, new))| (element, old, new, items)).collect()
        }
        _ => Vec::new(),
    };
    for (element, old, new, schema) in pairs {
        match (old, new) {
            (Some(old), Some(new)) => compare_both(&mut comparison, element, old, new, schema),
            (None, Some(new)) => comparison.added.enter(element, true, all_below(new, schema)),
            (Some(old), None) => comparison.removed.enter(element, true, all_below(old, schema)),
            (None, None) => {}
        }
    }
    comparison
}

fn compare_both(
    into: &mut Comparison,
    element: PathElement,
    old: &Value,
    new: &Value,
    schema: Option<&Schema>,
) {
    if old == new {
        return;
    }
    let node = schema.map(Schema::node);
    if old.is_null() && !Container::of(new, node).is_leaf() {
        // The place was there, empty: what is in it is new, the place itself is not.
        into.added.enter(element, false, all_below(new, schema));
        return;
    }
    let leaves = Container::of(old, node).is_leaf() || Container::of(new, node).is_leaf();
    if leaves {
        into.modified.enter(element, true, FieldSet::default());
        return;
    }
    let below = compare(old, new, schema);
    into.added.enter(element.clone(), false, below.added);
    into.modified.enter(element.clone(), false, below.modified);
    into.removed.enter(element, false, below.removed);
}

/// Every field below a value, those that hold others included.
fn all_below(value: &Value, schema: Option<&Schema>) -> FieldSet {
    let mut set = FieldSet::default();
    match Container::of(value, schema.map(Schema::node)) {
        Container::Leaf => {}
        Container::Object(object) => {
            for (name, value) in object {
                let below = all_below(value, schema.and_then(|schema| schema.field(name)));
                set.enter(PathElement::Field(name.as_str().into()), true, below);
            }
        }
        Container::List(items) => {
            let schema = schema.and_then(|schema| schema.node().items.as_ref());
            for (element, item) in items {
                set.enter(element, true, all_below(item, schema));
            }
        }
    }
    set
}
