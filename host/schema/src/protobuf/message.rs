//! Messages into JSON objects, field by field, by the table.
//!
//! Called by `decode` with the kind's message. The fields of one message are first gathered by number, so that a message
//! that stands in several pieces is merged as protobuf says, and then written in the way Go writes that field: a plain
//! one always unless it may be left out when empty, a pointer only where it was sent.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Number, Value};

use super::ProtobufError;
use super::facts::{Field, Kind, Message, Shape, Special, Table};
use super::special::{self, Refused};
use super::wire::{Payload, Reader};

/// How deep messages may lie in one another.
const MAX_DEPTH: usize = 64;
/// How many messages a body may hold whatever its size, those that stand for absent fields included.
const FREE_MESSAGES: usize = 10_000;
/// How many bytes of the body pay for one more.
const BYTES_PER_MESSAGE: usize = 8;

/// The pieces in which one field's value was sent.
type Pieces<'a> = Vec<Payload<'a>>;

/// Decodes one body.
pub(super) struct Decoder {
    table: &'static Table,
    messages_left: usize,
    depth: usize,
}

impl Decoder {
    /// A decoder of a body of `length` bytes.
    pub(super) fn new(table: &'static Table, length: usize) -> Self {
        Self { table, messages_left: FREE_MESSAGES + length / BYTES_PER_MESSAGE, depth: 0 }
    }

    /// The object that a message is, from the pieces it was sent in.
    pub(super) fn object(
        &mut self,
        place: usize,
        pieces: &[&[u8]],
    ) -> Result<Map<String, Value>, ProtobufError> {
        self.messages_left = self.messages_left.checked_sub(1).ok_or(ProtobufError::TooManyMessages)?;
        if self.depth == MAX_DEPTH {
            return Err(ProtobufError::TooDeep);
        }
        self.depth += 1;
        let message = self.table.message(place);
        let mut sent = gather(pieces)?;
        let mut object = Map::new();
        for field in &message.fields {
            let pieces = sent.remove(&field.number).unwrap_or_default();
            self.field(message, field, &pieces, &mut object)?;
        }
        self.depth -= 1;
        Ok(object)
    }

