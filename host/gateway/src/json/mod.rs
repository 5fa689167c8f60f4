//! Reading and writing JSON without building a tree of it: a scanner over text, the elements of tensors on their way to
//! and from it, and how long a text may be nested.
//!
//! Called by the protocols whose payload is numbers: there, a tree of values would cost more than the model. What is small
//! and has a fixed form is read with serde instead.

mod elements;
mod scan;
mod write;

pub(crate) use elements::{Dims, read_elements, read_one};
pub(crate) use scan::{Scanner, SyntaxError};
pub(crate) use write::{put_data, put_nested, put_string};

/// Arrays and objects within each other at most.
pub(crate) const DEPTH: usize = 64;
