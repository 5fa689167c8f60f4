//! The table of messages: which field has which number, name in JSON, shape and type.
//!
//! Called by the decoder. Parsed from the committed text at first use; the script that wrote the text describes its form.

use std::collections::HashMap;
use std::sync::LazyLock;

static FACTS: &str = include_str!("facts.txt");

/// Every message and kind.
pub(crate) struct Table {
    kinds: HashMap<&'static str, usize>,
    messages: Vec<Message>,
}

/// One message.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) name: &'static str,
    /// Whether JSON shows the one member that is set instead of an object.
    pub(crate) union: bool,
    /// By number, ascending.
    pub(crate) fields: Vec<Field>,
}

/// One field.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// The name in JSON; `None` where the message's fields stand among those around it.
    pub(crate) name: Option<&'static str>,
    pub(crate) shape: Shape,
    pub(crate) kind: Kind,
    pub(crate) omit_empty: bool,
    pub(crate) omit_zero: bool,
}

impl Field {
    /// The name as errors show it.
    pub(crate) fn shown(&self) -> &'static str {
        self.name.unwrap_or("(inlined)")
    }
}

/// How often a value stands, and whether the Go field tells absence from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Plain,
    Pointer,
    Repeated,
    Map,
}

/// The type of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    String,
    Bool,
    Int32,
    Int64,
    Double,
    Bytes,
    /// A place in [`Table::message`].
    Message(usize),
    Special(Special),
}

/// Messages that JSON shows in a form of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    /// Seconds, as RFC 3339.
    Time,
    /// Seconds and nanoseconds, as RFC 3339 with microseconds.
    MicroTime,
    /// A quantity's text.
    Quantity,
    /// A number or a text.
    IntOrString,
    /// JSON as bytes.
    Json,
    /// A list of strings in a message, so that a map can hold it.
    Strings,
}

impl Table {
    /// The message of a kind.
    pub(crate) fn kind(&self, api_version: &str, kind: &str) -> Option<usize> {
        let versioned = if api_version.contains('/') {
            format!("{api_version}/{kind}")
        } else {
            format!("/{api_version}/{kind}")
        };
        self.kinds.get(versioned.as_str()).or_else(|| self.kinds.get(format!("*/{kind}").as_str())).copied()
    }

    /// The message at a place that the table gave.
    pub(crate) fn message(&'static self, place: usize) -> &'static Message {
        &self.messages[place]
    }
}

/// The table.
pub(crate) fn table() -> &'static Table {
    static TABLE: LazyLock<Table> = LazyLock::new(|| {
        parse(FACTS).expect("the committed table is what the script wrote, as a test holds")
    });
    &TABLE
}

fn parse(text: &'static str) -> Option<Table> {
    let places: HashMap<&str, usize> = text
        .lines()
        .filter_map(|line| line.strip_prefix("message "))
        .enumerate()
        .filter_map(|(place, rest)| Some((rest.split(' ').next()?, place)))
        .collect();
    let mut table = Table { kinds: HashMap::new(), messages: Vec::with_capacity(places.len()) };
    for line in text.lines() {
        let words: Vec<&'static str> = line.split(' ').collect();
        match *words.as_slice() {
            ["kind", kind, message] => {
                table.kinds.insert(kind, *places.get(message)?);
            }
            ["message", name] => table.messages.push(Message { name, union: false, fields: Vec::new() }),
            ["message", name, "union"] => {
                table.messages.push(Message { name, union: true, fields: Vec::new() });
            }
            [number, name, shape, kind, ref flags @ ..] => {
                let flags = flags.first().copied().unwrap_or_default();
                table.messages.last_mut()?.fields.push(Field {
                    number: number.parse().ok()?,
                    name: (name != ".").then_some(name),
                    shape: parse_shape(shape)?,
                    kind: parse_kind(kind, &places)?,
                    omit_empty: flags.contains('e'),
                    omit_zero: flags.contains('z'),
                });
            }
            _ => return None,
        }
    }
    Some(table)
}

fn parse_shape(word: &str) -> Option<Shape> {
    Some(match word {
        "!" => Shape::Plain,
        "?" => Shape::Pointer,
        "*" => Shape::Repeated,
        "%" => Shape::Map,
        _ => return None,
    })
}

fn parse_kind(word: &str, places: &HashMap<&str, usize>) -> Option<Kind> {
    if let Some(message) = word.strip_prefix('@') {
        return places.get(message).copied().map(Kind::Message);
    }
    Some(match word {
        "string" => Kind::String,
        "bool" => Kind::Bool,
        "int32" => Kind::Int32,
        "int64" => Kind::Int64,
        "double" => Kind::Double,
        "bytes" => Kind::Bytes,
        "time" => Kind::Special(Special::Time),
        "microtime" => Kind::Special(Special::MicroTime),
        "quantity" => Kind::Special(Special::Quantity),
        "intorstring" => Kind::Special(Special::IntOrString),
        "json" => Kind::Special(Special::Json),
        "strings" => Kind::Special(Special::Strings),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_parses_and_fields_are_in_order() {
        let table = parse(FACTS).unwrap();
        for message in &table.messages {
            assert!(message.fields.is_sorted_by(|a, b| a.number < b.number), "{}", message.name);
        }
    }

    #[test]
    fn every_built_in_kind_has_a_message() {
        let table = table();
        let written: serde_json::Value = serde_json::from_str(include_str!("../builtin/facts.json")).unwrap();
        for kind in written["kinds"].as_object().unwrap().keys() {
            assert!(table.kinds.contains_key(kind.as_str()), "{kind}");
        }
        assert!(table.kind("apps/v1", "DeleteOptions").is_some(), "in every group");
        assert!(table.kind("example.com/v1", "Trial").is_none());
    }
}