    fn field(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        pieces: &[Payload<'_>],
        object: &mut Map<String, Value>,
    ) -> Result<(), ProtobufError> {
        let Some(name) = field.name else {
            // An inlined message: its fields stand among those of this one.
            if let Kind::Message(place) = field.kind {
                let pieces = all_bytes(pieces).ok_or_else(|| wrong_type(message, field))?;
                object.append(&mut self.object(place, &pieces)?);
            }
            return Ok(());
        };
        let value = match field.shape {
            Shape::Plain => self.value(message, field, pieces)?,
            Shape::Pointer if pieces.is_empty() => Value::Null,
            Shape::Pointer => self.value(message, field, pieces)?,
            Shape::Repeated if pieces.is_empty() => Value::Null,
            Shape::Repeated => Value::Array(self.list(message, field, pieces)?),
            Shape::Map if pieces.is_empty() => Value::Null,
            Shape::Map => Value::Object(self.map(message, field, pieces)?),
        };
        let left_out = match field.shape {
            Shape::Plain => {
                (field.omit_empty && is_empty(field.kind, &value)) || (field.omit_zero && value.is_null())
            }
            Shape::Pointer => field.omit_empty && pieces.is_empty(),
            Shape::Repeated | Shape::Map => field.omit_empty && value.is_null(),
        };
        if !left_out {
            object.insert(name.into(), value);
        }
        Ok(())
    }

    /// The value of a field that stands at most once: the last that was sent, all pieces of a message, or zero.
    fn value(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        pieces: &[Payload<'_>],
    ) -> Result<Value, ProtobufError> {
        let last = pieces.last().copied();
        let refused = |refused| match refused {
            Refused::Wire(error) => error,
            Refused::Form => wrong_type(message, field),
            Refused::Problem(problem) => {
                ProtobufError::Value { message: message.name, field: field.shown(), problem }
            }
        };
        match (field.kind, last) {
            (Kind::Message(place), _) => {
                let pieces = all_bytes(pieces).ok_or_else(|| wrong_type(message, field))?;
                let object = self.object(place, &pieces)?;
                Ok(if self.table.message(place).union { member(object) } else { Value::Object(object) })
            }
            (Kind::Special(kind), None) => special::value(kind, b"").map_err(refused),
            (Kind::Special(kind), Some(Payload::Bytes(bytes))) => {
                special::value(kind, bytes).map_err(refused)
            }
            (Kind::String, None) => Ok("".into()),
            (Kind::String, Some(Payload::Bytes(bytes))) => special::utf8(bytes).map_err(refused),
            (Kind::Bytes, None) => Ok(Value::Null),
            (Kind::Bytes, Some(Payload::Bytes(bytes))) => Ok(STANDARD.encode(bytes).into()),
            (Kind::Bool, None) => Ok(false.into()),
            (Kind::Bool, Some(Payload::Varint(value))) => Ok((value != 0).into()),
            (Kind::Int32 | Kind::Int64, None) => Ok(0.into()),
            (Kind::Int32, Some(Payload::Varint(value))) => Ok((value as i32).into()),
            (Kind::Int64, Some(Payload::Varint(value))) => Ok((value as i64).into()),
            (Kind::Double, None) => Ok(0.into()),
            (Kind::Double, Some(Payload::Fixed64(bits))) => double(f64::from_bits(bits)).map_err(refused),
            _ => Err(wrong_type(message, field)),
        }
    }

    fn list(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        pieces: &[Payload<'_>],
    ) -> Result<Vec<Value>, ProtobufError> {
        let mut items = Vec::with_capacity(pieces.len());
        for piece in pieces {
            match (field.kind, piece) {
                // Whole numbers may also stand together in one string of bytes.
                (Kind::Bool | Kind::Int32 | Kind::Int64, Payload::Bytes(packed)) => {
                    let mut reader = Reader::new(packed);
                    while let Some(number) = reader.packed()? {
                        items.push(self.value(message, field, &[Payload::Varint(number)])?);
                    }
                }
                _ => items.push(self.value(message, field, std::slice::from_ref(piece))?),
            }
        }
        Ok(items)
    }

    fn map(
        &mut self,
        message: &'static Message,
        field: &'static Field,
        pieces: &[Payload<'_>],
    ) -> Result<Map<String, Value>, ProtobufError> {
        let mut entries = Map::new();
        for entry in all_bytes(pieces).ok_or_else(|| wrong_type(message, field))? {
            let (mut key, mut value) = (String::new(), Pieces::new());
            let mut reader = Reader::new(entry);
            while let Some((number, payload)) = reader.next()? {
                match (number, payload) {
                    (1, Payload::Bytes(bytes)) => {
                        let text = std::str::from_utf8(bytes).map_err(|error| ProtobufError::Value {
                            message: message.name,
                            field: field.shown(),
                            problem: format!("a key is not UTF-8: {error}"),
                        })?;
                        text.clone_into(&mut key);
                    }
                    (1, _) => return Err(wrong_type(message, field)),
                    (2, payload) => value.push(payload),
                    _ => {}
                }
            }
            entries.insert(key, self.value(message, field, &value)?);
        }
        Ok(entries)
    }
}

fn gather<'a>(pieces: &[&'a [u8]]) -> Result<BTreeMap<u32, Pieces<'a>>, ProtobufError> {
    let mut sent: BTreeMap<u32, Pieces<'a>> = BTreeMap::new();
    for piece in pieces {
        let mut reader = Reader::new(piece);
        while let Some((number, payload)) = reader.next()? {
            sent.entry(number).or_default().push(payload);
        }
    }
    Ok(sent)
}

/// The pieces as bytes; `None` where one has another form.
fn all_bytes<'a>(pieces: &[Payload<'a>]) -> Option<Vec<&'a [u8]>> {
    let bytes = |piece: &Payload<'a>| match piece {
        Payload::Bytes(bytes) => Some(*bytes),
        _ => None,
    };
    pieces.iter().map(bytes).collect()
}

fn wrong_type(message: &'static Message, field: &'static Field) -> ProtobufError {
    ProtobufError::WireType { message: message.name, field: field.shown() }
}

/// Whether Go counts the value of a plain field as empty: a struct never is.
fn is_empty(kind: Kind, value: &Value) -> bool {
    match kind {
        Kind::Message(_) => false,
        Kind::Special(special) => special == Special::Strings && value.as_array().is_some_and(Vec::is_empty),
        _ => match value {
            Value::Null => true,
            Value::Bool(value) => !value,
            Value::Number(number) => number.as_f64() == Some(0.0),
            Value::String(text) => text.is_empty(),
            Value::Array(_) | Value::Object(_) => false,
        },
    }
}

/// The member of a union that is set: a list that has something, a schema, or whether anything is allowed.
fn member(mut object: Map<String, Value>) -> Value {
    let mut set =
        ["JSONSchemas", "Property", "Schema", "Allows"].into_iter().filter_map(|name| object.remove(name));
    set.find(|value| !value.is_null()).unwrap_or(Value::Null)
}

/// A number as Go writes it: without a fraction where it has none.
fn double(value: f64) -> Result<Value, Refused> {
    /// Up to here every whole number is exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if value.fract() == 0.0 && value.abs() < EXACT && !(value == 0.0 && value.is_sign_negative()) {
        return Ok((value as i64).into());
    }
    Number::from_f64(value)
        .map(Value::Number)
        .ok_or_else(|| Refused::Problem(format!("{value} is no number that JSON has")))
}
