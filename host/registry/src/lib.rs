//! OCI artifacts: plugin packaging, pull and push, digest lock, and the loopback registry
#![forbid(unsafe_code)]
