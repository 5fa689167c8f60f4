//! Runs plugins: WebAssembly components that get a fresh instance for every call, under limits of memory, time, output
//! and concurrency, with only the capabilities that they were granted.
//!
//! Called by the kernel, which decides which plugin is asked what. This crate knows nothing of Kubernetes beyond the
//! shape of an object (`apiVersion`, `kind`, `metadata.name`), and no plugin by name. Whatever a plugin does, the cost
//! is one failed call with a [`CallError`] that can be shown to a person.
#![deny(unsafe_code)]

mod answer;
mod cache;
mod call;
mod config;
pub mod contract;
mod crew;
mod engine;
mod error;
mod functions;
mod gate;
mod load;
mod metrics;
mod native;
mod plugin;
pub mod quota;
mod resolver;
pub mod service;
pub mod serving;
mod wasi;

pub use answer::Child;
pub use config::{Config, Limits};
pub use error::{CallError, LoadError, SandboxError};
pub use load::{LoadRequest, Sandbox};
pub use metrics::Metrics;
pub use plugin::{Plugin, Subject, SyncAnswer};
pub use purlin_registry::{Capability, Manifest, Stage};
pub use resolver::StageResolver;
pub use service::Services;
pub use serving::{ModelFiles, ModelRequest, PluginModel, Report, Score, Window};
