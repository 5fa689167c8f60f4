//! What the real server's own types make of a built-in object: which JSON they take, what they leave out when it is
//! empty, what they always write.
//!
//! A real server reads every built-in object into a Go struct and writes it out again. [`settle`] does to an object what
//! that does: nulls and empty lists of optional fields go, fields that a struct always has are there with their zero
//! value, and JSON of another type is refused in the words of Go's decoder. The fields come from the table that
//! [`protobuf`](crate::protobuf) decodes by.
//!
//! Called by the embedded API for every write of a built-in kind, after unknown fields were dropped and before anything
//! is filled in. Custom resources have no such types; for them the schema is all there is.

use base64::Engine as _;
use serde_json::{Map, Value};

use crate::protobuf::facts::{Field, Kind, Message, Shape, Special, Table, table};
use crate::quantity;

/// Why an object is none of its kind, in the words of a real server.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// A value has another JSON type than its field.
    #[error("json: cannot unmarshal {given} into Go struct field {field} of type {wanted}")]
    Type {
        /// What was given, such as `number 3.5`.
        given: String,
        /// The struct and the path of the field, such as `DeploymentSpec.spec.replicas`.
        field: String,
        /// The field's type, such as `int32`.
        wanted: String,
    },
    /// A text is not base64.
    #[error("illegal base64 data at input byte {0}")]
    Base64(usize),
    /// A text is no quantity.
    #[error("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")]
    Quantity,
    /// A text is no time.
    #[error("parsing time {0:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {0:?} as \"2006\"")]
    Time(String),
}

impl Unreadable {
    /// The same for a value that a strategic merge patch brought, which a real server reads in another way.
    pub fn unrestorable(&self) -> Option<String> {
        let Self::Type { given, wanted, .. } = self else { return None };
        let given = if given == "object" { "map" } else { given };
        let wanted = match wanted.as_str() {
            wanted if wanted.starts_with("[]") => "slice",
            wanted if wanted.starts_with("map[") => "map",
            wanted if wanted.contains('.') => "struct",
            _ => return None,
        };
        let colon = if wanted == "struct" { ":" } else { "" };
        Some(format!("cannot restore {wanted} from{colon} {given}"))
    }
}

/// Makes an object what the type of its kind makes of it. An object of a kind that has no type is left as it is.
///
/// # Errors
/// [`Unreadable`] for the first value that its field cannot hold.
pub fn settle(object: &mut Value, api_version: &str, kind: &str) -> Result<(), Unreadable> {
    let table = table();
    let (Some(place), Some(fields)) = (table.kind(api_version, kind), object.as_object_mut()) else {
        return Ok(());
    };
    Reader { table, path: Vec::new() }.message(place, fields)
}

/// Whether the kind has a type.
pub fn is_known(api_version: &str, kind: &str) -> bool {
    table().kind(api_version, kind).is_some()
}

/// An object of the kind before anybody wrote to it: only what its type always has.
pub fn blank(api_version: &str, kind: &str) -> Value {
    let mut object = Value::Object(Map::new());
    // Nothing that is given can be of the wrong type where nothing is given.
    let _ = settle(&mut object, api_version, kind);
    object
}

struct Reader {
    table: &'static Table,
    path: Vec<String>,
}

impl Reader {
    fn message(&mut self, place: usize, object: &mut Map<String, Value>) -> Result<(), Unreadable> {
        let message = self.table.message(place);
        for field in &message.fields {
            let Some(name) = field.name else {
                // An inlined message: its fields stand among those of this one.
                if let Kind::Message(place) = field.kind {
                    self.message(place, object)?;
                }
                continue;
            };
            let given = object.remove(name).filter(|value| !value.is_null());
            self.path.push(name.to_owned());
            let value = self.field(message, field, given)?;
            self.path.pop();
            if let Some(value) = value {
                object.insert(name.to_owned(), value);
            }
        }
        Ok(())
    }

    /// What is written for a field; `None` where it is left out.
    fn field(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        given: Option<Value>,
    ) -> Result<Option<Value>, Unreadable> {
        let value = match (field.shape, given) {
            (Shape::Plain, Some(value)) => self.value(message, field, value)?,
            (Shape::Plain, None) => self.zero(field)?,
            (Shape::Pointer, Some(value)) => return self.value(message, field, value).map(Some),
            (Shape::Pointer | Shape::Repeated | Shape::Map, None) => Value::Null,
            (Shape::Repeated, Some(Value::Array(items))) => {
                let read = |item| self.item(message, field, item);
                Value::Array(items.into_iter().map(read).collect::<Result<_, _>>()?)
            }
            (Shape::Map, Some(Value::Object(entries))) => {
                let read = |(name, item)| Ok((name, self.item(message, field, item)?));
                Value::Object(entries.into_iter().map(read).collect::<Result<_, _>>()?)
            }
            (Shape::Repeated | Shape::Map, Some(other)) => {
                return Err(self.misfit(message, field, &other, true));
            }
        };
        let left_out = match field.shape {
            Shape::Plain => {
                (field.omit_empty && is_zero(field.kind, &value)) || (field.omit_zero && value.is_null())
            }
            Shape::Pointer => field.omit_empty,
            Shape::Repeated | Shape::Map => field.omit_empty && is_empty(&value),
        };
        Ok((!left_out).then_some(value))
    }

