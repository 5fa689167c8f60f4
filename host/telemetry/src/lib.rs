//! What Purlin tells about itself: the log and its traces, Prometheus metrics with health, and the audit log.
//!
//! The binary sets these up once and hands out what the other crates need: a `prometheus_client` registry to register
//! metrics with, and a sink for audit records. Libraries only use `tracing`; none of them knows where it goes.

#![forbid(unsafe_code)]

pub mod audit;
pub mod exposition;
pub mod process;
pub mod tracing_setup;

pub use audit::AuditLog;
pub use exposition::{Exposition, Readiness};
pub use tracing_setup::{LogFormat, TracingConfig, TracingGuard};
