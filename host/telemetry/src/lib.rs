//! Traces, metrics and the audit log
#![forbid(unsafe_code)]
