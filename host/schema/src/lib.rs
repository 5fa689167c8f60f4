//! Kubernetes schemas as pure functions over JSON values: what a kind's fields are ([`Schema`]), whether an object fits
//! them ([`validate`]), what is dropped ([`prune`]) and filled in ([`apply_defaults`], [`builtin`]), how an object is
//! read ([`protobuf`]), changed ([`patch`], [`managed`]) and how it is shown ([`table`], [`openapi`]).
//!
//! Called by the embedded API for every write. It does no I/O, keeps no state but a cache of parsed schemas, and takes
//! the time as an argument.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]

pub mod builtin;
mod cel_rules;
pub mod convert;
mod default;
mod error;
pub mod managed;
pub mod openapi;
pub mod patch;
pub mod protobuf;
mod prune;
pub mod quantity;
mod schema;
mod structural;
pub mod table;
pub mod typed;
mod validate;

pub use default::apply_defaults;
pub use error::{FieldError, FieldErrorKind, aggregate, shown};
pub use prune::prune;
pub use schema::{Junctors, ListType, Node, PatchStrategy, Rule, Schema, SchemaError, Type};
pub use structural::check_structural;
pub use validate::{validate, validate_builtin, validate_status};
