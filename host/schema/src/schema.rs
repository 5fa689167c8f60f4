//! What a kind's fields are: the parsed form of an OpenAPI v3 schema with Kubernetes' extensions.
//!
//! Cheap to clone. A schema may refer to a built-in definition by name; [`Schema::node`] follows it.

use std::collections::BTreeMap;
use std::sync::Arc;

use regex::Regex;
use serde_json::{Value, json};

use crate::builtin;

/// The definition of every object's metadata.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// The JSON type that a value must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Type {
    /// Any.
    #[default]
    Any,
    /// A JSON object.
    Object,
    /// A JSON array.
    Array,
    /// A string.
    String,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// true or false.
    Boolean,
}

impl Type {
    /// Its name in a schema.
    pub fn name(self) -> &'static str {
        match self {
            Self::Any => "",
            Self::Object => "object",
            Self::Array => "array",
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
        }
    }
}

/// How the items of a list are told apart and owned (`x-kubernetes-list-type`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ListType {
    /// The list is one value.
    #[default]
    Atomic,
    /// Scalars without duplicates.
    Set,
    /// Objects told apart by these fields.
    Map(Vec<Box<str>>),
}

/// How a strategic merge patch treats a field (`x-kubernetes-patch-strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists are merged rather than replaced.
    pub merge: bool,
    /// Fields that are not named in `$retainKeys` are cleared.
    pub retain_keys: bool,
}

/// A validation rule in CEL (`x-kubernetes-validations`).
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    /// The expression; true where the value is valid.
    pub rule: String,
    /// What to say where it is not.
    pub message: Option<String>,
    /// An expression that gives what to say.
    pub message_expression: Option<String>,
    /// The `reason` of the cause: `FieldValueInvalid` where not given.
    pub reason: Option<String>,
    /// The field below this one that the error is about.
    pub field_path: Option<String>,
}

/// Schemas combined by logic.
#[derive(Debug, Default)]
pub struct Junctors {
    /// All must fit.
    pub all_of: Vec<Schema>,
    /// One or more must fit.
    pub any_of: Vec<Schema>,
    /// Exactly one must fit.
    pub one_of: Vec<Schema>,
    /// Must not fit.
    pub not: Option<Schema>,
}

/// Limits on a value.
#[derive(Debug, Default)]
pub struct Bounds {
    /// Smallest number.
    pub minimum: Option<f64>,
    /// Whether the smallest is itself excluded.
    pub exclusive_minimum: bool,
    /// Largest number.
    pub maximum: Option<f64>,
    /// Whether the largest is itself excluded.
    pub exclusive_maximum: bool,
    /// The number is a multiple of this.
    pub multiple_of: Option<f64>,
    /// Least number of characters.
    pub min_length: Option<u64>,
    /// Greatest number of characters.
    pub max_length: Option<u64>,
    /// Least number of items.
    pub min_items: Option<u64>,
    /// Greatest number of items.
    pub max_items: Option<u64>,
    /// Least number of properties.
    pub min_properties: Option<u64>,
    /// Greatest number of properties.
    pub max_properties: Option<u64>,
    /// No two items are equal.
    pub unique_items: bool,
    /// The text must match somewhere.
    pub pattern: Option<Regex>,
}

/// One schema, parsed.
#[derive(Debug, Default)]
pub struct Node {
    /// The JSON type.
    pub kind: Type,
    /// Such as `date-time` or `int32`.
    pub format: Option<Box<str>>,
    /// Whether null is a value of its own.
    pub nullable: bool,
    /// Fields, by name.
    pub properties: BTreeMap<Box<str>, Schema>,
    /// Fields that must be there.
    pub required: Vec<Box<str>>,
    /// What fields without a name of their own look like.
    pub additional: Option<Schema>,
    /// What items look like.
    pub items: Option<Schema>,
    /// The values that are allowed; empty for all.
    pub allowed: Vec<Value>,
    /// Filled in where the field is missing.
    pub default: Option<Value>,
    /// The server keeps the field as a struct: objects have it even where nobody set it.
    pub always: bool,
    /// How items are told apart.
    pub list: ListType,
    /// Whether an object is one value (`x-kubernetes-map-type: atomic`).
    pub atomic_map: bool,
    /// The field by which a strategic merge patch tells items apart.
    pub merge_key: Option<Box<str>>,
    /// How a strategic merge patch treats this field.
    pub strategy: PatchStrategy,
    /// Fields without a schema are kept.
    pub preserve_unknown: bool,
    /// A number or a string.
    pub int_or_string: bool,
    /// A whole Kubernetes object.
    pub embedded: bool,
    /// Limits, where there are any.
    pub bounds: Option<Box<Bounds>>,
    /// Combinations, where there are any.
    pub junctors: Option<Box<Junctors>>,
    /// Rules in CEL.
    pub rules: Vec<Rule>,
}

