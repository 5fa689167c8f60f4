//! JSON bodies, read so that a field that is there twice can be told: the later one counts, and field validation reports
//! the earlier one as lost.

use std::cell::RefCell;
use std::fmt;

use serde::de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// What a text holds, and the paths of fields that are in it twice (`spec.containers[0].image`).
pub(super) fn parse(text: &[u8]) -> serde_json::Result<(Value, Vec<String>)> {
    let seen = Seen { place: RefCell::new(Vec::new()), twice: RefCell::new(Vec::new()) };
    let mut source = serde_json::Deserializer::from_slice(text);
    let value = Node(&seen).deserialize(&mut source)?;
    source.end()?;
    Ok((value, seen.twice.into_inner()))
}

/// Where the reader is, and what it met twice so far.
struct Seen {
    place: RefCell<Vec<Step>>,
    twice: RefCell<Vec<String>>,
}

enum Step {
    Field(String),
    Item(usize),
}

impl Seen {
    fn enter(&self, step: Step) {
        self.place.borrow_mut().push(step);
    }

    fn leave(&self) -> Option<Step> {
        self.place.borrow_mut().pop()
    }

    /// Notes that the field that the reader is at was there before.
    fn again(&self) {
        let mut path = String::new();
        for step in self.place.borrow().iter() {
            match step {
                Step::Field(name) => {
                    if !path.is_empty() {
                        path.push('.');
                    }
                    path.push_str(name);
                }
                Step::Item(index) => path.push_str(&format!("[{index}]")),
            }
        }
        self.twice.borrow_mut().push(path);
    }
}

struct Node<'a>(&'a Seen);

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Value;

    fn deserialize<D: serde::Deserializer<'de>>(self, source: D) -> Result<Value, D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E: Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut items = Vec::new();
        loop {
            self.0.enter(Step::Item(items.len()));
            let item = source.next_element_seed(Node(self.0))?;
            self.0.leave();
            match item {
                Some(item) => items.push(item),
                None => return Ok(Value::Array(items)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut source: A) -> Result<Value, A::Error> {
        let mut fields = Map::new();
        while let Some(name) = source.next_key::<String>()? {
            let known = fields.contains_key(&name);
            self.0.enter(Step::Field(name));
            if known {
                self.0.again();
            }
            let value = source.next_value_seed(Node(self.0))?;
            if let Some(Step::Field(name)) = self.0.leave() {
                fields.insert(name, value);
            }
        }
        Ok(Value::Object(fields))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn fields_that_are_there_twice_are_named() {
        let text = br#"{"a": {"b": 1, "b": 2}, "list": [0, {"c": 1, "c": 1}], "a": 3}"#;
        let (value, twice) = parse(text).expect("it is JSON");
        assert_eq!(value, json!({"a": 3, "list": [0, {"c": 1}]}));
        assert_eq!(twice, ["a.b", "list[1].c", "a"]);
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for text in ["", "{", "{} x", &"[".repeat(10_000)] {
            assert!(parse(text.as_bytes()).is_err(), "{text:.20}");
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_reads(text in "[\\[\\]{}:,\"a1.e-]{0,24}") {
            let whole = serde_json::from_str::<Value>(&text).ok();
            prop_assert_eq!(parse(text.as_bytes()).ok().map(|(value, _)| value), whole);
        }
    }
}
