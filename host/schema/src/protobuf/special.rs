//! The messages whose JSON is no object: times, quantities, numbers that may be text, embedded JSON, wrapped lists.
//!
//! Called by the decoder with the message's bytes. Each gives what the Go type's own JSON encoding gives, `null` for its
//! zero value where Go writes that.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::ProtobufError;
use super::facts::Special;
use super::wire::{Payload, Reader};

/// Why a special message is refused.
pub(super) enum Refused {
    /// The wire format is broken.
    Wire(ProtobufError),
    /// A member has another form than its type.
    Form,
    /// The value cannot be.
    Problem(String),
}

impl From<ProtobufError> for Refused {
    fn from(error: ProtobufError) -> Self {
        Self::Wire(error)
    }
}

/// The second at which Go's times start: a time that is not set.
const ZERO_TIME: i64 = -62_135_596_800;
/// The last second that RFC 3339 can write.
const LAST_SECOND: i64 = 253_402_300_799;

/// The JSON of a special message; `bytes` is empty for one that is not there.
pub(super) fn value(special: Special, bytes: &[u8]) -> Result<Value, Refused> {
    match special {
        Special::Time | Special::MicroTime => time(bytes, special == Special::MicroTime),
        Special::Quantity => quantity(bytes),
        Special::IntOrString => int_or_string(bytes),
        Special::Json => embedded(bytes),
        Special::Strings => strings(bytes),
    }
}

fn time(bytes: &[u8], micros: bool) -> Result<Value, Refused> {
    let (mut seconds, mut nanos) = (0_i64, 0_i32);
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match (number, payload) {
            (1, Payload::Varint(value)) => seconds = value as i64,
            (2, Payload::Varint(value)) => nanos = value as i32,
            (1 | 2, _) => return Err(Refused::Form),
            _ => {}
        }
    }
    let nanos = if micros { nanos } else { 0 };
    if bytes.is_empty() || (seconds == ZERO_TIME && nanos == 0) {
        return Ok(Value::Null);
    }
    if !(ZERO_TIME..=LAST_SECOND).contains(&seconds) || !(0..1_000_000_000).contains(&nanos) {
        return Err(Refused::Problem(format!(
            "{seconds} seconds and {nanos} nanoseconds are no time between the years 1 and 9999"
        )));
    }
    let at = Timestamp::new(seconds, nanos).map_err(|error| Refused::Problem(error.to_string()))?;
    let format = if micros { "%Y-%m-%dT%H:%M:%S.%6fZ" } else { "%Y-%m-%dT%H:%M:%SZ" };
    Ok(at.to_zoned(TimeZone::UTC).strftime(format).to_string().into())
}

fn quantity(bytes: &[u8]) -> Result<Value, Refused> {
    let text = last_bytes(bytes)?.unwrap_or_default();
    if text.is_empty() { Ok("0".into()) } else { utf8(text) }
}

fn int_or_string(bytes: &[u8]) -> Result<Value, Refused> {
    let (mut form, mut number_value, mut text) = (0_i64, 0_i32, &b""[..]);
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match (number, payload) {
            (1, Payload::Varint(value)) => form = value as i64,
            (2, Payload::Varint(value)) => number_value = value as i32,
            (3, Payload::Bytes(value)) => text = value,
            (1..=3, _) => return Err(Refused::Form),
            _ => {}
        }
    }
    match form {
        0 => Ok(number_value.into()),
        1 => utf8(text),
        other => Err(Refused::Problem(format!("{other} is neither the number (0) nor the text (1) form"))),
    }
}

fn embedded(bytes: &[u8]) -> Result<Value, Refused> {
    match last_bytes(bytes)? {
        None | Some(b"") => Ok(Value::Null),
        Some(raw) => serde_json::from_slice(raw)
            .map_err(|error| Refused::Problem(format!("the embedded object is no JSON: {error}"))),
    }
}

fn strings(bytes: &[u8]) -> Result<Value, Refused> {
    let mut items = Vec::new();
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match (number, payload) {
            (1, Payload::Bytes(text)) => items.push(utf8(text)?),
            (1, _) => return Err(Refused::Form),
            _ => {}
        }
    }
    Ok(Value::Array(items))
}

/// The last value of field 1, the only one.
fn last_bytes(bytes: &[u8]) -> Result<Option<&[u8]>, Refused> {
    let mut last = None;
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        match (number, payload) {
            (1, Payload::Bytes(value)) => last = Some(value),
            (1, _) => return Err(Refused::Form),
            _ => {}
        }
    }
    Ok(last)
}

/// A string's bytes as JSON.
pub(super) fn utf8(bytes: &[u8]) -> Result<Value, Refused> {
    std::str::from_utf8(bytes)
        .map(Value::from)
        .map_err(|error| Refused::Problem(format!("the text is not UTF-8: {error}")))
}
