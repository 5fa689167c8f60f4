//! Reconciles Purlin's generic resources, loads plugins, and drives dialects.
//!
//! The binary makes one [`Kernel`] over a `kube::Client` and runs it until it is told to stop. Everything that the
//! kernel knows it reads from the API server, and everything that it decides it writes there: it can be killed at any
//! moment and goes on from what the resources say. It knows no framework's name; what is specific to one is in plugins.
//!
//! Each loop is split in the same way: decisions are pure functions over observed objects, and one module at its edge
//! observes and acts.
#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that cannot go on has failed"))]

pub mod api;
pub mod cache;
mod dialect;
mod digest;
mod event;
mod experiment;
mod expression;
mod kernel;
mod key;
pub mod measure;
mod observe;
mod plugin;
pub mod queue;
mod quota;
pub mod rbac;
mod reconcile;
mod selector;
pub mod service;
pub mod shard;
pub mod stage;
mod trial;

pub use api::crds;
pub use event::EventRecorder;
pub use kernel::{Config, HeldPolicies, Kernel, KernelError, NAMESPACE, Readiness};
pub use key::{Gvk, ObjectKey};
pub use observe::{KernelMetrics, ShardMetrics};
pub use plugin::SandboxedSource;
pub use trial::PushConfig;

/// An error and what caused it, in one line.
pub fn report(error: &dyn std::error::Error) -> String {
    purlin_registry::with_causes(error.to_string(), error)
}
