//! One step of a path to a field, in the form of FieldsV1: `f:name`, `k:{"key":"value"}`, `v:"value"`, `i:0`.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde_json::Value;

/// One step of a path.
#[derive(Clone, Debug, PartialEq)]
pub enum PathElement {
    /// A field of an object.
    Field(Box<str>),
    /// The item of a list whose fields have these values.
    Key(BTreeMap<Box<str>, Value>),
    /// The item of a list that has this value.
    Value(Value),
    /// The item of a list at this position.
    Index(u64),
}

/// A path element that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a FieldsV1 path element")]
pub struct FieldsError(pub String);

impl PathElement {
    /// Reads the FieldsV1 form.
    ///
    /// # Errors
    /// [`FieldsError`] for anything else.
    pub fn parse(text: &str) -> Result<Self, FieldsError> {
        let error = || FieldsError(text.to_owned());
        let (kind, rest) = text.split_once(':').ok_or_else(error)?;
        match kind {
            "f" => Ok(Self::Field(rest.into())),
            "k" => match serde_json::from_str(rest) {
                Ok(Value::Object(keys)) => {
                    Ok(Self::Key(keys.into_iter().map(|(k, v)| (k.into(), v)).collect()))
                }
                _ => Err(error()),
            },
            "v" => serde_json::from_str(rest).map(Self::Value).map_err(|_| error()),
            "i" => rest.parse().map(Self::Index).map_err(|_| error()),
            _ => Err(error()),
        }
    }

    /// The FieldsV1 form.
    pub fn print(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => {
                let keys: serde_json::Map<_, _> =
                    keys.iter().map(|(k, v)| (k.to_string(), v.clone())).collect();
                format!("k:{}", Value::Object(keys))
            }
            Self::Value(value) => format!("v:{value}"),
            Self::Index(index) => format!("i:{index}"),
        }
    }

    /// The form of conflict messages: `.name`, `[key="value"]`, `[=value]`, `[0]`.
    pub fn describe(&self) -> String {
        match self {
            Self::Field(name) => format!(".{name}"),
            Self::Key(keys) => {
                let keys: Vec<String> = keys.iter().map(|(name, value)| format!("{name}={value}")).collect();
                format!("[{}]", keys.join(","))
            }
            Self::Value(value) => format!("[={value}]"),
            Self::Index(index) => format!("[{index}]"),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        }
    }
}

impl Eq for PathElement {}

impl Ord for PathElement {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let texts = |keys: &BTreeMap<Box<str>, Value>| -> Vec<(String, String)> {
                    keys.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect()
                };
                texts(a).cmp(&texts(b))
            }
            (Self::Value(a), Self::Value(b)) => a.to_string().cmp(&b.to_string()),
            _ => self.rank().cmp(&other.rank()),
        }
    }
}

impl PartialOrd for PathElement {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn each_form_reads_back() {
        for text in
            ["f:spec", "f:a:b", r#"k:{"containerPort":80,"protocol":"TCP"}"#, r#"v:"x""#, "v:1", "i:3"]
        {
            assert_eq!(PathElement::parse(text).unwrap().print(), text);
        }
        let keys = PathElement::parse(r#"k:{"name":"a"}"#).unwrap();
        assert_eq!(keys.describe(), r#"[name="a"]"#);
        assert_eq!(PathElement::Value(json!("x")).describe(), r#"[="x"]"#);
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in ".{0,40}") {
            if let Ok(element) = PathElement::parse(&text) {
                prop_assert_eq!(PathElement::parse(&element.print()).unwrap(), element);
            }
        }
    }
}
