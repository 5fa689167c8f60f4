//! The embedded Kubernetes API: what clients of Kubernetes observe, over one SQLite file.
//!
//! The binary opens an [`ApiServer`] on a folder, hands [`ApiServer::client`]s to the parts of Purlin, which reach it in
//! process, and serves everybody else over TLS. It implements what clients can see (objects, versions, watches, patches,
//! definitions, deletion) and is no cluster: it schedules nothing, runs nothing and talks to no other server.
#![forbid(unsafe_code)]

mod audit;
mod auth;
mod backend;
mod catalogue;
mod collect;
mod engine;
mod lifecycle;
mod listen;
mod metrics;
mod model;
mod policy;
mod rest;
mod server;
mod status;
mod store;

pub use audit::{AuditObject, AuditRecord, AuditSink, AuditStatus, AuditUser};
pub use auth::Identity;
pub use auth::pki::PkiError;
pub use auth::token_file::TokenFileError;
pub use backend::{LogError, LogRequest, PodBackend};
pub use rest::mount::{Mount, Right};
pub use server::{ApiServer, Config, OpenError};
pub use status::{About, ApiError, Cause};
