//! The dialect stage over JSON text, for a dialect that is called often or whose objects are large.
//!
//! [`Dialect`](crate::Dialect) is handed trees of `serde_json::Value`: every field is a piece of memory of its own, the
//! many that the dialect never looks at included. Here objects stay text until the dialect says as what to read them,
//! which may be a type of its own that borrows from the text:
//!
//! ```
//! use purlin_sdk::{Context, Fault, Selector, TextDialect, text};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize)]
//! struct Database<'a> {
//!     #[serde(borrow)]
//!     metadata: Metadata<'a>,
//! }
//!
//! #[derive(Serialize, Deserialize)]
//! struct Metadata<'a> {
//!     name: &'a str,
//! }
//!
//! #[derive(Serialize)]
//! #[serde(rename_all = "camelCase")]
//! struct Service<'a> {
//!     api_version: &'a str,
//!     kind: &'a str,
//!     metadata: Metadata<'a>,
//! }
//!
//! struct Databases;
//!
//! impl TextDialect for Databases {
//!     fn related(_: &Context, _: &str) -> Result<Vec<Selector>, Fault> {
//!         Ok(Vec::new())
//!     }
//!
//!     fn sync(request: &text::Request) -> Result<text::Response, Fault> {
//!         let database: Database<'_> = text::parse(&request.parent)?;
//!         let service = Service { api_version: "v1", kind: "Service", metadata: database.metadata };
//!         Ok(text::Response { children: vec![text::write(&service)?], ..text::response() })
//!     }
//! }
//!
//! purlin_sdk::export_dialect!(Databases);
//! ```
//!
//! A borrowed `&str` cannot hold a text with escapes (`\\n`, `\\"`): use it where a schema rules those out, and
//! `Cow<str>` with `#[serde(borrow)]` elsewhere.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::Serialize;
use serde_json::value::RawValue;

use crate::bindings::dialect::exports::purlin::plugin::controller;
use crate::{Context, Dialect, Fault, Selector, dialect};

pub use controller::{SyncRequest as Request, SyncResponse as Response};

/// A plugin that owns kinds and translates their objects, each as JSON text. Every [`Dialect`] is one.
pub trait TextDialect {
    /// Whether the plugin can work with its configuration. It can, unless said otherwise.
    ///
    /// # Errors
    /// A fault that says what has to change.
    fn check(context: &Context) -> Result<(), Fault> {
        let _ = context;
        Ok(())
    }

    /// What `sync` must see beside the parent and its children.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn related(context: &Context, parent: &str) -> Result<Vec<Selector>, Fault>;

    /// The desired state, from the observed state.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn sync(request: &Request) -> Result<Response, Fault>;

    /// The same while the parent is being deleted. Unless said otherwise nothing is left to do and every child goes.
    ///
    /// # Errors
    /// A fault, when no answer is possible.
    fn finalize(request: &Request) -> Result<Response, Fault> {
        let _ = request;
        Ok(response())
    }
}

impl<T: Dialect> TextDialect for T {
    fn related(context: &Context, parent: &str) -> Result<Vec<Selector>, Fault> {
        T::related(context, &dialect::parse(parent)?)
    }

    fn sync(request: &Request) -> Result<Response, Fault> {
        dialect::answer(request, T::sync)
    }

    fn finalize(request: &Request) -> Result<Response, Fault> {
        dialect::answer(request, T::finalize)
    }
}

/// An answer without children, status or events, to be filled in.
pub fn response() -> Response {
    Response { children: Vec::new(), status: None, requeue_after_ms: None, events: Vec::new() }
}

/// Reads one object of a request, or a part of it.
///
/// # Errors
/// [`Fault::Failed`], when the text is not an object or not of this type: a schema was checked before a plugin sees it,
/// so that either the schema or the type is wrong.
pub fn parse<'a, T: Deserialize<'a>>(object: &'a str) -> Result<T, Fault> {
    // A derived `Deserialize` would take a list of a struct's fields too.
    if !object.trim_ascii_start().starts_with('{') {
        return Err(Fault::Failed("an object in the request is not a JSON object".to_owned()));
    }
    serde_json::from_str(object)
        .map_err(|error| Fault::Failed(format!("an object in the request is not as expected: {error}")))
}

