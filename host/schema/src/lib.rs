//! Kubernetes schemas as pure functions over JSON values: what a kind's fields are ([`Schema`]), what the server fills in
//! ([`builtin`]), and how an object is shown ([`table`]).
//!
//! Called by the embedded API for every write. It does no I/O, keeps no state but a cache of parsed schemas, and takes
//! the time as an argument.

#![forbid(unsafe_code)]

pub mod builtin;
mod error;
mod schema;
pub mod table;

pub use error::{FieldError, FieldErrorKind, aggregate, shown};
pub use schema::{Junctors, ListType, Node, PatchStrategy, Rule, Schema, SchemaError, Type};