    /// An entry of a list or a map, which may be null where Go then writes a zero value.
    fn item(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        item: Value,
    ) -> Result<Value, Unreadable> {
        if item.is_null() { self.zero(field) } else { self.value(message, field, item) }
    }

    fn zero(&mut self, field: &'static Field) -> Result<Value, Unreadable> {
        Ok(match field.kind {
            Kind::String => "".into(),
            Kind::Bool => false.into(),
            Kind::Int32 | Kind::Int64 | Kind::Double => 0.into(),
            Kind::Bytes => Value::Null,
            Kind::Message(place) if self.table.message(place).union => Value::Null,
            Kind::Message(place) => {
                let mut object = Map::new();
                self.message(place, &mut object)?;
                Value::Object(object)
            }
            Kind::Special(Special::Quantity) => "0".into(),
            Kind::Special(Special::IntOrString) => 0.into(),
            Kind::Special(Special::Time | Special::MicroTime | Special::Json | Special::Strings) => {
                Value::Null
            }
        })
    }

    fn value(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        value: Value,
    ) -> Result<Value, Unreadable> {
        match (field.kind, value) {
            (Kind::Message(place), value) if self.table.message(place).union => Ok(value),
            (Kind::Message(place), Value::Object(mut object)) => {
                self.message(place, &mut object)?;
                Ok(Value::Object(object))
            }
            (Kind::String, value @ Value::String(_))
            | (Kind::Bool, value @ Value::Bool(_))
            | (Kind::Double, value @ Value::Number(_))
            | (Kind::Special(Special::Json | Special::Strings | Special::IntOrString), value) => Ok(value),
            (Kind::Int32, Value::Number(number))
                if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(Value::Number(number))
            }
            (Kind::Int64, Value::Number(number)) if number.is_i64() => Ok(Value::Number(number)),
            (Kind::Bytes, Value::String(text)) => match fault_in_base64(&text) {
                None => Ok(Value::String(text)),
                Some(at) => Err(Unreadable::Base64(at)),
            },
            (Kind::Special(Special::Quantity), Value::String(text)) => quantity_of(text).map(Value::String),
            (Kind::Special(Special::Quantity), Value::Number(number)) => {
                quantity_of(number.to_string()).map(Value::String)
            }
            (Kind::Special(Special::Time | Special::MicroTime), Value::String(text)) => {
                if text.parse::<jiff::Timestamp>().is_ok() {
                    Ok(Value::String(text))
                } else {
                    Err(Unreadable::Time(text))
                }
            }
            (_, other) => Err(self.misfit(message, field, &other, false)),
        }
    }

    /// `whole`: what was given stands for the whole list or map, not for one of its entries.
    fn misfit(&self, message: &Message, field: &Field, given: &Value, whole: bool) -> Unreadable {
        let numeric = matches!(field.kind, Kind::Int32 | Kind::Int64);
        let given = match given {
            Value::Null => "null".to_owned(),
            Value::Bool(_) => "bool".to_owned(),
            Value::Number(number) if numeric && !whole => format!("number {number}"),
            Value::Number(_) => "number".to_owned(),
            Value::String(_) => "string".to_owned(),
            Value::Array(_) => "array".to_owned(),
            Value::Object(_) => "object".to_owned(),
        };
        let wanted = self.type_name(field.kind);
        Unreadable::Type {
            given,
            field: format!("{}.{}", last(message.name, 1), self.path.join(".")),
            wanted: match field.shape {
                Shape::Repeated if whole => format!("[]{wanted}"),
                Shape::Map if whole => format!("map[string]{wanted}"),
                Shape::Plain | Shape::Pointer | Shape::Repeated | Shape::Map => wanted,
            },
        }
    }

    /// As Go calls the type.
    fn type_name(&self, kind: Kind) -> String {
        match kind {
            Kind::String | Kind::Special(Special::Quantity | Special::IntOrString) => "string",
            Kind::Bool => "bool",
            Kind::Int32 => "int32",
            Kind::Int64 => "int64",
            Kind::Double => "float64",
            Kind::Bytes => "[]uint8",
            Kind::Special(Special::Time) => "v1.Time",
            Kind::Special(Special::MicroTime) => "v1.MicroTime",
            Kind::Special(Special::Json) => "runtime.RawExtension",
            Kind::Special(Special::Strings) => "[]string",
            Kind::Message(place) => last(self.table.message(place).name, 2),
        }
        .to_owned()
    }
}

