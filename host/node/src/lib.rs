//! The embedded node: runs Pods as processes and Wasm, and the Job controller
#![forbid(unsafe_code)]