/// Writes an object for an answer.
///
/// # Errors
/// [`Fault::Failed`], when the type cannot be JSON, such as a map whose keys are not text.
pub fn write<T: Serialize + ?Sized>(object: &T) -> Result<String, Fault> {
    serde_json::to_string(object)
        .map_err(|error| Fault::Failed(format!("an object of the answer cannot be written: {error}")))
}

/// Text that is borrowed where it can be: as a field's type it is `Cow<str>` with `#[serde(borrow)]`, and it may be used
/// inside lists, where serde has no such attribute.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text<'a>(pub Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowing;
        impl<'de> Visitor<'de> for Borrowing {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_str<E: serde::de::Error>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Borrowed(text)))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(text.to_owned())))
            }
        }
        deserializer.deserialize_str(Borrowing)
    }
}

impl std::ops::Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The fields of an object, in their order, with their values as JSON text: for what is passed on rather than read.
#[derive(Debug, Clone, Default)]
pub struct Fields<'a>(pub Vec<(Text<'a>, &'a RawValue)>);

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Each;
        impl<'de> Visitor<'de> for Each {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(32);
                while let Some(field) = map.next_entry::<Text<'de>, &'de RawValue>()? {
                    fields.push(field);
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Each)
    }
}

/// What [`export_dialect!`](crate::export_dialect) exports for a [`TextDialect`]; not for use by itself.
#[cfg(target_arch = "wasm32")]
#[doc(hidden)]
pub struct Export<T>(std::marker::PhantomData<T>);

#[cfg(target_arch = "wasm32")]
impl<T: TextDialect> crate::bindings::base::exports::purlin::plugin::lifecycle::Guest for Export<T> {
    fn check(context: Context) -> Result<(), Fault> {
        crate::log::panics();
        T::check(&context)
    }
}

#[cfg(target_arch = "wasm32")]
impl<T: TextDialect> controller::Guest for Export<T> {
    fn related(context: Context, parent: String) -> Result<Vec<Selector>, Fault> {
        crate::log::panics();
        T::related(&context, &parent)
    }

    fn sync(request: Request) -> Result<Response, Fault> {
        crate::log::panics();
        T::sync(&request)
    }

    fn finalize(request: Request) -> Result<Response, Fault> {
        crate::log::panics();
        T::finalize(&request)
    }
}

#[cfg(test)]
mod tests {
    use serde::Serialize;

    use super::*;

    #[test]
    fn fields_keep_their_order_and_their_text() {
        let text = r#" {"b":"x\ny","a":{"n":1.50},"q\"":[ ]}"#;
        let fields: Fields<'_> = parse(text).expect("an object");
        let seen: Vec<_> = fields.0.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(seen, [("b", r#""x\ny""#), ("a", r#"{"n":1.50}"#), ("q\"", "[ ]")]);
        assert!(matches!(fields.0[0].0.0, Cow::Borrowed(_)), "nothing is copied that need not be");
    }

    #[test]
    fn what_is_not_an_object_of_the_type_is_a_fault() {
        for text in ["", "null", "[]", "[1]", "{", "{]", r#"{"a"}"#, r#"{"a":"\x"}"#] {
            assert!(matches!(parse::<Fields<'_>>(text), Err(Fault::Failed(_))), "{text}");
        }
        #[derive(Debug, serde::Deserialize)]
        struct Wanted {
            #[expect(dead_code, reason = "what is missing is the point")]
            name: String,
        }
        let found = parse::<Wanted>(r#"{"name":1}"#);
        assert!(matches!(found, Err(Fault::Failed(reason)) if reason.contains("expected a string")));
        assert!(parse::<Wanted>(r#"["a list is no object"]"#).is_err());
    }

    #[test]
    fn deep_nesting_is_a_fault_and_no_overflow() {
        let deep = format!("{{\"a\":{}", "[".repeat(1_000_000));
        assert!(parse::<Fields<'_>>(&deep).is_err());
    }

    #[test]
    fn an_object_that_cannot_be_written_is_a_fault() {
        #[derive(Serialize)]
        struct Good<'a> {
            text: &'a str,
        }
        assert_eq!(write(&Good { text: "a\"b" }).as_deref(), Ok(r#"{"text":"a\"b"}"#));
        let keyed_by_list = std::collections::BTreeMap::from([(vec![1], 1)]);
        assert!(matches!(write(&keyed_by_list), Err(Fault::Failed(_))));
    }
}