/// A quantity as it is written out again.
fn quantity_of(text: String) -> Result<String, Unreadable> {
    match (quantity::canonical(&text), quantity::number(&text)) {
        (Some(canonical), _) => Ok(canonical),
        // Beyond what is counted exactly.
        (None, Some(_)) => Ok(text),
        (None, None) => Err(Unreadable::Quantity),
    }
}

/// The last `count` words of a dotted name.
fn last(name: &str, count: usize) -> &str {
    name.rmatch_indices('.').nth(count - 1).map_or(name, |(at, _)| &name[at + 1..])
}

/// Whether Go counts the value of a plain field as empty: a struct never is.
fn is_zero(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Message(_) => false,
        Kind::Special(special) => special == Special::Strings && is_empty(value),
        Kind::String | Kind::Bool | Kind::Int32 | Kind::Int64 | Kind::Double | Kind::Bytes => match value {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(_) | Value::Object(_) => false,
        },
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// The place of the first byte that is not base64, as Go's decoder counts it.
fn fault_in_base64(text: &str) -> Option<usize> {
    let standard = base64::engine::general_purpose::STANDARD;
    match standard.decode(text) {
        Ok(_) => None,
        Err(
            base64::DecodeError::InvalidByte(at, _)
            | base64::DecodeError::InvalidLastSymbol { offset: at, .. },
        ) => Some(at),
        // What is too short for its last four characters is at fault where those begin.
        Err(_) => Some(text.len() - text.len() % 4),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn settled(api_version: &str, kind: &str, mut object: Value) -> Result<Value, String> {
        settle(&mut object, api_version, kind).map_err(|error| error.to_string())?;
        Ok(object)
    }

    #[test]
    fn what_go_leaves_out_goes_and_what_it_writes_is_there() {
        let event = settled("v1", "Event", json!({"reason": "", "count": 0, "message": "m"})).unwrap();
        let expected = json!({
            "metadata": {}, "involvedObject": {}, "message": "m", "source": {}, "firstTimestamp": null,
            "lastTimestamp": null, "eventTime": null, "reportingComponent": "", "reportingInstance": "",
        });
        assert_eq!(event, expected);
        let pod =
            settled("v1", "Pod", json!({"spec": {"containers": [{"name": "a", "args": [], "env": null}]}}));
        let container = json!({"name": "a", "resources": {}});
        assert_eq!(pod.unwrap()["spec"], json!({"containers": [container]}));
        let condition = json!({"status": {"conditions": [{"type": "Ready", "status": "True"}]}});
        let pod = settled("v1", "Pod", condition).unwrap();
        assert_eq!(pod["status"]["conditions"][0]["lastProbeTime"], Value::Null);
        assert!(pod["status"]["conditions"][0].get("lastProbeTime").is_some());
    }

    #[test]
    fn a_blank_object_has_what_its_type_always_has() {
        let blank = blank("apps/v1", "Deployment");
        assert_eq!(blank["spec"]["template"], json!({"metadata": {}, "spec": {"containers": null}}));
        assert_eq!(blank["spec"]["selector"], Value::Null);
        assert_eq!(super::blank("example.com/v1", "Thing"), json!({}));
    }

    #[test]
    fn other_types_are_refused_in_gos_words() {
        let refused = |kind: &str, api: &str, object| settled(api, kind, object).unwrap_err();
        assert_eq!(
            refused("Deployment", "apps/v1", json!({"spec": {"replicas": 3.5}})),
            "json: cannot unmarshal number 3.5 into Go struct field DeploymentSpec.spec.replicas of type int32"
        );
        assert_eq!(
            refused("Deployment", "apps/v1", json!({"spec": {"template": []}})),
            "json: cannot unmarshal array into Go struct field DeploymentSpec.spec.template of type v1.PodTemplateSpec"
        );
        assert_eq!(
            refused("ConfigMap", "v1", json!({"data": {"n": 5}})),
            "json: cannot unmarshal number into Go struct field ConfigMap.data of type string"
        );
        assert_eq!(
            refused("ConfigMap", "v1", json!({"data": "text"})),
            "json: cannot unmarshal string into Go struct field ConfigMap.data of type map[string]string"
        );
        assert_eq!(
            refused("Secret", "v1", json!({"data": {"x": "not base64!"}})),
            "illegal base64 data at input byte 3"
        );
    }

    proptest! {
        #[test]
        fn settling_twice_is_settling_once(name in ".{0,8}", number in any::<i32>(), flag in any::<bool>()) {
            let pod = json!({
                "metadata": {"name": name, "labels": {}},
                "spec": {"hostNetwork": flag, "priority": number, "containers": [{"name": name, "tty": flag, "ports": []}]},
            });
            let once = settled("v1", "Pod", pod).unwrap();
            prop_assert_eq!(settled("v1", "Pod", once.clone()).unwrap(), once);
        }

        #[test]
        fn no_text_breaks_it(text in ".{0,12}") {
            let _ = fault_in_base64(&text);
        }
    }
}