/// A schema, or the name of a built-in one.
#[derive(Clone, Debug)]
pub enum Schema {
    /// Parsed.
    Inline(Arc<Node>),
    /// A definition of [`builtin`], with what the reference itself adds.
    Reference(Arc<Reference>),
}

/// A reference to a built-in definition.
#[derive(Debug)]
pub struct Reference {
    name: Box<str>,
    /// What stands beside the reference: defaults and patch strategies belong to the field, not to its type.
    beside: Node,
}

/// A schema that cannot be read.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{path}: {reason}")]
pub struct SchemaError {
    /// Where in the schema.
    pub path: String,
    /// What is wrong.
    pub reason: String,
}

impl Schema {
    /// Reads a CRD's `openAPIV3Schema`.
    ///
    /// # Errors
    /// [`SchemaError`] where a keyword has a value of the wrong form, such as a pattern that is no regular expression.
    pub fn parse(schema: &Value) -> Result<Self, SchemaError> {
        parse(schema, "")
    }

    /// Reads a CRD's `openAPIV3Schema` as that of a whole object: whatever it says of `apiVersion`, `kind` and
    /// `metadata`, these are those of every object.
    ///
    /// # Errors
    /// As [`Schema::parse`].
    pub fn parse_object(schema: &Value) -> Result<Self, SchemaError> {
        let mut whole = schema.clone();
        if let Some(fields) = whole.as_object_mut() {
            let properties = fields.entry("properties").or_insert_with(|| json!({}));
            // Anything else holds no fields, and is not read as such below.
            if properties.is_object() || properties.is_null() {
                properties["apiVersion"] = json!({"type": "string"});
                properties["kind"] = json!({"type": "string"});
                properties["metadata"] = json!({"$ref": OBJECT_META});
            }
        }
        parse(&whole, "")
    }

    /// Whether there are rules in CEL here or below. Built-in definitions, which may refer to themselves, have none.
    pub fn has_rules(&self) -> bool {
        let Self::Inline(node) = self else { return false };
        !node.rules.is_empty()
            || node.properties.values().chain(&node.additional).chain(&node.items).any(Self::has_rules)
    }

    /// What the schema says; a reference is followed.
    pub fn node(&self) -> &Node {
        match self {
            Self::Inline(node) => node,
            Self::Reference(reference) => builtin::definition(&reference.name),
        }
    }

    /// What stands at the field itself: its default, merge key and strategy. The same as [`Schema::node`] for a schema
    /// that is not a reference.
    pub fn at_field(&self) -> &Node {
        match self {
            Self::Inline(node) => node,
            Self::Reference(reference) => &reference.beside,
        }
    }

    /// The schema of a field, by name.
    pub fn field(&self, name: &str) -> Option<&Schema> {
        let node = self.node();
        node.properties.get(name).or(node.additional.as_ref())
    }

    /// A schema that says nothing.
    pub fn any() -> Self {
        Self::Inline(Arc::new(Node { preserve_unknown: true, ..Node::default() }))
    }
}

