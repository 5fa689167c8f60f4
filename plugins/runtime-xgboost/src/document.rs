//! A JSON document. Models are long lists of numbers, so these lie together.

use std::fmt;

use purlin_tabular::ModelError;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// A value of the document.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Null,
    Truth(bool),
    Number(f64),
    Text(String),
    /// A list of numbers or truths; an empty list is one.
    Numbers(Vec<f64>),
    List(Vec<Node>),
    Object(Vec<(String, Node)>),
}

impl Node {
    /// From JSON.
    pub(crate) fn of_json(content: &[u8]) -> Result<Node, ModelError> {
        serde_json::from_slice(content)
            .map_err(|error| ModelError::malformed("the JSON document", error.to_string()))
    }

    /// A list, kept as numbers if it is one of numbers.
    pub(crate) fn list(items: Vec<Node>) -> Node {
        let numbers: Option<Vec<f64>> = items.iter().map(Node::as_number).collect();
        numbers.map_or(Node::List(items), Node::Numbers)
    }

    fn as_number(&self) -> Option<f64> {
        match self {
            Node::Number(number) => Some(*number),
            Node::Truth(truth) => Some(f64::from(u8::from(*truth))),
            _ => None,
        }
    }

    /// A member of an object.
    pub(crate) fn get(&self, name: &str) -> Option<&Node> {
        match self {
            Node::Object(members) => members.iter().find(|(member, _)| member == name).map(|(_, node)| node),
            _ => None,
        }
    }

    /// A member of an object that must be there.
    pub(crate) fn member(&self, name: &str) -> Result<&Node, ModelError> {
        self.get(name).ok_or_else(|| ModelError::malformed(name, "it is missing"))
    }

    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Node::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A member that is a list of numbers.
    pub(crate) fn numbers(&self, name: &str) -> Result<&[f64], ModelError> {
        match self.member(name)? {
            Node::Numbers(numbers) => Ok(numbers),
            _ => Err(ModelError::malformed(name, "it is no list of numbers")),
        }
    }

    /// A member that is a list of anything.
    pub(crate) fn items(&self, name: &str) -> Result<&[Node], ModelError> {
        match self.member(name)? {
            Node::List(items) => Ok(items),
            Node::Numbers(numbers) if numbers.is_empty() => Ok(&[]),
            _ => Err(ModelError::malformed(name, "it is no list of objects")),
        }
    }

    /// A member that is a whole number, which the format writes as a text.
    pub(crate) fn count(&self, name: &str) -> Result<usize, ModelError> {
        let node = self.member(name)?;
        let found = match node {
            Node::Text(text) => text.parse().ok(),
            Node::Number(number) if *number >= 0.0 && number.fract() == 0.0 => Some(*number as usize),
            _ => None,
        };
        found.ok_or_else(|| ModelError::malformed(name, "it is no whole number"))
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a value of JSON")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Node, E> {
        Ok(Node::Truth(truth))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Node, E> {
        Ok(Node::Number(number as f64))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Node, E> {
        Ok(Node::Number(number as f64))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Node, E> {
        Ok(Node::Number(number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Node, E> {
        Ok(Node::Text(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut numbers = Vec::new();
        while let Some(item) = list.next_element::<Node>()? {
            if let Some(number) = item.as_number() {
                numbers.push(number);
                continue;
            }
            // The first other item makes it a list of anything.
            let mut items: Vec<Node> = numbers.into_iter().map(Node::Number).collect();
            items.push(item);
            while let Some(item) = list.next_element()? {
                items.push(item);
            }
            return Ok(Node::List(items));
        }
        Ok(Node::Numbers(numbers))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::Node;

    #[test]
    fn numbers_lie_together() {
        let node =
            Node::of_json(br#"{"a": [1, 2.5, true], "b": [1, "x"], "c": [], "d": "7"}"#).expect("JSON");
        assert_eq!(node.numbers("a"), Ok([1.0, 2.5, 1.0].as_slice()));
        assert_eq!(node.items("b"), Ok([Node::Number(1.0), Node::Text("x".to_owned())].as_slice()));
        assert_eq!(node.items("c"), Ok([].as_slice()));
        assert_eq!(node.count("d"), Ok(7));
        assert!(node.numbers("e").is_err_and(|error| error.to_string() == "e: it is missing"));
    }
}
