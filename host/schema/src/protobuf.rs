//! Request bodies in `application/vnd.kubernetes.protobuf`, as the JSON objects that the rest of the crate works on.
//!
//! Typed Kubernetes clients write built-in kinds in this form: four bytes of magic, an envelope that names the kind, and
//! the kind's message. [`decode`] gives what the API's own Go types would give as JSON after they read the same bytes:
//! fields that Go leaves out when empty are left out, fields that it always writes are there. What a message's fields are
//! comes from a table (`scripts/protobuf-facts.py`) that [`typed`](crate::typed) reads by too, parsed once.
//!
//! Called by the embedded API for every body of this type. Bodies come from outside: decoding must never panic, never
//! recurse without bound, and never make much more of a body than a JSON body of its size would.

pub(crate) mod facts;
mod message;
mod special;
mod wire;

use serde_json::Value;

use message::Decoder;
use wire::{Payload, Reader};

/// The media type of the bodies that [`decode`] reads.
pub const MEDIA_TYPE: &str = "application/vnd.kubernetes.protobuf";

/// What stands before the envelope.
const MAGIC: &[u8] = b"k8s\0";

/// How deep the JSON may be: what a JSON parser takes when the object is read back.
const MAX_JSON_DEPTH: usize = 120;

/// Why a body cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProtobufError {
    /// There is nothing after the magic, or nothing at all.
    #[error("empty data; send the object")]
    Empty,
    /// The magic is missing.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]; \
         send the body with the Kubernetes envelope"
    )]
    Prefix,
    /// The kind has no protobuf form here.
    #[error("no kind \"{kind}\" is registered for version \"{api_version}\" in protobuf; send it as JSON")]
    UnknownKind {
        /// Group and version of the envelope.
        api_version: String,
        /// Kind of the envelope.
        kind: String,
    },
    /// The bytes end within a value.
    #[error("proto: the message is cut short; send it whole")]
    Truncated,
    /// A variable-length integer is longer than ten bytes.
    #[error("proto: integer overflow")]
    Overflow,
    /// A field's tag is none.
    #[error("proto: illegal tag {0}")]
    Tag(u64),
    /// A group ends that did not start, or groups lie too deep.
    #[error("proto: unexpected end of group, or groups within groups beyond {} levels", wire::MAX_GROUPS)]
    Group,
    /// A field's value has another form than the field's type.
    #[error("proto: wrong wire type for field {field} of {message}")]
    WireType {
        /// The message's name.
        message: &'static str,
        /// The field's name in JSON.
        field: &'static str,
    },
    /// A value has the right form and cannot be.
    #[error("proto: field {field} of {message}: {problem}")]
    Value {
        /// The message's name.
        message: &'static str,
        /// The field's name in JSON.
        field: &'static str,
        /// What is wrong with it.
        problem: String,
    },
    /// Messages lie within messages beyond what is read.
    #[error("proto: the object is nested too deeply; flatten it")]
    TooDeep,
    /// The body holds more messages than an object of its size has.
    #[error("proto: the body holds too many empty messages for its size; leave out those that say nothing")]
    TooManyMessages,
}

/// The envelope's fields.
#[derive(Default)]
struct Envelope<'a> {
    api_version: String,
    kind: String,
    raw: Vec<&'a [u8]>,
}

/// Whether objects of a kind can be sent in this form: those of every built-in kind can.
pub fn reads(api_version: &str, kind: &str) -> bool {
    facts::table().kind(api_version, kind).is_some()
}

/// The object that `body` holds, with `apiVersion` and `kind` of its envelope, or those given where it names none.
///
/// # Errors
///
/// [`ProtobufError`] where the body is no whole object of a kind that has a protobuf form.
pub fn decode(body: &[u8], api_version: &str, kind: &str) -> Result<Value, ProtobufError> {
    if body.is_empty() || body == MAGIC {
        return Err(ProtobufError::Empty);
    }
    let mut envelope = open(body.strip_prefix(MAGIC).ok_or(ProtobufError::Prefix)?)?;
    if envelope.kind.is_empty() {
        kind.clone_into(&mut envelope.kind);
    }
    if envelope.api_version.is_empty() {
        api_version.clone_into(&mut envelope.api_version);
    }
    let table = facts::table();
    let Some(message) = table.kind(&envelope.api_version, &envelope.kind) else {
        return Err(ProtobufError::UnknownKind { api_version: envelope.api_version, kind: envelope.kind });
    };
    let mut object = Decoder::new(table, body.len()).object(message, &envelope.raw)?;
    object.insert("apiVersion".into(), envelope.api_version.into());
    object.insert("kind".into(), envelope.kind.into());
    let object = Value::Object(object);
    if deeper_than(&object, MAX_JSON_DEPTH) {
        return Err(ProtobufError::TooDeep);
    }
    Ok(object)
}

fn open(bytes: &[u8]) -> Result<Envelope<'_>, ProtobufError> {
    let mut envelope = Envelope::default();
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        let wrong = |field| ProtobufError::WireType { message: "runtime.Unknown", field };
        match (number, payload) {
            (1, Payload::Bytes(bytes)) => type_meta(bytes, &mut envelope)?,
            // The last one counts, as for every field of bytes.
            (2, Payload::Bytes(bytes)) => envelope.raw = vec![bytes],
            (1, _) => return Err(wrong("typeMeta")),
            (2, _) => return Err(wrong("raw")),
            // The content's encoding and type say nothing: a server reads the message whatever they are.
            _ => {}
        }
    }
    Ok(envelope)
}

fn type_meta(bytes: &[u8], envelope: &mut Envelope<'_>) -> Result<(), ProtobufError> {
    let mut reader = Reader::new(bytes);
    while let Some((number, payload)) = reader.next()? {
        let (field, target) = match number {
            1 => ("apiVersion", &mut envelope.api_version),
            2 => ("kind", &mut envelope.kind),
            _ => continue,
        };
        let Payload::Bytes(bytes) = payload else {
            return Err(ProtobufError::WireType { message: "runtime.TypeMeta", field });
        };
        *target = String::from_utf8_lossy(bytes).into_owned();
    }
    Ok(())
}

/// Whether `value` has more than `levels` levels. It looks no deeper than that.
fn deeper_than(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| deeper_than(item, below)),
        Value::Object(fields) => fields.values().any(|field| deeper_than(field, below)),
        _ => false,
    }
}