fn parse(schema: &Value, path: &str) -> Result<Schema, SchemaError> {
    let error = |reason: String| SchemaError { path: path.to_owned(), reason };
    let Some(object) = schema.as_object() else {
        return match schema {
            Value::Bool(true) => Ok(Schema::any()),
            _ => Err(error("a schema must be an object".to_owned())),
        };
    };
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let flag = |key: &str| object.get(key).and_then(Value::as_bool).unwrap_or(false);
    let below = |key: &str| object.get(key).filter(|value| !value.is_null());
    let mut node = Node {
        kind: match text("type") {
            None | Some("") => Type::Any,
            Some("object") => Type::Object,
            Some("array") => Type::Array,
            Some("string") => Type::String,
            Some("integer") => Type::Integer,
            Some("number") => Type::Number,
            Some("boolean") => Type::Boolean,
            Some(other) => return Err(error(format!("{other:?} is not a type"))),
        },
        format: text("format").map(Into::into),
        nullable: flag("nullable"),
        allowed: below("enum").and_then(Value::as_array).cloned().unwrap_or_default(),
        default: object.get("default").cloned(),
        always: flag("x-always"),
        atomic_map: text("x-kubernetes-map-type") == Some("atomic"),
        merge_key: text("x-kubernetes-patch-merge-key").map(Into::into),
        preserve_unknown: flag("x-kubernetes-preserve-unknown-fields"),
        int_or_string: flag("x-kubernetes-int-or-string") || text("format") == Some("int-or-string"),
        embedded: flag("x-kubernetes-embedded-resource"),
        required: strings(below("required")),
        bounds: bounds(schema, path)?,
        rules: rules(below("x-kubernetes-validations")),
        ..Node::default()
    };
    if let Some(strategy) = text("x-kubernetes-patch-strategy") {
        node.strategy = PatchStrategy {
            merge: strategy.split(',').any(|part| part == "merge"),
            retain_keys: strategy.split(',').any(|part| part == "retainKeys"),
        };
    }
    node.list = match text("x-kubernetes-list-type") {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(strings(below("x-kubernetes-list-map-keys"))),
        _ => ListType::Atomic,
    };
    if let Some(properties) = below("properties").and_then(Value::as_object) {
        for (name, value) in properties {
            node.properties
                .insert(name.as_str().into(), parse(value, &join(path, &format!("properties[{name}]")))?);
        }
    }
    node.items = below("items").map(|value| parse(value, &join(path, "items"))).transpose()?;
    node.additional = match below("additionalProperties") {
        None | Some(Value::Bool(false)) => None,
        Some(value) => Some(parse(value, &join(path, "additionalProperties"))?),
    };
    node.junctors = junctors(schema, path)?;
    Ok(match text("$ref") {
        Some(name) => Schema::Reference(Arc::new(Reference { name: name.into(), beside: node })),
        None => Schema::Inline(Arc::new(node)),
    })
}

fn join(path: &str, part: &str) -> String {
    if path.is_empty() { part.to_owned() } else { format!("{path}.{part}") }
}

fn strings(value: Option<&Value>) -> Vec<Box<str>> {
    value.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).map(Into::into).collect()
}

fn rules(value: Option<&Value>) -> Vec<Rule> {
    let rule = |value: &Value| {
        let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned);
        Some(Rule {
            rule: text("rule")?,
            message: text("message"),
            message_expression: text("messageExpression"),
            reason: text("reason"),
            field_path: text("fieldPath"),
        })
    };
    value.and_then(Value::as_array).into_iter().flatten().filter_map(rule).collect()
}

fn bounds(schema: &Value, path: &str) -> Result<Option<Box<Bounds>>, SchemaError> {
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let flag = |key: &str| schema.get(key).and_then(Value::as_bool).unwrap_or(false);
    let pattern = match schema.get("pattern").and_then(Value::as_str) {
        None | Some("") => None,
        Some(pattern) => Some(Regex::new(pattern).map_err(|error| SchemaError {
            path: join(path, "pattern"),
            reason: format!("must be a valid regular expression, but isn't: {error}"),
        })?),
    };
    const KEYS: [&str; 10] = [
        "minimum",
        "maximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "minProperties",
        "maxProperties",
        "uniqueItems",
    ];
    if pattern.is_none() && KEYS.iter().all(|key| schema.get(*key).is_none()) {
        return Ok(None);
    }
    Ok(Some(Box::new(Bounds {
        minimum: number("minimum"),
        exclusive_minimum: flag("exclusiveMinimum"),
        maximum: number("maximum"),
        exclusive_maximum: flag("exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        unique_items: flag("uniqueItems"),
        pattern,
    })))
}

fn junctors(schema: &Value, path: &str) -> Result<Option<Box<Junctors>>, SchemaError> {
    let list = |key: &str| -> Result<Vec<Schema>, SchemaError> {
        let values = schema.get(key).and_then(Value::as_array).into_iter().flatten();
        values
            .enumerate()
            .map(|(index, value)| parse(value, &join(path, &format!("{key}[{index}]"))))
            .collect()
    };
    let found = Junctors {
        all_of: list("allOf")?,
        any_of: list("anyOf")?,
        one_of: list("oneOf")?,
        not: schema.get("not").map(|value| parse(value, &join(path, "not"))).transpose()?,
    };
    let empty =
        found.all_of.is_empty() && found.any_of.is_empty() && found.one_of.is_empty() && found.not.is_none();
    Ok((!empty).then(|| Box::new(found)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_that_are_no_object_hold_no_fields() {
        for properties in [json!([]), json!("text"), json!(1)] {
            let schema = Schema::parse_object(&json!({"type": "object", "properties": properties})).unwrap();
            assert!(schema.node().properties.is_empty());
        }
    }
}
