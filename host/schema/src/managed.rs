//! Field management: who owns which field, for server-side apply and for every other write.
//!
//! The rules are those of the Kubernetes project's structured-merge-diff, as its documentation of server-side apply
//! describes them: an applier owns the fields that it names, other writers own what they change, a change to somebody
//! else's applied field is a conflict, and a field that its only owner no longer names is removed.

mod declared;
mod entry;
mod fields;
mod merge;
mod set;
mod write;

pub use declared::{go_text, undeclared};
pub use fields::{FieldsError, PathElement};
pub use merge::merge;
pub use set::FieldSet;
pub use write::{ApplyError, Conflict, Conflicts, Writer, apply, update};
