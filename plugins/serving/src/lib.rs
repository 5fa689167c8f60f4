//! What the dialects of model serving have in common: they own different kinds of one family, which choose a runtime, name
//! a place of files and tell of a model in the same words.
//!
//! | Module | Job |
//! |---|---|
//! | [`names`] | names that others know |
//! | [`runtime`] | which ServingRuntime serves a model |
//! | [`container`] | a ServingRuntime's Pod, with names filled in |
//! | [`storage`] | places that an entry of the Secret `storage-config` opens |
//! | [`mesh`] | one address for all models of a namespace, and models that come and go by need |
//! | [`progress`] | how far a Model is |
//!
//! It knows no object of a user's: which fields say what is the dialects' business.

#![forbid(unsafe_code)]

pub mod container;
pub mod mesh;
pub mod names;
pub mod progress;
pub mod runtime;
pub mod storage;
