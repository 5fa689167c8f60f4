//! The embedded Kubernetes API over a durable store
#![forbid(unsafe_code)]
