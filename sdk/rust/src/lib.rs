//! A Purlin plugin as a trait and a macro.
//!
//! A plugin is a WebAssembly component that exports one stage. Read the contract first (`wit/v0.3` in Purlin's
//! repository: it says what each call means and when it is made); this crate is that contract in Rust.
//!
//! # A tuner, whole
//!
//! ```
//! use purlin_sdk::{Fault, FieldError, Search, Suggestion, Tuner};
//!
//! struct Midpoint;
//!
//! impl Tuner for Midpoint {
//!     const ALGORITHMS: &'static [&'static str] = &["midpoint"];
//!
//!     fn validate(search: &Search) -> Vec<FieldError> {
//!         purlin_sdk::tuner::unknown_settings(search, &[])
//!     }
//!
//!     fn suggest(search: &Search, count: u32) -> Result<Vec<Suggestion>, Fault> {
//!         // `search.trials` is all that was tried; `search.context.seed` is this experiment's own seed.
//!         # let _ = (search, count);
//!         Ok(Vec::new())
//!     }
//! }
//!
//! purlin_sdk::export_tuner!(Midpoint);
//! ```
//!
//! A dialect is the same with [`Dialect`] and [`export_dialect!`]: `related` says what it must see, `sync` answers with
//! the objects that should exist and the parent's status. A dialect that is called often can be a [`TextDialect`], which
//! reads its objects into types of its own: several times faster, and more to write.
//!
//! # Rules that a plugin lives by
//!
//! - **Pure.** There is no clock, no randomness, no file and no network but what was asked for in the manifest and granted
//!   ([`http`], [`secrets`], [`kv`], [`blobs`], [`events`], [`tuners`]). Time is `context.now_ms` ([`time`] writes it as
//!   Kubernetes does), randomness is [`Random`] from `context.seed`. The same request gives the same answer, byte for
//!   byte: keep maps ordered (`serde_json::Value` is), and take no time into a status unless something else changed.
//! - **Stateless.** Each call gets a fresh instance. What must be remembered is in the objects.
//! - **No panics on input.** A panic costs the call and shows as a trap on the user's object. Report what the user must
//!   correct as [`Fault::Invalid`] with one [`FieldError`] a field.
//!
//! # Building and testing
//!
//! The crate type is `["cdylib", "rlib"]` and the target `wasm32-unknown-unknown`, so that no WASI import slips in. The
//! logic itself is plain Rust: test it with `cargo test` on your own machine; [`testing`] runs recorded requests against
//! recorded answers. `log` writes to standard error there, and calls to other plugins answer with a fault.

pub mod bindings;
pub mod blobs;
pub mod conditions;
pub mod dialect;
pub mod events;
pub mod explainer;
pub mod fault;
pub mod files;
#[cfg(any(target_arch = "wasm32", test))]
mod heap;
pub mod http;
pub mod kv;
pub mod log;
pub mod monitor;
pub mod nn;
pub mod object;
pub mod random;
pub mod secrets;
pub mod serving;
pub mod tensor;
#[cfg(not(target_arch = "wasm32"))]
pub mod testing;
pub mod text;
pub mod time;
pub mod transformer;
pub mod tuner;
pub mod tuners;

pub use bindings::base::purlin::plugin::tuning::{
    Assignment, Direction, Domain, FloatRange, IntRange, Measurement, Objective, Outcome, Parameter, Scale,
    Search, Suggestion, Trial,
};
pub use bindings::base::purlin::plugin::types::{Context, Fault, FieldError, HostError, Retry, Setting};
pub use conditions::Conditions;
pub use dialect::{Dialect, Event, Selector, Severity, SyncRequest, SyncResponse};
pub use explainer::Explainer;
pub use monitor::Monitor;
pub use object::Object;
pub use random::Random;
pub use serde_json;
pub use serving::{
    Chunk, GenerateRequest, Generation, InferRequest, InferResponse, ModelMetadata, ModelRequest,
    ServingRuntime, Tasks,
};
pub use tensor::{Datatype, NamedTensor, Tensor, TensorInfo};
pub use text::TextDialect;
pub use transformer::Transformer;
pub use tuner::Tuner;
